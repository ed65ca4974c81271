/* The connection of a store: begun in the background, tried again after pauses, waited for in
 * slices.
 *
 *     no connection ──attempt──→ connected ──error──→ no connection
 *            ↑           │
 *            └──failed───┘  a pause, longer each time, of a random length */
#include "store/postgres.h"

#include "base/clock.h"

#include <sys/random.h>

#define CONNECT_SLICE_MS 100 /* then whoever waits is looked at */
#define FIRST_MS 3000        /* a new reader's first connection */
#define START_MS 30000       /* a server's start; others may be making the tables */
#define REFUSED_MS 1500
#define FIRST_PAUSE_MS 50
#define LONGEST_PAUSE_MS 2000

void postgres_disconnect(struct postgres_store *store)
{
    PQclear(store->row);
    store->row = NULL;
    store->is_scanning = store->in_transaction = false;
    PQfinish(store->link.connection);
    store->link.connection = NULL;
    store->link.is_broken = store->link.is_doubtful = false;
}

const char *postgres_conninfo(const struct postgres_store *store)
{
    return store->role == STORE_READER && store->options.file_read ? store->options.file_read
                                                                   : store->options.file;
}

static int begin_attempt(struct postgres_store *store, struct error *error)
{
    const struct postgres_aim aim = {
        .conninfo = postgres_conninfo(store),
        .writes = store->role == STORE_WRITER,
        .sync = store->options.sync,
        .starts = store->options.starts,
    };

    return postgres_attempt_begin(&store->attempt, &aim, error);
}

/* A random part of the pause, so that many servers don't come back at the same moment. */
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

static void tell(const struct postgres_store *store, const struct postgres_session *session)
{
    if (session->made_tables)
        log_write(store->options.log, LOG_INFO, "Made the tables in %s", store->name);
    if (session->loses_commits)
        log_often(store->options.log, LOG_WARNING,
            "The database %s runs with fsync=off: the power failing can take back answers that "
            "were sent",
            store->name);
}

static int adopt(
    struct postgres_store *store, struct postgres_outcome *outcome, struct error *error)
{
    if (outcome->result != 0) {
        if (!store->away.text[0])
            log_write(store->options.log, LOG_ERROR, "%s", outcome->error.text);
        store->away = *error = outcome->error;
        postgres_pause_attempts(store);
        return outcome->result;
    }
    if (store->away.text[0])
        log_write(store->options.log, LOG_INFO, "The database %s is back", store->name);
    store->away.text[0] = '\0';
    store->link.connection = outcome->connection;
    tell(store, &outcome->session);
    store->has_tables = outcome->session.has_tables;
    return postgres_link_attach(&store->link, error);
}

static int still_away(const struct postgres_store *store, struct error *error)
{
    if (store->away.text[0]) {
        *error = store->away;
        return ERROR_LOCKED;
    }
    return error_set(error, ERROR_LOCKED, "there is no connection to the database %s", store->name);
}

/* Waits for a connection, but not after until_ms. *refused_ms: since when each attempt was refused;
 * UINT64_MAX: the last one was not. */
static int connect_until(
    struct postgres_store *store, uint64_t until_ms, uint64_t *refused_ms, struct error *error)
{
    struct postgres_outcome outcome;
    int code = 0;

    if (store->link.connection)
        return 0;
    if (!store->attempt && clock_ms() >= store->next_try_ms)
        code = begin_attempt(store, error);
    if (code != 0) {
        postgres_pause_attempts(store);
        return code;
    }
    if (!store->attempt) {
        postgres_pause(until_ms < store->next_try_ms ? until_ms : store->next_try_ms);
        return still_away(store, error);
    }
    if (!postgres_attempt_take(store->attempt, until_ms, &outcome))
        return still_away(store, error);
    store->attempt = NULL;
    if (!outcome.is_hopeless)
        *refused_ms = UINT64_MAX;
    else if (*refused_ms == UINT64_MAX)
        *refused_ms = clock_ms();
    return adopt(store, &outcome, error);
}

int postgres_connect_soon(struct postgres_store *store, struct error *error)
{
    bool hurry = atomic_load(store->options.hurry);
    uint64_t refused_ms = UINT64_MAX;

    return connect_until(store, clock_ms() + (hurry ? 0 : CONNECT_SLICE_MS), &refused_ms, error);
}

/* Has it been refused for long enough to believe that it stays so? */
static bool is_hopeless(uint64_t refused_ms)
{
    return refused_ms != UINT64_MAX && clock_ms() >= refused_ms + REFUSED_MS;
}

/* A database that is only starting, or can't be reached yet, is waited for, for as long as a start
 * may take; one that refuses (a wrong password; too many clients) not as long. */
int postgres_connect_first(struct postgres_store *store, struct error *error)
{
    uint64_t end_ms = clock_ms() + (store->options.starts ? START_MS : FIRST_MS);
    uint64_t refused_ms = UINT64_MAX;
    int code;

    do
        code = connect_until(store, clock_ms() + CONNECT_SLICE_MS, &refused_ms, error);
    while (code == ERROR_LOCKED && !is_hopeless(refused_ms) && clock_ms() < end_ms &&
           clock_ms() < atomic_load(store->options.give_up_ms));
    store->options.starts = false;
    return code == ERROR_LOCKED && is_hopeless(refused_ms) ? ERROR_STORE : code;
}

void postgres_calm(struct postgres_store *store)
{
    store->pause_ms = FIRST_PAUSE_MS;
}
