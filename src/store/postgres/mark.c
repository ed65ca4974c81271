/* SPDX-License-Identifier: MIT */
/* The mark of a database on PostgreSQL (store/mark.h): the table prserv_mark has a row for each
 * server, with the counter of its transactions. A server writes its own row only, in the
 * transaction that stores its rows, so servers don't wait for each other.
 *
 * Each writing transaction reads the row along with its first round trip, and compares it with
 * memory. The first one after a start compares it with the file in --state-dir, if there is one. A
 * server that finds its row smaller, or missing, says so in the row (rollback): then all servers
 * refuse new revisions until that is accepted. Accepting it notes the time in a row without
 * identity. A server that compares only after that takes what it finds. */
#include "store/postgres/postgres.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mark_statements.inc"

#define FILE_NAME "/mark"
#define HOLD_AT 4096                  /* the byte of the file that is locked; there is none */
#define UNUSED_S (29L * 24 * 60 * 60) /* other servers remove rows that are unused for 30 days */

/* The columns of the statement "mark". */
enum { MARK_COUNTER, MARK_ROLLBACK, MARK_ROLLBACK_COUNTER, MARK_ACCEPTED };

/* ---- comparing ---- */

static void postgres_mark_log(const struct postgres_store *store)
{
    const struct store_rollback *rollback = &store->base.rollback;
    char name[MARK_TEXT_BYTES];

    mark_format(&rollback->mark, name);
    log_write(store->options.log, LOG_CRITICAL,
        "The database %s went back to an older state: the counter of the server %s is %" PRId64
        ", and it was %" PRId64
        ". Rows are missing, and their revisions could be given a second time, so new content is "
        "refused. Raise all packages (prserv floor --all --margin N); if nothing was published "
        "since, start one server once with --accept-rollback=%s",
        store->name, rollback->mark.identity, rollback->counter, rollback->mark.counter, name);
}

static void postgres_mark_roll_back(
    struct postgres_store *store, const struct mark *mark, int64_t counter, bool is_own)
{
    struct store_rollback *rollback = &store->base.rollback;
    const bool is_known = rollback->is_rolled_back && rollback->mark.counter == mark->counter &&
                          mark_has_identity(mark, rollback->mark.identity);

    *rollback = (struct store_rollback){.is_rolled_back = true,
        .mark = *mark,
        .counter = counter,
        .lost_after = is_own ? counter : INT64_MAX};
    if (is_known)
        return;
    identity_add_rollback(store->options.identity);
    postgres_mark_log(store);
}

/* Returns whether the row was never stored, or may have been removed because it was not used for
 * long. */
static bool postgres_mark_is_unused(const struct postgres_mark *own)
{
    return own->mark.counter == 0 || clock_ms() / 1000 >= own->used_s + UNUSED_S;
}

/* Notes that this server's own rows are as they should be. */
static void postgres_mark_agree(struct postgres_mark *own, int64_t found)
{
    if (found > own->mark.counter)
        own->mark.counter = found;
    own->must_publish = false;
    own->used_s = clock_ms() / 1000;
}

/* Compares this server's row. Returns whether rows are missing. */
static bool postgres_mark_compare(struct postgres_store *store, int64_t found)
{
    struct postgres_mark *own = &store->mark;

    if (found >= own->mark.counter || (found < 0 && postgres_mark_is_unused(own))) {
        postgres_mark_agree(own, found);
        return false;
    }
    if (store->options.sync == STORE_SYNC_FULL)
        return true;
    log_write(store->options.log, LOG_WARNING,
        "The database %s went back to an older state: its counter is %" PRId64
        ", and it was %" PRId64 "; without --sync full, a power failure can be the cause",
        store->name, found < 0 ? 0 : found, own->mark.counter);
    own->must_store = true;
    own->used_s = clock_ms() / 1000;
    return false;
}

