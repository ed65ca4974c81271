/* SPDX-License-Identifier: MIT */
/* The connection of a store: made in the background, tried again after pauses, waited for in
 * slices.
 *
 *     no connection ──attempt──→ connected ──error──→ no connection
 *            ↑           │
 *            └──failed───┘  a pause, longer each time, of a random length */
#include "store/postgres/postgres.h"

#include "base/clock.h"

#include <poll.h>
#include <sys/random.h>

#define CONNECT_SLICE_MS 100 /* the longest wait before the waiting requests are checked */
#define FIRST_MS 3000        /* for a new reader's first connection */
#define START_MS 30000       /* for a server's start; others may be making the tables */
#define TELL_MS 1000         /* a start that waits longer says so */
#define REFUSED_MS 1500      /* for a server that refuses us */
#define FIRST_PAUSE_MS 50
#define LONGEST_PAUSE_MS 2000

void postgres_disconnect(struct postgres_store *store)
{
    PQclear(store->row);
    store->row = NULL;
    postgres_pieces_clear(store);
    store->pieces.has_no_marks = false;
    store->is_scanning = store->in_transaction = store->has_begun_next = false;
    PQfinish(store->conn.connection);
    store->conn.connection = NULL;
    store->conn.is_broken = store->conn.is_doubtful = false;
}

const char *postgres_conninfo(const struct postgres_store *store)
{
    return store->role == STORE_READER && store->options.file_read ? store->options.file_read
                                                                   : store->options.file;
}

static int postgres_connect_begin_attempt(struct postgres_store *store, struct error *error)
{
    const struct connect_params params = {
        .conninfo = postgres_conninfo(store),
        .writes = store->role != STORE_READER,
        .proves = store->options.serves,
        .sync = store->options.sync,
        .is_startup = store->options.is_startup,
    };

    return postgres_attempt_begin(&store->attempt, &params, error);
}

/* The pause has a random length, so that many servers don't come back at the same moment. */
void postgres_pause_attempts(struct postgres_store *store)
{
    unsigned least = store->pause_ms / 2;
    unsigned chance = 0;

    if (getrandom(&chance, sizeof chance, GRND_NONBLOCK) != sizeof chance)
        chance = (unsigned)clock_us();
    store->next_try_ms = clock_ms() + least + chance % (least + 1);
    store->pause_ms =
        store->pause_ms * 2 < LONGEST_PAUSE_MS ? store->pause_ms * 2 : LONGEST_PAUSE_MS;
}

/* Says at the start what the database holds. */
static void postgres_connect_report_start(
    const struct postgres_store *store, const struct postgres_session *session)
{
    if (session->n_packages == 0)
        log_write(store->options.log, LOG_INFO,
            "The database %s is new: every package starts at revision 0 (PostgreSQL %s)",
            store->name, session->version);
    else if (session->n_packages > 0)
        log_write(store->options.log, LOG_INFO,
            "The database %s holds %s%lld package%s (PostgreSQL %s)", store->name,
            session->is_estimate ? "about " : "", (long long)session->n_packages,
            session->n_packages == 1 ? "" : "s", session->version);
}

static void postgres_connect_report(
    const struct postgres_store *store, const struct postgres_session *session)
{
    if (store->role == STORE_WRITER || store->options.read_only)
        postgres_connect_report_start(store, session);
    if (session->made_tables)
        log_write(store->options.log, LOG_INFO, "Made the tables in %s", store->name);
    if (session->loses_commits)
        log_often(store->options.log, LOG_WARNING,
            "The database %s runs with fsync=off: a power failure can undo answers that were sent",
            store->name);
    if (session->has_no_standby && store->options.serves && store->options.is_startup &&
        (store->role == STORE_WRITER || store->options.read_only))
        log_write(store->options.log, LOG_WARNING,
            "The database %s has no synchronous standby (synchronous_standby_names): a failover "
            "can lose answers, and a primary that was replaced can't be noticed",
            store->name);
}

/* Notes a failed attempt. The first one of a start is logged; later the callers report what their
 * requests wait for. */
static void postgres_connect_note_failure(struct postgres_store *store, const struct error *error)
{
    if (store->options.is_startup && !store->away.text[0])
        log_write(store->options.log, LOG_ERROR, "%s", error->text);
    store->away = *error;
    postgres_pause_attempts(store);
}

