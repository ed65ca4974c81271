/* SPDX-License-Identifier: MIT */
/* The locks of a file of the disk, as SQLite defines them: SHARED, RESERVED, PENDING, EXCLUSIVE,
 * and the SQLITE_SHM_NLOCK locks of the WAL index. Used under the disk's lock. */
#ifndef PRSERVD_DISK_LOCKS_H
#define PRSERVD_DISK_LOCKS_H

#include <stdbool.h>
#include <stddef.h>

#define LOCKS_REGIONS 256 /* most regions of shared memory */

struct node;

/* An open file and the locks that it holds. */
struct lock_holder {
    struct node *node;
    int level; /* SQLITE_LOCK_... */
    bool mapped;
    unsigned shm_shared; /* bits */
};

/* Returns false if another holder prevents it; keeps the levels reached so far. */
bool locks_raise(struct lock_holder *holder, int level);
void locks_lower(struct lock_holder *holder, int level);
bool locks_are_reserved(const struct lock_holder *holder);

/* Takes the locks first to first + n - 1, all or none (false). */
bool locks_take_shm(struct lock_holder *holder, int first, int n, bool exclusive);
void locks_release_shm(struct lock_holder *holder, int first, int n);

/* Returns NULL if the region does not exist and is not to be created. */
void *locks_map(struct lock_holder *holder, size_t region, size_t size, bool extend);
void locks_unmap(struct lock_holder *holder);

#endif
