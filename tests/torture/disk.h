/* A disk in memory that SQLite writes to, and that can fail.
 *
 * What was written is seen at once; what was synced survives. A cut of the power keeps of what
 * was written since the last sync nothing, all, or any part, in any order, torn at sectors or
 * inside them. Names of files are as durable as the last sync of their folder, which happens
 * where SQLite's own unix VFS does it.
 *
 * There is one disk, for it is SQLite's default VFS: any thread may use it. Everything that
 * happens by chance comes from the seed. */
#ifndef PRSERVD_TEST_DISK_H
#define PRSERVD_TEST_DISK_H

#include <stdbool.h>
#include <stdint.h>

/* What SQLite asks of a disk. */
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
    DISK_POWER,   /* every later call fails, until disk_restart */
    DISK_KILL,    /* the same for the owner of the call; what was written stays to be seen */
    DISK_ERROR,   /* the call fails */
    DISK_ERRORS,  /* it and all later ones of the calls chosen */
    DISK_FULL,    /* DISK_ERRORS, but what makes no file longer succeeds */
    DISK_CALLBACK /* run is called before the call is carried out; once */
};

struct disk_plan {
    enum disk_fault fault;
    unsigned calls; /* which of them count: 1 << enum disk_call */
    uint64_t after; /* this many of them succeed first */
    bool forgets;   /* what a sync failed to write is never written: so does Linux */
    void (*run)(void *context);
    void *context;
};

#define DISK_OWNERS 4

/* Makes an empty disk, SQLite's default from now on. No file may be open. */
void disk_format(uint64_t seed);
void disk_free(void);

/* One fault that will happen, one callback: two plans at a time. */
void disk_plan(const struct disk_plan *plan);
void disk_plan_callback(const struct disk_plan *plan);
void disk_no_plan(void);

/* At once. */
void disk_cut_power(void);
void disk_kill(unsigned owner);

/* Whoever opens a file owns it: a process, as far as locks and DISK_KILL go. */
void disk_set_owner(unsigned owner);
bool disk_is_dead(unsigned owner);
/* Power comes back, or the process is started again. Its files must be closed. */
void disk_restart(unsigned owner);

/* Has what was planned happened? */
bool disk_fault_happened(void);

/* Calls so far, to choose from. */
uint64_t disk_count(enum disk_call call);
const char *disk_call_name(enum disk_call call);

/* A number below limit, from the seed. */
uint64_t disk_random(uint64_t limit);

#endif
