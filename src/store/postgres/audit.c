/* SPDX-License-Identifier: MIT */
/* The audit log on PostgreSQL: tables beside the others (schema.sql). This file connects and
 * writes.
 *
 * The connection is made as that of a store, in a thread of its own (attempt.c), so that connecting
 * has an end. Commits are not waited for (synchronous_commit = off): a crash of the database may
 * lose the last records. A batch is one round trip of arrays. Packages and checksums are found by
 * their hashes, as prserv_row has them, so that no text is stored twice.
 *
 * A batch whose connection broke may have been stored. Before the next try, its first record is
 * looked for, under a lock that each try of a batch holds until it ends. */
#include "store/postgres/audit.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "audit_statements.inc"

#define RETURN_BIT 16 /* added to the request of a content that came back */

/* The arrays of a batch. */
enum { KEYS, TIMES, DIGESTS, VALUES, REQUESTS, RIGHTS, PEERS, ANNOTATIONS };

/* The statements of a batch, in their order. */
enum {
    BATCH_BEGIN,
    BATCH_LIMIT,
    BATCH_LOCK,
    BATCH_ADD,
    BATCH_COUNT,
    BATCH_USE,
    BATCH_COMMIT,
    BATCH_HAS,
    BATCH_ROLLBACK,
    BATCH_STATEMENTS
};

/* ---- the connection ---- */

static void postgres_audit_disconnect(struct postgres_audit *audit)
{
    PQfinish(audit->conn.connection);
    audit->conn.connection = NULL;
    audit->conn.is_broken = audit->conn.is_doubtful = false;
    audit->has_tables = false;
}

int postgres_audit_fail(struct postgres_audit *audit, int result)
{
    if (result != 0)
        postgres_audit_disconnect(audit);
    return result;
}

/* Makes the tables. A role that may not is told what an administrator does. */
static int postgres_audit_make_tables(struct postgres_audit *audit, struct error *error)
{
    struct error reason;
    int result = postgres_run(&audit->conn, postgres_sql_make_audit, NULL, &reason);

    if (result == 0)
        return 0;
    return error_set(error, result,
        "%.250s. For an audit log, an administrator makes the tables prserv_audit_* of "
        "postgres.sql "
        "and runs GRANT SELECT, INSERT, UPDATE, DELETE on them",
        reason.text);
}

static int postgres_audit_find_tables(struct postgres_audit *audit, struct error *error)
{
    PGresult *reply = NULL;
    int result = postgres_run(&audit->conn, postgres_sql_find_audit, &reply, error);

    audit->has_tables = result == 0 && PQgetvalue(reply, 0, 0)[0] == 't';
    PQclear(reply);
    if (result == 0 && !audit->has_tables && audit->writes) {
        result = postgres_audit_make_tables(audit, error);
        audit->has_tables = result == 0;
    }
    if (result == 0 && audit->writes)
        result = postgres_run(&audit->conn, postgres_sql_prepare_audit, NULL, error);
    return result;
}

/* Waits for an attempt to connect, and takes its connection. */
static int postgres_audit_connect(struct postgres_audit *audit, struct error *error)
{
    const struct connect_params params = {
        .conninfo = audit->file, .writes = audit->writes, .sync = STORE_SYNC_OFF};
    struct connect_result taken;
    int result = 0;

    if (!audit->attempt)
        result = postgres_attempt_begin(&audit->attempt, &params, error);
    if (result != 0)
        return result;
    if (!postgres_attempt_take(audit->attempt, audit->conn.until_ms, &taken))
        return error_set(error, ERROR_LOCKED, "the database %s can't be reached", audit->name);
    audit->attempt = NULL;
    if (taken.result != 0) {
        *error = taken.error;
        return taken.result;
    }
    audit->conn.connection = taken.connection;
    audit->conn.backend_pid = taken.session.backend_pid;
    result = postgres_conn_attach(&audit->conn, error);
    if (result == 0 && taken.session.has_tables)
        result = postgres_audit_find_tables(audit, error);
    return result;
}

int postgres_audit_enter(struct postgres_audit *audit, struct error *error)
{
    audit->conn.until_ms = clock_ms() + audit->wait_ms;
    if (audit->conn.connection && (audit->has_tables || audit->writes))
        return 0;
    postgres_audit_disconnect(audit);
    return postgres_audit_fail(audit, postgres_audit_connect(audit, error));
}

