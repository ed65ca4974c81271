/* SPDX-License-Identifier: MIT */
/* Prepares a new session: settings, tables, statements.
 *
 * Many servers may start at once on an empty database: they make the tables one after the other,
 * under an advisory lock, and only the first finds them missing. If an administrator has made the
 * tables, the role needs no right to make them.
 *
 * A session begins with a proof that the database can commit (proof.c). */
#include "store/postgres/postgres.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

#include "statements.inc"

#define SCHEMA_VERSION 1
#define SURVEY_MOST 10000 /* packages that are counted at the start */
#define SESSION_MS 5000   /* for the rest of a session's preparation, after the tables were made */
#define SCHEMA_MS 30000   /* for making the tables, or waiting until another server has */

static const char schema[] =
#include "schema.inc"
    ;

/* ---- settings ---- */

/* The columns in which the settings return the state of the server. */
enum {
    STATE_IS_STANDBY,
    STATE_ENCODING,
    STATE_SYNCS_COMMITS,
    STATE_SYNCS_FILES,
    STATE_HAS_TABLES,
    STATE_IS_READ_ONLY,
    STATE_STANDBYS,
    STATE_BACKEND_PID,
    STATE_HAS_MARK,
    STATE_MAY_MARK,
};

static bool postgres_schema_is_on(const PGresult *reply, int column)
{
    const char *value = PQgetvalue(reply, 0, column);

    return strcmp(value, "off") != 0 && strcmp(value, "f") != 0 && strcmp(value, "0") != 0;
}

static int postgres_schema_check_session(struct postgres_conn *conn,
    const struct connect_params *params, const PGresult *state, struct error *error)
{
    if (PQserverVersion(conn->connection) < POSTGRES_LEAST_VERSION)
        return error_set(error, ERROR_STORE,
            "the database %s is PostgreSQL %d; 13 or newer is needed", conn->name,
            PQserverVersion(conn->connection) / 10000);
    if (strcmp(PQgetvalue(state, 0, STATE_ENCODING), "UTF8") != 0)
        return error_set(error, ERROR_STORE,
            "the encoding of the database %s is not UTF8, so it can't hold every text: make it "
            "with "
            "CREATE DATABASE NAME ENCODING 'UTF8' TEMPLATE template0",
            conn->name);
    if (params->writes && (postgres_schema_is_on(state, STATE_IS_STANDBY) ||
                              postgres_schema_is_on(state, STATE_IS_READ_ONLY)))
        return error_set(error, ERROR_LOCKED,
            "the database %s may only be read (a standby, or default_transaction_read_only): name "
            "the primary, or all hosts and target_session_attrs=read-write, or serve it with "
            "--read-only",
            conn->name);
    return 0;
}

/* Returns whether commits reach the disks of the primary and of its standbys. Not so: off, local
 * (no standby), remote_write (not the standby's disk). */
static bool postgres_schema_syncs_commits(const PGresult *state)
{
    const char *value = PQgetvalue(state, 0, STATE_SYNCS_COMMITS);

    return strcmp(value, "on") == 0 || strcmp(value, "remote_apply") == 0;
}

/* A session that only reads needs this, too, for its proofs. */
static int postgres_schema_set_sync(struct postgres_conn *conn, const struct connect_params *params,
    const PGresult *state, struct error *error)
{
    const char *sql = NULL;

    if (params->sync == STORE_SYNC_OFF)
        sql = "SET synchronous_commit = off";
    else if (params->sync == STORE_SYNC_NORMAL)
        sql = "SET synchronous_commit = local";
    else if (!postgres_schema_syncs_commits(state))
        sql = "SET synchronous_commit = on";
    return sql ? postgres_run(conn, sql, NULL, error) : 0;
}

/* ---- tables ---- */

/* The version is in one row. A dump of the rows alone, restored into tables that prservd had made,
 * adds another one. */
static int postgres_schema_check_version(struct postgres_conn *conn, struct error *error)
{
    PGresult *reply;
    long n_rows;
    long version;
    int result = postgres_run(conn, postgres_sql_version, &reply, error);

    if (result != 0)
        return result;
    n_rows = strtol(PQgetvalue(reply, 0, 0), NULL, 10);
    version = strtol(PQgetvalue(reply, 0, 1), NULL, 10);
    PQclear(reply);
    if (n_rows > 0 && version != SCHEMA_VERSION)
        return error_set(error, ERROR_STORE,
            "the tables in %s are of version %ld, this prservd knows version %d: run the prservd "
            "that made them, or a newer one",
            conn->name, version, SCHEMA_VERSION);
    if (n_rows == 1)
        return 0;
    return error_set(error, ERROR_STORE,
        "the table prserv_schema in %s has %ld rows instead of one; was a dump of the rows alone "
        "restored? Run DELETE FROM prserv_schema; INSERT INTO prserv_schema VALUES (%d)",
        conn->name, n_rows, SCHEMA_VERSION);
}

