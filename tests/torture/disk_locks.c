/* SPDX-License-Identifier: MIT */
/* Each file has one `struct locks`, created upon its first use. No call waits: a lock that is not
 * free is refused, and SQLite reports that the file is busy. */
#include "disk_locks.h"

#include "disk_files.h"

#include <sqlite3.h>
#include <stdlib.h>

/* Locks and shared memory of a file; its holders may belong to several owners. */
struct locks {
    unsigned n_shared; /* holders at SHARED or above */
    const struct lock_holder *reserved;
    const struct lock_holder *pending;
    const struct lock_holder *exclusive;
    void *regions[LOCKS_REGIONS];
    size_t n_regions;
    unsigned n_mapped; /* holders */
    unsigned shm_shared[SQLITE_SHM_NLOCK];
    const struct lock_holder *shm_exclusive[SQLITE_SHM_NLOCK];
};

static struct locks *locks_of(const struct lock_holder *holder)
{
    if (!holder->node->locks)
        holder->node->locks = calloc(1, sizeof(struct locks));
    if (!holder->node->locks)
        abort();
    return holder->node->locks;
}

void locks_lower(struct lock_holder *holder, int level)
{
    struct locks *locks = locks_of(holder);

    if (level < SQLITE_LOCK_RESERVED) {
        if (locks->reserved == holder)
            locks->reserved = NULL;
        if (locks->pending == holder)
            locks->pending = NULL;
        if (locks->exclusive == holder)
            locks->exclusive = NULL;
    }
    if (level == SQLITE_LOCK_NONE && holder->level >= SQLITE_LOCK_SHARED)
        locks->n_shared--;
    holder->level = level < holder->level ? level : holder->level;
}

bool locks_raise(struct lock_holder *holder, int level)
{
    struct locks *locks = locks_of(holder);

    if (holder->level >= level)
        return true;
    if (holder->level == SQLITE_LOCK_NONE) {
        if (locks->pending || locks->exclusive)
            return false;
        locks->n_shared++;
        holder->level = SQLITE_LOCK_SHARED;
    }
    if (level >= SQLITE_LOCK_RESERVED) {
        if (locks->reserved && locks->reserved != holder)
            return false;
        locks->reserved = holder;
        holder->level = holder->level > SQLITE_LOCK_RESERVED ? holder->level : SQLITE_LOCK_RESERVED;
    }
    if (level == SQLITE_LOCK_EXCLUSIVE) {
        if (locks->pending && locks->pending != holder)
            return false;
        locks->pending = holder;
        if (locks->n_shared > 1)
            return false;
        locks->exclusive = holder;
        holder->level = SQLITE_LOCK_EXCLUSIVE;
    }
    return true;
}

void locks_release_shm(struct lock_holder *holder, int first, int n)
{
    struct locks *locks = locks_of(holder);

    for (int i = first; i < first + n; i++) {
        if (holder->shm_shared & 1U << i) {
            locks->shm_shared[i]--;
            holder->shm_shared &= ~(1U << i);
        }
        if (locks->shm_exclusive[i] == holder)
            locks->shm_exclusive[i] = NULL;
    }
}

bool locks_take_shm(struct lock_holder *holder, int first, int n, bool exclusive)
{
    struct locks *locks = locks_of(holder);

    for (int i = first; i < first + n; i++) {
        unsigned mine = holder->shm_shared >> i & 1U;

        if (locks->shm_exclusive[i] && locks->shm_exclusive[i] != holder)
            return false;
        if (exclusive && locks->shm_shared[i] > mine)
            return false;
    }
    for (int i = first; i < first + n; i++) {
        if (exclusive) {
            locks->shm_exclusive[i] = holder;
        } else if (!(holder->shm_shared & 1U << i)) {
            holder->shm_shared |= 1U << i;
            locks->shm_shared[i]++;
        }
    }
    return true;
}

void *locks_map(struct lock_holder *holder, size_t region, size_t size, bool extend)
{
    struct locks *locks = locks_of(holder);

    if (!holder->mapped)
        locks->n_mapped++;
    holder->mapped = true;
    while (extend && locks->n_regions <= region) {
        locks->regions[locks->n_regions] = calloc(1, size);
        if (!locks->regions[locks->n_regions++])
            abort();
    }
    return region < locks->n_regions ? locks->regions[region] : NULL;
}

/* The shared memory is cleared when its last user closes it, as the unix VFS does. */
void locks_unmap(struct lock_holder *holder)
{
    struct locks *locks = locks_of(holder);

    if (!holder->mapped)
        return;
    locks_release_shm(holder, 0, SQLITE_SHM_NLOCK);
    holder->mapped = false;
    if (--locks->n_mapped > 0)
        return;
    for (size_t i = 0; i < locks->n_regions; i++)
        free(locks->regions[i]);
    locks->n_regions = 0;
}

bool locks_are_reserved(const struct lock_holder *holder)
{
    return locks_of(holder)->reserved != NULL;
}
