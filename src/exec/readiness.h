/* SPDX-License-Identifier: MIT */
/* Whether new revisions can be stored, as the writer found it last, and the figures of its commits.
 * The writer's thread notes both, any thread asks. */
#ifndef PRSERVD_READINESS_H
#define PRSERVD_READINESS_H

#include "base/error.h"
#include "base/metric.h"
#include "exec/commit_watch.h"
#include "store/store.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define READINESS_WAIT_MS 5000  /* requests that wait longer make the server unready */
#define READINESS_RETRY_MS 2000 /* between two commits that the server tries itself */

struct commit_metrics {
    struct metric_histogram duration_us; /* of commits that worked */
    struct metric_histogram requests;    /* decided by one commit */
    struct metric rows;                  /* added */
    struct metric assigned;              /* of them, new revisions: by get-pr */
};

struct readiness {
    struct commit_metrics metrics;
    struct commit_watch *watch;
    struct metric waits_since_ms; /* since when stores have failed (clock_ms); 0: they work */
    struct metric has_failed;     /* a commit failed that had all it needs; not only a wait */
    struct metric is_rolled_back; /* and new revisions are refused */
    uint64_t tried_ms;            /* the writer's: its last try without a request */
    pthread_mutex_t mutex;        /* guards what follows; not taken while all is well */
    struct error reason;
};

/* watch: of the same writer; borrowed. */
void readiness_init(struct readiness *readiness, struct commit_watch *watch);
void readiness_deinit(struct readiness *readiness);

/* ---- the writer's thread ---- */

/* Counts a commit that worked. */
void readiness_count_commit(struct readiness *readiness, uint64_t took_us, uint64_t n_requests,
    uint64_t n_rows, uint64_t n_assigned);

/* Notes how a store pass has ended. had_lock: it came to its commit. */
void readiness_note_pass(struct readiness *readiness, int result, bool had_lock, bool has_stored,
    const struct error *error);

/* Commits something without a request, if the last commit failed and READINESS_RETRY_MS have
 * passed, so that the server becomes ready again by itself. Not while the database is rolled back.
 */
void readiness_try(struct readiness *readiness, struct store *store, unsigned wait_ms);

/* ---- any thread ---- */

/* Returns whether new revisions can be stored. If not, writes the reason. */
bool readiness_is_ready(struct readiness *readiness, char *reason, size_t size);

#endif
