/* SPDX-License-Identifier: MIT */
/* Files of a database are taken away while servers have them open: -wal, -shm, both, or the
 * database itself for some milliseconds. What may be lost by that is known:
 *
 *   -wal   nothing, as long as one server that has it open lives until its rows are safe: in the
 *          database, and then the removed file is empty, or in a copy in its place. So a second
 *          name keeps the removed file in sight, nobody is killed meanwhile, and a removed file
 *          that no server had open is put back
 *   -shm   nothing
 *   the database   nothing, if no server is just starting */
#include "histories.h"

#include "base/clock.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SAFE_MS 30000 /* the longest time until the rows of a removed WAL must be safe */
#define CALM_MS 500   /* between two removals */
#define AWAY_US 4000
#define UP_MS 1000

static void path_of(const struct removals *removals, const char *end, char path[544])
{
    char file[512];

    servers_file(removals->servers, removals->database, file);
    (void)snprintf(path, 544, "%s%s", file, end);
}

/* Returns whether the process has the file open. */
static bool has_open(pid_t pid, const struct stat *file)
{
    char path[64];
    DIR *folder;
    const struct dirent *entry;
    bool found = false;

    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    folder = opendir(path);
    while (folder && !found && (entry = readdir(folder))) {
        struct stat status;

        found = fstatat(dirfd(folder), entry->d_name, &status, 0) == 0 &&
                status.st_dev == file->st_dev && status.st_ino == file->st_ino;
    }
    if (folder)
        (void)closedir(folder);
    return found;
}

/* Counts the servers of the database, and those of them that have the file open and are up: one
 * that is just starting may close it again. */
static unsigned count_open(
    const struct removals *removals, const struct stat *file, unsigned *n_servers)
{
    unsigned n = 0;

    *n_servers = 0;
    for (unsigned i = 0; i < removals->servers->n; i++) {
        const struct server *server = &removals->servers->list[i];

        if (server->database != removals->database)
            continue;
        ++*n_servers;
        n += server->pid > 0 && clock_ms() - server->started_ms > UP_MS &&
             has_open(server->pid, file);
    }
    return n;
}

/* ---- removals ---- */

static void remove_shm(const struct removals *removals)
{
    char shm[544];

    path_of(removals, "-shm", shm);
    (void)unlink(shm);
}

/* Removes the WAL. Returns false if no server has it open: then it is in its place. */
static bool remove_wal(struct removals *removals)
{
    char wal[544], aside[544];
    struct stat status;
    unsigned n_servers;

    path_of(removals, "-wal", wal);
    path_of(removals, "-aside", aside);
    (void)unlink(aside);
    if (link(wal, aside) != 0)
        return false;
    (void)unlink(wal);
    if (stat(aside, &status) == 0 && count_open(removals, &status, &n_servers) > 0)
        return true;
    if (rename(aside, wal) != 0)
        abort();
    return false;
}

static void move_away_and_back(const struct removals *removals)
{
    char file[544], aside[544];
    struct stat status;
    unsigned n_servers;

    path_of(removals, "", file);
    path_of(removals, "-moved", aside);
    if (stat(file, &status) != 0 || count_open(removals, &status, &n_servers) < n_servers)
        return;
    if (rename(file, aside) != 0)
        abort();
    (void)usleep(AWAY_US);
    if (rename(aside, file) != 0)
        abort();
}

static void remove_something(struct removals *removals, uint64_t now_ms)
{
    uint64_t what = dice(&removals->dice, 7);

    removals->database = (unsigned)dice(&removals->dice, removals->n_databases);
    if (what == 0)
        move_away_and_back(removals);
    else if (what < 6)
        removals->is_unsafe = remove_wal(removals);
    if (what >= 4)
        remove_shm(removals);
    if (what == 6 && dice(&removals->dice, 2) == 0)
        removals->is_unsafe = remove_wal(removals); /* in the other order */
    removals->since_ms = now_ms;
    removals->count++;
}

/* ---- afterwards ---- */

static void remove_salvage(const char *folder, const char *name)
{
    char path[1024];
    DIR *files;
    const struct dirent *entry;

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    files = opendir(path);
    while (files && (entry = readdir(files)))
        (void)unlinkat(dirfd(files), entry->d_name, 0);
    if (files)
        (void)closedir(files);
    (void)rmdir(path);
}

void removals_clean(const struct removals *removals)
{
    const char *path = removals->servers->folder;
    DIR *folder = opendir(path);
    const struct dirent *entry;

    while (folder && (entry = readdir(folder))) {
        if (strstr(entry->d_name, "-salvage-"))
            remove_salvage(path, entry->d_name);
        if (strstr(entry->d_name, "-aside"))
            (void)unlinkat(dirfd(folder), entry->d_name, 0);
    }
    if (folder)
        (void)closedir(folder);
}

/* Returns whether the rows of the removed WAL are safe. */
static bool is_safe(const struct removals *removals)
{
    char wal[544], aside[544];
    struct stat status;

    path_of(removals, "-aside", aside);
    if (stat(aside, &status) == 0 && status.st_size == 0)
        return true;
    path_of(removals, "-wal", wal);
    return stat(wal, &status) == 0 && status.st_size > 0;
}

bool removals_turn(struct removals *removals, bool may_remove)
{
    uint64_t now_ms = clock_ms();

    if (removals->every_ms == 0)
        return true;
    if (removals->is_unsafe && is_safe(removals)) {
        removals->is_unsafe = false;
        removals_clean(removals);
    } else if (removals->is_unsafe && now_ms - removals->since_ms > SAFE_MS) {
        fprintf(stderr, "the rows of a removed WAL are not safe after %d s\n", SAFE_MS / 1000);
        removals->failures++;
        removals->is_unsafe = false;
    }
    if (!removals->is_unsafe && may_remove && now_ms >= removals->at_ms) {
        removals->at_ms = now_ms + CALM_MS + dice(&removals->dice, removals->every_ms * 2);
        remove_something(removals, now_ms);
    }
    return !removals->is_unsafe;
}
