/* SPDX-License-Identifier: MIT */
/* The mark of an SQLite database (store/mark.h): the table prservd_mark, and the file FILE-mark
 * beside the database. BitBake's server ignores both.
 *
 *     start        FILE-mark is read first, then the table, so that a commit in between does not
 *                  look like a rollback
 *     transaction  under the write lock, if another connection has written: the table is compared
 *                  with memory and with FILE-mark, which others may have written
 *     commit       the transaction that stores rows also stores the next counter
 *
 * While the database is rolled back, the counter stays as it is, so that each start and each other
 * server sees the rollback, too. Accepting it stores a counter above the one that is remembered. */
#include "store/sqlite/sqlite.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUFFIX "-mark"
#define CHECK_WAIT_MS 20
#define READ_SQL "SELECT identity || ':' || counter FROM prservd_mark LIMIT 1"

/* ---- the table ---- */

/* Reads the mark in the database. Its identity is empty if there is none. */
static int sqlite_mark_look(struct sqlite_store *store, struct mark *mark, struct error *error)
{
    sqlite3_stmt *statement = NULL;
    char text[MARK_TEXT_BYTES + 40] = "";
    int64_t n_tables = 0;
    int code;
    int result = sqlite_ask(store,
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'prservd_mark'",
        &n_tables, error);

    *mark = (struct mark){.counter = 0};
    if (result != 0 || n_tables == 0)
        return result;
    code = sqlite3_prepare_v2(store->database, READ_SQL, -1, &statement, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    if (code == SQLITE_ROW && sqlite3_column_text(statement, 0))
        (void)snprintf(text, sizeof text, "%s", (const char *)sqlite3_column_text(statement, 0));
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        result = sqlite_fail(store, code, "read", error);
    (void)sqlite3_finalize(statement);
    (void)mark_parse(mark, text_of(text));
    return result;
}

/* Reads the mark with the prepared statement if that works. */
int sqlite_mark_read(struct sqlite_store *store, struct mark *mark, struct error *error)
{
    sqlite3_stmt *statement = store->statements[STATEMENT_MARK_READ];
    const char *text = NULL;
    bool is_read = false;

    if (statement && sqlite3_step(statement) == SQLITE_ROW)
        text = (const char *)sqlite3_column_text(statement, 0);
    if (text)
        is_read = mark_parse(mark, text_of(text));
    (void)sqlite3_reset(statement);
    return is_read ? 0 : sqlite_mark_look(store, mark, error);
}

/* Gives a mark to a database that has none, and sets *mark. Another server may do so meanwhile. The
 * mark is durable, whatever --sync says, before FILE-mark names it. */
static int sqlite_mark_make(struct sqlite_store *store, struct mark *mark, struct error *error)
{
    static const char *const levels[] = {
        [STORE_SYNC_FULL] = "FULL", [STORE_SYNC_NORMAL] = "NORMAL", [STORE_SYNC_OFF] = "OFF"};
    struct mark made;
    char sql[400];
    int result = mark_make(&made, error);

    (void)snprintf(sql, sizeof sql,
        "PRAGMA synchronous=FULL; BEGIN IMMEDIATE;"
        "CREATE TABLE IF NOT EXISTS prservd_mark (identity TEXT NOT NULL, counter INTEGER NOT "
        "NULL);"
        "INSERT INTO prservd_mark SELECT '%s', 0 WHERE NOT EXISTS (SELECT 1 FROM prservd_mark);"
        "COMMIT; PRAGMA synchronous=%s",
        made.identity, levels[store->options.sync]);
    if (result == 0)
        result = sqlite_run(store, sql, error);
    return result == 0 ? sqlite_mark_read(store, mark, error) : result;
}

static int sqlite_mark_prepare_statements(struct sqlite_store *store, struct error *error)
{
    int code = sqlite3_prepare_v3(store->database, "UPDATE prservd_mark SET counter = ?1", -1,
        SQLITE_PREPARE_PERSISTENT, &store->statements[STATEMENT_MARK], NULL);

    if (code == SQLITE_OK)
        code = sqlite3_prepare_v3(store->database, READ_SQL, -1, SQLITE_PREPARE_PERSISTENT,
            &store->statements[STATEMENT_MARK_READ], NULL);
    return code == SQLITE_OK ? 0 : sqlite_fail(store, code, "open", error);
}

/* ---- comparing ---- */

static void sqlite_mark_log_rollback(const struct sqlite_store *store)
{
    const struct store_rollback *rollback = &store->base.rollback;
    char name[MARK_TEXT_BYTES];

    mark_format(&rollback->mark, name);
    if (rollback->counter < 0)
        log_write(store->options.log, LOG_CRITICAL,
            "The database %s was replaced by another one while the server had it open. New content "
            "is refused: put the right one back, or restart the server, with --new-database if "
            "this one is right",
            store->options.file);
    else
        log_write(store->options.log, LOG_CRITICAL,
            "The database %s went back to an older state: its counter is %" PRId64
            ", and it was %" PRId64
            ". Rows are missing, and their revisions could be given a second time, so new content "
            "is refused. Put the right database back, or raise all packages (prserv floor --all "
            "--margin N); if nothing was published since, start once with --accept-rollback=%s",
            store->options.file, rollback->counter, rollback->mark.counter, name);
}

/* Notes a rollback from the mark that is remembered to what was found in the database. */
static void sqlite_mark_roll_back(
    struct sqlite_store *store, const struct mark *remembered, const struct mark *found)
{
    struct store_rollback *rollback = &store->base.rollback;
    const bool is_same = mark_has_identity(found, remembered->identity);
    const bool is_known = rollback->is_rolled_back && (rollback->counter < 0) == !is_same &&
                          rollback->mark.counter == remembered->counter;

    *rollback = (struct store_rollback){.is_rolled_back = true,
        .mark = *remembered,
        .counter = is_same ? found->counter : -1,
        .lost_after = is_same ? found->counter : INT64_MAX};
    store->mark.mark = *remembered;
    if (is_known)
        return;
    identity_add_rollback(store->options.identity);
    sqlite_mark_log_rollback(store);
    if (is_same)
        (void)mark_file_put(store->mark.file, remembered);
}

static void sqlite_mark_warn(const struct sqlite_store *store, const struct mark *remembered,
    const struct mark *found, const char *consequence)
{
    if (mark_has_identity(found, remembered->identity))
        log_write(store->options.log, LOG_WARNING,
            "The database %s went back to an older state: its counter is %" PRId64
            ", and it was %" PRId64 "; %s",
            store->options.file, found->counter, remembered->counter, consequence);
    else
        log_write(store->options.log, LOG_WARNING, "%s is not the database that %s belongs to; %s",
            store->options.file, mark_file_path(store->mark.file), consequence);
}

/* Compares what was found in the database with what is remembered. */
static void sqlite_mark_compare(
    struct sqlite_store *store, const struct mark *remembered, const struct mark *found)
{
    const bool is_same = mark_has_identity(found, remembered->identity);

    if (is_same && found->counter < remembered->counter && store->options.sync != STORE_SYNC_FULL) {
        sqlite_mark_warn(
            store, remembered, found, "without --sync full, a power failure can be the cause");
        store->mark.mark = *remembered; /* the next counter is above it */
        return;
    }
    if (!is_same || found->counter < remembered->counter) {
        sqlite_mark_roll_back(store, remembered, found);
        return;
    }
    if (store->base.rollback.is_rolled_back)
        log_write(store->options.log, LOG_WARNING,
            "The rollback of the database %s is over; new content gets revisions again",
            store->options.file);
    store->base.rollback = (struct store_rollback){.is_rolled_back = false};
    store->mark.mark = *found;
}

/* Returns the greatest mark that is remembered, in memory and in FILE-mark. */
static struct mark sqlite_mark_remembered(const struct sqlite_store *store)
{
    struct mark last = store->mark.mark;
    struct mark_record record;

    if (mark_file_read(store->mark.file, &record) == MARK_FILE_VALID &&
        mark_has_identity(&record.mark, last.identity) && record.mark.counter > last.counter)
        last = record.mark;
    return last;
}

/* ---- transactions ---- */

int sqlite_mark_begin(struct sqlite_store *store, struct error *error)
{
    struct sqlite_mark *own = &store->mark;
    struct mark remembered;
    struct mark found;
    int64_t version = 0;
    int result;

    own->has_rows = own->is_accepted = false;
    own->next = 0;
    if (!own->file)
        return 0;
    result = sqlite_step_once(store, STATEMENT_DATA_VERSION, "read", &version, error);
    if (result != 0 || (version == own->data_version && !store->base.rollback.is_rolled_back))
        return result;
    result = sqlite_mark_read(store, &found, error);
    if (result != 0)
        return result;
    own->data_version = version;
    remembered = sqlite_mark_remembered(store);
    sqlite_mark_compare(store, &remembered, &found);
    return 0;
}

int sqlite_mark_count(struct sqlite_store *store, struct error *error)
{
    struct sqlite_mark *own = &store->mark;
    sqlite3_stmt *statement = store->statements[STATEMENT_MARK];

    if (!own->file ||
        (!own->is_accepted && (!own->has_rows || store->base.rollback.is_rolled_back)))
        return 0;
    own->next = own->mark.counter + 1;
    (void)sqlite3_bind_int64(statement, 1, own->next);
    return sqlite_step_once(store, STATEMENT_MARK, "write to", NULL, error);
}

void sqlite_mark_end(struct sqlite_store *store, bool is_committed)
{
    struct sqlite_mark *own = &store->mark;

    if (!is_committed)
        own->data_version = -1; /* the next transaction looks again */
    if (!is_committed || own->next == 0)
        return;
    own->mark.counter = store->base.counter = own->next;
    mark_file_advance(own->file, own->next);
    if (!own->is_accepted)
        return;
    log_write(store->options.log, LOG_WARNING,
        "The rollback of the database %s is over; new content gets revisions again",
        store->options.file);
    store->base.rollback = (struct store_rollback){.is_rolled_back = false};
    (void)mark_file_put(own->file, &own->mark);
}

void sqlite_mark_touch(struct store *base)
{
    ((struct sqlite_store *)base)->mark.has_rows = true;
}

int sqlite_mark_accept(struct store *base, const struct mark *mark, struct error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    const struct store_rollback *rollback = &base->rollback;
    char name[MARK_TEXT_BYTES];

    mark_format(mark, name);
    if (!rollback->is_rolled_back || !mark_has_identity(mark, rollback->mark.identity) ||
        mark->counter != rollback->mark.counter)
        return error_set(error, ERROR_INPUT, "the rollback %s does not exist", name);
    if (rollback->counter < 0)
        return error_set(error, ERROR_INPUT,
            "the database was replaced by another one: restart the server with --new-database");
    store->mark.is_accepted = true;
    return 0;
}

int sqlite_mark_check(struct store *base, struct error *error)
{
    int result;

    if (((const struct sqlite_store *)base)->role != STORE_WRITER)
        return 0;
    result = store_begin_write(base, NULL, CHECK_WAIT_MS, error);
    store_rollback(base);
    return result;
}

bool sqlite_mark_wants_file(const struct store *base)
{
    const struct sqlite_store *store = (const struct sqlite_store *)base;

    return store->mark.file && mark_file_is_due(store->mark.file);
}

void sqlite_mark_write_file(struct store *base)
{
    mark_file_write(((struct sqlite_store *)base)->mark.file);
}

/* ---- the start ---- */

int sqlite_mark_count_late(struct sqlite_store *store, struct error *error)
{
    const struct mark *remembered = &store->mark.mark; /* sqlite_mark_require_same has read it */
    struct mark found;
    char sql[80];
    int result = sqlite_mark_look(store, &found, error);

    if (result != 0 || !found.identity[0] ||
        (mark_has_identity(&found, remembered->identity) && found.counter < remembered->counter))
        return result;
    (void)snprintf(
        sql, sizeof sql, "UPDATE prservd_mark SET counter = %" PRId64, found.counter + 1);
    return sqlite_run(store, sql, error);
}

int sqlite_mark_create(struct sqlite_store *store, struct error *error)
{
    const char *file = store->options.file;
    char resolved[PATH_MAX];
    const char *name = realpath(file, resolved) ? resolved : file;
    char *path = malloc(strlen(name) + sizeof SUFFIX);
    int result;

    store->mark.data_version = -1;
    store->mark.hold = -1;
    if (!path)
        return error_set_memory(error);
    (void)stpcpy(stpcpy(path, name), SUFFIX);
    result = mark_file_create(&store->mark.file, path, store->options.log, error);
    free(path);
    return result;
}

static int sqlite_mark_refuse(
    const struct sqlite_store *store, const char *problem, struct error *error)
{
    return error_set(error, ERROR_STORE,
        "%s %s, but %s belongs to a database that servers have used here: put that database back, "
        "or start once with --new-database to give revisions from this one",
        store->options.file, problem, mark_file_path(store->mark.file));
}

int sqlite_mark_require_file(struct sqlite_store *store, struct error *error)
{
    sqlite3_vfs *system = sqlite3_vfs_find(NULL);
    struct mark_record record;
    int exists = 1;

    if (store->options.new_database || mark_file_read(store->mark.file, &record) != MARK_FILE_VALID)
        return 0;
    if (system)
        (void)system->xAccess(system, store->options.file, SQLITE_ACCESS_EXISTS, &exists);
    return exists ? 0 : sqlite_mark_refuse(store, "is missing or empty", error);
}

/* Reads FILE-mark. If the store was open before, it may know of later transactions. */
static void sqlite_mark_recall(struct sqlite_mark *own, struct mark_record *record)
{
    own->file_state = mark_file_read(own->file, record);
    own->in_file = record->mark;
    if (own->file_state == MARK_FILE_VALID &&
        (!mark_has_identity(&record->mark, own->mark.identity) ||
            record->mark.counter > own->mark.counter))
        own->mark = record->mark;
}

int sqlite_mark_require_same(struct sqlite_store *store, struct error *error)
{
    struct sqlite_mark *own = &store->mark;
    struct mark_record record = {.time_s = 0};
    struct mark found;
    int result;

    sqlite_mark_recall(own, &record);
    result = sqlite_mark_check_owner(store, &record.owner, error);
    if (result == 0)
        result = sqlite_mark_look(store, &found, error);
    if (result != 0 || own->file_state != MARK_FILE_VALID ||
        mark_has_identity(&found, record.mark.identity))
        return result;
    if (!store->options.new_database)
        return sqlite_mark_refuse(store,
            found.identity[0] ? "is another database" : "is new, or not the last one", error);
    log_write(store->options.log, LOG_WARNING,
        "%s replaces the database that %s belonged to (--new-database)", store->options.file,
        mark_file_path(own->file));
    return 0;
}

/* Gives FILE-mark the permissions of the database, as SQLite does with its own files. */
static void sqlite_mark_share_file(const struct sqlite_store *store)
{
    const char *path = mark_file_path(store->mark.file);
    struct stat status;

    if (stat(store->options.file, &status) != 0)
        return;
    (void)!chmod(path, status.st_mode & 0777);
    if (geteuid() == 0)
        (void)!chown(path, status.st_uid, status.st_gid);
}

/* Writes FILE-mark if it is missing, invalid, behind, or another database's. */
static void sqlite_mark_begin_file(struct sqlite_store *store)
{
    struct sqlite_mark *own = &store->mark;
    const struct mark *in_file = &own->in_file;

    if (own->file_state == MARK_FILE_INVALID)
        log_write(store->options.log, LOG_WARNING, "%s holds no valid mark; it is written again",
            mark_file_path(own->file));
    if (!own->is_shared && own->file_state == MARK_FILE_VALID &&
        mark_has_identity(in_file, own->mark.identity) && in_file->counter == own->mark.counter)
        mark_file_adopt(own->file, in_file);
    else if (mark_file_put(own->file, &own->mark) && own->file_state == MARK_FILE_MISSING) {
        sqlite_mark_share_file(store);
        log_write(store->options.log, LOG_INFO, "Made %s", mark_file_path(own->file));
    }
}

/* Accepts the rollback that --accept-rollback names. */
static int sqlite_mark_accept_option(struct sqlite_store *store, struct error *error)
{
    const char *name = store->options.accept_rollback;
    struct mark mark = {.counter = 0};
    int result;

    if (!store->base.rollback.is_rolled_back || !name)
        return 0;
    if (!mark_parse(&mark, text_of(name)))
        return error_set(error, ERROR_INPUT, "accept-rollback: '%s' is not IDENTITY:COUNTER", name);
    result = store_begin_write(&store->base, NULL, STORE_LOCK_WAIT_MS, error);
    if (result != 0)
        return result;
    if (store_accept_rollback(&store->base, &mark, error) == 0)
        return store_commit(&store->base, error);
    store_rollback(&store->base);
    log_write(store->options.log, LOG_ERROR, "--accept-rollback was not used: %s", error->text);
    return 0;
}

int sqlite_mark_prepare(struct sqlite_store *store, struct error *error)
{
    struct mark remembered = store->mark.mark;
    struct mark found;
    int result = sqlite_mark_read(store, &found, error);

    if (result == 0 && !found.identity[0])
        result = sqlite_mark_make(store, &found, error);
    if (result == 0)
        result = sqlite_mark_prepare_statements(store, error);
    if (result != 0)
        return result;
    if (!mark_has_identity(&found, remembered.identity))
        remembered = found; /* there is no FILE-mark, or --new-database was given */
    store->mark.mark = remembered;
    sqlite_mark_compare(store, &remembered, &found);
    if (!store->base.rollback.is_rolled_back)
        sqlite_mark_begin_file(store);
    if (store->mark.is_shared)
        sqlite_mark_hold(store);
    store->base.counter = store->mark.mark.counter;
    return sqlite_mark_accept_option(store, error);
}

/* ---- read-only stores ---- */

int sqlite_mark_follow(struct sqlite_store *store, bool is_start, struct error *error)
{
    struct mark *last = &store->mark.mark;
    struct store_rollback *rollback = &store->base.rollback;
    struct mark_record record = {.time_s = 0};
    struct mark found;
    bool is_same;
    int result;

    if (!store->mark.file)
        return 0;
    if (is_start && mark_file_read(store->mark.file, &record) == MARK_FILE_VALID)
        *last = record.mark;
    result = sqlite_mark_look(store, &found, error);
    if (result != 0)
        return result;
    is_same = mark_has_identity(&found, last->identity);
    if (!last->identity[0] || (is_same && found.counter >= last->counter)) {
        *last = found;
        rollback->is_rolled_back = false;
        return 0;
    }
    if (!rollback->is_rolled_back) {
        identity_add_rollback(store->options.identity);
        sqlite_mark_warn(store, last, &found, "it is only read here");
    }
    *rollback = (struct store_rollback){
        .is_rolled_back = true, .mark = *last, .counter = is_same ? found.counter : -1};
    return 0;
}