/* Checks that the sequence goes on behind the packages: logical replication, for example, copies
 * rows without it. A role that may not read the sequence finds out at a new package. */
static int postgres_schema_check_sequence(struct postgres_conn *conn, struct error *error)
{
    PGresult *reply;
    bool is_behind;
    int result = postgres_run(conn, postgres_sql_sequence, &reply, error);

    if (result != 0)
        return result;
    is_behind = PQgetvalue(reply, 0, 0)[0] == 't';
    PQclear(reply);
    return is_behind ? error_set(error, ERROR_STORE,
                           "the sequence of prserv_package in %s was not copied with the rows: "
                           "run " POSTGRES_SETVAL,
                           conn->name)
                     : 0;
}

/* Makes the tables if they are missing, in a transaction. */
static int postgres_schema_make_if_missing(
    struct postgres_conn *conn, bool *missing, struct error *error)
{
    PGresult *reply = NULL;
    int result = postgres_run(conn, postgres_sql_find_schema, &reply, error);

    if (result != 0)
        return result;
    *missing = postgres_schema_is_on(reply, 0);
    PQclear(reply);
    if (*missing)
        result = postgres_run(conn, schema, NULL, error);
    if (result == 0)
        result = postgres_run(conn, "COMMIT", NULL, error);
    return result;
}

/* Makes the tables under the advisory lock. The lock is taken before the transaction begins:
 * otherwise the transaction might not see what the last holder has made. After a failure the lock
 * ends with the connection, which is closed then. */
static int postgres_schema_make_tables(struct postgres_conn *conn, bool *made, struct error *error)
{
    int result;

    conn->until_ms = clock_ms() + SCHEMA_MS;
    result = postgres_run(conn, postgres_sql_lock_schema, NULL, error);
    if (result == 0)
        result = postgres_schema_make_if_missing(conn, made, error);
    if (result == 0)
        result = postgres_run(conn, postgres_sql_unlock_schema, NULL, error);
    conn->until_ms = clock_ms() + SESSION_MS;
    return result;
}

/* ---- statements ---- */

static const struct {
    const char *name;
    const char *sql;
    bool writes;
} statements[] = {
    {"make", postgres_sql_make, true},
    {"lock", postgres_sql_lock, true},
    {"lock_free", postgres_sql_lock_free, true},
    {"facts", postgres_sql_facts, false},
    {"add", postgres_sql_add, true},
    {"find", postgres_sql_find, true},
    {"scan", postgres_sql_scan, false},
    {"scan_piece", postgres_sql_scan_piece, false},
    {"scan_package", postgres_sql_scan_package, false},
    {"greatest", postgres_sql_greatest, false},
    {"search", postgres_sql_search, false},
    {"search_one", postgres_sql_search_one, false},
};

enum { N_STATEMENTS = sizeof statements / sizeof *statements };

static int postgres_schema_send_prepare(void *context, size_t i, struct error *error)
{
    struct postgres_conn *conn = context;

    if (PQsendPrepare(conn->connection, statements[i].name, statements[i].sql, 0, NULL) != 1)
        return postgres_lost(conn, error);
    return 0;
}

/* Prepares the statements in one round trip. */
static int postgres_schema_prepare(struct postgres_conn *conn, bool writes, struct error *error)
{
    PGresult *replies[N_STATEMENTS];
    bool wanted[N_STATEMENTS];
    int result;

    for (size_t i = 0; i < N_STATEMENTS; i++)
        wanted[i] = writes || !statements[i].writes;
    result = postgres_pipeline(
        conn, wanted, N_STATEMENTS, postgres_schema_send_prepare, conn, replies, error);
    postgres_clear(replies, N_STATEMENTS);
    return result;
}

/* ---- the session ---- */