int postgres_mark_take(struct postgres_store *store, const PGresult *reply, struct error *error)
{
    struct postgres_mark *own = &store->mark;
    struct store_rollback *rollback = &store->base.rollback;
    const int64_t found = postgres_get_int8(reply, 0, MARK_COUNTER);
    const int64_t accepted = postgres_get_int8(reply, 0, MARK_ACCEPTED);
    struct text name;
    struct mark mark;

    if (PQntuples(reply) != 1)
        return error_set(error, ERROR_STORE, "the table prserv_mark in %s is invalid", store->name);
    name = postgres_get_text(reply, 0, MARK_ROLLBACK);
    if (accepted > own->accepted_us) {
        own->accepted_us = accepted;
        own->must_store = found < own->mark.counter;
        postgres_mark_agree(own, found);
    } else if (!own->must_store && postgres_mark_compare(store, found)) {
        own->must_publish = true;
        postgres_mark_roll_back(store, &own->mark, found < 0 ? 0 : found, true);
        return 0;
    }
    if (name.bytes && mark_parse(&mark, name)) {
        postgres_mark_roll_back(
            store, &mark, postgres_get_int8(reply, 0, MARK_ROLLBACK_COUNTER), false);
        return 0;
    }
    if (rollback->is_rolled_back)
        log_write(store->options.log, LOG_WARNING,
            "The rollback of the database %s is over; new content gets revisions again",
            store->name);
    *rollback = (struct store_rollback){.is_rolled_back = false};
    return 0;
}

/* ---- transactions ---- */

void postgres_mark_begin(struct postgres_store *store)
{
    store->mark.is_accepted = store->mark.is_touched = false;
    store->mark.next = 0;
}

int postgres_mark_send(struct postgres_store *store, struct error *error)
{
    struct postgres_array *arrays = store->mark.arrays;

    postgres_array_begin(&arrays[0], POSTGRES_TEXT);
    postgres_array_text(&arrays[0], text_of(store->mark.mark.identity));
    return postgres_send(&store->conn, "mark", arrays, 1, error);
}

enum postgres_mark_change postgres_mark_change(struct postgres_store *store, bool has_rows)
{
    struct postgres_mark *own = &store->mark;

    if (!own->is_on)
        return POSTGRES_MARK_NOTHING;
    if (own->is_accepted)
        return POSTGRES_MARK_ACCEPT;
    if (store->base.rollback.is_rolled_back)
        return own->must_publish ? POSTGRES_MARK_PUBLISH : POSTGRES_MARK_NOTHING;
    return has_rows || own->must_store || own->is_touched ? POSTGRES_MARK_COUNT
                                                          : POSTGRES_MARK_NOTHING;
}

int postgres_mark_send_change(
    struct postgres_store *store, enum postgres_mark_change change, struct error *error)
{
    static const char *const statements[] = {[POSTGRES_MARK_COUNT] = "mark_count",
        [POSTGRES_MARK_PUBLISH] = "mark_publish",
        [POSTGRES_MARK_ACCEPT] = "mark_accept"};
    struct postgres_mark *own = &store->mark;
    struct postgres_array *arrays = own->arrays;

    own->next = own->mark.counter + (change == POSTGRES_MARK_PUBLISH ? 0 : 1);
    postgres_array_begin(&arrays[0], POSTGRES_TEXT);
    postgres_array_text(&arrays[0], text_of(own->mark.identity));
    postgres_array_begin(&arrays[1], POSTGRES_INT8);
    postgres_array_int8(&arrays[1], own->next);
    return postgres_send(&store->conn, statements[change], arrays, 2, error);
}

