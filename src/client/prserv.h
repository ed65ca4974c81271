/* SPDX-License-Identifier: MIT */
/* libprserv: a client of PR servers.
 *
 *     struct prserv_error error;
 *     struct prserv *server;
 *     char *revision;
 *
 *     if (prserv_connect(&server, "127.0.0.1:8585", PRSERV_TIMEOUT_MS, &error) != 0 ||
 *         prserv_get_pr(server, prserv_text("m4-1.4.19-r0"), prserv_text("core2-64"),
 *             prserv_text(checksum), false, &revision, &error) != 0)
 *         fprintf(stderr, "%s\n", error.text);
 *     else
 *         puts(revision);
 *
 * doc/semantics.md defines what the requests mean, doc/protocol.md how they are sent.
 *
 * Threads: several threads may use a handle; their calls run one after the other. Different handles
 * are independent. Callbacks run on the caller's thread, during the call; they must not use the
 * same handle.
 *
 * Ownership: texts that are passed in are borrowed until the function returns. Texts that are
 * handed out belong to the caller, who frees them with free.
 *
 * Errors: functions return 0 or a negative PRSERV_ERROR_ code, and describe the failure in the
 * caller's struct prserv_error. On an error, a text that would have been handed out is NULL, and a
 * flag is unchanged. The handle stays usable:
 *
 *   - After PRSERV_ERROR_REFUSED and _ARGUMENT, it keeps its connection.
 *   - After _CONNECTION, _TIMEOUT, _PROTOCOL and _MEMORY, and after _STOPPED in the middle of an
 *     export, the connection is closed, and the next call opens another one. The server may have
 *     carried out the request; repeating it is safe.
 *
 * If the server has closed the connection since the last call, because it was restarted, the next
 * call connects again. It fails only if that connection breaks, too. */
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
    PRSERV_ERROR_MEMORY = -1,     /* out of memory */
    PRSERV_ERROR_ARGUMENT = -2,   /* an invalid argument; nothing was sent */
    PRSERV_ERROR_CONNECTION = -3, /* connecting failed, or the connection broke */
    PRSERV_ERROR_TIMEOUT = -4,    /* no answer in time */
    PRSERV_ERROR_PROTOCOL = -5,   /* an invalid answer: perhaps this is not a PR server */
    PRSERV_ERROR_REFUSED = -6,    /* the server refused the request, for the reason in the
                                     text; or it gave no revision, or another one than the
                                     one to be imported */
    PRSERV_ERROR_STOPPED = -7,    /* a callback stopped the export */
};

/* An error, owned by the caller. code is 0 or one of the above; text is one line, with the host,
 * the request and the reason. */
struct prserv_error {
    int code;
    char text[512];
};

/* A text in UTF-8, which may contain NULs; not terminated. Always borrowed. */
struct prserv_text {
    const char *bytes;
    size_t length;
};

/* Returns the text of a C string, which must not be NULL. */
static inline struct prserv_text prserv_text(const char *string)
{
    struct prserv_text text;

    text.bytes = string;
    text.length = strlen(string);
    return text;
}

/* A row of the server's table: the revision of a content. */
struct prserv_row {
    struct prserv_text version;
    struct prserv_text pkgarch;
    struct prserv_text checksum;
    struct prserv_text
        value; /* bytes is NULL in a row without a value, which another program wrote */
};

/* A handle for a server. */
struct prserv;

/* ---- connecting ---- */

/* The timeout for most callers, 120 s: a server may make a request wait for 90 s and more, for an
 * upstream or a database that is away (doc/semantics.md). A program that only checks whether the
 * server answers uses less. */
#define PRSERV_TIMEOUT_MS 120000u

/* Connects to "host:port", "[v6]:port", "tls://host:port" or "unix:///path". timeout_ms, usually
 * PRSERV_TIMEOUT_MS, limits the time for connecting, and later for each answer. Resolving a name is
 * not counted; its addresses, which are tried one after the other, share the time. *server is the
 * caller's (prserv_close), or NULL on error. */
PRSERV_API PRSERV_CHECK int prserv_connect(
    struct prserv **server, const char *address, unsigned timeout_ms, struct prserv_error *error);

