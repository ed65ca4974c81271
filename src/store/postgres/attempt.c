/* SPDX-License-Identifier: MIT */
/* Connecting: a thread for each attempt, because libpq and the resolver block for any time while
 * they connect.
 *
 *     begin ──→ under way ──→ over ──take──→ its connection is the taker's
 *                   │           └─abandon──→ closed by the last one to let go
 *                   └──abandon──→ goes on alone, closes its connection
 *
 * The caller tries again to reach a server that can't be reached (connect.c). A server that is up
 * and refuses (no such database, a wrong password) is hopeless at the start of prservd. Later, an
 * attempt fails for good if all servers say that the database or the role does not exist, or that
 * the role may not connect. */
#include "store/postgres/postgres.h"

#include "base/clock.h"
#include "base/thread.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_S "3"     /* for each host */
#define DIAGNOSIS_MS 2000 /* for finding out why a connection was refused */
#define SESSION_MS 5000   /* for setting up the session */

struct postgres_attempt {
    char *conninfo;
    struct connect_params params;
    char name[POSTGRES_NAME_BYTES];
    pthread_t thread;
    struct connect_result result; /* the thread's, until is_over */
    pthread_mutex_t mutex;        /* guards what follows */
    pthread_cond_t changed;
    int holders; /* the thread, and the caller of begin */
    bool is_over;
};

static void postgres_attempt_let_go(struct postgres_attempt *attempt)
{
    bool is_last;

    (void)pthread_mutex_lock(&attempt->mutex);
    is_last = --attempt->holders == 0;
    (void)pthread_mutex_unlock(&attempt->mutex);
    if (!is_last)
        return;
    PQfinish(attempt->result.connection);
    (void)pthread_cond_destroy(&attempt->changed);
    (void)pthread_mutex_destroy(&attempt->mutex);
    free(attempt->conninfo);
    free(attempt);
}

/* ---- the thread ---- */

/* Returns false for a URI with a password that has @ or / in it: libpq would take parts of it for
 * the address, which is shown to people. */
static bool postgres_attempt_is_unambiguous(const char *conninfo)
{
    const char *begin = strstr(conninfo, "://");
    size_t length;
    const char *at;

    if (!begin || strncmp(conninfo, "postgres", strlen("postgres")) != 0)
        return true;
    begin += strlen("://");
    length = strcspn(begin, "?");
    at = memchr(begin, '@', length);
    return !at || (!memchr(begin, '/', (size_t)(at - begin)) &&
                      !memchr(at + 1, '@', length - (size_t)(at + 1 - begin)));
}

/* Checks the port and host of a connection string for parts of a password. */
static bool postgres_attempt_is_good_part(const PQconninfoOption *part)
{
    const char *at;

    if (part->val && strcmp(part->keyword, "port") == 0)
        return part->val[strspn(part->val, "0123456789,")] == '\0';
    if (!part->val || strcmp(part->keyword, "host") != 0)
        return true;
    at = strchr(part->val, '@'); /* a host may begin with it: a socket without a file */
    return !at || at == part->val || at[-1] == ',';
}

/* libpq's own message would show the text, and with it a password. */
int postgres_check_conninfo(const char *conninfo, struct error *error)
{
    PQconninfoOption *parts = PQconninfoParse(conninfo, NULL);
    bool is_good = parts && postgres_attempt_is_unambiguous(conninfo);

    for (const PQconninfoOption *part = parts; part && part->keyword; part++)
        is_good = is_good && postgres_attempt_is_good_part(part);
    PQconninfoFree(parts);
    return is_good ? 0
                   : error_set(error, ERROR_STORE,
                         "the name of the database is not a URI or connection string of libpq "
                         "(not shown: a password may be in it); in a URI the characters @ : / %% ? "
                         "# of a password are written %%40 %%3A %%2F %%25 %%3F %%23");
}

/* Returns whether a server takes connections. True also if that can't be tried at all, for example
 * because its certificate is wrong. */
static bool postgres_attempt_is_up(const char *conninfo)
{
    static const char *const names[] = {"connect_timeout", "dbname", "sslmode", NULL};
    const char *values[] = {CONNECT_S, conninfo, "prefer", NULL};
    PGPing ping = PQpingParams(names, values, 1);

    return ping == PQPING_OK || ping == PQPING_NO_ATTEMPT;
}

