/* What a new connection goes through: settings, the tables, what is prepared.
 *
 * Many servers may start at once on an empty database: they make the tables one after the other,
 * under an advisory lock, and only the first finds them missing. Where somebody else made them, by
 * hand, the role needs no right to.
 *
 * After a crash, or when a commit was kept from waiting, rows can be seen that no standby has yet.
 * So a writer's session begins with a commit of its own: like each, it waits until the standbys
 * that are asked for have all that came before it. */
#include "store/postgres.h"

#include <stdlib.h>
#include <string.h>

#define OUR_VERSION 1
#define LOCK_NUMBER "8585123409" /* of the advisory lock: any number, always the same */
#define LOCK_TIMEOUT "'500ms'"

static const char schema[] =
#include "postgres_schema.inc"
    ;

/* ---- settings ---- */

/* Indexes and their order are always right here, also before statistics are there to say so. A lock
 * is not waited for long: what has arrived since is looked at in between. A transaction that its
 * server has left, or that a dead network has cut off, must not keep others out. */
static const char settings[] =
    "SET client_min_messages = warning; SET default_transaction_isolation = 'read committed'; "
    "SET lock_timeout = " LOCK_TIMEOUT "; SET idle_in_transaction_session_timeout = '5s'; "
    "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 2; "
    "SET tcp_user_timeout = '8s'; SET plan_cache_mode = force_generic_plan; SET enable_seqscan = "
    "off; SET enable_bitmapscan = off; SET enable_sort = off; SET jit = off; "
    "SET max_parallel_workers_per_gather = 0; "
    "SELECT pg_is_in_recovery()::int, current_setting('server_encoding'), "
    "current_setting('synchronous_commit'), current_setting('fsync'), "
    "to_regclass('prserv_schema') IS NOT NULL, current_setting('default_transaction_read_only')";

struct facts {
    bool is_standby;
    bool is_utf8;
    bool syncs_commits;
    bool syncs_files;
    bool has_tables;
    bool is_read_only;
};

static bool is_on(const PGresult *result, int column)
{
    const char *value = PQgetvalue(result, 0, column);

    return strcmp(value, "off") != 0 && strcmp(value, "f") != 0 && strcmp(value, "0") != 0;
}

static int set_up(struct postgres_link *link, struct facts *facts, struct error *error)
{
    PGresult *result;
    int code = postgres_run(link, settings, &result, error);

    if (code != 0)
        return code;
    *facts = (struct facts){
        .is_standby = is_on(result, 0),
        .is_utf8 = strcmp(PQgetvalue(result, 0, 1), "UTF8") == 0,
        .syncs_commits = is_on(result, 2),
        .syncs_files = is_on(result, 3),
        .has_tables = is_on(result, 4),
        .is_read_only = is_on(result, 5),
    };
    PQclear(result);
    return 0;
}

static int check_session(struct postgres_link *link, const struct postgres_aim *aim,
    const struct facts *facts, struct error *error)
{
    if (PQserverVersion(link->connection) < POSTGRES_LEAST_VERSION)
        return error_set(error, ERROR_STORE,
            "the database %s is PostgreSQL %d; 13 or newer is needed", link->name,
            PQserverVersion(link->connection) / 10000);
    if (!facts->is_utf8)
        return error_set(error, ERROR_STORE,
            "the encoding of the database %s is not UTF8, so it can't hold every text: make it "
            "with "
            "CREATE DATABASE NAME ENCODING 'UTF8' TEMPLATE template0",
            link->name);
    if (aim->writes && (facts->is_standby || facts->is_read_only))
        return error_set(error, ERROR_LOCKED,
            "the database %s may only be read (a standby, or default_transaction_read_only): name "
            "the primary, or all hosts and target_session_attrs=read-write, or serve it with "
            "--read-only",
            link->name);
    return 0;
}

static int set_sync(struct postgres_link *link, const struct postgres_aim *aim,
    const struct facts *facts, struct error *error)
{
    const char *sql = NULL;

    if (aim->sync == STORE_SYNC_OFF)
        sql = "SET synchronous_commit = off";
    else if (aim->sync == STORE_SYNC_NORMAL)
        sql = "SET synchronous_commit = local";
    else if (!facts->syncs_commits)
        sql = "SET synchronous_commit = on";
    return sql ? postgres_run(link, sql, NULL, error) : 0;
}

