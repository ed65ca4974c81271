/* SPDX-License-Identifier: MIT */
/* SQLite locks bytes beyond the end of the files (its os.h and wal.c). In WAL mode a connection
 * holds a read lock on the shared range of the database as long as it is open, and on one byte of
 * -shm. Before it takes the first one, it reads the pending byte, so a write lock on that byte
 * keeps newcomers out and disturbs nobody who is inside. */
#include "store/sqlite/file_locks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PENDING_BYTE 0x40000000
#define SHARED_FIRST (PENDING_BYTE + 2)
#define SHARED_SIZE 510
#define SHM_IN_USE 128
#define MAX_HOLDERS 256

/* Finds a descriptor of this file in a folder /proc/PROCESS/fd. Returns -1 if there is none.
 * *is_seen: the folder could be read. The links are followed by stat, so nothing is opened. */
static int file_locks_find_descriptor(const char *folder, dev_t device, ino_t inode, bool *is_seen)
{
    DIR *listing = opendir(folder);
    const struct dirent *entry;
    int found = -1;

    *is_seen = false;
    while (listing && found < 0 && (entry = readdir(listing))) {
        struct stat status;

        if (entry->d_name[0] == '.' || fstatat(dirfd(listing), entry->d_name, &status, 0) != 0)
            continue;
        *is_seen = true;
        if (status.st_dev == device && status.st_ino == inode)
            found = (int)strtol(entry->d_name, NULL, 10);
    }
    if (listing)
        (void)closedir(listing);
    return found;
}

int sqlite_locks_descriptor(dev_t device, ino_t inode)
{
    bool is_seen;

    return file_locks_find_descriptor("/proc/self/fd", device, inode, &is_seen);
}

static pid_t file_locks_find_holder(int descriptor, off_t start, off_t length)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = length};

    if (descriptor < 0 || fcntl(descriptor, F_GETLK, &lock) != 0)
        return SQLITE_LOCKS_UNKNOWN;
    if (lock.l_type == F_UNLCK)
        return 0;
    return lock.l_pid > 0 ? lock.l_pid : SQLITE_LOCKS_UNKNOWN;
}

pid_t sqlite_locks_find_user(int descriptor)
{
    return file_locks_find_holder(descriptor, SHARED_FIRST, SHARED_SIZE);
}

pid_t sqlite_locks_find_shm_user(int descriptor)
{
    return file_locks_find_holder(descriptor, SHM_IN_USE, 1);
}

/* Reads a line of /proc/locks, such as
 *
 *     7: POSIX  ADVISORY  READ 1234 08:01:5678 128 128
 *
 * Returns the process if it has locked that byte of a file with that inode; 0 if not. The device
 * there is not stat's on all file systems, so the inode has to do. */
static pid_t file_locks_read_line(char *line, ino_t inode, off_t start)
{
    enum { NUMBER, KIND, MANNER, MODE, PROCESS, FILE_ID, START, WORDS };
    char *words[WORDS];
    char *rest = NULL;
    const char *at_inode;

    for (int i = 0; i < WORDS; i++) {
        words[i] = strtok_r(i == 0 ? line : NULL, " ", &rest);
        if (!words[i])
            return 0;
    }
    at_inode = strrchr(words[FILE_ID], ':');
    if (strcmp(words[KIND], "POSIX") != 0 || !at_inode ||
        strtoull(at_inode + 1, NULL, 10) != inode || strtoll(words[START], NULL, 10) != start)
        return 0;
    return (pid_t)strtol(words[PROCESS], NULL, 10);
}

/* Lists the other processes that hold a lock which begins at this byte of the file. Returns their
 * number, at most MAX_HOLDERS. */
static size_t file_locks_list(ino_t inode, off_t start, pid_t holders[MAX_HOLDERS])
{
    FILE *list = fopen("/proc/locks", "re");
    char line[256];
    size_t n = 0;

    while (list && n < MAX_HOLDERS && fgets(line, sizeof line, list)) {
        const pid_t process = file_locks_read_line(line, inode, start);

        if (process != 0 && process != getpid())
            holders[n++] = process;
    }
    if (list)
        (void)fclose(list);
    return n;
}

/* Returns one of the holders that is not among the others; 0: none. */
static pid_t file_locks_find_missing(
    const pid_t *holders, size_t n, const pid_t *others, size_t n_others)
{
    for (size_t i = 0; i < n; i++) {
        size_t j = 0;

        while (j < n_others && others[j] != holders[i])
            j++;
        if (j == n_others)
            return holders[i];
    }
    return 0;
}

/* Returns whether a process can be seen not to have this file open. */
static bool file_locks_lacks(pid_t process, dev_t device, ino_t inode)
{
    char folder[64];
    bool is_seen;

    (void)snprintf(folder, sizeof folder, "/proc/%ld/fd", (long)process);
    return file_locks_find_descriptor(folder, device, inode, &is_seen) < 0 && is_seen;
}

/* fcntl knows of all processes, /proc/locks only of those in this PID namespace. */
pid_t sqlite_locks_find_stranger(const struct sqlite_locks_files *files)
{
    pid_t users[MAX_HOLDERS];
    pid_t shm_users[MAX_HOLDERS];
    struct stat status;
    struct stat shm_status;
    size_t n;
    size_t n_shm;
    pid_t user = sqlite_locks_find_user(files->descriptor);
    const pid_t shm_user = sqlite_locks_find_shm_user(files->shm_descriptor);

    if (user == 0 && shm_user != 0)
        return shm_user;
    if (user == 0 || shm_user == 0)
        return user;
    if (fstat(files->descriptor, &status) != 0 || fstat(files->shm_descriptor, &shm_status) != 0)
        return SQLITE_LOCKS_UNKNOWN;
    n = file_locks_list(status.st_ino, SHARED_FIRST, users);
    n_shm = file_locks_list(shm_status.st_ino, SHM_IN_USE, shm_users);
    for (size_t i = 0; i < n; i++) {
        if (file_locks_lacks(users[i], files->wal_device, files->wal_inode))
            return users[i];
    }
    user = file_locks_find_missing(users, n, shm_users, n_shm);
    return user != 0 ? user : file_locks_find_missing(shm_users, n_shm, users, n);
}

bool sqlite_locks_is_shm_used(ino_t inode)
{
    pid_t holders[MAX_HOLDERS];

    return file_locks_list(inode, SHM_IN_USE, holders) > 0;
}

static bool file_locks_set_pending(int descriptor, short type)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = PENDING_BYTE, .l_len = 1};

    return fcntl(descriptor, F_SETLK, &lock) == 0;
}

/* A read-only descriptor takes no write lock; such a process does not change the database. */
bool sqlite_locks_keep_out(int descriptor)
{
    return file_locks_set_pending(descriptor, F_WRLCK) || errno == EBADF;
}

void sqlite_locks_let_in(int descriptor)
{
    (void)file_locks_set_pending(descriptor, F_UNLCK);
}