/* Names of PEM files for addresses with tls://, borrowed for the call. For a name that is NULL the
 * environment is asked: PRSERV_TLS_CA, PRSERV_TLS_CERT, PRSERV_TLS_KEY. */
struct prserv_tls {
    const char *ca;          /* who signs the server's certificate; not given: the system's CAs */
    const char *certificate; /* what is shown to the server; not given: nothing */
    const char *key;         /* not given: it is in the file of the certificate */
};

/* Connects as prserv_connect does, which takes all names from the environment. Fails with
 * PRSERV_ERROR_ARGUMENT if a file can't be used, also if others may read the key; with _CONNECTION
 * if the server's certificate is not accepted or not for that host. */
PRSERV_API PRSERV_CHECK int prserv_connect_tls(struct prserv **server, const char *address,
    const struct prserv_tls *tls, unsigned timeout_ms, struct prserv_error *error);

/* Closes the connection and frees the handle. NULL is allowed. No other thread may use the handle.
 */
PRSERV_API void prserv_close(struct prserv *server);

/* Sets the timeout of the calls that follow. Waits for a call of another thread. */
PRSERV_API void prserv_set_timeout(struct prserv *server, unsigned timeout_ms);

/* The longest time that most callers give an export, one hour. */
#define PRSERV_EXPORT_MS 3600000u

/* Sets the longest time for each export that follows, its callbacks included: an answer that never
 * ends fails with PRSERV_ERROR_TIMEOUT then. PRSERV_EXPORT_MS at first; 0: no limit. Waits for a
 * call of another thread. */
PRSERV_API void prserv_set_export_time(struct prserv *server, unsigned longest_ms);

/* Returns the address as it appears in errors, borrowed as long as the handle exists. Does not
 * wait for another thread. */
PRSERV_API const char *prserv_address(const struct prserv *server);

/* Sends a header with each connection that is opened from now on; an open one is closed. The audit
 * log of the server keeps it with each revision that is given. name: "build-host", "build-name",
 * "machine", "distro" or "layers". value is copied, and cut by the server after 1,024 bytes. Fails
 * with PRSERV_ERROR_ARGUMENT if the name is another one, or if the value has control characters or
 * is longer than 8,000 bytes. */
PRSERV_API PRSERV_CHECK int prserv_annotate(
    struct prserv *server, const char *name, const char *value, struct prserv_error *error);

/* ---- single requests (doc/protocol.md, "Requests") ---- */

/* Sends a ping. */
PRSERV_API PRSERV_CHECK int prserv_ping(struct prserv *server, struct prserv_error *error);

/* Sends a get-pr: the revision of this content, which is stored if it is new. *revision is the
 * caller's (free). */
PRSERV_API PRSERV_CHECK int prserv_get_pr(struct prserv *server, struct prserv_text version,
    struct prserv_text pkgarch, struct prserv_text checksum, bool history, char **revision,
    struct prserv_error *error);

/* Sends a test-pr: the revision of this content, if it is stored. *revision is the caller's (free);
 * NULL means that the checksum was not found. */
PRSERV_API PRSERV_CHECK int prserv_test_pr(struct prserv *server, struct prserv_text version,
    struct prserv_text pkgarch, struct prserv_text checksum, bool history, char **revision,
    struct prserv_error *error);

/* Sends a test-package: whether the package has any row. */
PRSERV_API PRSERV_CHECK int prserv_test_package(struct prserv *server, struct prserv_text version,
    struct prserv_text pkgarch, bool *known, struct prserv_error *error);

/* Sends a max-package-pr: the greatest revision of a package. *revision is the caller's (free);
 * NULL means that the package was not found. */
PRSERV_API PRSERV_CHECK int prserv_max_package_pr(struct prserv *server, struct prserv_text version,
    struct prserv_text pkgarch, char **revision, struct prserv_error *error);

/* Sends an import-one: stores a row. Fails with PRSERV_ERROR_REFUSED also if the server is
 * read-only, and with _ARGUMENT if the row has no value. */
PRSERV_API PRSERV_CHECK int prserv_import_one(
    struct prserv *server, const struct prserv_row *row, struct prserv_error *error);

/* Sends an is-readonly. */
PRSERV_API PRSERV_CHECK int prserv_is_readonly(
    struct prserv *server, bool *read_only, struct prserv_error *error);

