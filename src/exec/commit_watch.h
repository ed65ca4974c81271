/* SPDX-License-Identifier: MIT */
/* Warns of a commit that takes long, while it is still running and when it is done. The writer's
 * thread can't: it is in the commit. */
#ifndef PRSERVD_COMMIT_WATCH_H
#define PRSERVD_COMMIT_WATCH_H

#include "base/log.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define COMMIT_WATCH_MS 5000 /* a commit that takes longer is reported */

struct commit_watch {
    struct log *log;         /* borrowed */
    const char *what;        /* what commits wait for: "the disk"; borrowed */
    atomic_ullong since_ms;  /* when the commit began (clock_ms); 0: there is none */
    uint64_t reported_ms;    /* the last line; of commit_watch_check alone */
    uint64_t reported_since; /* the commit that it was about */
};

/* Makes a watch; is_disk: commits wait for a file of this machine, and not for a database server.
 */
void commit_watch_init(struct commit_watch *watch, bool is_disk, struct log *log);

/* Note the beginning and the end of a commit; error is NULL if it succeeded. The writer's thread.
 */
void commit_watch_begin(struct commit_watch *watch);
void commit_watch_end(struct commit_watch *watch, const char *error);

/* Writes a warning if a commit has taken long, and again every minute. One thread, every second. */
void commit_watch_check(struct commit_watch *watch);

#endif
