/* SPDX-License-Identifier: MIT */
#include "base/clock.h"
#include "base/thread.h"
#include "http/http.h"

#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#define CHECK_MS 1000   /* between two checks */
#define READ_MS 1000    /* for a check */
#define REQUEST_MS 2500 /* for a request */
#define AGAIN_MS 20     /* between two tries */
#define COUNT_MS 120000 /* for a count of all rows */
#define FILE_BYTES 4096

/* ---- the check ---- */

static int worker_open_store(struct http *http, struct error *error)
{
    const struct http_source *source = &http->source;

    if (http->store)
        return 0;
    return source->open_store(source->context, &http->deadline_ms, &http->store, error);
}

int worker_begin_read(struct http *http, struct error *error)
{
    const struct timespec pause = {.tv_nsec = AGAIN_MS * 1000000L};
    int result;

    while (true) {
        result = worker_open_store(http, error);
        if (result == 0)
            result = store_begin_read(http->store, NULL, STORE_BLOCK, error);
        if (result != ERROR_LOCKED || clock_ms() >= atomic_load(&http->deadline_ms))
            return result;
        (void)nanosleep(&pause, NULL);
    }
}

void worker_end_read(struct http *http)
{
    if (http->store)
        store_rollback(http->store);
}

static const void *worker_describe(const void *at, struct store_item *item)
{
    *item = (struct store_item){.version = text_of(""), .pkgarch = text_of("")};
    return (const char *)at + 1;
}

static int worker_stop_at_row(void *context, const struct row *row)
{
    (void)context;
    (void)row;
    return 1;
}

/* Asks the database for a package that need not exist. */
static int worker_read(struct http *http, struct error *error)
{
    static const char none;
    const struct store_batch batch = {.first = &none,
        .end = &none + 1,
        .describe = worker_describe,
        .until_ms = clock_ms() + READ_MS};
    int result;

    if (http->source.relay)
        return 0; /* it has no database */
    result = worker_open_store(http, error);
    if (result != 0)
        return result;
    result = store_begin_read(http->store, &batch, STORE_BLOCK, error);
    if (result == 0)
        result = store_load(http->store, text_of(""), text_of(""), worker_stop_at_row, NULL, error);
    store_rollback(http->store);
    return result;
}

static uint64_t worker_file_bytes(const char *file, const char *end)
{
    char name[FILE_BYTES];
    struct stat status;

    (void)snprintf(name, sizeof name, "%s%s", file, end);
    return stat(name, &status) == 0 ? (uint64_t)status.st_size : 0;
}

static void worker_check(struct http *http)
{
    struct http_check *check = &http->check;
    struct error error = {.text = ""};
    int result;

    metric_set(&check->began_ms, clock_ms());
    atomic_store(&http->deadline_ms, clock_ms() + READ_MS);
    result = worker_read(http, &error);
    (void)pthread_mutex_lock(&check->mutex);
    check->reason = error;
    (void)pthread_mutex_unlock(&check->mutex);
    metric_set(&check->is_readable, result == 0);
    if (http->source.file) {
        metric_set(&check->database_bytes, worker_file_bytes(http->source.file, ""));
        metric_set(&check->wal_bytes, worker_file_bytes(http->source.file, "-wal"));
    }
    metric_set(&check->began_ms, 0);
    atomic_store(&http->deadline_ms, clock_ms() + COUNT_MS);
    if (result == 0 && !http->source.relay &&
        http->source.count_rows(http->source.context, http->store, &error) != 0)
        log_often(http->log, LOG_WARNING, "Can't count the rows for the metrics: %s", error.text);
}

/* ---- the thread ---- */

static void worker_finish(struct http_exchange *exchange)
{
    exchange->is_answered = true;
    MHD_resume_connection(exchange->connection);
}

/* Waits for the next exchange, until_ms at most. Returns NULL if there is none. */
static struct http_exchange *worker_take(struct http *http, uint64_t until_ms, bool *is_stopping)
{
    const struct timespec until = {
        .tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000) * 1000000};
    struct http_exchange *exchange;
    int waited = 0;

    (void)pthread_mutex_lock(&http->mutex);
    while (STAILQ_EMPTY(&http->queue) && !http->is_stopping && waited == 0)
        waited = pthread_cond_timedwait(&http->arrived, &http->mutex, &until);
    exchange = STAILQ_FIRST(&http->queue);
    if (exchange)
        STAILQ_REMOVE_HEAD(&http->queue, entry);
    *is_stopping = http->is_stopping;
    (void)pthread_mutex_unlock(&http->mutex);
    return exchange;
}

static void *worker_run(void *argument)
{
    struct http *http = argument;
    uint64_t next_check_ms = 0;
    bool is_stopping = false;

    pace_be_nice();
    while (true) {
        struct http_exchange *exchange;
        uint64_t began_us;

        if (!is_stopping && clock_ms() >= next_check_ms) {
            worker_check(http);
            peers_end_late(&http->peers, clock_ms());
            next_check_ms = clock_ms() + CHECK_MS;
        }
        exchange = worker_take(http, next_check_ms, &is_stopping);
        if (!exchange && is_stopping)
            return NULL;
        if (!exchange)
            continue;
        began_us = clock_us();
        if (is_stopping) {
            answer_set_error(&exchange->answer, 503, "the server is stopping");
        } else {
            atomic_store(&http->deadline_ms, clock_ms() + REQUEST_MS);
            routes_work(http, exchange);
        }
        worker_finish(exchange);
        if (!is_stopping)
            pace_rest(began_us);
    }
}

bool worker_add(struct http *http, struct http_exchange *exchange)
{
    bool is_stopping;

    (void)pthread_mutex_lock(&http->mutex);
    is_stopping = http->is_stopping;
    if (!is_stopping) {
        MHD_suspend_connection(exchange->connection);
        STAILQ_INSERT_TAIL(&http->queue, exchange, entry);
        (void)pthread_cond_signal(&http->arrived);
    }
    (void)pthread_mutex_unlock(&http->mutex);
    return !is_stopping;
}

int worker_start_http(struct http *http, struct error *error)
{
    const int result = thread_start(&http->worker, worker_run, http, "HTTP", error);

    http->has_worker = result == 0;
    return result;
}

void worker_stop_http(struct http *http)
{
    (void)pthread_mutex_lock(&http->mutex);
    http->is_stopping = true;
    (void)pthread_cond_signal(&http->arrived);
    (void)pthread_mutex_unlock(&http->mutex);
    atomic_store(&http->deadline_ms, 0);
    if (http->has_worker)
        (void)pthread_join(http->worker, NULL);
    http->has_worker = false;
}
