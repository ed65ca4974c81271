/* SPDX-License-Identifier: MIT */
/* The disk as a VFS of SQLite: methods of files, and of the folder.
 *
 * Every call takes the disk's lock and goes through faults_step(), which counts it and may let it
 * fail. The shared memory itself is used without the lock, as SQLite requires. */
#include "disk_vfs.h"

#include "disk_faults.h"

#include <stdlib.h>
#include <string.h>

/* ---- methods of files ---- */

static int file_close(sqlite3_file *file)
{
    struct handle *handle = (struct handle *)file;
    struct handle **at = &handle->disk->handles;

    disk_lock(handle->disk);
    locks_lower(&handle->holder, SQLITE_LOCK_NONE);
    locks_unmap(&handle->holder);
    while (*at != handle)
        at = &(*at)->next;
    *at = handle->next;
    disk_unlock(handle->disk);
    return SQLITE_OK;
}

static int file_read(sqlite3_file *file, void *data, int size, sqlite3_int64 offset)
{
    struct handle *handle = (struct handle *)file;
    const struct bytes *seen = &handle->holder.node->seen;
    size_t have = 0;
    bool works;

    disk_lock(handle->disk);
    works = faults_step(handle->disk, DISK_READ, handle, false);
    if (works && (size_t)offset < seen->size) {
        have = seen->size - (size_t)offset;
        have = have < (size_t)size ? have : (size_t)size;
        memcpy(data, seen->data + offset, have);
    }
    disk_unlock(handle->disk);
    if (!works)
        return SQLITE_IOERR_READ;
    memset((char *)data + have, 0, (size_t)size - have);
    return have < (size_t)size ? SQLITE_IOERR_SHORT_READ : SQLITE_OK;
}

/* A write that fails may have written a part. */
static int file_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
    struct handle *handle = (struct handle *)file;
    int result = SQLITE_OK;
    enum disk_fault fault;
    bool grows;

    disk_lock(handle->disk);
    grows = (size_t)offset + (size_t)size > handle->holder.node->seen.size;
    fault = handle->disk->plan.fault;
    if (!faults_is_over(handle->disk, handle->owner, handle) && fault == DISK_POWER)
        node_write(handle->holder.node, data, (size_t)size, (size_t)offset); /* on its way */
    if (!faults_step(handle->disk, DISK_WRITE, handle, grows)) {
        result = fault == DISK_FULL ? SQLITE_FULL : SQLITE_IOERR_WRITE;
        if (handle->disk->happened && fault == DISK_KILL)
            size = (int)chance_below(&handle->disk->chance, (uint64_t)size + 1);
    }
    if (fault != DISK_POWER &&
        (result == SQLITE_OK || (handle->disk->happened && fault == DISK_KILL)))
        node_write(handle->holder.node, data, (size_t)size, (size_t)offset);
    disk_unlock(handle->disk);
    return result;
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct handle *handle = (struct handle *)file;
    bool works;

    disk_lock(handle->disk);
    works = faults_step(handle->disk, DISK_TRUNCATE, handle, false);
    if (works)
        node_truncate(handle->holder.node, (size_t)size);
    disk_unlock(handle->disk);
    return works ? SQLITE_OK : SQLITE_IOERR_TRUNCATE;
}

static int file_sync(sqlite3_file *file, int flags)
{
    struct handle *handle = (struct handle *)file;
    bool works;

    (void)flags;
    disk_lock(handle->disk);
    works = faults_step(handle->disk, DISK_SYNC, handle, false);
    if (works) {
        node_sync(handle->holder.node);
        if (handle->syncs_folder)
            files_sync_folder(&handle->disk->files);
        handle->syncs_folder = false;
    } else if (handle->disk->plan.forgets) {
        node_fail_sync(handle->holder.node);
    }
    disk_unlock(handle->disk);
    return works ? SQLITE_OK : SQLITE_IOERR_FSYNC;
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    struct handle *handle = (struct handle *)file;
    bool works;

    disk_lock(handle->disk);
    works = faults_step(handle->disk, DISK_SIZE, handle, false);
    *size = (sqlite3_int64)handle->holder.node->seen.size;
    disk_unlock(handle->disk);
    return works ? SQLITE_OK : SQLITE_IOERR_FSTAT;
}

static int file_lock(sqlite3_file *file, int level)
{
    struct handle *handle = (struct handle *)file;
    int result = SQLITE_IOERR_LOCK;

    disk_lock(handle->disk);
    if (faults_step(handle->disk, DISK_LOCK, handle, false))
        result = locks_raise(&handle->holder, level) ? SQLITE_OK : SQLITE_BUSY;
    disk_unlock(handle->disk);
    return result;
}

static int file_unlock(sqlite3_file *file, int level)
{
    struct handle *handle = (struct handle *)file;

    disk_lock(handle->disk);
    if (!handle->dead)
        locks_lower(&handle->holder, level);
    disk_unlock(handle->disk);
    return SQLITE_OK;
}