/* ---- writing ---- */

/* Appends the hash of a package. Returns false when memory ran out. */
static bool postgres_audit_add_key(
    struct postgres_audit *audit, int array, struct text version, struct text pkgarch)
{
    unsigned char key[DIGEST_BYTES];

    if (!postgres_hash_package(audit->digest, version, pkgarch, key))
        return false;
    postgres_array_text(&audit->arrays[array], postgres_hash_text(key));
    return true;
}

static bool postgres_audit_add_digest(struct postgres_audit *audit, int array, struct text checksum)
{
    unsigned char hash[DIGEST_BYTES];

    if (!postgres_hash_checksum(audit->digest, checksum, hash))
        return false;
    postgres_array_text(&audit->arrays[array], postgres_hash_text(hash));
    return true;
}

static bool postgres_audit_add_revision(
    struct postgres_audit *audit, const struct audit_revision *revision)
{
    struct postgres_array *arrays = audit->arrays;

    postgres_array_int8(&arrays[TIMES], revision->time_us);
    postgres_array_text(&arrays[VALUES], text_not_null(revision->value));
    postgres_array_int8(
        &arrays[REQUESTS], (int64_t)revision->request + (revision->is_return ? RETURN_BIT : 0));
    postgres_array_text(&arrays[RIGHTS], text_not_null(revision->rights));
    postgres_array_text(&arrays[PEERS], text_not_null(revision->peer));
    postgres_array_text(&arrays[ANNOTATIONS], text_not_null(revision->annotations));
    return postgres_audit_add_key(audit, KEYS, revision->version, revision->pkgarch) &&
           postgres_audit_add_digest(audit, DIGESTS, revision->checksum);
}

static void postgres_audit_begin_revisions(struct postgres_audit *audit)
{
    static const enum postgres_type types[] = {POSTGRES_BYTEA, POSTGRES_INT8, POSTGRES_BYTEA,
        POSTGRES_TEXT, POSTGRES_INT8, POSTGRES_TEXT, POSTGRES_TEXT, POSTGRES_TEXT};

    for (int i = KEYS; i <= ANNOTATIONS; i++)
        postgres_array_begin(&audit->arrays[i], types[i]);
}

/* A batch while it is sent. */
struct postgres_audit_writing {
    struct postgres_audit *audit;
    const struct audit_batch *batch;
};

static int postgres_audit_send_revisions(
    struct postgres_audit_writing *writing, struct error *error)
{
    struct postgres_audit *audit = writing->audit;

    postgres_audit_begin_revisions(audit);
    for (size_t i = 0; i < writing->batch->n_revisions; i++) {
        if (!postgres_audit_add_revision(audit, &writing->batch->revisions[i]))
            return error_set_memory(error);
    }
    return postgres_send(&audit->conn, "audit_add", audit->arrays, 8, error);
}

/* Sends the counts, from the arrays that are there. */
static int postgres_audit_send_counts(struct postgres_audit_writing *writing, struct error *error)
{
    struct postgres_array *arrays = writing->audit->arrays;
    struct postgres_array sent[] = {arrays[KEYS], arrays[TIMES], arrays[REQUESTS]};

    return postgres_send(&writing->audit->conn, "audit_count", sent, 3, error);
}

static int postgres_audit_send_uses(struct postgres_audit_writing *writing, struct error *error)
{
    struct postgres_audit *audit = writing->audit;

    postgres_array_begin(&audit->arrays[0], POSTGRES_BYTEA);
    postgres_array_begin(&audit->arrays[1], POSTGRES_BYTEA);
    postgres_array_begin(&audit->arrays[2], POSTGRES_INT8);
    postgres_array_begin(&audit->arrays[3], POSTGRES_INT8);
    for (size_t i = 0; i < writing->batch->n_uses; i++) {
        const struct audit_use *use = &writing->batch->uses[i];

        if (!postgres_audit_add_key(audit, 0, use->version, use->pkgarch) ||
            !postgres_audit_add_digest(audit, 1, use->checksum))
            return error_set_memory(error);
        postgres_array_int8(&audit->arrays[2], use->last_us);
        postgres_array_int8(&audit->arrays[3], (int64_t)use->count);
    }
    return postgres_send(&audit->conn, "audit_use", audit->arrays, 4, error);
}

