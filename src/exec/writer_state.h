/* SPDX-License-Identifier: MIT */
/* The state of a writer, shared by writer.c, writer_read.c and writer_store.c. Only they
 * include this. */
#ifndef PRSERVD_WRITER_STATE_H
#define PRSERVD_WRITER_STATE_H

#include "exec/batch_stats.h"
#include "exec/commit_watch.h"
#include "exec/lock_queue.h"
#include "exec/package_cache.h"
#include "exec/readiness.h"
#include "exec/retry.h"
#include "exec/rollback.h"
#include "exec/writer.h"

#include <pthread.h>

#define WRITER_LOCK_SLICE_MS RETRY_MS /* the longest wait for the lock in one go */

struct writer {
    struct store *store;
    struct package_cache *cache;
    struct log *log;
    struct outage outage;
    struct commit_watch watch;
    struct rollback *rollback;
    struct readiness readiness;
    struct lock_queue lock_queue;
    size_t n_begun;   /* the first jobs of the lock queue: their transaction has begun with the last
                         commit (store_commit_and_begin) */
    bool next_shares; /* too many of the jobs that came last share packages with those before */
    bool has_untried; /* jobs have come during the last store pass, which has succeeded */
    writer_take_fn take; /* writer_set_source; NULL: none */
    void *take_context;
    uint64_t check_ms;     /* when the mark may be checked again */
    uint64_t n_decided;    /* requests of the transaction under way */
    uint64_t n_added;      /* rows of the transaction under way */
    uint64_t n_assigned;   /* of them, those of get-pr */
    bool is_slow;          /* the last store pass was */
    bool has_lock;         /* the last store pass had the lock */
    uint64_t next_try_ms;  /* when waiting jobs get a store pass again */
    uint64_t next_read_ms; /* when they get a read pass again */
    pthread_mutex_t mutex; /* guards what follows */
    struct batch_stats stats;
    struct store_rollback found; /* as the store has it */
    /* and the packages in lock_queue, which the answerer asks for */
};

/* ---- writer_next.c ---- */

/* Returns how many jobs of the lock queue the next store pass takes. */
size_t writer_split(const struct writer *writer);

/* Inside a transaction, before its commit: chooses jobs whose transaction can begin with it, after
 * a wait for them if that pays. Returns their number; they are the first ones of the lock queue. */
size_t writer_gather_next(struct writer *writer, struct job_list *finished);

/* Returns the first n jobs of the lock queue as a batch. */
struct store_batch writer_next_batch(const struct writer *writer, size_t n);

/* ---- writer_read.c ---- */

/* Leaves all jobs, or those up to the first one that a read pass may answer (only_new), to the
 * store pass. Those that can't be stored, or queued, are finished. */
void writer_queue_all(
    struct writer *writer, struct job_list *arrived, struct job_list *finished, bool only_new);

/* ---- writer.c ---- */

/* Copies what the store has found out, for other threads. */
void writer_publish(struct writer *writer);

#endif
