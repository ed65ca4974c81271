/* SPDX-License-Identifier: MIT */
/* Checks the tables of a database, for prserv verify. Each check is a query that returns a text for
 * each fault. First the shape of the tables, in PostgreSQL's catalog; if that is right, what they
 * hold. */
#include "store/postgres/postgres.h"

#include <string.h>

#include "verify.inc"

struct postgres_check_query {
    const char *sql;
    bool is_damage;
};

static const struct postgres_check_query shape[] = {
    {postgres_sql_columns, false},
    {postgres_sql_indexes, false},
};

static const struct postgres_check_query contents[] = {
    {postgres_sql_schema_rows, false},
    {postgres_sql_sequence_behind, false},
    {postgres_sql_orphans, true},
    {postgres_sql_package_keys, true},
    {postgres_sql_row_digests, true},
};

/* Adds the number of faults to *n. */
static int postgres_verify_run(struct postgres_conn *conn,
    const struct postgres_check_query *queries, size_t n_queries, size_t *n, store_fault_fn fn,
    void *context, struct error *error)
{
    int result = 0;

    for (size_t i = 0; i < n_queries && result == 0; i++) {
        PGresult *reply = NULL;

        result = postgres_run(conn, queries[i].sql, &reply, error);
        for (int row = 0; result == 0 && row < PQntuples(reply); row++, ++*n)
            fn(context, queries[i].is_damage, PQgetvalue(reply, row, 0));
        PQclear(reply);
    }
    return result;
}

int postgres_verify(const char *file, store_fault_fn fn, void *context, struct error *error)
{
    static const struct postgres_hosts all = {.hosts = NULL};
    char name[POSTGRES_NAME_BYTES];
    struct postgres_conn conn = {.name = name, .until_ms = UINT64_MAX};
    size_t n = 0;
    int result = postgres_check_conninfo(file, error);

    if (result != 0)
        return result;
    postgres_name(file, name, sizeof name);
    conn.connection = postgres_hosts_connect(&all, file, NULL);
    if (PQstatus(conn.connection) == CONNECTION_OK)
        result = postgres_conn_attach(&conn, error);
    else
        result = postgres_lost(&conn, error);
    if (result == 0)
        result =
            postgres_verify_run(&conn, shape, sizeof shape / sizeof *shape, &n, fn, context, error);
    if (result == 0 && n == 0)
        result = postgres_verify_run(
            &conn, contents, sizeof contents / sizeof *contents, &n, fn, context, error);
    PQfinish(conn.connection);
    return result;
}