static int postgres_audit_send_word(
    struct postgres_audit *audit, const char *word, struct error *error)
{
    if (PQsendQueryParams(audit->conn.connection, word, 0, NULL, NULL, NULL, NULL, 1) != 1)
        return postgres_lost(&audit->conn, error);
    return 0;
}

/* Has a statement of the batch end in the database, too, when it takes longer than this waits for
 * it: it would go on beside the next try. */
static int postgres_audit_send_limit(struct postgres_audit *audit, struct error *error)
{
    char limit[64];

    (void)snprintf(limit, sizeof limit, "SET LOCAL statement_timeout = %u", audit->wait_ms);
    return postgres_audit_send_word(audit, limit, error);
}

/* Makes the next try of a batch wait until this one has ended, also without its connection. */
static int postgres_audit_send_lock(struct postgres_audit *audit, struct error *error)
{
    char lock[64];

    (void)snprintf(lock, sizeof lock, "SELECT pg_advisory_xact_lock(%" PRId64 ")", audit->lock_key);
    return postgres_audit_send_word(audit, lock, error);
}

/* Asks for the first record. */
static int postgres_audit_send_has(struct postgres_audit_writing *writing, struct error *error)
{
    struct postgres_audit *audit = writing->audit;

    postgres_audit_begin_revisions(audit);
    if (!postgres_audit_add_revision(audit, &writing->batch->revisions[0]))
        return error_set_memory(error);
    return postgres_send(&audit->conn, "audit_has", audit->arrays, 4, error);
}

static int postgres_audit_send(void *context, size_t i, struct error *error)
{
    struct postgres_audit_writing *writing = context;

    switch (i) {
    case BATCH_BEGIN:
        return postgres_audit_send_word(writing->audit, "BEGIN", error);
    case BATCH_LIMIT:
        return postgres_audit_send_limit(writing->audit, error);
    case BATCH_LOCK:
        return postgres_audit_send_lock(writing->audit, error);
    case BATCH_ADD:
        return postgres_audit_send_revisions(writing, error);
    case BATCH_COUNT:
        return postgres_audit_send_counts(writing, error);
    case BATCH_USE:
        return postgres_audit_send_uses(writing, error);
    case BATCH_HAS:
        return postgres_audit_send_has(writing, error);
    case BATCH_ROLLBACK:
        return postgres_audit_send_word(writing->audit, "ROLLBACK", error);
    default:
        return postgres_audit_send_word(writing->audit, "COMMIT", error);
    }
}

/* Finds out whether a batch that failed was stored all the same. */
static int postgres_audit_settle_doubt(
    struct postgres_audit_writing *writing, bool *is_stored, struct error *error)
{
    static const bool wanted[BATCH_STATEMENTS] = {[BATCH_BEGIN] = true,
        [BATCH_LIMIT] = true,
        [BATCH_LOCK] = true,
        [BATCH_HAS] = true,
        [BATCH_ROLLBACK] = true};
    struct postgres_audit *audit = writing->audit;
    PGresult *replies[BATCH_STATEMENTS];
    int result = postgres_pipeline(
        &audit->conn, wanted, BATCH_STATEMENTS, postgres_audit_send, writing, replies, error);

    if (result == 0) {
        *is_stored = postgres_get_int8(replies[BATCH_HAS], 0, 0) > 0;
        audit->is_in_doubt = false;
    }
    postgres_clear(replies, BATCH_STATEMENTS);
    return result;
}

/* The connection may break while a batch is committed. The caller tries the same batch again. */
static int postgres_audit_write(
    struct audit_store *store, const struct audit_batch *batch, struct error *error)
{
    struct postgres_audit *audit = (struct postgres_audit *)store;
    struct postgres_audit_writing writing = {.audit = audit, .batch = batch};
    const bool has_revisions = batch->n_revisions > 0;
    const bool wanted[BATCH_STATEMENTS] = {[BATCH_BEGIN] = true,
        [BATCH_LIMIT] = true,
        [BATCH_LOCK] = true,
        [BATCH_ADD] = has_revisions,
        [BATCH_COUNT] = has_revisions,
        [BATCH_USE] = batch->n_uses > 0,
        [BATCH_COMMIT] = true};
    PGresult *replies[BATCH_STATEMENTS];
    bool is_stored = false;
    int result = postgres_audit_enter(audit, error);

