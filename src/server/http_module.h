/* SPDX-License-Identifier: MIT */
/* The interface to the HTTP module (src/http), a shared object that is loaded when --http is given:
 * a server without it needs neither the module nor its library. It has one symbol, HTTP_MODULE.
 *
 * The module runs on threads of its own, with the lowest priority. It asks the server only through
 * struct http_source, nothing in which makes a thread that works for PR clients wait. */
#ifndef PRSERVD_HTTP_MODULE_H
#define PRSERVD_HTTP_MODULE_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/log.h"
#include "exec/readiness.h"
#include "relay/relay.h"
#include "server/metrics.h"
#include "server/reports.h"
#include "store/store.h"
#include "upstream/upstream.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_MODULE prservd_http_module
#define HTTP_MODULE_NAME "prservd_http_module"

/* The audit log that the server writes. */
struct http_audit {
    uint64_t n_dropped; /* records and counts of requests that are missing in it */
    bool is_failing;    /* it can't be written at the moment */
    struct error failure;
};

/* The server, as the module sees it. Pointers are borrowed until the module's stop returns. The
 * functions are called on the module's threads. */
struct http_source {
    void *context;
    const char *version;
    const char *commit;
    const char *file; /* of an SQLite database; NULL: another kind */
    const struct metrics *metrics;
    const struct commit_metrics *commits;    /* NULL: read-only */
    const struct metric *is_rolled_back;     /* likewise */
    const struct upstream_metrics *upstream; /* NULL: none */
    const struct relay_metrics *relay;       /* likewise */
    const struct reports *reports;           /* NULL: no audit log */

    /* Opens a connection for reading. It is not used by anybody else. Reading ends at *deadline_ms
     * (clock_ms). */
    int (*open_store)(
        void *context, const atomic_ullong *deadline_ms, struct store **store, struct error *error);
    /* Returns whether new revisions can be stored; if not, writes the reason. */
    bool (*is_ready)(void *context, char *reason, size_t size);
    /* Finds the number of rows; returns false if it is not known yet. */
    bool (*find_rows)(void *context, uint64_t *rows, bool *is_estimate);
    /* Returns false if the server writes no audit log. */
    bool (*read_audit)(void *context, struct http_audit *state);
    /* Counts the rows, if that is due. Outside of a transaction of the store. */
    int (*count_rows)(void *context, struct store *store, struct error *error);
    /* Appends the answer to get-stats. Waits for the loop, for some seconds at most: then
     * ERROR_LOCKED. */
    int (*write_status)(void *context, struct buffer *out, struct error *error);
    /* Appends the upstream's greatest revision of a package; nothing if it has none. Waits for half
     * a second at most. Fails with ERROR_UPSTREAM. On one thread only. NULL: no upstream. */
    int (*find_upstream_greatest)(void *context, struct text version, struct text pkgarch,
        struct buffer *greatest, struct error *error);
};

struct http_options {
    const int *sockets; /* which listen; borrowed until stop returns */
    size_t n_sockets;
    struct http_source source;
    struct log *log; /* borrowed */
};

struct http;

struct http_module {
    /* Starts to serve. *http is the caller's (stop). Fails with ERROR_SYSTEM or ERROR_MEMORY. */
    int (*start)(struct http **http, const struct http_options *options, struct error *error);
    /* Ends all connections and threads. NULL is allowed. */
    void (*stop)(struct http *http);
};

extern const struct http_module HTTP_MODULE;

#endif
