/* SPDX-License-Identifier: MIT */
/*   noted ──tick──→ handed ──written in batches──→ FILE-audit, or tables
 *   loop             the thread's until it is empty
 *
 * While the thread can't write, what is handed stays, and the loop goes on noting, up to a limit.
 * The thread has the lowest priority: when the processors are busy, answers come first. */
#include "audit/audit.h"

#include "audit/notes.h"
#include "base/clock.h"
#include "base/thread.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define NOTED_BYTES ((size_t)16 * 1024 * 1024) /* and as much handed to the thread */
#define HAND_BYTES ((size_t)4 * 1024 * 1024)   /* handed over before the next tick */
#define WAIT_MS 2000                           /* for a lock, in one try */
#define AGAIN_MS 1000                          /* after a failure */
#define EXPIRE_MS 10000                        /* between two steps of removing */
#define EXPIRE_MORE_MS 200                     /* while there is more to remove */
#define EXPIRE_MOST 500
#define DAY_US ((int64_t)86400 * 1000000)

struct audit {
    struct audit_options options;
    struct audit_store *store; /* the thread's */
    struct notes noted;        /* the loop's */
    _Atomic uint64_t n_dropped;
    pthread_t thread;
    pthread_cond_t arrived;
    pthread_mutex_t mutex; /* guards what follows */
    struct notes handed;   /* the thread's, without the mutex, while is_handed */
    bool is_handed;
    bool stopping;
    struct error failure; /* why the audit log can't be written; empty: it can */
    /* the thread's */
    bool is_failing;
    uint64_t reported; /* dropped until the end of the last failure */
    uint64_t expire_ms;
};

static int64_t audit_now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- the loop's side ---- */

static void audit_drop(struct audit *audit, uint64_t n)
{
    (void)atomic_fetch_add(&audit->n_dropped, n);
}

/* Gives the thread what was noted, unless it still has something. */
static void audit_hand_over(struct audit *audit)
{
    bool is_taken;

    if (notes_is_empty(&audit->noted))
        return;
    (void)pthread_mutex_lock(&audit->mutex);
    is_taken = !audit->is_handed;
    if (is_taken) {
        audit->handed = audit->noted;
        STAILQ_INIT(&audit->handed.waiting);
        STAILQ_CONCAT(&audit->handed.waiting, &audit->noted.waiting);
        audit->is_handed = true;
    }
    (void)pthread_mutex_unlock(&audit->mutex);
    if (!is_taken)
        return;
    (void)pthread_cond_signal(&audit->arrived);
    notes_init(&audit->noted);
}

void audit_tick(struct audit *audit)
{
    audit_hand_over(audit);
}

/* Returns whether a note of this many bytes has room. */
static bool audit_has_room(struct audit *audit, size_t bytes)
{
    size_t used = notes_bytes(&audit->noted);

    if (used + bytes > HAND_BYTES) {
        audit_hand_over(audit);
        used = notes_bytes(&audit->noted);
    }
    return used + bytes <= NOTED_BYTES;
}

void audit_note_revision(struct audit *audit, const struct audit_revision *revision)
{
    struct audit_revision timed = *revision;
    const size_t bytes = revision->version.length + revision->pkgarch.length +
                         revision->checksum.length + revision->value.length +
                         revision->annotations.length;

    timed.time_us = audit_now_us();
    if (!audit_has_room(audit, bytes) || !notes_add_revision(&audit->noted, &timed))
        audit_drop(audit, 1);
}

void audit_note_use(
    struct audit *audit, struct text version, struct text pkgarch, struct text checksum)
{
    if (!audit_has_room(audit, version.length + pkgarch.length + checksum.length) ||
        !notes_add_use(&audit->noted, version, pkgarch, checksum, audit_now_us()))
        audit_drop(audit, 1);
}

uint64_t audit_dropped(const struct audit *audit)
{
    return atomic_load(&audit->n_dropped);
}

/* ---- the thread ---- */

static void audit_set_failure(struct audit *audit, const struct error *failure)
{
    (void)pthread_mutex_lock(&audit->mutex);
    audit->failure = *failure;
    (void)pthread_mutex_unlock(&audit->mutex);
}

bool audit_find_failure(struct audit *audit, struct error *failure)
{
    (void)pthread_mutex_lock(&audit->mutex);
    *failure = audit->failure;
    (void)pthread_mutex_unlock(&audit->mutex);
    return failure->text[0] != '\0';
}

static void audit_report_failure(struct audit *audit, const struct error *error)
{
    audit_set_failure(audit, error);
    if (!audit->is_failing)
        log_write(audit->options.log, LOG_WARNING,
            "%s; requests are answered all the same, and the audit log is written later",
            error->text);
    audit->is_failing = true;
}

static void audit_report_success(struct audit *audit)
{
    const uint64_t n_dropped = audit_dropped(audit);

    if (audit->is_failing)
        log_write(audit->options.log, LOG_INFO,
            "The audit log is written again; %" PRIu64 " records are missing in it",
            n_dropped - audit->reported);
    if (audit->is_failing)
        audit_set_failure(audit, &(struct error){.text = ""});
    audit->is_failing = false;
    audit->reported = n_dropped;
}

