/* A connection of libpq that is never waited for without an end.
 *
 * libpq does not block here: this file polls its socket, in slices, so that the end of a wait, or
 * of the server, is noticed. When a wait ends without an answer, nobody knows what the database
 * still does with the question: the link is broken then, and the connection is only good for
 * closing.
 *
 * What an error means is told by its SQLSTATE: some go away by themselves (the database restarts,
 * another server has the lock, a transaction was chosen to give way), the same can be tried again
 * then; others do not. */
#include "store/postgres.h"

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

int postgres_lost(struct postgres_link *link, struct error *error)
{
    char line[400];

    link->is_broken = true;
    postgres_one_line(PQerrorMessage(link->connection), line);
    return error_set(error, ERROR_LOCKED, "the connection to the database %s is lost: %s",
        link->name, line[0] ? line : "it was closed");
}

/* ---- notices ---- */

/* A commit that was kept from waiting for the standby succeeds, with a warning. */
static void notice(void *context, const PGresult *result)
{
    struct postgres_link *link = context;
    const char *source = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);
    char line[400];

    if (source && strcmp(source, "SyncRepWaitForLSN") == 0)
        link->is_doubtful = true;
    if (!link->log)
        return;
    postgres_one_line(PQresultErrorMessage(result), line);
    log_often(link->log, LOG_WARNING, "The database %s says: %s", link->name, line);
}

int postgres_link_attach(struct postgres_link *link, struct error *error)
{
    (void)PQsetNoticeReceiver(link->connection, notice, link);
    if (PQsetnonblocking(link->connection, 1) != 0)
        return postgres_lost(link, error);
    return 0;
}

/* ---- waiting ---- */

static uint64_t end_of(const struct postgres_link *link)
{
    uint64_t give_up_ms = link->give_up_ms ? atomic_load(link->give_up_ms) : UINT64_MAX;

    return link->until_ms < give_up_ms ? link->until_ms : give_up_ms;
}

/* Waits until the socket can be read, or also written to. */
static int wait_for_socket(struct postgres_link *link, bool writes, struct error *error)
{
    struct pollfd socket = {
        .fd = PQsocket(link->connection),
        .events = (short)(writes ? POLLIN | POLLOUT : POLLIN),
    };

    for (;;) {
        uint64_t now_ms = clock_ms();
        uint64_t end_ms = end_of(link);

        if (now_ms >= end_ms) {
            link->is_broken = true;
            return error_set(error, ERROR_LOCKED,
                "the database %s does not answer; it is down, overloaded, or waits for a standby",
                link->name);
        }
        if (poll(&socket, 1, end_ms - now_ms < SLICE_MS ? (int)(end_ms - now_ms) : SLICE_MS) > 0)
            return 0;
    }
}

static int flush(struct postgres_link *link, struct error *error)
{
    int left;

    while ((left = PQflush(link->connection)) == 1) {
        int result = wait_for_socket(link, true, error);

        if (result != 0)
            return result;
        if (PQconsumeInput(link->connection) != 1)
            return postgres_lost(link, error);
    }
    return left == 0 ? 0 : postgres_lost(link, error);
}

int postgres_next(struct postgres_link *link, PGresult **result, struct error *error)
{
    *result = NULL;
    while (PQisBusy(link->connection)) {
        int code = flush(link, error);

        if (code == 0)
            code = wait_for_socket(link, false, error);
        if (code != 0)
            return code;
        if (PQconsumeInput(link->connection) != 1)
            return postgres_lost(link, error);
    }
    *result = PQgetResult(link->connection);
    if (!*result && PQstatus(link->connection) != CONNECTION_OK)
        return postgres_lost(link, error);
    return 0;
}

/* ---- what results say ---- */

struct meaning {
    const char *state; /* how an SQLSTATE begins */
    int code;
    bool breaks; /* the connection is better given up */
    const char *advice;
};