/* ---- tables ---- */

static int check_version(struct postgres_link *link, struct error *error)
{
    PGresult *result;
    long version = 0;
    int code = postgres_run(link, "SELECT version FROM prserv_schema", &result, error);

    if (code != 0)
        return code;
    if (PQntuples(result) == 1)
        version = strtol(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    if (version == OUR_VERSION)
        return 0;
    return error_set(error, ERROR_STORE,
        "the tables in %s are of version %ld, this prservd knows version %d: run the prservd that "
        "made them, or a newer one",
        link->name, version, OUR_VERSION);
}

/* In a transaction. */
static int make_if_missing(struct postgres_link *link, bool *missing, struct error *error)
{
    PGresult *result = NULL;
    int code =
        postgres_run(link, "BEGIN; SELECT to_regclass('prserv_schema') IS NULL", &result, error);

    if (code != 0)
        return code;
    *missing = is_on(result, 0);
    PQclear(result);
    if (*missing)
        code = postgres_run(link, schema, NULL, error);
    if (code == 0)
        code = postgres_run(link, "COMMIT", NULL, error);
    return code;
}

/* The lock is taken before the transaction: one that had begun would not see what its last owner
 * made. It ends with the connection, which a failure ends. */
static int make_tables(struct postgres_link *link, bool *made, struct error *error)
{
    int code = postgres_run(
        link, "SET lock_timeout = 0; SELECT pg_advisory_lock(" LOCK_NUMBER ")", NULL, error);

    if (code == 0)
        code = make_if_missing(link, made, error);
    if (code == 0)
        code = postgres_run(link,
            "SELECT pg_advisory_unlock(" LOCK_NUMBER "); SET lock_timeout = " LOCK_TIMEOUT, NULL,
            error);
    return code;
}

/* ---- statements ---- */

static const struct {
    const char *name;
    bool writes;
    const char *sql;
} statements[] = {
    /* Keys, versions and pkgarches of packages, each once. Only what is missing is inserted:
     * an insert that meets a conflict costs more. */
    {"make", true,
        "INSERT INTO prserv_package (key, version, pkgarch) "
        "SELECT u.k, u.v, u.a FROM unnest($1::bytea[], $2::text[], $3::text[]) AS u (k, v, a) "
        "WHERE NOT EXISTS (SELECT FROM prserv_package p WHERE p.key = u.k) "
        "ORDER BY u.k ON CONFLICT (key) DO NOTHING"},
    /* The keys. In one order, so that servers don't wait for each other in a circle. */
    {"lock", true,
        "SELECT count(*) FROM (SELECT FROM prserv_package WHERE key = ANY ($1::bytea[]) "
        "ORDER BY key FOR UPDATE) AS l"},
    /* Those that nobody else holds. */
    {"lock_free", true,
        "SELECT id FROM prserv_package WHERE key = ANY ($1::bytea[]) "
        "ORDER BY key FOR UPDATE SKIP LOCKED"},
    /* The elements of a question: keys of package and checksum or NULL; is its smallest value
     * wanted, its largest; place and rest of a value or NULL; was the package not asked about
     * before? No plan may read all rows of a package, also while the tables are new, without
     * statistics: so the planner is kept from sorting (but for rows of the same place), and
     * length() keeps the index over places away from what is about a checksum. */
    {"facts", false,
        "WITH w AS MATERIALIZED (SELECT u.n::int4 AS n, p.id, "
        "u.digest, u.smallest, u.largest, u.place, u.rest, u.first "
        "FROM unnest($1::bytea[], $2::bytea[], $3::bool[], $4::bool[], $5::bytea[], $6::bytea[], "
        "$7::bool[]) WITH ORDINALITY AS u (key, digest, smallest, largest, place, rest, first, n) "
        "JOIN prserv_package p ON p.key = u.key) "
        "SELECT w.n, 'i', NULL, NULL, w.id FROM w WHERE w.first "
        "UNION ALL SELECT w.n, 'g', g.checksum, g.value, NULL FROM w CROSS JOIN LATERAL ("
        "SELECT r.checksum, r.value FROM prserv_row r WHERE r.package = w.id AND r.place > '' "
        "ORDER BY r.place DESC, r.rest DESC LIMIT 1) AS g WHERE w.first "
        "UNION ALL SELECT w.n, 'o', o.checksum, o.value, NULL FROM w CROSS JOIN LATERAL ("
        "SELECT r.checksum, r.value FROM prserv_row r WHERE r.package = w.id AND r.place = '' "
        "LIMIT 3) AS o WHERE w.first "
        "UNION ALL SELECT w.n, 's', NULL, s.value, NULL FROM w CROSS JOIN LATERAL ("
        "SELECT r.value FROM prserv_row r WHERE r.package = w.id AND r.digest = w.digest "
        "AND length(r.place) > 0 ORDER BY r.place, r.rest LIMIT 1) AS s WHERE w.smallest "
        "UNION ALL SELECT w.n, 'l', NULL, l.value, NULL FROM w CROSS JOIN LATERAL ("
        "SELECT r.value FROM prserv_row r WHERE r.package = w.id AND r.digest = w.digest "
        "AND length(r.place) > 0 ORDER BY r.place DESC, r.rest DESC LIMIT 1) AS l "
        "WHERE w.largest "
        "UNION ALL SELECT w.n, 'h', h.checksum, h.value, NULL FROM w CROSS JOIN LATERAL ("
        "SELECT r.checksum, r.value FROM prserv_row r WHERE r.package = w.id "
        "AND r.place = w.place AND r.rest = w.rest LIMIT 1) AS h WHERE w.place > ''"},
    /* Package numbers, digests, places, rests, checksums, values. */
    {"add", true,
        "INSERT INTO prserv_row (package, digest, place, rest, checksum, value) "
        "SELECT * FROM unnest($1::int8[], $2::bytea[], $3::bytea[], $4::bytea[], $5::text[], "
        "$6::text[]) ON CONFLICT DO NOTHING"},
};

static int prepare(
    struct postgres_link *link, const char *name, const char *sql, struct error *error)
{
    PGresult *result = NULL;
    PGresult *end = NULL;
    int code = 0;

    if (PQsendPrepare(link->connection, name, sql, 0, NULL) != 1)
        return postgres_lost(link, error);
    code = postgres_next(link, &result, error);
    if (code == 0 && result) {
        code = postgres_check(link, result, error);
        if (!link->is_broken && postgres_next(link, &end, error) != 0)
            code = ERROR_LOCKED;
    }
    PQclear(end);
    PQclear(result);
    return code;
}

static int prepare_all(struct postgres_link *link, bool writes, struct error *error)
{
    int code = 0;

    for (size_t i = 0; i < sizeof statements / sizeof *statements && code == 0; i++) {
        if (writes || !statements[i].writes)
            code = prepare(link, statements[i].name, statements[i].sql, error);
    }
    return code;
}

/* ---- all of it ---- */

static int wait_for_standbys(struct postgres_link *link, struct error *error)
{
    int code = postgres_run(
        link, "BEGIN; SELECT version FROM prserv_schema FOR UPDATE; COMMIT", NULL, error);

    if (code == 0 && link->is_doubtful)
        code = error_set(
            error, ERROR_LOCKED, "the database %s could not wait for its standby", link->name);
    return code;
}

int postgres_prepare_session(struct postgres_link *link, const struct postgres_aim *aim,
    struct postgres_session *session, struct error *error)
{
    struct facts facts;
    int code = set_up(link, &facts, error);

    *session = (struct postgres_session){.has_tables = false};
    if (code == 0)
        code = check_session(link, aim, &facts, error);
    if (code == 0 && aim->writes)
        code = set_sync(link, aim, &facts, error);
    if (code == 0 && aim->writes && !facts.has_tables)
        code = make_tables(link, &session->made_tables, error);
    if (code != 0 || (!facts.has_tables && !aim->writes))
        return code;
    code = check_version(link, error);
    if (code == 0 && aim->writes && aim->sync == STORE_SYNC_FULL)
        code = wait_for_standbys(link, error);
    if (code == 0)
        code = prepare_all(link, aim->writes, error);
    session->has_tables = code == 0;
    session->loses_commits = aim->writes && aim->sync == STORE_SYNC_FULL && !facts.syncs_files;
    return code;
}