/* Returns whether a connection succeeds if a standby is good enough. */
static bool postgres_attempt_is_open(const char *conninfo)
{
    static const struct postgres_hosts all = {.hosts = NULL};
    PGconn *connection = postgres_hosts_connect(&all, conninfo, "any");
    bool is_connected = PQstatus(connection) == CONNECTION_OK;

    PQfinish(connection);
    return is_connected;
}

/* Returns whether a server refuses us: it was up before and after a connection failed. A server
 * that is up only afterwards may have been starting. */
static bool postgres_attempt_is_refused(const char *conninfo)
{
    return postgres_attempt_is_up(conninfo) && !postgres_attempt_is_open(conninfo) &&
           postgres_attempt_is_up(conninfo);
}

/* Goes on with a connection until it is made, or has failed, or takes too long. */
static void postgres_attempt_poll(PGconn *connection)
{
    const uint64_t until_ms = clock_ms() + DIAGNOSIS_MS;
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;

    while (PQstatus(connection) != CONNECTION_BAD &&
           (status == PGRES_POLLING_READING || status == PGRES_POLLING_WRITING)) {
        const uint64_t now_ms = clock_ms();
        struct pollfd socket = {
            .fd = PQsocket(connection),
            .events = status == PGRES_POLLING_READING ? POLLIN : POLLOUT,
        };

        if (now_ms >= until_ms || poll(&socket, 1, (int)(until_ms - now_ms)) <= 0)
            return;
        status = PQconnectPoll(connection);
    }
}

/* Returns whether a SQLSTATE says that the database or the role does not exist, or that the role
 * may not connect. */
static bool postgres_attempt_is_final(const char *state)
{
    return strncmp(state, "28", 2) == 0 || strncmp(state, "3D000", 5) == 0 ||
           strncmp(state, "42501", 5) == 0;
}

/* Returns whether another attempt is in vain: each host has answered, and refuses for good.
 * Connects again, because libpq shows the SQLSTATE only if it is told to before. */
static bool postgres_attempt_is_in_vain(const char *conninfo)
{
    static const char failed[] = " failed: ";
    static const struct postgres_hosts all = {.hosts = NULL};
    PGconn *connection = postgres_hosts_begin_connecting(&all, conninfo, "any");
    const char *message;
    bool in_vain = false;

    if (!connection)
        return false;
    (void)PQsetErrorVerbosity(connection, PQERRORS_SQLSTATE);
    postgres_attempt_poll(connection);
    message = PQerrorMessage(connection);
    while ((message = strstr(message, failed))) {
        message += strlen(failed);
        in_vain = strncmp(message, "FATAL:  ", 8) == 0 && postgres_attempt_is_final(message + 8);
        if (!in_vain)
            break;
    }
    PQfinish(connection);
    return in_vain;
}

static void postgres_attempt_fail_to_connect(struct postgres_attempt *attempt)
{
    const bool is_startup = attempt->params.is_startup;
    struct connect_result *result = &attempt->result;
    char line[400];

    postgres_one_line(PQerrorMessage(result->connection), line);
    result->result = error_set(&result->error, ERROR_LOCKED, "can't connect to the database %s: %s",
        attempt->name, line[0] ? line : "no memory");
    result->is_hopeless = is_startup && postgres_attempt_is_refused(attempt->conninfo);
    if (!is_startup && strstr(line, "FATAL") && postgres_attempt_is_in_vain(attempt->conninfo))
        result->result = ERROR_STORE;
}

static void postgres_attempt_ignore_notice(void *context, const PGresult *result)
{
    (void)context;
    (void)result;
}

/* Sets up the session of a new connection. */
static void postgres_attempt_set_up(struct postgres_attempt *attempt)
{
    struct connect_result *result = &attempt->result;
    struct postgres_conn conn = {
        .connection = result->connection,
        .name = attempt->name,
        .until_ms = clock_ms() + SESSION_MS,
    };

    result->result = postgres_conn_attach(&conn, &result->error);
    if (result->result == 0)
        result->result = postgres_pooler_check(&conn, attempt->conninfo, &result->error);
    if (result->result == 0)
        result->result =
            postgres_prepare_session(&conn, &attempt->params, &result->session, &result->error);
    result->session.backend_pid = conn.backend_pid;
    result->is_hopeless = result->result != 0 && result->result != ERROR_LOCKED;
    /* conn ends here */
    (void)PQsetNoticeReceiver(result->connection, postgres_attempt_ignore_notice, NULL);
}

