/* SPDX-License-Identifier: MIT */
/* In WAL mode SQLite locks bytes of -shm (its wal.c): 120 to write, 122 to recover, 123 to 127 to
 * read. Without a WAL, or with locking_mode=EXCLUSIVE, it locks bytes of the file from the pending
 * byte on. /proc/locks lists them:
 *
 *     7: POSIX  ADVISORY  WRITE 1234 08:01:5678 120 120 */
#include "store/sqlite/lock_holder.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WRITE_FIRST 120
#define WRITE_LAST 122
#define READ_FIRST 123
#define READ_LAST 127
#define PENDING_BYTE 0x40000000
#define SHARED_LAST (PENDING_BYTE + 511)
#define MOST_NAMES 4

/* The locks that are looked for. */
struct wanted {
    ino_t inode;
    const char *kind; /* "WRITE", "READ" */
    long long first;
    long long last;
};

struct found {
    long pids[MOST_NAMES];
    size_t n;
};

static void lock_holder_note(struct found *found, long pid)
{
    for (size_t i = 0; i < found->n; i++) {
        if (found->pids[i] == pid)
            return;
    }
    if (found->n < MOST_NAMES && pid > 0 && pid != getpid())
        found->pids[found->n++] = pid;
}

/* Reads a line of /proc/locks. Returns the process that holds a lock which is wanted; 0 if it is
 * another lock. The device there is not stat's on all file systems, so the inode has to do. */
static long lock_holder_read_line(char *line, const struct wanted *wanted)
{
    enum { NUMBER, KIND, MANNER, MODE, PROCESS, FILE_ID, FIRST, LAST, WORDS };
    char *words[WORDS];
    char *rest = NULL;
    const char *inode;

    for (int i = 0; i < WORDS; i++) {
        words[i] = strtok_r(i == 0 ? line : NULL, " \n", &rest);
        if (!words[i])
            return 0;
    }
    inode = strrchr(words[FILE_ID], ':');
    if (strcmp(words[KIND], "POSIX") != 0 || strcmp(words[MODE], wanted->kind) != 0 || !inode ||
        strtoull(inode + 1, NULL, 10) != wanted->inode ||
        strtoll(words[FIRST], NULL, 10) > wanted->last)
        return 0;
    if (strcmp(words[LAST], "EOF") != 0 && strtoll(words[LAST], NULL, 10) < wanted->first)
        return 0;
    return strtol(words[PROCESS], NULL, 10);
}

static void lock_holder_list(const struct wanted *wanted, struct found *found)
{
    FILE *list = fopen("/proc/locks", "re");
    char line[256];

    while (list && fgets(line, sizeof line, list))
        lock_holder_note(found, lock_holder_read_line(line, wanted));
    if (list)
        (void)fclose(list);
}

static void lock_holder_name(long pid, char *name, size_t size)
{
    char path[64];
    char command[64] = "";
    FILE *stream;

    (void)snprintf(path, sizeof path, "/proc/%ld/comm", pid);
    stream = fopen(path, "re");
    if (stream) {
        if (!fgets(command, sizeof command, stream))
            command[0] = '\0';
        (void)fclose(stream);
    }
    command[strcspn(command, "\n")] = '\0';
    (void)snprintf(
        name, size, "%s (process %ld)", command[0] ? command : "a program without a name", pid);
}

static void lock_holder_write_names(const struct found *found, char names[LOCK_HOLDER_BYTES])
{
    size_t length = 0;

    names[0] = '\0';
    for (size_t i = 0; i < found->n; i++) {
        char name[100];
        int added;

        lock_holder_name(found->pids[i], name, sizeof name);
        added =
            snprintf(names + length, LOCK_HOLDER_BYTES - length, "%s%s", i > 0 ? ", " : "", name);
        if (added < 0 || (size_t)added >= LOCK_HOLDER_BYTES - length)
            return;
        length += (size_t)added;
    }
}

static void lock_holder_add(const char *file, const char *suffix, const char *kind, long long first,
    long long last, struct found *found)
{
    struct wanted wanted = {.kind = kind, .first = first, .last = last};
    char path[PATH_MAX];
    struct stat status;

    if (snprintf(path, sizeof path, "%s%s", file, suffix) >= (int)sizeof path ||
        stat(path, &status) != 0)
        return;
    wanted.inode = status.st_ino;
    lock_holder_list(&wanted, found);
}

void sqlite_lock_holder_find_writer(const char *file, char names[LOCK_HOLDER_BYTES])
{
    struct found found = {.n = 0};

    lock_holder_add(file, "-shm", "WRITE", WRITE_FIRST, WRITE_LAST, &found);
    lock_holder_add(file, "", "WRITE", PENDING_BYTE, SHARED_LAST, &found);
    lock_holder_write_names(&found, names);
}

void sqlite_lock_holder_find_readers(const char *file, char names[LOCK_HOLDER_BYTES])
{
    struct found found = {.n = 0};

    lock_holder_add(file, "-shm", "READ", READ_FIRST, READ_LAST, &found);
    lock_holder_write_names(&found, names);
}
