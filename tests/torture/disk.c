/* SQLite's side of the disk: a VFS with files, locks and shared memory.
 *
 * Every call goes through step(), which counts it and may let it fail. One mutex guards
 * everything. The shared memory itself is used without it, as SQLite means it. */
#include "disk.h"

#include "disk_files.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#define MOST_REGIONS 256

/* Locks and shared memory of a file; its connections may belong to several owners. */
struct locks {
    unsigned n_shared; /* handles at SHARED or above */
    const struct handle *reserved;
    const struct handle *pending;
    const struct handle *exclusive;
    void *regions[MOST_REGIONS];
    size_t n_regions;
    unsigned n_mapped; /* handles */
    unsigned shm_shared[SQLITE_SHM_NLOCK];
    const struct handle *shm_exclusive[SQLITE_SHM_NLOCK];
};

struct handle {
    sqlite3_file base;
    struct handle *next; /* of all that are open */
    struct node *node;
    unsigned owner;
    bool dead;         /* it was open when its owner died */
    bool syncs_folder; /* at its next sync */
    int level;
    bool mapped;
    unsigned shm_shared; /* bits */
    int persists_wal;
};

static struct {
    pthread_mutex_t mutex;
    bool is_registered;
    sqlite3_vfs vfs;
    sqlite3_io_methods methods;
    struct files files;
    struct handle *handles;
    unsigned owner;
    bool dead[DISK_OWNERS];
    struct disk_plan plan;
    struct disk_plan callback;
    uint64_t n_planned;
    uint64_t n_to_callback;
    bool happened;
    uint64_t count[DISK_CALLS];
    uint64_t random;
} disk = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void lock(void)
{
    (void)pthread_mutex_lock(&disk.mutex);
}

static void unlock(void)
{
    (void)pthread_mutex_unlock(&disk.mutex);
}

/* splitmix64 */
static uint64_t chance(uint64_t limit)
{
    uint64_t z = disk.random += 0x9e3779b97f4a7c15U;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return (z ^ (z >> 31)) % limit;
}

/* ---- locks ---- */

static struct locks *locks_of(const struct handle *handle)
{
    if (!handle->node->locks)
        handle->node->locks = calloc(1, sizeof(struct locks));
    if (!handle->node->locks)
        abort();
    return handle->node->locks;
}

static void lower(struct handle *handle, int level)
{
    struct locks *locks = locks_of(handle);

    if (level < SQLITE_LOCK_RESERVED) {
        if (locks->reserved == handle)
            locks->reserved = NULL;
        if (locks->pending == handle)
            locks->pending = NULL;
        if (locks->exclusive == handle)
            locks->exclusive = NULL;
    }
    if (level == SQLITE_LOCK_NONE && handle->level >= SQLITE_LOCK_SHARED)
        locks->n_shared--;
    handle->level = level < handle->level ? level : handle->level;
}

static bool raise_lock(struct handle *handle, int level)
{
    struct locks *locks = locks_of(handle);

    if (handle->level >= level)
        return true;
    if (handle->level == SQLITE_LOCK_NONE) {
        if (locks->pending || locks->exclusive)
            return false;
        locks->n_shared++;
        handle->level = SQLITE_LOCK_SHARED;
    }
    if (level >= SQLITE_LOCK_RESERVED) {
        if (locks->reserved && locks->reserved != handle)
            return false;
        locks->reserved = handle;
        handle->level = handle->level > SQLITE_LOCK_RESERVED ? handle->level : SQLITE_LOCK_RESERVED;
    }
    if (level == SQLITE_LOCK_EXCLUSIVE) {
        if (locks->pending && locks->pending != handle)
            return false;
        locks->pending = handle;
        if (locks->n_shared > 1)
            return false;
        locks->exclusive = handle;
        handle->level = SQLITE_LOCK_EXCLUSIVE;
    }
    return true;
}

