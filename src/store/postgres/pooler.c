/* SPDX-License-Identifier: MIT */
/* Finds out whether a pooler shares the session between clients.
 *
 * A session has settings and prepared statements, and some of the settings decide whether an answer
 * is durable. A pooler that gives each transaction any session (PgBouncer in transaction mode), or
 * sends reads to other machines (pgpool), loses them. Such a pooler may go unnoticed as long as it
 * has one client, so this provokes it: while a second connection is in a transaction, the first
 * one must still have the backend that it had before.
 *
 * A direct connection is known at once: the process that the protocol names is the one that
 * answers. But pgpool may name the process on a standby to which it sends reads. So the settings of
 * a session, which go to the primary, return the process that answers, too; and so does each
 * question of a batch. */
#include "store/postgres/postgres.h"

#include <stdlib.h>
#include <string.h>

#define ASK "SELECT pg_backend_pid()"

const char postgres_pooler_advice[] =
    "a pooler shares its sessions between clients: use pool_mode = session (PgBouncer), or connect "
    "directly (pgpool)";

int postgres_pooler_check_pid(struct postgres_conn *conn, int backend_pid, struct error *error)
{
    if (backend_pid == conn->backend_pid)
        return 0;
    conn->is_broken = true;
    return error_set(error, ERROR_STORE, "the database %s answered from another session: %s",
        conn->name, postgres_pooler_advice);
}

static int postgres_pooler_ask_pid(
    struct postgres_conn *conn, const char *sql, int *backend_pid, struct error *error)
{
    PGresult *reply;
    int result = postgres_run(conn, sql, &reply, error);

    if (result == 0)
        *backend_pid = (int)strtol(PQgetvalue(reply, 0, 0), NULL, 10);
    PQclear(reply);
    return result;
}

/* Asks again while another client of the pooler is in a transaction. */
static int postgres_pooler_provoke(
    struct postgres_conn *conn, struct postgres_conn *other, struct error *error)
{
    int other_pid = 0;
    int backend_pid = 0;
    int result = postgres_conn_attach(other, error);

    if (result == 0)
        result = postgres_pooler_ask_pid(other, "BEGIN; " ASK, &other_pid, error);
    if (result != 0 && strstr(error->text, "statement pooling mode")) /* PgBouncer says so */
        return postgres_pooler_check_pid(conn, 0, error);
    if (result == 0)
        result = postgres_pooler_ask_pid(conn, ASK, &backend_pid, error);
    if (result == 0 && other_pid == conn->backend_pid)
        backend_pid = 0;
    return result == 0 ? postgres_pooler_check_pid(conn, backend_pid, error) : result;
}

int postgres_pooler_check(struct postgres_conn *conn, const char *conninfo, struct error *error)
{
    struct postgres_conn other = {.name = conn->name, .until_ms = conn->until_ms};
    struct postgres_hosts host = {.hosts = NULL};
    int result = postgres_pooler_ask_pid(conn, ASK, &conn->backend_pid, error);

    if (result != 0 || conn->backend_pid == PQbackendPID(conn->connection))
        return result;
    postgres_hosts_of(&host, conn->connection);
    other.connection = postgres_hosts_connect(&host, conninfo, NULL);
    if (PQstatus(other.connection) == CONNECTION_OK)
        result = postgres_pooler_provoke(conn, &other, error);
    else
        result = postgres_lost(&other, error);
    PQfinish(other.connection);
    postgres_hosts_free(&host);
    return result;
}
