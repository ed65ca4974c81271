/* SPDX-License-Identifier: MIT */
/* Proofs that the database is still the primary.
 *
 * A primary that was replaced (another one was elected, while its own agent was paused or cut off)
 * does not know it, and goes on answering. But it can't commit: no standby confirms. So a server
 * that is asked proves every PROOF_INTERVAL_MS that a commit of its connection reaches the
 * synchronous standbys. Each commit of rows is such a proof; otherwise a small message in the WAL
 * is committed, in the round trip of the next question. It changes no row and needs no lock; every
 * role may write it, at every wal_level, also in sessions that only read.
 *
 *     proven ──a question, PROOF_INTERVAL_MS later──→ asks, and proves ──→ proven
 *                                                       │ PROOF_WAIT_MS
 *                                                       └──→ disconnected: nothing is answered
 *
 * A session begins with a proof, too. That also makes sure of rows that a crash, or a commit that
 * was kept from waiting, left on the primary alone: a commit waits for everything before it.
 *
 * A standby has nothing to prove: it shows what it has replayed. Without synchronous standbys
 * nothing can be proved: a commit waits for nobody then. */
#include "store/postgres/postgres.h"

#include "base/clock.h"

#include <stdlib.h>

#define SESSION_PROOF_MS 5000 /* for the proof at the beginning of a session */
#define SESSION_SYNC_MS 30000 /* likewise, where only the disk of the primary is waited for */
#define PROOF_INTERVAL_MS 2000
#define PROOF_WAIT_MS 4000 /* for later proofs */
#define UNPROVEN_MS (PROOF_INTERVAL_MS + PROOF_WAIT_MS)

#define EMIT "pg_logical_emit_message(true, 'prservd', ''::text)"

#define PROOF                                                                             \
    "CASE WHEN pg_is_in_recovery() OR current_setting('synchronous_standby_names') = '' " \
    "THEN NULL ELSE " EMIT " END"

/* A later proof: nothing where nothing can be proved. */
const char postgres_proof_sql[] = "SELECT " PROOF;

/* The first proof of a session; a writer always waits for what was committed before. The function
 * writes, so that a pooler that sends reads elsewhere sends this to the primary. */
static const char first_reader_sql[] = "SELECT pg_backend_pid(), " PROOF;
static const char first_writer_sql[] = "SELECT pg_backend_pid(), " EMIT;

/* ---- the beginning of a session ---- */

int postgres_proof_begin_session(struct postgres_conn *conn, const struct connect_params *params,
    struct postgres_session *session, struct error *error)
{
    const uint64_t until_ms = conn->until_ms;
    const uint64_t began_ms = clock_ms();
    PGresult *reply = NULL;
    int result;

    conn->until_ms = began_ms + (session->has_no_standby ? SESSION_SYNC_MS : SESSION_PROOF_MS);
    result =
        postgres_run(conn, params->writes ? first_writer_sql : first_reader_sql, &reply, error);
    session->is_unproven = result == ERROR_LOCKED && clock_ms() >= conn->until_ms;
    if (session->is_unproven && !session->has_no_standby)
        result = error_set(error, ERROR_LOCKED,
            "the database %s can't commit: in %d s no synchronous standby has confirmed. If "
            "another primary was elected, stop this one; otherwise start the standby",
            conn->name, SESSION_PROOF_MS / 1000);
    if (result == 0 && conn->is_doubtful)
        result = error_set(
            error, ERROR_LOCKED, "the database %s could not wait for its standby", conn->name);
    if (result == 0)
        result =
            postgres_pooler_check_pid(conn, (int)strtol(PQgetvalue(reply, 0, 0), NULL, 10), error);
    PQclear(reply);
    conn->until_ms = until_ms;
    session->proven_ms = began_ms;
    return result;
}

/* ---- later ---- */

static bool postgres_proof_is_wanted(const struct postgres_store *store)
{
    return store->options.serves && store->options.sync == STORE_SYNC_FULL;
}

bool postgres_proof_is_due(const struct postgres_store *store)
{
    return postgres_proof_is_wanted(store) && clock_ms() >= store->proven_ms + PROOF_INTERVAL_MS;
}

/* The database may have answered, but too late: another one may be the primary since. */
int postgres_proof_check(struct postgres_store *store, struct error *error)
{
    if (!postgres_proof_is_wanted(store) || store->proves_nothing ||
        clock_ms() < store->proven_ms + UNPROVEN_MS)
        return 0;
    store->conn.is_broken = true;
    log_often(store->options.log, LOG_WARNING,
        "The database %s has not shown for %d s that it is still the primary; answering nothing "
        "from it",
        store->name, UNPROVEN_MS / 1000);
    return error_set(error, ERROR_LOCKED,
        "the database %s has not shown for %d s that it is still the primary: no synchronous "
        "standby confirms its commits",
        store->name, UNPROVEN_MS / 1000);
}

uint64_t postgres_proof_end_ms(const struct postgres_store *store, uint64_t until_ms)
{
    const uint64_t end_ms = clock_ms() + PROOF_WAIT_MS;

    return store->proves_nothing || until_ms < end_ms ? until_ms : end_ms;
}

int postgres_proof_take(
    struct postgres_store *store, const PGresult *proof, uint64_t began_ms, struct error *error)
{
    if (store->conn.is_doubtful) {
        store->conn.is_broken = true; /* the next session waits for the standbys first */
        return error_set(error, ERROR_LOCKED,
            "the database %s did not wait for its standby; it is not certain that it has the row",
            store->name);
    }
    store->proven_ms = began_ms;
    if (proof)
        store->proves_nothing = PQgetisnull(proof, 0, 0) != 0;
    return 0;
}

int postgres_proof_run(struct postgres_store *store, struct error *error)
{
    const uint64_t until_ms = store->conn.until_ms;
    const uint64_t began_ms = clock_ms();
    PGresult *proof = NULL;
    struct error unproven;
    int result;

    if (!postgres_proof_is_due(store))
        return 0;
    store->conn.until_ms = postgres_proof_end_ms(store, until_ms);
    result = postgres_run(&store->conn, postgres_proof_sql, &proof, error);
    store->conn.until_ms = until_ms;
    if (result == ERROR_LOCKED && postgres_proof_check(store, &unproven) != 0)
        *error = unproven;
    if (result == 0)
        result = postgres_proof_take(store, proof, began_ms, error);
    PQclear(proof);
    return result;
}