static void shm_release(struct handle *handle, int first, int n)
{
    struct locks *locks = locks_of(handle);

    for (int i = first; i < first + n; i++) {
        if (handle->shm_shared & 1U << i) {
            locks->shm_shared[i]--;
            handle->shm_shared &= ~(1U << i);
        }
        if (locks->shm_exclusive[i] == handle)
            locks->shm_exclusive[i] = NULL;
    }
}

static bool shm_take(struct handle *handle, int first, int n, bool exclusive)
{
    struct locks *locks = locks_of(handle);

    for (int i = first; i < first + n; i++) {
        unsigned mine = handle->shm_shared >> i & 1U;

        if (locks->shm_exclusive[i] && locks->shm_exclusive[i] != handle)
            return false;
        if (exclusive && locks->shm_shared[i] > mine)
            return false;
    }
    for (int i = first; i < first + n; i++) {
        if (exclusive) {
            locks->shm_exclusive[i] = handle;
        } else if (!(handle->shm_shared & 1U << i)) {
            handle->shm_shared |= 1U << i;
            locks->shm_shared[i]++;
        }
    }
    return true;
}

/* Where the last goes, the shared memory is begun anew: so does the unix VFS. */
static void shm_unmap(struct handle *handle)
{
    struct locks *locks = locks_of(handle);

    if (!handle->mapped)
        return;
    shm_release(handle, 0, SQLITE_SHM_NLOCK);
    handle->mapped = false;
    if (--locks->n_mapped > 0)
        return;
    for (size_t i = 0; i < locks->n_regions; i++)
        free(locks->regions[i]);
    locks->n_regions = 0;
}

/* ---- faults ---- */

/* The locks of a process go with it. What it mapped is kept until it is closed: its
 * threads may still be looking. */
static void kill_owner(unsigned owner)
{
    disk.dead[owner] = true;
    for (struct handle *handle = disk.handles; handle; handle = handle->next) {
        if (handle->owner != owner || handle->dead)
            continue;
        handle->dead = true;
        lower(handle, SQLITE_LOCK_NONE);
        if (handle->mapped)
            shm_release(handle, 0, SQLITE_SHM_NLOCK);
    }
}

static void cut_power(void)
{
    for (unsigned owner = 0; owner < DISK_OWNERS; owner++)
        kill_owner(owner);
    files_cut_power(&disk.files, chance);
}

static bool is_over(unsigned owner, const struct handle *handle)
{
    return disk.dead[owner] || (handle && handle->dead);
}

/* Under the lock, which it gives away while the callback runs. */
static void call_back(unsigned calls)
{
    struct disk_plan plan = disk.callback;

    if (plan.fault != DISK_CALLBACK || !(plan.calls & calls) || disk.n_to_callback++ < plan.after)
        return;
    disk.callback.fault = DISK_NO_FAULT;
    unlock();
    plan.run(plan.context);
    lock();
}

/* Under the lock: false: the call has to fail. grows: for DISK_FULL. */
static bool step(enum disk_call call, const struct handle *handle, bool grows)
{
    unsigned owner = handle ? handle->owner : disk.owner;
    enum disk_fault fault = disk.plan.fault;

    call_back(1U << call);
    if (is_over(owner, handle))
        return false;
    disk.count[call]++;
    if (fault == DISK_NO_FAULT || !(disk.plan.calls & 1U << call) ||
        (fault == DISK_FULL && !grows) || disk.n_planned++ < disk.plan.after)
        return true;
    disk.happened = true;
    if (fault != DISK_ERRORS && fault != DISK_FULL)
        disk.plan.fault = DISK_NO_FAULT;
    if (fault == DISK_POWER)
        cut_power();
    if (fault == DISK_KILL)
        kill_owner(owner);
    return false;
}

/* ---- a file's methods ---- */

static int file_close(sqlite3_file *file)
{
    struct handle *handle = (struct handle *)file;
    struct handle **at = &disk.handles;

    lock();
    lower(handle, SQLITE_LOCK_NONE);
    shm_unmap(handle);
    while (*at != handle)
        at = &(*at)->next;
    *at = handle->next;
    unlock();
    return SQLITE_OK;
}

