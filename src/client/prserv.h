/* libprserv: asks a PR server.
 *
 *     struct prserv_error error;
 *     struct prserv *server;
 *     char *revision;
 *
 *     if (prserv_connect(&server, "127.0.0.1:8585", 30000, &error) != 0 ||
 *         prserv_get_pr(server, prserv_text("m4-1.4.19-r0"), prserv_text("core2-64"),
 *             prserv_text(checksum), false, &revision, &error) != 0)
 *         fprintf(stderr, "%s\n", error.text);
 *     else
 *         puts(revision);
 *
 * What the requests mean is in doc/semantics.md, the wire in doc/protocol.md.
 *
 * Threads: a handle may be used by several threads; their calls run one after the
 * other. Different handles don't know each other. Callbacks run on the caller's thread,
 * inside the call; they must not use the same handle.
 *
 * Errors: functions return 0 or a negative PRSERV_ERROR_ code, and describe a failure in
 * the caller's struct prserv_error. A handle is usable after each of them: after
 * PRSERV_ERROR_REFUSED and _ARGUMENT with the connection that it had; after _CONNECTION,
 * _TIMEOUT, _PROTOCOL and _MEMORY, and where a callback stopped an export midway, that
 * connection is closed and the next call opens another one. After _CONNECTION, _TIMEOUT,
 * _PROTOCOL and _MEMORY the server may have done what it was asked; asking again is safe.
 * What a function would have handed out is NULL then (texts) or as it was (flags).
 *
 * A connection that the server closed since the last call (it was restarted) is opened
 * again by the next call, unnoticed; if that one breaks too, the call fails. */
#ifndef PRSERV_H
#define PRSERV_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PRSERV_API __attribute__((visibility("default")))
#define PRSERV_CHECK __attribute__((warn_unused_result))

enum prserv_code {
    PRSERV_ERROR_MEMORY = -1,     /* no memory */
    PRSERV_ERROR_ARGUMENT = -2,   /* what was passed can't be asked; nothing was */
    PRSERV_ERROR_CONNECTION = -3, /* no connection, or it broke */
    PRSERV_ERROR_TIMEOUT = -4,    /* no answer in time */
    PRSERV_ERROR_PROTOCOL = -5,   /* what came was no answer */
    PRSERV_ERROR_REFUSED = -6,    /* the server said no (the text holds its reason), or gave no
                                     revision, or another one than it was to store */
    PRSERV_ERROR_STOPPED = -7,    /* the callback did not want to go on */
};

/* The caller's. code is 0 or one of the above; text names host, request and reason. */
struct prserv_error {
    int code;
    char text[512];
};

/* A piece of text; any bytes that are UTF-8, a NUL included. Always borrowed. */
struct prserv_text {
    const char *bytes;
    size_t length;
};

static inline struct prserv_text prserv_text(const char *string)
{
    struct prserv_text text;

    text.bytes = string;
    text.length = strlen(string);
    return text;
}

struct prserv_row {
    struct prserv_text version;
    struct prserv_text pkgarch;
    struct prserv_text checksum;
    struct prserv_text value; /* bytes NULL: a row without value (another program's) */
};

/* A server, connected or to be connected again. */
struct prserv;

/* ---- connecting ---- */

/* Connects to "host:port", "[v6]:port" or "unix:///path". timeout_ms is the longest that
 * connecting, and later each answer, may take; looking up a name is not counted, and its
 * addresses, tried one after the other, share the time. *server is the caller's:
 * prserv_close; NULL on error. */
PRSERV_API PRSERV_CHECK int prserv_connect(
    struct prserv **server, const char *address, unsigned timeout_ms, struct prserv_error *error);

/* NULL is allowed. Not while another thread uses the handle. */
PRSERV_API void prserv_close(struct prserv *server);

/* For the calls that follow; waits for one that another thread is in. */
PRSERV_API void prserv_set_timeout(struct prserv *server, unsigned timeout_ms);

