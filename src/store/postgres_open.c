/* Connecting: a thread for each attempt, because libpq's way to connect, and the resolver, block
 * as long as they like.
 *
 *     begin ──→ under way ──→ over ──take──→ its connection is the taker's
 *                   │           └─abandon──→ closed by whoever lets go last
 *                   └──abandon──→ goes on alone, closes what it gets
 *
 * A server that can't be reached is tried again by whoever wants it (postgres.c); one that is there
 * and refuses (no such database, a wrong password) is hopeless at the start of prservd. */
#include "store/postgres.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_S "3"            /* for each host */
#define SESSION_MS 5000          /* for all that comes after that */
#define SCHEMA_MS 30000          /* a lock, while others make the tables */
#define UNACKNOWLEDGED_MS "8000" /* TCP: then the connection is dead */

struct postgres_attempt {
    char *conninfo;
    struct postgres_aim aim;
    char name[POSTGRES_NAME_BYTES];
    pthread_t thread;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    int holders; /* the thread, and who began it */
    bool is_over;
    struct postgres_outcome outcome;
};

static void let_go(struct postgres_attempt *attempt)
{
    bool is_last;

    (void)pthread_mutex_lock(&attempt->mutex);
    is_last = --attempt->holders == 0;
    (void)pthread_mutex_unlock(&attempt->mutex);
    if (!is_last)
        return;
    PQfinish(attempt->outcome.connection);
    (void)pthread_cond_destroy(&attempt->changed);
    (void)pthread_mutex_destroy(&attempt->mutex);
    free(attempt->conninfo);
    free(attempt);
}

/* ---- the thread ---- */

/* The later counts: what conninfo says itself, but for the encoding, which is that of our texts. */
static PGconn *connect_to(const char *conninfo)
{
    static const char *const names[] = {"connect_timeout", "tcp_user_timeout", "keepalives_idle",
        "keepalives_interval", "keepalives_count", "gssencmode", "fallback_application_name",
        "dbname", "client_encoding", NULL};
    const char *values[] = {
        CONNECT_S, UNACKNOWLEDGED_MS, "5", "2", "2", "disable", "prservd", conninfo, "UTF8", NULL};

    return PQconnectdbParams(names, values, 1);
}

/* In a URI a password with a @ or / in it would be taken for parts of the address, which are shown
 * to people. */
static bool is_plain(const char *conninfo)
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

static bool is_good_part(const PQconninfoOption *part)
{
    const char *at;

    if (part->val && strcmp(part->keyword, "port") == 0)
        return part->val[strspn(part->val, "0123456789,")] == '\0';
    if (!part->val || strcmp(part->keyword, "host") != 0)
        return true;
    at = strchr(part->val, '@'); /* a host may begin with it: a socket without a file */
    return !at || at == part->val || at[-1] == ',';
}

/* libpq's own words for this show the text, and with it a password. */
int postgres_check_conninfo(const char *conninfo, struct error *error)
{
    PQconninfoOption *parts = PQconninfoParse(conninfo, NULL);
    bool is_good = parts && is_plain(conninfo);

    for (const PQconninfoOption *part = parts; part && part->keyword; part++)
        is_good = is_good && is_good_part(part);
    PQconninfoFree(parts);
    return is_good ? 0
                   : error_set(error, ERROR_STORE,
                         "the name of the database is no URI or connection string of libpq "
                         "(not shown: a password may be in it); in a URI the characters @ : / %% ? "
                         "# of a password are written %%40 %%3A %%2F %%25 %%3F %%23");
}

/* Is there a server that takes connections? Or can't it be tried at all? (It may be one whose
 * certificate is wrong.) */
static bool is_up(const char *conninfo)
{
    static const char *const names[] = {"connect_timeout", "dbname", "sslmode", NULL};
    const char *values[] = {CONNECT_S, conninfo, "prefer", NULL};
    PGPing ping = PQpingParams(names, values, 1);

    return ping == PQPING_OK || ping == PQPING_NO_ATTEMPT;
}

/* Does it take us, if we don't mind that it is a standby? */
static bool is_open(const char *conninfo)
{
    static const char *const names[] = {
        "connect_timeout", "gssencmode", "dbname", "target_session_attrs", NULL};
    const char *values[] = {CONNECT_S, "disable", conninfo, "any", NULL};
    PGconn *connection = PQconnectdbParams(names, values, 1);
    bool is_connected = PQstatus(connection) == CONNECTION_OK;

    PQfinish(connection);
    return is_connected;
}

/* A server that was up before and after a connection failed has refused it; one that is up only
 * after may have been starting. */
static bool is_refused(const char *conninfo)
{
    return is_up(conninfo) && !is_open(conninfo) && is_up(conninfo);
}