void postgres_mark_commit(struct postgres_store *store, enum postgres_mark_change change)
{
    struct postgres_mark *own = &store->mark;

    if (change == POSTGRES_MARK_NOTHING)
        return;
    own->mark.counter = store->base.counter = own->next;
    own->used_s = clock_ms() / 1000;
    own->must_publish = own->must_store = false;
    if (own->file)
        mark_file_advance(own->file, own->next);
    if (change != POSTGRES_MARK_ACCEPT)
        return;
    /* The next transaction reads the time of the acceptance, and says that the rollback is over. */
    if (own->file)
        (void)mark_file_put(own->file, &own->mark);
}

void postgres_mark_touch(struct store *base)
{
    ((struct postgres_store *)base)->mark.is_touched = true;
}

int postgres_mark_accept(struct store *base, const struct mark *mark, struct error *error)
{
    struct postgres_store *store = (struct postgres_store *)base;
    const struct store_rollback *rollback = &base->rollback;
    char name[MARK_TEXT_BYTES];

    mark_format(mark, name);
    if (!rollback->is_rolled_back || mark->counter != rollback->mark.counter ||
        !mark_has_identity(mark, rollback->mark.identity))
        return error_set(error, ERROR_INPUT, "the rollback %s does not exist", name);
    store->mark.is_accepted = true;
    return 0;
}

/* Looks for a rollback that a server has found. A role may lack the right, or the table. */
static void postgres_mark_read(struct postgres_store *store)
{
    struct store_rollback *rollback = &store->base.rollback;
    struct error ignored;
    PGresult *reply = NULL;

    store->conn.until_ms = clock_ms() + POSTGRES_MIN_TRANSACTION_MS;
    if (postgres_run(&store->conn, postgres_sql_find_rollback, &reply, &ignored) == 0 &&
        PQntuples(reply) == 1 && mark_parse(&rollback->mark, text_of(PQgetvalue(reply, 0, 0)))) {
        rollback->is_rolled_back = true;
        rollback->counter = strtoll(PQgetvalue(reply, 0, 1), NULL, 10);
    }
    PQclear(reply);
}

int postgres_mark_check(struct store *base, struct error *error)
{
    static const struct store_batch nothing = {.first = NULL, .end = NULL};
    struct postgres_store *store = (struct postgres_store *)base;
    int result;

    if (store->role != STORE_WRITER) {
        if (store->conn.connection)
            postgres_mark_read(store);
        return 0;
    }
    if (!store->mark.is_on)
        return 0;
    result = store_begin_write(base, &nothing, 0, error);
    if (result == 0)
        result = store_commit(base, error);
    store_rollback(base);
    return result;
}

bool postgres_mark_wants_file(const struct store *base)
{
    const struct postgres_store *store = (const struct postgres_store *)base;

    return store->mark.file && mark_file_is_due(store->mark.file);
}

void postgres_mark_write_file(struct store *base)
{
    const struct postgres_store *store = (const struct postgres_store *)base;

    if (store->mark.file)
        mark_file_write(store->mark.file);
}

/* ---- the session ---- */

/* A role that may not make the table runs without it. */
int postgres_mark_prepare_session(struct postgres_conn *conn, bool has_table, bool may_use,
    struct postgres_session *session, struct error *error)
{
    struct error ignored;
    int result = 0;

    session->has_mark = may_use;
    if (!has_table) {
        result = postgres_run(conn, postgres_sql_make_mark, NULL, &ignored);
        session->has_mark = result == 0;
    }
    if (conn->is_broken || result == ERROR_LOCKED)
        return error_set(error, ERROR_LOCKED, "%s", ignored.text);
    if (!session->has_mark)
        return 0;
    return postgres_run(conn, postgres_sql_prepare_mark, NULL, error);
}

void postgres_mark_adopt_session(
    struct postgres_store *store, const struct postgres_session *session)
{
    struct postgres_mark *own = &store->mark;

