/* SPDX-License-Identifier: MIT */
/* The parts of the HTTP module that its files share.
 *
 *     MHD's threads   parse; answer /healthz, /readyz, /metrics and the page; leave the rest to
 *                     the worker, and suspend the connection meanwhile
 *     worker          the only one that uses the database: one request after the other, and every
 *                     second a check whether the database can be read
 *
 * MHD has a thread for each address. pace.c limits how much they all work. */
#ifndef PRSERVD_HTTP_H
#define PRSERVD_HTTP_H

#include "base/metric.h"
#include "http/answer.h"
#include "http/peers.h"
#include "http/query.h"
#include "server/http_module.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct http_route;

/* One request and its answer. */
struct http_exchange {
    STAILQ_ENTRY(http_exchange) entry;
    struct MHD_Connection *connection;
    char *target; /* owned: as it came, then decoded in place; NULL: there was no memory for it */
    struct query query;
    const struct http_route *route;
    struct http_answer answer;
    bool has_begun;
    bool is_answered;
};

STAILQ_HEAD(http_exchange_list, http_exchange);

/* The result of the worker's last check. Any thread may read it. */
struct http_check {
    struct metric began_ms; /* when the check under way began (clock_ms); 0: none is */
    struct metric is_readable;
    struct metric database_bytes; /* of the files of an SQLite database */
    struct metric wal_bytes;
    pthread_mutex_t mutex; /* guards what follows */
    struct error reason;   /* why the database can't be read */
};

struct http {
    struct http_source source;
    struct log *log;
    uint64_t started_s; /* since 1970 */
    struct peers peers;
    struct http_check check;

    struct MHD_Daemon **daemons;
    size_t n_daemons;

    pthread_t worker;
    bool has_worker;
    atomic_ullong deadline_ms; /* of reading the database */
    struct store *store;       /* the worker's; NULL: not open */
    struct buffer status;      /* the worker's: the last answer to get-stats */
    uint64_t status_ms;        /* when it was written; 0: never */
    pthread_mutex_t mutex;     /* guards what follows */
    pthread_cond_t arrived;
    struct http_exchange_list queue;
    bool is_stopping;
};

/* ---- routes.c ---- */

/* Answers an exchange, or returns false if the worker has to: route is set then. MHD's thread. */
bool routes_begin(
    struct http *http, struct http_exchange *exchange, const char *method, const char *version);

/* Answers an exchange that routes_begin left. The worker. */
void routes_work(struct http *http, struct http_exchange *exchange);

/* ---- api.c: the worker ---- */

void api_status(struct http *http, struct http_exchange *exchange);
void api_packages(struct http *http, struct http_exchange *exchange);
void api_package(struct http *http, struct http_exchange *exchange);
void api_log(struct http *http, struct http_exchange *exchange);
void api_churn(struct http *http, struct http_exchange *exchange);

/* ---- exposition.c ---- */

/* Appends all metrics, in the text format of Prometheus or as OpenMetrics. Any thread. */
void exposition_write(struct http *http, bool is_open_metrics, struct buffer *out);

/* ---- process_metrics.c ---- */

struct process_figures {
    double cpu_s;
    uint64_t resident_bytes;
    uint64_t n_files;
    uint64_t most_files;
};

void process_metrics_read(struct process_figures *figures);

/* ---- worker.c ---- */

ERROR_MUST_CHECK int worker_start_http(struct http *http, struct error *error);

/* Suspends the connection of an exchange and hands it over. Returns false if the server is
 * stopping: then nothing was done. MHD's thread. */
ERROR_MUST_CHECK bool worker_add(struct http *http, struct http_exchange *exchange);

/* Answers what waits with an error, and ends the thread. */
void worker_stop_http(struct http *http);

/* Begins a transaction that reads, on the worker's connection, which it opens if necessary. While
 * the database is away, tries again until http->deadline_ms. The worker. */
ERROR_MUST_CHECK int worker_begin_read(struct http *http, struct error *error);

/* Ends the transaction, also after worker_begin_read has failed. */
void worker_end_read(struct http *http);

/* ---- pace.c: what the threads of HTTP leave to those that work for PR clients ---- */

/* Gives the calling thread a low priority. */
void pace_be_nice(void);

/* Sleeps if this thread has begun more requests lately than it may. MHD's threads. */
void pace_request(void);

/* Sleeps for some time after work that began at began_us (clock_us), so that the thread works only
 * a part of the time, whatever clients ask. The worker. */
void pace_rest(uint64_t began_us);

#endif