/* Finds out what the settings mean for a server. */
static void postgres_schema_take_state(
    const struct connect_params *params, const PGresult *state, struct postgres_session *session)
{
    const bool is_synced = params->sync == STORE_SYNC_FULL;

    session->has_tables = postgres_schema_is_on(state, STATE_HAS_TABLES);
    session->loses_commits =
        params->writes && is_synced && !postgres_schema_is_on(state, STATE_SYNCS_FILES);
    session->is_standby = postgres_schema_is_on(state, STATE_IS_STANDBY);
    session->has_no_standby =
        is_synced && !session->is_standby && PQgetvalue(state, 0, STATE_STANDBYS)[0] == '\0';
}

/* Checks the tables, and proves that the database can commit. */
static int postgres_schema_check(struct postgres_conn *conn, const struct connect_params *params,
    struct postgres_session *session, struct error *error)
{
    int result = postgres_schema_check_version(conn, error);

    if (result == 0 && params->writes)
        result = postgres_schema_check_sequence(conn, error);
    if (result == 0 && (params->writes || params->proves) && params->sync == STORE_SYNC_FULL)
        result = postgres_proof_begin_session(conn, params, session, error);
    if (result == 0)
        result = postgres_schema_prepare(conn, params->writes, error);
    return result;
}

/* Asks what names the database. A role that may not know it does without. */
static int postgres_schema_find_instance(
    struct postgres_conn *conn, struct postgres_session *session, struct error *error)
{
    PGresult *reply = NULL;
    int result = postgres_run(conn, postgres_sql_instance, &reply, error);

    if (result == 0 && PQntuples(reply) == 1)
        (void)snprintf(session->instance, sizeof session->instance, "%s", PQgetvalue(reply, 0, 0));
    PQclear(reply);
    return result == 0 || conn->is_broken ? result : 0;
}

/* Asks how many packages there are, for the log. A role that may not know it does without. */
static int postgres_schema_survey(
    struct postgres_conn *conn, struct postgres_session *session, struct error *error)
{
    PGresult *reply = NULL;
    const int result = postgres_run(conn, postgres_sql_survey, &reply, error);

    if (result == 0 && PQntuples(reply) == 1) {
        const int64_t counted = strtoll(PQgetvalue(reply, 0, 0), NULL, 10);
        const int64_t estimated = strtoll(PQgetvalue(reply, 0, 1), NULL, 10);

        session->is_estimate = counted > SURVEY_MOST;
        session->n_packages = session->is_estimate && estimated > counted ? estimated : counted;
        (void)snprintf(session->version, sizeof session->version, "%s", PQgetvalue(reply, 0, 2));
    }
    PQclear(reply);
    return result == 0 || conn->is_broken ? result : 0;
}

int postgres_prepare_session(struct postgres_conn *conn, const struct connect_params *params,
    struct postgres_session *session, struct error *error)
{
    PGresult *state = NULL;
    bool has_mark = false;
    bool may_mark = false;
    int result = postgres_run(conn, postgres_sql_settings, &state, error);

    if (result == 0)
        result = postgres_pooler_check_pid(
            conn, (int)strtol(PQgetvalue(state, 0, STATE_BACKEND_PID), NULL, 10), error);
    *session = (struct postgres_session){.has_tables = false, .n_packages = -1};
    if (result == 0)
        result = postgres_schema_check_session(conn, params, state, error);
    if (result == 0 && (params->writes || params->proves))
        result = postgres_schema_set_sync(conn, params, state, error);
    if (result == 0) {
        postgres_schema_take_state(params, state, session);
        has_mark = postgres_schema_is_on(state, STATE_HAS_MARK);
        may_mark = postgres_schema_is_on(state, STATE_MAY_MARK);
    }
    PQclear(state);
    if (result == 0 && params->writes && !session->has_tables) {
        result = postgres_schema_make_tables(conn, &session->made_tables, error);
        session->has_tables = true;
    }
    if (result == 0 && session->has_tables)
        result = postgres_schema_check(conn, params, session, error);
    if (result == 0 && session->has_tables && params->writes)
        result = postgres_mark_prepare_session(conn, has_mark || session->made_tables,
            may_mark || session->made_tables, session, error);
    if (result == 0 && session->has_tables)
        result = postgres_schema_find_instance(conn, session, error);
    if (result == 0 && session->has_tables && params->is_startup && params->writes)
        result = postgres_run(conn, postgres_sql_make_name_index, NULL, error);
    if (result == 0 && session->has_tables && params->is_startup && params->proves)
        result = postgres_schema_survey(conn, session, error);
    session->has_tables = session->has_tables && result == 0;
    return result;
}