static int file_read(sqlite3_file *file, void *data, int size, sqlite3_int64 offset)
{
    struct handle *handle = (struct handle *)file;
    const struct bytes *seen = &handle->node->seen;
    size_t have = 0;
    bool works;

    lock();
    works = step(DISK_READ, handle, false);
    if (works && (size_t)offset < seen->size) {
        have = seen->size - (size_t)offset;
        have = have < (size_t)size ? have : (size_t)size;
        memcpy(data, seen->data + offset, have);
    }
    unlock();
    if (!works)
        return SQLITE_IOERR_READ;
    memset((char *)data + have, 0, (size_t)size - have);
    return have < (size_t)size ? SQLITE_IOERR_SHORT_READ : SQLITE_OK;
}

/* A write that fails may have done a part of its work. */
static int file_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
    struct handle *handle = (struct handle *)file;
    int result = SQLITE_OK;
    enum disk_fault fault;
    bool grows;

    lock();
    grows = (size_t)offset + (size_t)size > handle->node->seen.size;
    fault = disk.plan.fault;
    if (!is_over(handle->owner, handle) && fault == DISK_POWER)
        node_write(handle->node, data, (size_t)size, (size_t)offset); /* on its way */
    if (!step(DISK_WRITE, handle, grows)) {
        result = fault == DISK_FULL ? SQLITE_FULL : SQLITE_IOERR_WRITE;
        if (disk.happened && fault == DISK_KILL)
            size = (int)chance((uint64_t)size + 1);
    }
    if (fault != DISK_POWER && (result == SQLITE_OK || (disk.happened && fault == DISK_KILL)))
        node_write(handle->node, data, (size_t)size, (size_t)offset);
    unlock();
    return result;
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct handle *handle = (struct handle *)file;
    bool works;

    lock();
    works = step(DISK_TRUNCATE, handle, false);
    if (works)
        node_truncate(handle->node, (size_t)size);
    unlock();
    return works ? SQLITE_OK : SQLITE_IOERR_TRUNCATE;
}

static int file_sync(sqlite3_file *file, int flags)
{
    struct handle *handle = (struct handle *)file;
    bool works;

    (void)flags;
    lock();
    works = step(DISK_SYNC, handle, false);
    if (works) {
        node_sync(handle->node);
        if (handle->syncs_folder)
            files_sync_folder(&disk.files);
        handle->syncs_folder = false;
    } else if (disk.plan.forgets) {
        node_fail_sync(handle->node);
    }
    unlock();
    return works ? SQLITE_OK : SQLITE_IOERR_FSYNC;
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    struct handle *handle = (struct handle *)file;
    bool works;

    lock();
    works = step(DISK_SIZE, handle, false);
    *size = (sqlite3_int64)handle->node->seen.size;
    unlock();
    return works ? SQLITE_OK : SQLITE_IOERR_FSTAT;
}

static int file_lock(sqlite3_file *file, int level)
{
    struct handle *handle = (struct handle *)file;
    int result = SQLITE_IOERR_LOCK;

    lock();
    if (step(DISK_LOCK, handle, false))
        result = raise_lock(handle, level) ? SQLITE_OK : SQLITE_BUSY;
    unlock();
    return result;
}

static int file_unlock(sqlite3_file *file, int level)
{
    struct handle *handle = (struct handle *)file;

    lock();
    if (!handle->dead)
        lower(handle, level);
    unlock();
    return SQLITE_OK;
}

static int file_check_reserved(sqlite3_file *file, int *reserved)
{
    struct handle *handle = (struct handle *)file;

    lock();
    *reserved = locks_of(handle)->reserved != NULL;
    unlock();
    return SQLITE_OK;
}

static int file_control(sqlite3_file *file, int operation, void *argument)
{
    struct handle *handle = (struct handle *)file;
    int *value = argument;

    if (operation != SQLITE_FCNTL_PERSIST_WAL)
        return SQLITE_NOTFOUND;
    if (*value < 0)
        *value = handle->persists_wal;
    else
        handle->persists_wal = *value;
    return SQLITE_OK;
}

