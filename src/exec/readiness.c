/* SPDX-License-Identifier: MIT */
/* A lock that is held for a moment is usual, so a wait counts only after READINESS_WAIT_MS. A
 * commit that failed counts at once. */
#include "exec/readiness.h"

#include "base/clock.h"

#include <stdio.h>

void readiness_init(struct readiness *readiness, struct commit_watch *watch)
{
    *readiness = (struct readiness){.watch = watch};
    (void)pthread_mutex_init(&readiness->mutex, NULL);
}

void readiness_deinit(struct readiness *readiness)
{
    (void)pthread_mutex_destroy(&readiness->mutex);
}

/* ---- the writer's thread ---- */

void readiness_count_commit(struct readiness *readiness, uint64_t took_us, uint64_t n_requests,
    uint64_t n_rows, uint64_t n_assigned)
{
    struct commit_metrics *metrics = &readiness->metrics;

    metric_histogram_add(&metrics->duration_us, METRIC_DURATION, took_us);
    metric_histogram_add(&metrics->requests, METRIC_NUMBER, n_requests);
    metric_add(&metrics->rows, n_rows);
    metric_add(&metrics->assigned, n_assigned);
}

static void readiness_note_success(struct readiness *readiness)
{
    if (metric_get(&readiness->waits_since_ms) == 0)
        return;
    metric_set(&readiness->has_failed, 0);
    metric_set(&readiness->waits_since_ms, 0);
}

static void readiness_note_failure(
    struct readiness *readiness, bool had_lock, const struct error *error)
{
    (void)pthread_mutex_lock(&readiness->mutex);
    readiness->reason = *error;
    (void)pthread_mutex_unlock(&readiness->mutex);
    if (metric_get(&readiness->waits_since_ms) == 0)
        metric_set(&readiness->waits_since_ms, clock_ms());
    if (had_lock)
        metric_set(&readiness->has_failed, 1);
}

/* A pass that had nothing to store says that nothing was held, not that a commit works. */
void readiness_note_pass(struct readiness *readiness, int result, bool had_lock, bool has_stored,
    const struct error *error)
{
    if (result != 0)
        readiness_note_failure(readiness, had_lock, error);
    else if (has_stored || metric_get(&readiness->has_failed) == 0)
        readiness_note_success(readiness);
}

static int readiness_commit(struct readiness *readiness, struct store *store, struct error *error)
{
    int result;

    store_touch(store);
    commit_watch_begin(readiness->watch);
    result = store_commit(store, error);
    commit_watch_end(readiness->watch, result == 0 ? NULL : error->text);
    return result;
}

void readiness_try(struct readiness *readiness, struct store *store, unsigned wait_ms)
{
    static const struct store_batch nothing = {.first = NULL, .end = NULL};
    const uint64_t now_ms = clock_ms();
    struct error error;
    bool had_lock;
    int result;

    if (metric_get(&readiness->waits_since_ms) == 0 || store->rollback.is_rolled_back ||
        now_ms - readiness->tried_ms < READINESS_RETRY_MS)
        return;
    readiness->tried_ms = now_ms;
    result = store_begin_write(store, &nothing, wait_ms, &error);
    had_lock = result == 0;
    if (result == 0)
        result = readiness_commit(readiness, store, &error);
    store_rollback(store);
    readiness_note_pass(readiness, result, had_lock, true, &error);
}

/* ---- any thread ---- */

/* Writes a reason with a duration and, if something failed, the last error. */
static bool readiness_tell(struct readiness *readiness, const char *what, uint64_t since_ms,
    bool has_error, char *reason, size_t size)
{
    (void)pthread_mutex_lock(&readiness->mutex);
    (void)snprintf(reason, size, "%s for %llu s%s%s", what,
        (unsigned long long)(clock_ms() - since_ms) / 1000, has_error ? ": " : "",
        has_error ? readiness->reason.text : "");
    (void)pthread_mutex_unlock(&readiness->mutex);
    return false;
}

bool readiness_is_ready(struct readiness *readiness, char *reason, size_t size)
{
    const uint64_t commit_since_ms = atomic_load(&readiness->watch->since_ms);
    const uint64_t since_ms = metric_get(&readiness->waits_since_ms);
    const uint64_t now_ms = clock_ms();

    reason[0] = '\0';
    if (metric_get(&readiness->is_rolled_back) != 0) {
        (void)snprintf(reason, size,
            "the database went back to an older state, and new revisions are refused: "
            "prserv status and the log tell more");
        return false;
    }
    if (since_ms != 0 && metric_get(&readiness->has_failed) != 0)
        return readiness_tell(readiness, "commits have failed", since_ms, true, reason, size);
    if (since_ms != 0 && now_ms - since_ms >= READINESS_WAIT_MS)
        return readiness_tell(readiness, "requests that need a new revision have waited", since_ms,
            true, reason, size);
    if (commit_since_ms != 0 && now_ms - commit_since_ms >= READINESS_WAIT_MS)
        return readiness_tell(readiness, "a commit has been waiting for the disk or the database",
            commit_since_ms, false, reason, size);
    return true;
}
