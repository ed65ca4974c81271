/* SPDX-License-Identifier: MIT */
/* The state of the disk, and the faults of its calls. Used under the disk's lock. */
#ifndef PRSERVD_DISK_FAULTS_H
#define PRSERVD_DISK_FAULTS_H

#include "disk.h"
#include "disk_files.h"
#include "disk_locks.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

/* An open file of SQLite. */
struct handle {
    sqlite3_file base;
    struct handle *next; /* of all open files */
    struct disk *disk;
    struct lock_holder holder;
    unsigned owner;
    bool dead;         /* open when its owner died */
    bool syncs_folder; /* at its next sync */
    int persists_wal;
};

struct disk {
    pthread_mutex_t mutex;
    bool is_registered;
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
    struct chance chance;
};

static inline void disk_lock(struct disk *disk)
{
    (void)pthread_mutex_lock(&disk->mutex);
}

static inline void disk_unlock(struct disk *disk)
{
    (void)pthread_mutex_unlock(&disk->mutex);
}

/* Counts a call and triggers the fault planned for it. Returns false if the call has to fail.
 * handle is NULL before the file is open; grows tells whether the call makes a file longer
 * (DISK_FULL). Runs a planned callback, without the lock, before it returns. */
bool faults_step(struct disk *disk, enum disk_call call, const struct handle *handle, bool grows);
/* Tells whether the owner is dead, or has died since it opened the file. */
bool faults_is_over(const struct disk *disk, unsigned owner, const struct handle *handle);
void faults_kill(struct disk *disk, unsigned owner);
void faults_cut_power(struct disk *disk);

#endif