static void fail_to_connect(struct postgres_attempt *attempt, struct postgres_outcome *outcome)
{
    char line[400];

    postgres_one_line(PQerrorMessage(outcome->connection), line);
    outcome->result = error_set(&outcome->error, ERROR_LOCKED,
        "can't connect to the database %s: %s", attempt->name, line[0] ? line : "no memory");
    outcome->is_hopeless = attempt->aim.starts && is_refused(attempt->conninfo);
}

static void ignore_notice(void *context, const PGresult *result)
{
    (void)context;
    (void)result;
}

static void connect_once(struct postgres_attempt *attempt, struct postgres_outcome *outcome)
{
    struct postgres_link link = {
        .name = attempt->name,
        .until_ms = UINT64_MAX,
    };

    outcome->connection = connect_to(attempt->conninfo);
    if (PQstatus(outcome->connection) != CONNECTION_OK) {
        fail_to_connect(attempt, outcome);
    } else {
        link.connection = outcome->connection;
        link.until_ms = clock_ms() + (attempt->aim.writes ? SCHEMA_MS : SESSION_MS);
        outcome->result = postgres_link_attach(&link, &outcome->error);
        if (outcome->result == 0)
            outcome->result =
                postgres_prepare_session(&link, &attempt->aim, &outcome->session, &outcome->error);
        outcome->is_hopeless = outcome->result != 0 && outcome->result != ERROR_LOCKED;
    }
    if (outcome->result == 0) {
        (void)PQsetNoticeReceiver(link.connection, ignore_notice, NULL); /* the link ends here */
        return;
    }
    PQfinish(outcome->connection);
    outcome->connection = NULL;
}

static void *run_attempt(void *context)
{
    struct postgres_attempt *attempt = context;
    struct postgres_outcome outcome = {.connection = NULL};

    connect_once(attempt, &outcome);
    (void)pthread_mutex_lock(&attempt->mutex);
    attempt->outcome = outcome;
    attempt->is_over = true;
    (void)pthread_cond_signal(&attempt->changed);
    (void)pthread_mutex_unlock(&attempt->mutex);
    let_go(attempt);
    return NULL;
}

/* ---- the other side ---- */

static int start_thread(struct postgres_attempt *attempt, struct error *error)
{
    int code = pthread_create(&attempt->thread, NULL, run_attempt, attempt);

    if (code == 0)
        return 0;
    return error_set(
        error, ERROR_LOCKED, "can't start a thread to connect to the database: %s", strerror(code));
}

int postgres_attempt_begin(
    struct postgres_attempt **result, const struct postgres_aim *aim, struct error *error)
{
    struct postgres_attempt *attempt = calloc(1, sizeof *attempt);
    pthread_condattr_t attributes;
    int code;

    *result = NULL;
    if (attempt)
        attempt->conninfo = strdup(aim->conninfo);
    if (!attempt || !attempt->conninfo) {
        free(attempt);
        return error_set_memory(error);
    }
    attempt->aim = *aim;
    attempt->aim.conninfo = attempt->conninfo;
    attempt->holders = 2;
    postgres_name(attempt->conninfo, attempt->name, sizeof attempt->name);
    (void)pthread_mutex_init(&attempt->mutex, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&attempt->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    code = start_thread(attempt, error);
    if (code != 0) {
        attempt->holders = 1;
        let_go(attempt);
        return code;
    }
    *result = attempt;
    return 0;
}

bool postgres_attempt_take(
    struct postgres_attempt *attempt, uint64_t until_ms, struct postgres_outcome *outcome)
{
    const struct timespec until = {
        .tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000) * 1000000};
    bool is_over;
    int code = 0;

    (void)pthread_mutex_lock(&attempt->mutex);
    while (!attempt->is_over && code == 0)
        code = pthread_cond_timedwait(&attempt->changed, &attempt->mutex, &until);
    is_over = attempt->is_over;
    if (is_over) {
        *outcome = attempt->outcome;
        attempt->outcome.connection = NULL;
    }
    (void)pthread_mutex_unlock(&attempt->mutex);
    if (is_over) { /* the thread is at its end, too; what libpq's libraries keep for it goes with it
                    */
        (void)pthread_join(attempt->thread, NULL);
        let_go(attempt);
    }
    return is_over;
}

void postgres_pause(uint64_t until_ms)
{
    uint64_t now_ms = clock_ms();
    const uint64_t left_ms = until_ms > now_ms ? until_ms - now_ms : 0;
    const struct timespec left = {
        .tv_sec = (time_t)(left_ms / 1000), .tv_nsec = (long)(left_ms % 1000) * 1000000};

    (void)nanosleep(&left, NULL);
}

void postgres_attempt_abandon(struct postgres_attempt *attempt)
{
    if (!attempt)
        return;
    (void)pthread_detach(attempt->thread);
    let_go(attempt);
}
