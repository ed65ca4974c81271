/* SPDX-License-Identifier: MIT */
/* A file of the usual VFS is followed by a struct vfs_file, in the memory that SQLite allocates for
 * it. The methods are a copy of the usual ones, in which some are replaced; all others work on the
 * file as they did.
 *
 * Files of a WAL collect what is written (wal_writes.h). Whatever could make others look for it, or
 * depends on it, writes it first: syncs, and the locks and the shared memory of the database file,
 * which therefore knows its WAL. SQLite has one handle of each for a connection, and closes that of
 * the WAL first. All calls come from the thread that uses the connection. */
#include "store/sqlite/vfs.h"

#include "store/sqlite/sync_watch.h"
#include "store/sqlite/wal_writes.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>

#define WAL_WRITE_LOCK 0 /* SQLite's number of the lock that writers of the WAL hold */

struct vfs_file {
    sqlite3_io_methods methods;
    const sqlite3_io_methods *usual;
    const char *name;      /* SQLite's, as long as the file is open; NULL: a temporary file */
    sqlite3_file *other;   /* of a database its WAL, and the reverse; NULL: none */
    struct wal_writes wal; /* of a WAL */
};

/* SQLite's list of VFSs belongs to the process, and so does this. */
static struct {
    pthread_once_t once;
    sqlite3_vfs vfs;
    sqlite3_vfs *usual;
    bool is_registered;
    int trailer_at; /* offset of the struct vfs_file */
} vfs = {.once = PTHREAD_ONCE_INIT};

static struct vfs_file *vfs_trailer(sqlite3_file *file)
{
    return (struct vfs_file *)(void *)((char *)file + vfs.trailer_at);
}

/* ---- any file ---- */

static int vfs_sync(sqlite3_file *file, int flags)
{
    const struct vfs_file *self = vfs_trailer(file);
    struct sync_under_way *sync = sync_watch_begin(self->name);
    const int code = self->usual->xSync(file, flags);

    sync_watch_end(sync);
    return code;
}

/* ---- a WAL ---- */

static int vfs_wal_close(sqlite3_file *file)
{
    struct vfs_file *self = vfs_trailer(file);

    wal_writes_close(&self->wal);
    if (self->other)
        vfs_trailer(self->other)->other = NULL;
    return self->usual->xClose(file);
}

static int vfs_wal_read(sqlite3_file *file, void *data, int size, sqlite3_int64 offset)
{
    struct vfs_file *self = vfs_trailer(file);
    const int code = wal_writes_prepare_read(&self->wal, size, offset);

    return code == SQLITE_OK ? self->usual->xRead(file, data, size, offset) : code;
}

static int vfs_wal_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
    return wal_writes_add(&vfs_trailer(file)->wal, data, size, offset);
}

static int vfs_wal_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct vfs_file *self = vfs_trailer(file);
    const int code = wal_writes_flush(&self->wal);

    return code == SQLITE_OK ? self->usual->xTruncate(file, size) : code;
}

static int vfs_wal_sync(sqlite3_file *file, int flags)
{
    const int code = wal_writes_prepare_sync(&vfs_trailer(file)->wal);

    return code == SQLITE_OK ? vfs_sync(file, flags) : code;
}

static int vfs_wal_file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    struct vfs_file *self = vfs_trailer(file);
    const int code = wal_writes_flush(&self->wal);

    return code == SQLITE_OK ? self->usual->xFileSize(file, size) : code;
}

/* ---- a database that may have a WAL ---- */

static int vfs_flush_wal(const struct vfs_file *self)
{
    return self->other ? wal_writes_flush(&vfs_trailer(self->other)->wal) : SQLITE_OK;
}

static int vfs_main_lock(sqlite3_file *file, int level)
{
    const struct vfs_file *self = vfs_trailer(file);
    const int code = vfs_flush_wal(self);

    return code == SQLITE_OK ? self->usual->xLock(file, level) : code;
}

static int vfs_main_unlock(sqlite3_file *file, int level)
{
    const struct vfs_file *self = vfs_trailer(file);

    (void)vfs_flush_wal(self);
    return self->usual->xUnlock(file, level);
}