static int postgres_connect_adopt(
    struct postgres_store *store, struct connect_result *connect_result, struct error *error)
{
    if (connect_result->result != 0) {
        *error = connect_result->error;
        if (connect_result->result != ERROR_LOCKED)
            postgres_calm(store); /* the next request hears it at once, or that it is over */
        postgres_connect_note_failure(store, error);
        return connect_result->result;
    }
    if (store->options.is_startup && store->away.text[0])
        log_write(store->options.log, LOG_INFO, "The database %s is back", store->name);
    store->away.text[0] = '\0';
    store->conn.connection = connect_result->connection;
    store->conn.backend_pid = connect_result->session.backend_pid;
    store->proven_ms = connect_result->session.proven_ms;
    store->proves_nothing =
        connect_result->session.has_no_standby || connect_result->session.is_standby;
    postgres_connect_report(store, &connect_result->session);
    postgres_mark_adopt_session(store, &connect_result->session);
    if (connect_result->session.instance[0])
        identity_set(store->options.identity, text_of(connect_result->session.instance));
    if (store->role == STORE_READER)
        identity_set_standby(store->options.identity, connect_result->session.is_standby);
    store->has_tables = connect_result->session.has_tables;
    return postgres_conn_attach(&store->conn, error);
}

static int postgres_connect_still_away(const struct postgres_store *store, struct error *error)
{
    if (store->away.text[0]) {
        *error = store->away;
        return ERROR_LOCKED;
    }
    return error_set(error, ERROR_LOCKED, "not connected to the database %s", store->name);
}

static void postgres_connect_sleep(uint64_t until_ms)
{
    const struct timespec until = {
        .tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000) * 1000000};

    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

/* Waits for a connection until until_ms. */
static int postgres_connect_until(
    struct postgres_store *store, uint64_t until_ms, struct error *error)
{
    struct connect_result connect_result;
    int result = 0;

    if (store->conn.connection)
        return 0;
    if (!store->attempt && clock_ms() >= store->next_try_ms)
        result = postgres_connect_begin_attempt(store, error);
    if (result != 0) {
        postgres_connect_note_failure(store, error);
        return result;
    }
    if (!store->attempt) {
        postgres_connect_sleep(until_ms < store->next_try_ms ? until_ms : store->next_try_ms);
        return postgres_connect_still_away(store, error);
    }
    if (!postgres_attempt_take(store->attempt, until_ms, &connect_result))
        return postgres_connect_still_away(store, error);
    store->attempt = NULL;
    if (!connect_result.is_hopeless)
        store->refused_ms = 0;
    else if (store->refused_ms == 0)
        store->refused_ms = clock_ms();
    return postgres_connect_adopt(store, &connect_result, error);
}

void postgres_check_idle(struct postgres_store *store)
{
    struct pollfd socket = {.events = POLLIN};

    if (!store->conn.connection)
        return;
    socket.fd = PQsocket(store->conn.connection);
    while (poll(&socket, 1, 0) > 0) { /* the server's last words, then the end */
        if (PQconsumeInput(store->conn.connection) == 1)
            continue;
        postgres_disconnect(store);
        return;
    }
}

int postgres_connect_soon(struct postgres_store *store, struct error *error)
{
    const bool is_stopping = atomic_load(store->options.shutting_down);

    return postgres_connect_until(store, clock_ms() + (is_stopping ? 0 : CONNECT_SLICE_MS), error);
}

/* Returns whether attempts were refused for so long that another one won't help. */
static bool postgres_connect_is_hopeless(const struct postgres_store *store)
{
    return store->refused_ms > 0 && clock_ms() >= store->refused_ms + REFUSED_MS;
}

/* Says that a start waits for the database, and why. */
static void postgres_connect_tell(const struct postgres_store *store, const struct error *reason)
{
    const struct store_options *options = &store->options;
    struct error line;

    (void)error_set(&line, ERROR_LOCKED, "Waiting up to %d s for the database: %s", START_MS / 1000,
        reason->text);
    log_write(options->log, LOG_WARNING, "%s", line.text);
    if (options->tell_waiting)
        options->tell_waiting(options->tell_context, line.text);
}

/* A database that is starting, or can't be reached yet, gets as long as a start may take; one that
 * refuses (a wrong password; too many clients) gets less. */
int postgres_connect_first(struct postgres_store *store, struct error *error)
{
    const uint64_t begun_ms = clock_ms();
    const uint64_t end_ms = begun_ms + (store->options.is_startup ? START_MS : FIRST_MS);
    bool is_told = !store->options.is_startup || !store->options.serves;
    int result;

    do {
        result = postgres_connect_until(store, clock_ms() + CONNECT_SLICE_MS, error);
        if (result == ERROR_LOCKED && !is_told && clock_ms() >= begun_ms + TELL_MS) {
            postgres_connect_tell(store, error);
            is_told = true;
        }
    } while (result == ERROR_LOCKED && !postgres_connect_is_hopeless(store) &&
             clock_ms() < end_ms && clock_ms() < atomic_load(store->options.read_deadline_ms));
    store->options.is_startup = false;
    return result == ERROR_LOCKED && postgres_connect_is_hopeless(store) ? ERROR_STORE : result;
}

void postgres_calm(struct postgres_store *store)
{
    store->pause_ms = FIRST_PAUSE_MS;
}
