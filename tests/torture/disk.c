/* SPDX-License-Identifier: MIT */
/* The only disk, and the functions by which tests control it. disk_faults.c lets its calls fail,
 * disk_vfs.c implements them for SQLite. One mutex guards everything. */
#include "disk.h"

#include "disk_faults.h"
#include "disk_vfs.h"

#include <stdlib.h>
#include <string.h>

static struct disk disk = {.mutex = PTHREAD_MUTEX_INITIALIZER};

void disk_free(void)
{
    if (disk.handles)
        abort(); /* a file is still open */
    files_free(&disk.files);
}

void disk_format(uint64_t seed)
{
    if (!disk.is_registered)
        disk_vfs_register(&disk);
    disk.is_registered = true;
    disk_free();
    disk.chance.state = seed;
    disk.owner = 0;
    memset(disk.dead, 0, sizeof disk.dead);
    memset(disk.count, 0, sizeof disk.count);
    disk_no_plan();
    sqlite3_randomness(0, NULL); /* from the seed again */
}

void disk_plan(const struct disk_plan *plan)
{
    disk_lock(&disk);
    disk.plan = *plan;
    disk.n_planned = 0;
    disk.happened = false;
    disk_unlock(&disk);
}

void disk_plan_callback(const struct disk_plan *plan)
{
    disk_lock(&disk);
    disk.callback = *plan;
    disk.n_to_callback = 0;
    disk_unlock(&disk);
}

void disk_no_plan(void)
{
    disk_lock(&disk);
    disk.plan.fault = DISK_NO_FAULT;
    disk.callback.fault = DISK_NO_FAULT;
    disk.happened = false;
    disk_unlock(&disk);
}

void disk_cut_power(void)
{
    disk_lock(&disk);
    faults_cut_power(&disk);
    disk_unlock(&disk);
}

void disk_kill(unsigned owner)
{
    disk_lock(&disk);
    faults_kill(&disk, owner);
    disk_unlock(&disk);
}

void disk_set_owner(unsigned owner)
{
    disk_lock(&disk);
    disk.owner = owner;
    disk_unlock(&disk);
}

bool disk_is_dead(unsigned owner)
{
    bool dead;

    disk_lock(&disk);
    dead = disk.dead[owner];
    disk_unlock(&disk);
    return dead;
}

void disk_restart(unsigned owner)
{
    disk_lock(&disk);
    disk.dead[owner] = false;
    disk_unlock(&disk);
}

bool disk_fault_happened(void)
{
    bool happened;

    disk_lock(&disk);
    happened = disk.happened;
    disk_unlock(&disk);
    return happened;
}

uint64_t disk_count(enum disk_call call)
{
    uint64_t count;

    disk_lock(&disk);
    count = disk.count[call];
    disk_unlock(&disk);
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

    disk_lock(&disk);
    number = chance_below(&disk.chance, limit);
    disk_unlock(&disk);
    return number;
}