    if (store->role != STORE_WRITER)
        return;
    own->is_on = session->has_mark;
    if (own->is_on || own->has_warned)
        return;
    own->has_warned = true;
    log_write(store->options.log, LOG_WARNING,
        "The database %s has no table prserv_mark that this role may use, so a database that went "
        "back to an older state is not noticed. An administrator runs: CREATE TABLE prserv_mark "
        "(identity text PRIMARY KEY, counter bigint NOT NULL, rollback bigint, used timestamptz "
        "NOT NULL DEFAULT now()); GRANT SELECT, INSERT, UPDATE, DELETE ON prserv_mark TO ROLE",
        store->name);
}

/* ---- the start ---- */

/* Locks the file as long as the server runs: each server needs a row of its own. */
static int postgres_mark_hold(struct postgres_store *store, struct error *error)
{
    const char *path = mark_file_path(store->mark.file);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = HOLD_AT, .l_len = 1};

    store->mark.hold = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (store->mark.hold < 0)
        return error_set(
            error, ERROR_STORE, "can't open %s: %s; check --state-dir", path, strerror(errno));
    if (fcntl(store->mark.hold, F_OFD_SETLK, &lock) == 0)
        return 0;
    return error_set(error, ERROR_STORE,
        "another server uses the folder %s: each needs a --state-dir of its own",
        store->options.state_dir);
}

static int postgres_mark_open_file(struct postgres_store *store, struct error *error)
{
    const char *folder = store->options.state_dir;
    struct postgres_mark *own = &store->mark;
    char *path = malloc(strlen(folder) + sizeof FILE_NAME);
    struct mark_record record;
    int result = path ? 0 : error_set_memory(error);

    if (path)
        (void)stpcpy(stpcpy(path, folder), FILE_NAME);
    if (result == 0)
        result = mark_file_create(&own->file, path, store->options.log, error);
    free(path);
    if (result == 0)
        result = postgres_mark_hold(store, error);
    if (result != 0)
        return result;
    if (!store->options.new_database && mark_file_read(own->file, &record) == MARK_FILE_VALID &&
        time(NULL) < record.time_s + UNUSED_S) {
        own->mark = record.mark;
        own->accepted_us = record.time_s * 1000000;
        own->used_s = clock_ms() / 1000;
        mark_file_adopt(own->file, &own->mark);
    } else {
        (void)mark_file_put(own->file, &own->mark);
    }
    return 0;
}

int postgres_mark_open(struct postgres_store *store, struct error *error)
{
    int result;

    store->mark.hold = -1;
    if (store->role != STORE_WRITER)
        return 0;
    result = mark_make(&store->mark.mark, error);
    if (result == 0 && store->options.state_dir)
        result = postgres_mark_open_file(store, error);
    return result;
}

int postgres_mark_start(struct postgres_store *store, struct error *error)
{
    static const struct store_batch nothing = {.first = NULL, .end = NULL};
    const char *name = store->options.accept_rollback;
    struct error reason;
    struct mark mark;
    int result;

    if (store->role != STORE_WRITER || !store->mark.is_on)
        return 0;
    result = store_begin_write(&store->base, &nothing, 0, error);
    if (result == 0 && store->base.rollback.is_rolled_back && name &&
        mark_parse(&mark, text_of(name)) &&
        store_accept_rollback(&store->base, &mark, &reason) != 0)
        log_write(store->options.log, LOG_ERROR, "--accept-rollback was not used: %s", reason.text);
    if (result == 0)
        result = store_commit(&store->base, error);
    store_rollback(&store->base);
    if (result == 0 && store->mark.is_accepted)
        result = postgres_mark_check(&store->base, error);
    store->base.counter = store->mark.mark.counter;
    return result == ERROR_LOCKED ? 0 : result; /* the first request looks again */
}

void postgres_mark_close(struct postgres_store *store)
{
    struct postgres_mark *own = &store->mark;

    for (size_t i = 0; i < sizeof own->arrays / sizeof *own->arrays; i++)
        postgres_array_free(&own->arrays[i]);
    mark_file_free(own->file);
    if (own->hold >= 0)
        (void)close(own->hold);
}