static int file_sector_size(sqlite3_file *file)
{
    (void)file;
    return 4096; /* as the unix VFS; the disk tears smaller ones */
}

static int file_characteristics(sqlite3_file *file)
{
    (void)file;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE; /* as the unix VFS */
}

static int file_shm_map(
    sqlite3_file *file, int region, int size, int extend, void volatile **memory)
{
    struct handle *handle = (struct handle *)file;
    struct locks *locks;
    int result = SQLITE_OK;

    *memory = NULL;
    lock();
    locks = locks_of(handle);
    if (!step(DISK_SHM_MAP, handle, false) || region >= MOST_REGIONS) {
        result = SQLITE_IOERR_SHMMAP;
    } else {
        if (!handle->mapped)
            locks->n_mapped++;
        handle->mapped = true;
        while (extend && locks->n_regions <= (size_t)region) {
            locks->regions[locks->n_regions] = calloc(1, (size_t)size);
            if (!locks->regions[locks->n_regions++])
                abort();
        }
        if ((size_t)region < locks->n_regions)
            *memory = locks->regions[region];
    }
    unlock();
    return result;
}

static int file_shm_lock(sqlite3_file *file, int first, int n, int flags)
{
    struct handle *handle = (struct handle *)file;
    int result = SQLITE_OK;

    lock();
    if (flags & SQLITE_SHM_UNLOCK) {
        if (!handle->dead)
            shm_release(handle, first, n);
    } else if (!step(DISK_SHM_LOCK, handle, false)) {
        result = SQLITE_IOERR_SHMLOCK;
    } else if (!shm_take(handle, first, n, flags & SQLITE_SHM_EXCLUSIVE)) {
        result = SQLITE_BUSY;
    }
    unlock();
    return result;
}

static void file_shm_barrier(sqlite3_file *file)
{
    (void)file;
    lock();
    __sync_synchronize();
    unlock();
}

static int file_shm_unmap(sqlite3_file *file, int deletes)
{
    (void)deletes;
    lock();
    shm_unmap((struct handle *)file);
    unlock();
    return SQLITE_OK;
}

/* ---- the VFS' methods ---- */

static int vfs_open(
    sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags, int *flags_out)
{
    struct handle *handle = (struct handle *)file;
    struct name *name = NULL;
    int result = SQLITE_CANTOPEN;

    (void)vfs;
    memset(handle, 0, sizeof *handle);
    lock();
    if (!step(DISK_OPEN, NULL, false))
        goto out;
    if (path) {
        name = files_find(&disk.files, path, flags & SQLITE_OPEN_CREATE);
        if (!name || (!name->seen && !(flags & SQLITE_OPEN_CREATE)))
            goto out;
        if (!name->seen)
            name->seen = files_new_node(&disk.files);
    }
    handle->node = name ? name->seen : files_new_node(&disk.files);
    handle->owner = disk.owner;
    handle->syncs_folder =
        (flags & SQLITE_OPEN_CREATE) &&
        (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL));
    handle->base.pMethods = &disk.methods;
    handle->next = disk.handles;
    disk.handles = handle;
    if (flags_out)
        *flags_out = flags;
    result = SQLITE_OK;
out:
    unlock();
    return result;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *path, int syncs)
{
    struct name *name;
    int result = SQLITE_IOERR_DELETE;

    (void)vfs;
    lock();
    if (step(DISK_DELETE, NULL, false)) {
        name = files_find(&disk.files, path, false);
        result = name && name->seen ? SQLITE_OK : SQLITE_IOERR_DELETE_NOENT;
        if (name)
            name->seen = NULL;
        if (syncs)
            files_sync_folder(&disk.files);
    }
    unlock();
    return result;
}

static int vfs_access(sqlite3_vfs *vfs, const char *path, int flags, int *result)
{
    struct name *name;

    (void)vfs;
    lock();
    name = files_find(&disk.files, path, false);
    *result = name && name->seen && (flags != SQLITE_ACCESS_EXISTS || name->seen->seen.size > 0);
    unlock();
    return SQLITE_OK;
}

