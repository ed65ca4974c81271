/* SPDX-License-Identifier: MIT */
/* A connection of libpq on which every wait has an end.
 *
 * libpq does not block here: this file polls its socket, in slices, so that it notices the end of a
 * wait and of the server. When a wait ends without a reply, the database may still be working on
 * the statement: the connection is marked as broken, and only good for closing.
 *
 * The SQLSTATE of an error says what it means: some errors go away by themselves (the database
 * restarts, another server has the lock, a transaction was chosen to give way), so that another try
 * may succeed; others do not. */
#include "store/postgres/postgres.h"

#include "base/clock.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define SLICE_MS 50

void postgres_one_line(const char *message, char line[400])
{
    size_t length = 0;

    for (; *message && length < 398; message++) {
        bool is_break = *message == '\n' || *message == '\t';

        if (!is_break)
            line[length++] = *message;
        else if (length > 0 && line[length - 1] != ' ')
            line[length++] = ' ';
    }
    while (length > 0 && line[length - 1] == ' ')
        length--;
    line[length] = '\0';
}

int postgres_lost(struct postgres_conn *conn, struct error *error)
{
    char line[400];

    conn->is_broken = true;
    postgres_one_line(PQerrorMessage(conn->connection), line);
    return error_set(error, ERROR_LOCKED, "the connection to the database %s is lost: %s",
        conn->name, line[0] ? line : "it was closed");
}

/* ---- notices ---- */

/* Called by libpq. A commit that was kept from waiting for the standby succeeds with a warning. */
static void postgres_conn_notice(void *context, const PGresult *reply)
{
    struct postgres_conn *conn = context;
    const char *source = PQresultErrorField(reply, PG_DIAG_SOURCE_FUNCTION);
    char line[400];

    if (source && strcmp(source, "SyncRepWaitForLSN") == 0)
        conn->is_doubtful = true;
    if (!conn->log)
        return;
    postgres_one_line(PQresultErrorMessage(reply), line);
    log_often(conn->log, LOG_WARNING, "The database %s says: %s", conn->name, line);
}

int postgres_conn_attach(struct postgres_conn *conn, struct error *error)
{
    (void)PQsetNoticeReceiver(conn->connection, postgres_conn_notice, conn);
    if (PQsetnonblocking(conn->connection, 1) != 0)
        return postgres_lost(conn, error);
    return 0;
}

/* ---- waiting ---- */

static uint64_t postgres_conn_end_ms(const struct postgres_conn *conn)
{
    uint64_t deadline_ms =
        conn->read_deadline_ms ? atomic_load(conn->read_deadline_ms) : UINT64_MAX;

    return conn->until_ms < deadline_ms ? conn->until_ms : deadline_ms;
}

/* Waits until the socket is readable, or, if writes, also until it is writable. */
static int postgres_conn_wait_for_socket(
    struct postgres_conn *conn, bool writes, struct error *error)
{
    struct pollfd socket = {
        .fd = PQsocket(conn->connection),
        .events = (short)(writes ? POLLIN | POLLOUT : POLLIN),
    };

    for (;;) {
        uint64_t now_ms = clock_ms();
        uint64_t end_ms = postgres_conn_end_ms(conn);

        if (now_ms >= end_ms) {
            conn->is_broken = true;
            return error_set(error, ERROR_LOCKED,
                "the database %s does not answer; it is down, overloaded, or waits for a standby",
                conn->name);
        }
        if (poll(&socket, 1, end_ms - now_ms < SLICE_MS ? (int)(end_ms - now_ms) : SLICE_MS) > 0)
            return 0;
    }
}

static int postgres_conn_flush(struct postgres_conn *conn, struct error *error)
{
    int left;

    while ((left = PQflush(conn->connection)) == 1) {
        int result = postgres_conn_wait_for_socket(conn, true, error);

        if (result != 0)
            return result;
        if (PQconsumeInput(conn->connection) != 1)
            return postgres_lost(conn, error);
    }
    return left == 0 ? 0 : postgres_lost(conn, error);
}

int postgres_next(struct postgres_conn *conn, PGresult **reply, struct error *error)
{
    *reply = NULL;
    while (PQisBusy(conn->connection)) {
        int result = postgres_conn_flush(conn, error);

        if (result == 0)
            result = postgres_conn_wait_for_socket(conn, false, error);
        if (result != 0)
            return result;
        if (PQconsumeInput(conn->connection) != 1)
            return postgres_lost(conn, error);
    }
    *reply = PQgetResult(conn->connection);
    if (!*reply && PQstatus(conn->connection) != CONNECTION_OK)
        return postgres_lost(conn, error);
    return 0;
}

/* ---- checking replies ---- */

/* The meaning of an SQLSTATE. */
struct meaning {
    const char *state; /* its first characters */
    int result;
    bool breaks; /* whether to give up the connection */
    const char *advice;
};

/* The first entry that fits counts. */
static const struct meaning meanings[] = {
    {"40", ERROR_LOCKED, false, "another transaction came first"},
    {"55P03", ERROR_LOCKED, false, "another session holds it"},
    {"57014", ERROR_LOCKED, false, "it took too long"},
    {"25006", ERROR_LOCKED, true, "it is a standby now; the primary is needed"},
    {"25P0", ERROR_LOCKED, true, "this server was too slow"},
    {"53100", ERROR_LOCKED, false, "its disk is full: free some space"},
    {"53", ERROR_LOCKED, true, "it is overloaded"},
    {"57P", ERROR_LOCKED, true, "it is restarting"},
    {"08", ERROR_LOCKED, true, "the connection broke"},
    {"26", ERROR_STORE, true, postgres_pooler_advice},
    {"42P05", ERROR_STORE, true, postgres_pooler_advice},
    {"23505", ERROR_STORE, false,
        "its sequence was not copied with the rows, so new packages can't be stored: "
        "run " POSTGRES_SETVAL},
    {"58", ERROR_STORE, true, "its disk or its files fail"},
    {"42501", ERROR_STORE, false, "this role lacks a right: see postgres.sql for what to grant"},
    {"42", ERROR_STORE, true, "its tables are not those of prservd: see postgres.sql"},
    {"54", ERROR_INPUT, false, "it is too large for the database"},
    {"22", ERROR_INPUT, false, "the database can't hold it"},
};