/* Writes what was handed over, as far as possible. */
static int audit_write(struct audit *audit, struct error *error)
{
    struct notes_batch *batch = malloc(sizeof *batch); /* large, and seldom full */
    int result = batch ? 0 : error_set_memory(error);

    while (result == 0 && !notes_is_empty(&audit->handed)) {
        notes_peek(&audit->handed, batch);
        result = audit_store_write(audit->store, &batch->batch, error);
        if (result == 0)
            notes_take(&audit->handed, batch);
    }
    free(batch);
    if (result == 0)
        audit_report_success(audit);
    else
        audit_report_failure(audit, error);
    return result;
}

/* Removes some of what is old. */
static void audit_expire(struct audit *audit)
{
    const int64_t before_us = audit_now_us() - DAY_US * audit->options.keep_days;
    bool more = false;
    struct error error;
    int result = audit_store_expire(audit->store, before_us, EXPIRE_MOST, &more, &error);

    if (result != 0 && result != ERROR_LOCKED)
        audit_report_failure(audit, &error);
    audit->expire_ms = clock_ms() + (more ? EXPIRE_MORE_MS : EXPIRE_MS);
    audit_store_rest(audit->store);
}

/* Waits until there is something to write, or until_ms. Returns whether there is. */
static bool audit_wait(struct audit *audit, uint64_t until_ms)
{
    const struct timespec until = {
        .tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000 * 1000000)};
    bool is_handed;
    int code = 0;

    (void)pthread_mutex_lock(&audit->mutex);
    while (code == 0 && !audit->is_handed && !audit->stopping)
        code = pthread_cond_timedwait(&audit->arrived, &audit->mutex, &until);
    is_handed = audit->is_handed;
    (void)pthread_mutex_unlock(&audit->mutex);
    return is_handed;
}

/* Waits after a failure. Returns false if the server stops. */
static bool audit_pause(struct audit *audit)
{
    const uint64_t until_ms = clock_ms() + AGAIN_MS;
    const struct timespec until = {
        .tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000 * 1000000)};
    bool stopping;

    (void)pthread_mutex_lock(&audit->mutex);
    while (
        !audit->stopping && pthread_cond_timedwait(&audit->arrived, &audit->mutex, &until) == 0) {
    }
    stopping = audit->stopping;
    (void)pthread_mutex_unlock(&audit->mutex);
    return !stopping;
}

/* Ends the turn of what was handed over, written or not. */
static void audit_finish(struct audit *audit)
{
    audit_drop(audit, audit->handed.n_waiting);
    notes_clear(&audit->handed);
    (void)pthread_mutex_lock(&audit->mutex);
    audit->is_handed = false;
    (void)pthread_mutex_unlock(&audit->mutex);
}

static bool audit_is_stopping(struct audit *audit)
{
    bool stopping;

    (void)pthread_mutex_lock(&audit->mutex);
    stopping = audit->stopping;
    (void)pthread_mutex_unlock(&audit->mutex);
    return stopping;
}

static void *audit_run(void *argument)
{
    struct audit *audit = argument;
    struct error error;

    thread_lower_priority(19);
    audit->expire_ms = clock_ms() + EXPIRE_MS;
    for (;;) {
        const bool is_handed = audit_wait(audit, audit->expire_ms);

        if (is_handed) {
            while (audit_write(audit, &error) != 0 && audit_pause(audit)) {
            }
            audit_finish(audit);
        } else if (audit_is_stopping(audit)) {
            return NULL;
        }
        if (clock_ms() >= audit->expire_ms && !audit_is_stopping(audit))
            audit_expire(audit);
    }
}

/* ---- start and end ---- */

static void audit_free(struct audit *audit)
{
    notes_clear(&audit->noted);
    notes_clear(&audit->handed);
    audit_store_close(audit->store);
    (void)pthread_cond_destroy(&audit->arrived);
    (void)pthread_mutex_destroy(&audit->mutex);
    free(audit);
}

int audit_start(struct audit **started, const struct audit_options *options, struct error *error)
{
    const struct audit_store_options store_options = {
        .file = options->file, .writes = true, .wait_ms = WAIT_MS, .log = options->log};
    struct audit *audit = calloc(1, sizeof *audit);
    pthread_condattr_t monotonic;
    int result;

    *started = NULL;
    if (!audit)
        return error_set_memory(error);
    audit->options = *options;
    notes_init(&audit->noted);
    notes_init(&audit->handed);
    (void)pthread_mutex_init(&audit->mutex, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&audit->arrived, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    result = audit_store_open(&audit->store, &store_options, error);
    if (result == 0)
        result = thread_start(&audit->thread, audit_run, audit, "the audit log", error);
    if (result != 0) {
        audit_free(audit);
        return result;
    }
    *started = audit;
    return 0;
}

void audit_stop(struct audit *audit)
{
    if (!audit)
        return;
    /* First the notes that the thread is writing, then those that still wait. */
    (void)pthread_mutex_lock(&audit->mutex);
    audit->stopping = true;
    (void)pthread_mutex_unlock(&audit->mutex);
    (void)pthread_cond_signal(&audit->arrived);
    (void)pthread_join(audit->thread, NULL);
    if (!audit->is_handed && !audit->is_failing) {
        struct error error;

        audit_hand_over(audit);
        if (audit->is_handed)
            (void)!audit_write(audit, &error);
    }
    audit_free(audit);
}