    if (result != 0)
        return result;
    if (audit->is_in_doubt && has_revisions)
        result = postgres_audit_settle_doubt(&writing, &is_stored, error);
    if (result != 0 || is_stored)
        return postgres_audit_fail(audit, result);
    result = postgres_pipeline(
        &audit->conn, wanted, BATCH_STATEMENTS, postgres_audit_send, &writing, replies, error);
    postgres_clear(replies, BATCH_STATEMENTS);
    audit->is_in_doubt = result != 0;
    return postgres_audit_fail(audit, result);
}

/* ---- old records ---- */

/* Runs a statement with two numbers. *numbers: the two, or one, that it returns. */
static int postgres_audit_run_numbers(struct postgres_audit *audit, const char *statement,
    const int64_t parameters[2], int64_t numbers[2], struct error *error)
{
    PGresult *reply = NULL;
    int result;

    for (int i = 0; i < 2; i++) {
        postgres_array_begin(&audit->arrays[i], POSTGRES_INT8);
        postgres_array_int8(&audit->arrays[i], parameters[i]);
    }
    result = postgres_send(&audit->conn, statement, audit->arrays, 2, error);
    if (result == 0)
        result = postgres_finish(&audit->conn, &reply, error);
    for (int i = 0; i < 2 && result == 0 && i < PQnfields(reply); i++)
        numbers[i] = postgres_get_int8(reply, 0, i);
    PQclear(reply);
    return result;
}

static int postgres_audit_expire(
    struct audit_store *store, int64_t before_us, unsigned most, bool *more, struct error *error)
{
    struct postgres_audit *audit = (struct postgres_audit *)store;
    const int64_t old[2] = {before_us, most};
    int64_t uses[2] = {before_us, audit->expired_package};
    int64_t found[2] = {0, 0};
    int result = postgres_audit_enter(audit, error);

    *more = false;
    if (result == 0)
        result = postgres_audit_run_numbers(audit, "audit_expire", old, found, error);
    *more = result == 0 && found[0] == most;
    if (result == 0)
        result = postgres_audit_run_numbers(audit, "audit_expire_uses", uses, found, error);
    if (result == 0)
        audit->expired_package = found[1] == 20 ? found[0] : 0;
    return postgres_audit_fail(audit, result);
}

/* ---- the store ---- */

static void postgres_audit_close(struct audit_store *store)
{
    struct postgres_audit *audit = (struct postgres_audit *)store;

    postgres_attempt_abandon(audit->attempt);
    postgres_audit_disconnect(audit);
    for (size_t i = 0; i < sizeof audit->arrays / sizeof *audit->arrays; i++)
        postgres_array_free(&audit->arrays[i]);
    digest_free(audit->digest);
    free(audit->file);
    free(audit);
}

static const struct audit_store_ops postgres_audit_ops = {
    .close = postgres_audit_close,
    .write = postgres_audit_write,
    .expire = postgres_audit_expire,
    .read_last = postgres_audit_read_last,
    .read_log = postgres_audit_read_log,
    .read_uses = postgres_audit_read_uses,
    .read_packages = postgres_audit_read_packages,
};

int postgres_audit_create(
    struct audit_store **store, const struct audit_store_options *options, struct error *error)
{
    struct postgres_audit *audit = calloc(1, sizeof *audit);

    if (!audit)
        return error_set_memory(error);
    audit->base.ops = &postgres_audit_ops;
    audit->writes = options->writes;
    audit->wait_ms = options->wait_ms;
    audit->conn.name = audit->name;
    audit->file = strdup(options->file);
    audit->digest = digest_create();
    if (getrandom(&audit->lock_key, sizeof audit->lock_key, 0) != sizeof audit->lock_key)
        audit->lock_key = 0;
    if (!audit->file || !audit->digest) {
        postgres_audit_close(&audit->base);
        return error_set_memory(error);
    }
    postgres_name(audit->file, audit->name, sizeof audit->name);
    *store = &audit->base;
    return 0;
}