/* Ends a commit that waits for a standby. Its process in the database would go on waiting, and the
 * next attempt would add another one. */
static void postgres_attempt_cancel(PGconn *connection)
{
    char ignored[256];
    PGcancel *cancel = PQgetCancel(connection);

    if (cancel)
        (void)PQcancel(cancel, ignored, sizeof ignored);
    PQfreeCancel(cancel);
}

/* Connects to one of the hosts. Returns whether to go on with the others, which remain in hosts. */
static bool postgres_attempt_connect(struct postgres_attempt *attempt, struct postgres_hosts *hosts)
{
    struct connect_result *result = &attempt->result;
    bool has_others = false;

    result->result = 0;
    result->session = (struct postgres_session){.has_tables = false};
    result->connection = postgres_hosts_connect(hosts, attempt->conninfo, NULL);
    if (PQstatus(result->connection) != CONNECTION_OK) {
        postgres_attempt_fail_to_connect(attempt);
    } else {
        postgres_attempt_set_up(attempt);
        if (result->session.is_unproven)
            postgres_attempt_cancel(result->connection);
        if (result->result == ERROR_LOCKED)
            has_others = postgres_hosts_leave_out(hosts, result->connection);
    }
    if (result->result != 0) {
        PQfinish(result->connection);
        result->connection = NULL;
    }
    return has_others;
}

static void *postgres_attempt_run(void *context)
{
    struct postgres_attempt *attempt = context;
    struct postgres_hosts hosts = {.hosts = NULL};

    if (postgres_attempt_connect(attempt, &hosts)) {
        const struct error first = attempt->result.error;

        while (postgres_attempt_connect(attempt, &hosts)) {
            /* the next of the other hosts */
        }
        if (attempt->result.result == ERROR_LOCKED)
            attempt->result.error = first;
    }
    postgres_hosts_free(&hosts);
    (void)pthread_mutex_lock(&attempt->mutex);
    attempt->is_over = true;
    (void)pthread_cond_signal(&attempt->changed);
    (void)pthread_mutex_unlock(&attempt->mutex);
    postgres_attempt_let_go(attempt);
    return NULL;
}

/* ---- the caller's side ---- */

int postgres_attempt_begin(
    struct postgres_attempt **begun, const struct connect_params *params, struct error *error)
{
    struct postgres_attempt *attempt = calloc(1, sizeof *attempt);
    pthread_condattr_t attributes;
    int result;

    *begun = NULL;
    if (attempt)
        attempt->conninfo = strdup(params->conninfo);
    if (!attempt || !attempt->conninfo) {
        free(attempt);
        return error_set_memory(error);
    }
    attempt->params = *params;
    attempt->params.conninfo = attempt->conninfo;
    attempt->holders = 2;
    postgres_name(attempt->conninfo, attempt->name, sizeof attempt->name);
    (void)pthread_mutex_init(&attempt->mutex, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&attempt->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    result = thread_start(
        &attempt->thread, postgres_attempt_run, attempt, "a connection to the database", error);
    if (result != 0) {
        attempt->holders = 1;
        postgres_attempt_let_go(attempt);
        return ERROR_LOCKED; /* another try may succeed */
    }
    *begun = attempt;
    return 0;
}

bool postgres_attempt_take(
    struct postgres_attempt *attempt, uint64_t until_ms, struct connect_result *connect_result)
{
    const struct timespec until = {
        .tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000) * 1000000};
    bool is_over;
    int timed_out = 0;

    (void)pthread_mutex_lock(&attempt->mutex);
    while (!attempt->is_over && timed_out == 0)
        timed_out = pthread_cond_timedwait(&attempt->changed, &attempt->mutex, &until);
    is_over = attempt->is_over;
    if (is_over) {
        *connect_result = attempt->result;
        attempt->result.connection = NULL;
    }
    (void)pthread_mutex_unlock(&attempt->mutex);
    if (is_over) { /* joining also frees what the libraries of libpq keep for the thread */
        (void)pthread_join(attempt->thread, NULL);
        postgres_attempt_let_go(attempt);
    }
    return is_over;
}

void postgres_attempt_abandon(struct postgres_attempt *attempt)
{
    if (!attempt)
        return;
    (void)pthread_detach(attempt->thread);
    postgres_attempt_let_go(attempt);
}
