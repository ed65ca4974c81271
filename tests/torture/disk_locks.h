/* Who locks a file of the disk and its shared memory, as SQLite means it: SHARED, RESERVED,
 * PENDING, EXCLUSIVE, and the SQLITE_SHM_NLOCK locks of the journal's index. Used under the
 * disk's lock. */
#ifndef PRSERVD_TEST_DISK_LOCKS_H
#define PRSERVD_TEST_DISK_LOCKS_H

#include <stdbool.h>
#include <stddef.h>

#define LOCKS_REGIONS 256 /* of shared memory, at most */

struct node;

/* One that has the file open, and what it holds of it. */
struct holder {
    struct node *node;
    int level; /* SQLITE_LOCK_... */
    bool mapped;
    unsigned shm_shared; /* bits */
};

/* False: another holder is in the way; what could be had on the way there is kept. */
bool locks_raise(struct holder *holder, int level);
void locks_lower(struct holder *holder, int level);
bool locks_are_reserved(const struct holder *holder);

/* Locks first to first + n - 1; all of them or, false, none. */
bool locks_take_shm(struct holder *holder, int first, int n, bool exclusive);
void locks_release_shm(struct holder *holder, int first, int n);

/* NULL: there is no such region yet, and it is not to be made. */
void *locks_map(struct holder *holder, size_t region, size_t size, bool extend);
void locks_unmap(struct holder *holder);

#endif