static int vfs_main_shm_map(
    sqlite3_file *file, int region, int size, int extend, void volatile **memory)
{
    const struct vfs_file *self = vfs_trailer(file);
    const int code = vfs_flush_wal(self);

    *memory = NULL;
    return code == SQLITE_OK ? self->usual->xShmMap(file, region, size, extend, memory) : code;
}

static int vfs_main_shm_lock(sqlite3_file *file, int first, int n, int flags)
{
    const struct vfs_file *self = vfs_trailer(file);
    int code = SQLITE_OK;

    if ((flags & SQLITE_SHM_UNLOCK) == 0)
        code = vfs_flush_wal(self);
    else if (self->other && first == WAL_WRITE_LOCK)
        wal_writes_end_transaction(&vfs_trailer(self->other)->wal);
    return code == SQLITE_OK ? self->usual->xShmLock(file, first, n, flags) : code;
}

static void vfs_main_shm_barrier(sqlite3_file *file)
{
    const struct vfs_file *self = vfs_trailer(file);

    (void)vfs_flush_wal(self); /* a failure is reported by the next write or sync */
    self->usual->xShmBarrier(file);
}

static int vfs_main_shm_unmap(sqlite3_file *file, int deletes)
{
    const struct vfs_file *self = vfs_trailer(file);

    (void)vfs_flush_wal(self);
    return self->usual->xShmUnmap(file, deletes);
}

/* ---- opening ---- */

static void vfs_join_wal_writes(sqlite3_file *file, struct vfs_file *self)
{
    sqlite3_file *main = sqlite3_database_file_object(self->name);
    struct vfs_file *database = vfs_trailer(main);

    self->other = main;
    database->other = file;
    wal_writes_open(&self->wal, file, self->usual);
    self->methods.xClose = vfs_wal_close;
    self->methods.xRead = vfs_wal_read;
    self->methods.xWrite = vfs_wal_write;
    self->methods.xTruncate = vfs_wal_truncate;
    self->methods.xSync = vfs_wal_sync;
    self->methods.xFileSize = vfs_wal_file_size;
}

static void vfs_watch_shared_memory(struct vfs_file *self)
{
    if (self->usual->iVersion < 2 || !self->usual->xShmMap)
        return;
    self->methods.xLock = vfs_main_lock;
    self->methods.xUnlock = vfs_main_unlock;
    self->methods.xShmMap = vfs_main_shm_map;
    self->methods.xShmLock = vfs_main_shm_lock;
    self->methods.xShmBarrier = vfs_main_shm_barrier;
    self->methods.xShmUnmap = vfs_main_shm_unmap;
}

static int vfs_open(
    sqlite3_vfs *unused, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
    struct vfs_file *self = vfs_trailer(file);
    const int code = vfs.usual->xOpen(vfs.usual, name, file, flags, out_flags);

    (void)unused;
    if (code != SQLITE_OK || !file->pMethods)
        return code;
    *self = (struct vfs_file){.methods = *file->pMethods, .usual = file->pMethods, .name = name};
    self->methods.xSync = vfs_sync;
    if (flags & SQLITE_OPEN_WAL)
        vfs_join_wal_writes(file, self);
    else if (flags & SQLITE_OPEN_MAIN_DB)
        vfs_watch_shared_memory(self);
    file->pMethods = &self->methods;
    return SQLITE_OK;
}

static void vfs_register(void)
{
    const size_t alignment = _Alignof(struct vfs_file);

    if (sqlite3_initialize() != SQLITE_OK)
        return;
    vfs.usual = sqlite3_vfs_find(NULL);
    if (!vfs.usual)
        return;
    vfs.trailer_at = (int)(((size_t)vfs.usual->szOsFile + alignment - 1) / alignment * alignment);
    vfs.vfs = *vfs.usual;
    vfs.vfs.pNext = NULL;
    vfs.vfs.zName = "prservd";
    vfs.vfs.szOsFile = vfs.trailer_at + (int)sizeof(struct vfs_file);
    vfs.vfs.xOpen = vfs_open;
    vfs.is_registered = sqlite3_vfs_register(&vfs.vfs, 0) == SQLITE_OK;
}

const char *sqlite_vfs_name(void)
{
    (void)pthread_once(&vfs.once, vfs_register);
    return vfs.is_registered ? vfs.vfs.zName : NULL;
}