static int file_check_reserved(sqlite3_file *file, int *reserved)
{
    struct handle *handle = (struct handle *)file;

    disk_lock(handle->disk);
    *reserved = locks_are_reserved(&handle->holder);
    disk_unlock(handle->disk);
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
    return 4096; /* as in the unix VFS; the disk tears smaller ones */
}

static int file_characteristics(sqlite3_file *file)
{
    (void)file;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE; /* as in the unix VFS */
}

static int file_shm_map(
    sqlite3_file *file, int region, int size, int extend, void volatile **memory)
{
    struct handle *handle = (struct handle *)file;
    bool works;

    *memory = NULL;
    disk_lock(handle->disk);
    works = faults_step(handle->disk, DISK_SHM_MAP, handle, false) && region < LOCKS_REGIONS;
    if (works)
        *memory = locks_map(&handle->holder, (size_t)region, (size_t)size, extend);
    disk_unlock(handle->disk);
    return works ? SQLITE_OK : SQLITE_IOERR_SHMMAP;
}

static int file_shm_lock(sqlite3_file *file, int first, int n, int flags)
{
    struct handle *handle = (struct handle *)file;
    int result = SQLITE_OK;

    disk_lock(handle->disk);
    if (flags & SQLITE_SHM_UNLOCK) {
        if (!handle->dead)
            locks_release_shm(&handle->holder, first, n);
    } else if (!faults_step(handle->disk, DISK_SHM_LOCK, handle, false)) {
        result = SQLITE_IOERR_SHMLOCK;
    } else if (!locks_take_shm(&handle->holder, first, n, flags & SQLITE_SHM_EXCLUSIVE)) {
        result = SQLITE_BUSY;
    }
    disk_unlock(handle->disk);
    return result;
}

static void file_shm_barrier(sqlite3_file *file)
{
    struct handle *handle = (struct handle *)file;

    disk_lock(handle->disk);
    __sync_synchronize();
    disk_unlock(handle->disk);
}

static int file_shm_unmap(sqlite3_file *file, int deletes)
{
    struct handle *handle = (struct handle *)file;

    (void)deletes;
    disk_lock(handle->disk);
    locks_unmap(&handle->holder);
    disk_unlock(handle->disk);
    return SQLITE_OK;
}

static const sqlite3_io_methods methods = {
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

/* ---- methods of the folder ---- */

static int vfs_open(
    sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags, int *flags_out)
{
    struct disk *disk = vfs->pAppData;
    struct handle *handle = (struct handle *)file;
    struct name *name = NULL;
    int result = SQLITE_CANTOPEN;

    memset(handle, 0, sizeof *handle);
    disk_lock(disk);
    if (!faults_step(disk, DISK_OPEN, NULL, false))
        goto out;
    if (path) {
        name = files_find(&disk->files, path, flags & SQLITE_OPEN_CREATE);
        if (!name || (!name->seen && !(flags & SQLITE_OPEN_CREATE)))
            goto out;
        if (!name->seen)
            name->seen = files_new_node(&disk->files);
    }
    handle->holder.node = name ? name->seen : files_new_node(&disk->files);
    handle->disk = disk;
    handle->owner = disk->owner;
    handle->syncs_folder =
        (flags & SQLITE_OPEN_CREATE) &&
        (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL));
    handle->base.pMethods = &methods;
    handle->next = disk->handles;
    disk->handles = handle;
    if (flags_out)
        *flags_out = flags;
    result = SQLITE_OK;
out:
    disk_unlock(disk);
    return result;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *path, int syncs)
{
    struct disk *disk = vfs->pAppData;
    struct name *name;
    int result = SQLITE_IOERR_DELETE;

    disk_lock(disk);
    if (faults_step(disk, DISK_DELETE, NULL, false)) {
        name = files_find(&disk->files, path, false);
        result = name && name->seen ? SQLITE_OK : SQLITE_IOERR_DELETE_NOENT;
        if (name)
            name->seen = NULL;
        if (syncs)
            files_sync_folder(&disk->files);
    }
    disk_unlock(disk);
    return result;
}

static int vfs_access(sqlite3_vfs *vfs, const char *path, int flags, int *result)
{
    struct disk *disk = vfs->pAppData;
    struct name *name;

    disk_lock(disk);
    name = files_find(&disk->files, path, false);
    *result = name && name->seen && (flags != SQLITE_ACCESS_EXISTS || name->seen->seen.size > 0);
    disk_unlock(disk);
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
    struct disk *disk = vfs->pAppData;
    disk_lock(disk);
    for (int i = 0; i < size; i++)
        bytes[i] = (char)chance_below(&disk->chance, 256);
    disk_unlock(disk);
    return size;
}

void disk_vfs_register(struct disk *disk)
{
    static sqlite3_vfs vfs; /* kept by SQLite */
    const sqlite3_vfs *usual = sqlite3_vfs_find(NULL);

    vfs = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = sizeof(struct handle),
        .mxPathname = 120,
        .zName = "disk",
        .pAppData = disk,
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
    if (sqlite3_vfs_register(&vfs, 1) != SQLITE_OK)
        abort();
}