/* The first that fits. */
static const struct meaning meanings[] = {
    {"40", ERROR_LOCKED, false, "another transaction came first"},
    {"55P03", ERROR_LOCKED, false, "another session holds it"},
    {"57014", ERROR_LOCKED, false, "it took too long"},
    {"25006", ERROR_LOCKED, true, "it is a standby now; the primary is wanted"},
    {"25P0", ERROR_LOCKED, true, "this server was too slow"},
    {"53100", ERROR_STORE, false, "its disk is full: free some space"},
    {"53", ERROR_LOCKED, true, "it is overloaded"},
    {"57P", ERROR_LOCKED, true, "it is restarted"},
    {"08", ERROR_LOCKED, true, "the connection broke"},
    {"26", ERROR_LOCKED, true, "a session is needed: a pooler must not share it"},
    {"58", ERROR_STORE, true, "its disk or its files fail"},
    {"42501", ERROR_STORE, false, "this role may not: see postgres.sql for what to grant"},
    {"42", ERROR_STORE, true, "its tables are not those of prservd: see postgres.sql"},
    {"54", ERROR_INPUT, false, "it is too large for the database"},
    {"22", ERROR_INPUT, false, "the database can't hold it"},
};

static const struct meaning *meaning_of(const char *state)
{
    static const struct meaning other = {"", ERROR_STORE, false, "nothing was stored"};

    for (size_t i = 0; state && i < sizeof meanings / sizeof *meanings; i++) {
        if (strncmp(state, meanings[i].state, strlen(meanings[i].state)) == 0)
            return &meanings[i];
    }
    return &other;
}

int postgres_check(struct postgres_link *link, const PGresult *result, struct error *error)
{
    const struct meaning *meaning;
    char line[400];

    switch (PQresultStatus(result)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_SINGLE_TUPLE:
    case PGRES_PIPELINE_SYNC:
    case PGRES_COPY_IN:
        return 0;
    default:
        break;
    }
    if (!PQresultErrorField(
            result, PG_DIAG_SQLSTATE)) /* libpq's own: the connection's, or memory */
        return postgres_lost(link, error);
    meaning = meaning_of(PQresultErrorField(result, PG_DIAG_SQLSTATE));
    link->is_broken = link->is_broken || meaning->breaks;
    postgres_one_line(PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY), line);
    return error_set(error, meaning->code, "the database %s says: %.200s (%s); %s", link->name,
        line, PQresultErrorField(result, PG_DIAG_SQLSTATE), meaning->advice);
}

/* ---- running ---- */

int postgres_run(
    struct postgres_link *link, const char *sql, PGresult **result, struct error *error)
{
    PGresult *last = NULL;
    PGresult *next;
    int code = PQsendQuery(link->connection, sql) == 1 ? 0 : postgres_lost(link, error);
    int failure = 0;

    while (code == 0 && (code = postgres_next(link, &next, error)) == 0 && next) {
        PQclear(last);
        last = next;
        if (failure == 0)
            failure = postgres_check(link, last, error);
    }
    code = code ? code : failure;
    if (code != 0 || !result) {
        PQclear(last);
        last = NULL;
    }
    if (result)
        *result = last;
    return code;
}

/* One statement's result, which is followed by a NULL. */
static int take_result(struct postgres_link *link, PGresult **result, struct error *error)
{
    PGresult *end = NULL;
    int code = postgres_next(link, result, error);

    if (code == 0 && *result)
        code = postgres_next(link, &end, error);
    PQclear(end);
    return code;
}

int postgres_pipeline(struct postgres_link *link, PGresult **results, size_t n, struct error *error)
{
    PGresult *sync = NULL;
    int failure = 0;
    int code = 0;

    for (size_t i = 0; i < n; i++)
        results[i] = NULL;
    if (PQpipelineSync(link->connection) != 1)
        return postgres_lost(link, error);
    for (size_t i = 0; i < n && code == 0; i++) {
        code = take_result(link, &results[i], error);
        if (code == 0 && failure == 0)
            failure = postgres_check(link, results[i], error);
    }
    if (code == 0)
        code = postgres_next(link, &sync, error);
    if (code == 0 && PQresultStatus(sync) != PGRES_PIPELINE_SYNC)
        code = postgres_lost(link, error);
    PQclear(sync);
    return code ? code : failure;
}
