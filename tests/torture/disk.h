/* SPDX-License-Identifier: MIT */
/* A disk in memory that SQLite writes to, and that can fail.
 *
 * Writes are visible at once; synced writes survive. Of the writes since the last sync, a power
 * cut keeps none, all, or any part in any order, torn at sectors or inside them. File names are
 * as durable as the last sync of their folder, which happens where SQLite's unix VFS does it.
 *
 * There is only one disk, since it is SQLite's default VFS. Any thread may use it. All random
 * choices come from the seed. */
#ifndef PRSERVD_DISK_H
#define PRSERVD_DISK_H

#include <stdbool.h>
#include <stdint.h>

/* The calls that SQLite makes. */
enum disk_call {
    DISK_OPEN,
    DISK_READ,
    DISK_WRITE,
    DISK_SYNC,
    DISK_TRUNCATE,
    DISK_DELETE,
    DISK_SIZE,
    DISK_LOCK,
    DISK_SHM_MAP,
    DISK_SHM_LOCK,
    DISK_CALLS
};

#define DISK_CHANGES \
    (1U << DISK_OPEN | 1U << DISK_WRITE | 1U << DISK_SYNC | 1U << DISK_TRUNCATE | 1U << DISK_DELETE)

enum disk_fault {
    DISK_NO_FAULT,
    DISK_POWER,   /* all later calls fail, until disk_restart */
    DISK_KILL,    /* the same for the owner of the call; writes stay visible */
    DISK_ERROR,   /* the call fails */
    DISK_ERRORS,  /* it fails, and all later ones of the chosen calls */
    DISK_FULL,    /* DISK_ERRORS for calls that make a file longer */
    DISK_CALLBACK /* run is called once, before the call */
};

struct disk_plan {
    enum disk_fault fault;
    unsigned calls; /* the chosen calls: 1 << enum disk_call */
    uint64_t after; /* number of calls that succeed first */
    bool forgets;   /* a failed sync discards its writes, as Linux does */
    void (*run)(void *context);
    void *context;
};

#define DISK_OWNERS 4

/* Creates an empty disk as SQLite's default VFS. No file may be open. */
void disk_format(uint64_t seed);
void disk_free(void);

/* Plans one fault and one callback, which may both be pending. */
void disk_plan(const struct disk_plan *plan);
void disk_plan_callback(const struct disk_plan *plan);
void disk_no_plan(void);

/* These take effect at once. */
void disk_cut_power(void);
void disk_kill(unsigned owner);

/* Sets the owner of files opened from now on: a process, for locks and DISK_KILL. */
void disk_set_owner(unsigned owner);
bool disk_is_dead(unsigned owner);
/* Restores the power, or restarts the process. Its files must be closed. */
void disk_restart(unsigned owner);

/* Tells whether the planned fault has happened. */
bool disk_fault_happened(void);

/* Returns the number of calls so far. */
uint64_t disk_count(enum disk_call call);
const char *disk_call_name(enum disk_call call);

/* Returns a random number below limit, from the seed. */
uint64_t disk_random(uint64_t limit);

#endif
