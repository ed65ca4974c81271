/* SPDX-License-Identifier: MIT */
/* A plan chooses calls, the number of them that succeed, and the fault of the next one. A power
 * cut and a killed process look the same to SQLite: every call of the affected owners fails until
 * they are started again. */
#include "disk_faults.h"

/* Releases the locks of a process. Its shared memory stays mapped until it is closed: its
 * threads may still read it. */
void faults_kill(struct disk *disk, unsigned owner)
{
    disk->dead[owner] = true;
    for (struct handle *handle = disk->handles; handle; handle = handle->next) {
        if (handle->owner != owner || handle->dead)
            continue;
        handle->dead = true;
        locks_lower(&handle->holder, SQLITE_LOCK_NONE);
        if (handle->holder.mapped)
            locks_release_shm(&handle->holder, 0, SQLITE_SHM_NLOCK);
    }
}

void faults_cut_power(struct disk *disk)
{
    for (unsigned owner = 0; owner < DISK_OWNERS; owner++)
        faults_kill(disk, owner);
    files_cut_power(&disk->files, &disk->chance);
}

bool faults_is_over(const struct disk *disk, unsigned owner, const struct handle *handle)
{
    return disk->dead[owner] || (handle && handle->dead);
}

/* Releases the lock while the callback runs. */
static void call_back(struct disk *disk, unsigned calls)
{
    struct disk_plan plan = disk->callback;

    if (plan.fault != DISK_CALLBACK || !(plan.calls & calls) || disk->n_to_callback++ < plan.after)
        return;
    disk->callback.fault = DISK_NO_FAULT;
    disk_unlock(disk);
    plan.run(plan.context);
    disk_lock(disk);
}

bool faults_step(struct disk *disk, enum disk_call call, const struct handle *handle, bool grows)
{
    unsigned owner = handle ? handle->owner : disk->owner;
    enum disk_fault fault = disk->plan.fault;

    call_back(disk, 1U << call);
    if (faults_is_over(disk, owner, handle))
        return false;
    disk->count[call]++;
    if (fault == DISK_NO_FAULT || !(disk->plan.calls & 1U << call) ||
        (fault == DISK_FULL && !grows) || disk->n_planned++ < disk->plan.after)
        return true;
    disk->happened = true;
    if (fault != DISK_ERRORS && fault != DISK_FULL)
        disk->plan.fault = DISK_NO_FAULT;
    if (fault == DISK_POWER)
        faults_cut_power(disk);
    if (fault == DISK_KILL)
        faults_kill(disk, owner);
    return false;
}