/* The address, as errors name it; borrowed, as long as the handle. Does not wait. */
PRSERV_API const char *prserv_address(const struct prserv *server);

/* ---- one request each (doc/protocol.md, "Requests") ---- */

/* ping */
PRSERV_API PRSERV_CHECK int prserv_ping(struct prserv *server, struct prserv_error *error);

/* get-pr. *revision is the caller's (free). */
PRSERV_API PRSERV_CHECK int prserv_get_pr(struct prserv *server, struct prserv_text version,
    struct prserv_text pkgarch, struct prserv_text checksum, bool history, char **revision,
    struct prserv_error *error);

/* test-pr. *revision is the caller's (free); NULL: the checksum is not known. */
PRSERV_API PRSERV_CHECK int prserv_test_pr(struct prserv *server, struct prserv_text version,
    struct prserv_text pkgarch, struct prserv_text checksum, bool history, char **revision,
    struct prserv_error *error);

/* test-package */
PRSERV_API PRSERV_CHECK int prserv_test_package(struct prserv *server, struct prserv_text version,
    struct prserv_text pkgarch, bool *known, struct prserv_error *error);

/* max-package-pr. *revision is the caller's (free); NULL: the package is not known. */
PRSERV_API PRSERV_CHECK int prserv_max_package_pr(struct prserv *server, struct prserv_text version,
    struct prserv_text pkgarch, char **revision, struct prserv_error *error);

/* import-one. PRSERV_ERROR_REFUSED also where the server is read-only, _ARGUMENT where the
 * row has no value. */
PRSERV_API PRSERV_CHECK int prserv_import_one(
    struct prserv *server, const struct prserv_row *row, struct prserv_error *error);

/* is-readonly */
PRSERV_API PRSERV_CHECK int prserv_is_readonly(
    struct prserv *server, bool *read_only, struct prserv_error *error);

/* get-stats: *json is the caller's (free), the answer as it came. */
PRSERV_API PRSERV_CHECK int prserv_get_stats(
    struct prserv *server, char **json, struct prserv_error *error);

/* ---- export ---- */

struct prserv_export {
    struct prserv_text version; /* filters: empty (a zeroed struct) means all */
    struct prserv_text pkgarch;
    struct prserv_text checksum;
    bool history; /* every row, not only those with a package's greatest value */
    bool colinfo; /* ask for metainfo too */
    /* A row, borrowed until it returns; 0 to go on. */
    int (*row)(void *context, const struct prserv_row *row);
    /* NULL, or called once, by prservd's order before the rows, with metainfo as JSON
     * text, borrowed likewise; 0 to go on. */
    int (*metainfo)(void *context, struct prserv_text json);
    void *context;
};

/* export, row by row, in constant memory. The timeout counts from piece to piece of the
 * answer, without the time that callbacks take. Rows that came before an error have been
 * handed on. */
PRSERV_API PRSERV_CHECK int prserv_export(
    struct prserv *server, const struct prserv_export *export_, struct prserv_error *error);

/* ---- many requests at once ---- */

/* One of a batch: a get-pr if row.value.bytes is NULL, otherwise an import-one. */
struct prserv_request {
    struct prserv_row row;
    bool history;              /* get-pr */
    char *revision;            /* get-pr: the answer, the caller's (free); NULL on error */
    struct prserv_error error; /* of this request: code 0 if it was done */
};

/* Sends them without waiting in between, and reads the answers; the server does them in
 * order. Returns 0 if every request was answered, be it with a refusal, or could not be
 * asked (its error says so, the others go on); otherwise what broke the connection, and
 * requests without an answer have that error too. */
PRSERV_API PRSERV_CHECK int prserv_batch(struct prserv *server, struct prserv_request *requests,
    size_t n_requests, struct prserv_error *error);

#ifdef __cplusplus
}
#endif

#endif