static const struct meaning *postgres_conn_meaning_of(const char *state)
{
    static const struct meaning other = {"", ERROR_STORE, false, "nothing was stored"};

    for (size_t i = 0; state && i < sizeof meanings / sizeof *meanings; i++) {
        if (strncmp(state, meanings[i].state, strlen(meanings[i].state)) == 0)
            return &meanings[i];
    }
    return &other;
}

int postgres_check(struct postgres_conn *conn, const PGresult *reply, struct error *error)
{
    const struct meaning *meaning;
    char line[400];

    switch (PQresultStatus(reply)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_SINGLE_TUPLE:
    case PGRES_PIPELINE_SYNC:
        return 0;
    default:
        break;
    }
    if (!PQresultErrorField(reply, PG_DIAG_SQLSTATE)) /* an error of libpq itself */
        return postgres_lost(conn, error);
    meaning = postgres_conn_meaning_of(PQresultErrorField(reply, PG_DIAG_SQLSTATE));
    conn->is_broken = conn->is_broken || meaning->breaks;
    postgres_one_line(PQresultErrorField(reply, PG_DIAG_MESSAGE_PRIMARY), line);
    return error_set(error, meaning->result, "the database %s says: %.200s (%s); %s", conn->name,
        line, PQresultErrorField(reply, PG_DIAG_SQLSTATE), meaning->advice);
}

/* ---- running ---- */

int postgres_finish(struct postgres_conn *conn, PGresult **reply, struct error *error)
{
    PGresult *last = NULL;
    PGresult *next;
    int failure = 0;
    int result;

    while ((result = postgres_next(conn, &next, error)) == 0 && next) {
        PQclear(last);
        last = next;
        if (failure == 0)
            failure = postgres_check(conn, last, error);
    }
    result = result != 0 ? result : failure;
    if (result != 0 || !reply) {
        PQclear(last);
        last = NULL;
    }
    if (reply)
        *reply = last;
    return result;
}

int postgres_run(struct postgres_conn *conn, const char *sql, PGresult **reply, struct error *error)
{
    if (reply)
        *reply = NULL;
    if (PQsendQuery(conn->connection, sql) != 1)
        return postgres_lost(conn, error);
    return postgres_finish(conn, reply, error);
}

/* Takes one statement's reply, which is followed by a NULL. */
static int postgres_conn_take_reply(
    struct postgres_conn *conn, PGresult **reply, struct error *error)
{
    PGresult *end = NULL;
    int result = postgres_next(conn, reply, error);

    if (result == 0 && *reply)
        result = postgres_next(conn, &end, error);
    PQclear(end);
    return result;
}

int postgres_pipeline_send(struct postgres_conn *conn, const bool *wanted, size_t n,
    int (*send)(void *context, size_t i, struct error *error), void *context, struct error *error)
{
    int result = 0;

    if (PQenterPipelineMode(conn->connection) != 1)
        return postgres_lost(conn, error);
    for (size_t i = 0; i < n && result == 0; i++) {
        if (wanted[i])
            result = send(context, i, error);
    }
    if (result == 0 && PQpipelineSync(conn->connection) != 1)
        result = postgres_lost(conn, error);
    conn->is_broken = conn->is_broken || result != 0;
    return result;
}

int postgres_pipeline_take(struct postgres_conn *conn, const bool *wanted, size_t n, bool checks,
    PGresult **replies, struct error *error)
{
    PGresult *sync = NULL;
    int failure = 0;
    int result = 0;

    for (size_t i = 0; i < n; i++)
        replies[i] = NULL;
    for (size_t i = 0; i < n && result == 0; i++) {
        if (!wanted[i])
            continue;
        result = postgres_conn_take_reply(conn, &replies[i], error);
        if (result == 0 && failure == 0 && checks)
            failure = postgres_check(conn, replies[i], error);
    }
    if (result == 0)
        result = postgres_next(conn, &sync, error);
    if (result == 0 && PQresultStatus(sync) != PGRES_PIPELINE_SYNC)
        result = postgres_lost(conn, error);
    PQclear(sync);
    result = result != 0 ? result : failure;
    if (result != 0)
        postgres_clear(replies, n);
    return result;
}

void postgres_pipeline_end(struct postgres_conn *conn)
{
    if (PQexitPipelineMode(conn->connection) != 1)
        conn->is_broken = true;
}

int postgres_pipeline(struct postgres_conn *conn, const bool *wanted, size_t n,
    int (*send)(void *context, size_t i, struct error *error), void *context, PGresult **replies,
    struct error *error)
{
    int result;

    for (size_t i = 0; i < n; i++)
        replies[i] = NULL;
    result = postgres_pipeline_send(conn, wanted, n, send, context, error);
    if (result == 0)
        result = postgres_pipeline_take(conn, wanted, n, true, replies, error);
    postgres_pipeline_end(conn);
    return result;
}

void postgres_clear(PGresult **replies, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        PQclear(replies[i]);
        replies[i] = NULL;
    }
}