/* Sends a get-stats. *json is the answer as it arrived, the caller's (free). */
PRSERV_API PRSERV_CHECK int prserv_get_stats(
    struct prserv *server, char **json, struct prserv_error *error);

/* ---- the audit log (doc/protocol.md, "get-log", "get-why", "get-churn") ---- */

/* Which records of the audit log are wanted, and where to. */
struct prserv_log {
    struct prserv_text version; /* filters; empty, as in a zeroed struct, means all */
    struct prserv_text pkgarch; /* only with version */
    long long since;            /* seconds since 1970; 0: all */
    bool forward;               /* those behind the record after, the oldest first */
    long long after;            /* an id, with forward */
    long long limit;            /* -1: all; 0: the server's usual number */
    /* Called with each record, a JSON object. Returns 0 to go on; anything else ends the call with
     * PRSERV_ERROR_STOPPED. */
    int (*record)(void *context, struct prserv_text json);
    void *context;
    long long last; /* set: the greatest id of the audit log */
};

/* Sends a get-log. */
PRSERV_API PRSERV_CHECK int prserv_get_log(
    struct prserv *server, struct prserv_log *wanted, struct prserv_error *error);

/* Sends a get-why. *json is the answer as it arrived, the caller's (free). */
PRSERV_API PRSERV_CHECK int prserv_get_why(struct prserv *server, struct prserv_text version,
    struct prserv_text pkgarch, char **json, struct prserv_error *error);

/* Sends a get-churn. since and limit are those of struct prserv_log. *json is the answer as it
 * arrived, the caller's (free). */
PRSERV_API PRSERV_CHECK int prserv_get_churn(struct prserv *server, long long since,
    long long limit, char **json, struct prserv_error *error);

/* ---- export ---- */

/* What to export, and where to. */
struct prserv_export {
    struct prserv_text version; /* filters; empty, as in a zeroed struct, means all */
    struct prserv_text pkgarch;
    struct prserv_text checksum;
    bool history; /* all rows, not only those with the greatest value of their package */
    bool colinfo; /* ask for column info, in metainfo */
    /* Called for each row, which is borrowed until it returns. Returns 0 to go on. */
    int (*row)(void *context, const struct prserv_row *row);
    /* NULL, or called once with metainfo as JSON text, borrowed until it returns; prservd sends
     * it before the rows. Returns 0 to go on. */
    int (*metainfo)(void *context, struct prserv_text json);
    void *context;
};

/* Sends an export, and hands on its rows while they arrive, in constant memory. The timeout applies
 * to each piece of the answer, without the time that callbacks take; prserv_set_export_time limits
 * the whole. Rows that arrived before an error have been handed on. */
PRSERV_API PRSERV_CHECK int prserv_export(
    struct prserv *server, const struct prserv_export *wanted, struct prserv_error *error);

/* ---- batches ---- */

/* A request of a batch: a get-pr if row.value.bytes is NULL, otherwise an import-one. */
struct prserv_request {
    struct prserv_row row;
    bool history;              /* get-pr only */
    char *revision;            /* the answer to a get-pr, the caller's (free); NULL on error */
    struct prserv_error error; /* of this request; its code is 0 on success */
};

/* Sends requests without waiting in between, and reads the answers. The server carries them out in
 * their order. Returns 0 if each request was answered, possibly with a refusal, or was invalid; its
 * own error says so. Otherwise returns the error of the connection, which all requests without an
 * answer have, too. */
PRSERV_API PRSERV_CHECK int prserv_batch(struct prserv *server, struct prserv_request *requests,
    size_t n_requests, struct prserv_error *error);

/* A max-package-pr of a batch. */
struct prserv_package {
    struct prserv_text version;
    struct prserv_text pkgarch;
    char *revision;            /* the greatest, the caller's (free); NULL: not found, or an error */
    struct prserv_error error; /* of this request; its code is 0 on success */
};

/* Sends a max-package-pr for each package, many without waiting in between, and reads the answers.
 * Returns as prserv_batch does. */
PRSERV_API PRSERV_CHECK int prserv_max_package_prs(struct prserv *server,
    struct prserv_package *packages, size_t n_packages, struct prserv_error *error);

#ifdef __cplusplus
}
#endif

#endif