static int vfs_full_path(sqlite3_vfs *vfs, const char *path, int size, char *full)
{
    (void)vfs;
    (void)sqlite3_snprintf(size, full, "%s", path);
    return SQLITE_OK;
}

static int vfs_randomness(sqlite3_vfs *vfs, int size, char *bytes)
{
    (void)vfs;
    lock();
    for (int i = 0; i < size; i++)
        bytes[i] = (char)chance(256);
    unlock();
    return size;
}

static void register_vfs(void)
{
    const sqlite3_vfs *usual = sqlite3_vfs_find(NULL);

    disk.methods = (sqlite3_io_methods){
        .iVersion = 2,
        .xClose = file_close,
        .xRead = file_read,
        .xWrite = file_write,
        .xTruncate = file_truncate,
        .xSync = file_sync,
        .xFileSize = file_size,
        .xLock = file_lock,
        .xUnlock = file_unlock,
        .xCheckReservedLock = file_check_reserved,
        .xFileControl = file_control,
        .xSectorSize = file_sector_size,
        .xDeviceCharacteristics = file_characteristics,
        .xShmMap = file_shm_map,
        .xShmLock = file_shm_lock,
        .xShmBarrier = file_shm_barrier,
        .xShmUnmap = file_shm_unmap,
    };
    disk.vfs = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = sizeof(struct handle),
        .mxPathname = 120,
        .zName = "disk",
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_full_path,
        .xRandomness = vfs_randomness,
        .xSleep = usual->xSleep,
        .xCurrentTime = usual->xCurrentTime,
        .xGetLastError = usual->xGetLastError,
        .xCurrentTimeInt64 = usual->xCurrentTimeInt64,
    };
    if (sqlite3_vfs_register(&disk.vfs, 1) != SQLITE_OK)
        abort();
    disk.is_registered = true;
}

/* ---- for tests ---- */

void disk_free(void)
{
    if (disk.handles)
        abort(); /* a file was not closed */
    files_free(&disk.files);
}

void disk_format(uint64_t seed)
{
    if (!disk.is_registered)
        register_vfs();
    disk_free();
    disk.random = seed;
    disk.owner = 0;
    memset(disk.dead, 0, sizeof disk.dead);
    memset(disk.count, 0, sizeof disk.count);
    disk_no_plan();
    sqlite3_randomness(0, NULL); /* from the seed again */
}

void disk_plan(const struct disk_plan *plan)
{
    lock();
    disk.plan = *plan;
    disk.n_planned = 0;
    disk.happened = false;
    unlock();
}

void disk_plan_callback(const struct disk_plan *plan)
{
    lock();
    disk.callback = *plan;
    disk.n_to_callback = 0;
    unlock();
}

void disk_no_plan(void)
{
    lock();
    disk.plan.fault = DISK_NO_FAULT;
    disk.callback.fault = DISK_NO_FAULT;
    disk.happened = false;
    unlock();
}

void disk_cut_power(void)
{
    lock();
    cut_power();
    unlock();
}

void disk_kill(unsigned owner)
{
    lock();
    kill_owner(owner);
    unlock();
}

void disk_set_owner(unsigned owner)
{
    lock();
    disk.owner = owner;
    unlock();
}

bool disk_is_dead(unsigned owner)
{
    bool dead;

    lock();
    dead = disk.dead[owner];
    unlock();
    return dead;
}

void disk_restart(unsigned owner)
{
    lock();
    disk.dead[owner] = false;
    unlock();
}

bool disk_fault_happened(void)
{
    bool happened;

    lock();
    happened = disk.happened;
    unlock();
    return happened;
}

uint64_t disk_count(enum disk_call call)
{
    uint64_t count;

    lock();
    count = disk.count[call];
    unlock();
    return count;
}

const char *disk_call_name(enum disk_call call)
{
    static const char *const names[] = {"open", "read", "write", "sync", "truncate", "delete",
        "size", "lock", "shm-map", "shm-lock"};

    return names[call];
}

uint64_t disk_random(uint64_t limit)
{
    uint64_t number;

    lock();
    number = chance(limit);
    unlock();
    return number;
}
