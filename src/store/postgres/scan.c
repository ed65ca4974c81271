/* SPDX-License-Identifier: MIT */
/* Scans and counts of all rows, and a search for many. A scan takes row by row from the connection,
 * as the caller needs them: the others wait in the database, not here. It reads along the indexes,
 * so that the first row comes at once, however many there are. */
#include "store/postgres/postgres.h"

#include "base/clock.h"

#include <stdlib.h>

#define SCAN_WAIT_MS 10000   /* for the next row */
#define COUNT_WAIT_MS "9000" /* less than that */
#define FIND_WAIT_MS 60000
#define MOST_COUNTED 1000000 /* of more rows, the number is estimated */

/* As the planner does: the rows of a page when the table was last analysed, for all pages. A table
 * that never was is taken for one with 20 rows to a page. */
static const char estimate_sql[] =
    "SELECT (pg_relation_size(oid) / current_setting('block_size')::int8 * "
    "CASE WHEN reltuples > 0 AND relpages > 0 THEN reltuples / relpages ELSE 20 END)::int8 "
    "FROM pg_class WHERE oid = 'prserv_row'::regclass";

static struct row postgres_scan_row(const PGresult *reply, int i)
{
    return (struct row){
        .version = postgres_get_text(reply, i, 0),
        .pkgarch = postgres_get_text(reply, i, 1),
        .checksum = postgres_get_text(reply, i, 2),
        .value = postgres_get_text(reply, i, 3),
    };
}

int postgres_find_many(struct store *base, const struct row *rows, size_t n, store_row_fn fn,
    void *context, struct error *error)
{
    struct postgres_store *store = (struct postgres_store *)base;
    PGresult *reply = NULL;
    int result = store_begin_read(base, NULL, STORE_BLOCK, error);

    postgres_rows_begin(&store->rows);
    for (size_t i = 0; i < n; i++)
        postgres_rows_add_wanted(&store->rows, &rows[i]);
    store->conn.until_ms = clock_ms() + FIND_WAIT_MS;
    if (result == 0)
        result = postgres_send(&store->conn, "find", store->rows.arrays, ROWS_PACKAGE, error);
    if (result == 0)
        result = postgres_finish(&store->conn, &reply, error);
    for (int i = 0; result == 0 && i < PQntuples(reply); i++) {
        const struct row row = postgres_scan_row(reply, i);

        if (fn(context, &row) != 0)
            break;
    }
    PQclear(reply);
    store_rollback(base);
    return result;
}

static int postgres_scan_run_number(
    struct postgres_store *store, const char *sql, uint64_t *number, struct error *error)
{
    PGresult *reply = NULL;
    int result = postgres_run(&store->conn, sql, &reply, error);

    if (result == 0)
        *number = strtoull(PQgetvalue(reply, 0, 0), NULL, 10);
    PQclear(reply);
    return result;
}

/* A table that looks small may turn out to be large or slow, so counting has a limit as well; with
 * none, the database would go on after we have left. The limit ends with the transaction. */
int postgres_count(struct store *base, uint64_t *rows, bool *is_estimate, struct error *error)
{
    struct postgres_store *store = (struct postgres_store *)base;
    int result;

    *rows = 0;
    if (!store->has_tables)
        return 0;
    store->conn.until_ms = clock_ms() + SCAN_WAIT_MS;
    result = postgres_scan_run_number(store, estimate_sql, rows, error);
    if (result != 0)
        return result;
    *is_estimate = true;
    if (*rows > MOST_COUNTED)
        return 0;
    result = postgres_run(
        &store->conn, "BEGIN; SET LOCAL statement_timeout = " COUNT_WAIT_MS, NULL, error);
    if (result == 0) {
        *is_estimate =
            postgres_scan_run_number(store, "SELECT count(*) FROM prserv_row", rows, error) != 0;
        result = postgres_run(&store->conn, "ROLLBACK", NULL, error);
    }
    return result;
}

/* Sends the query of a scan. If the filter names a package, its key finds the package. */
static int postgres_scan_send(
    struct postgres_store *store, const struct store_filter *filter, struct error *error)
{
    static const int formats[] = {1, 1, 1, 1};
    const struct text version = text_not_null(filter->version);
    const struct text pkgarch = text_not_null(filter->pkgarch);
    const struct text checksum = text_not_null(filter->checksum);
    const bool is_package = version.length > 0 && pkgarch.length > 0;
    const int lengths[] = {
        (int)version.length, (int)pkgarch.length, (int)checksum.length, DIGEST_BYTES};
    unsigned char key[DIGEST_BYTES];
    const char *const values[] = {version.bytes, pkgarch.bytes, checksum.bytes,
        is_package ? postgres_hash_text(key).bytes : NULL};

    if (is_package && !postgres_hash_package(store->digest, version, pkgarch, key))
        return error_set_memory(error);
    if (PQsendQueryPrepared(store->conn.connection, "scan", 4, values, lengths, formats, 1) != 1 ||
        PQsetSingleRowMode(store->conn.connection) != 1)
        return postgres_lost(&store->conn, error);
    store->is_scanning = true;
    return 0;
}

int postgres_scan_begin(struct store *base, const struct store_filter *filter, struct error *error)
{
    struct postgres_store *store = (struct postgres_store *)base;
    int result;

    postgres_pieces_clear(store);
    if (!store->has_tables)
        return 0;
    store->conn.until_ms = clock_ms() + SCAN_WAIT_MS;
    /* The planner leaves out conditions that are always true, and reads along the indexes, even if
     * it finds sorting cheaper. A scan takes as long as its reader does. */
    result = postgres_run(&store->conn,
        "SET plan_cache_mode = force_custom_plan; SET enable_sort = off; SET enable_hashjoin = "
        "off; "
        "SET statement_timeout = 0",
        NULL, error);
    return result == 0 ? postgres_scan_send(store, filter, error) : result;
}

int postgres_scan_next(struct store *base, struct row *row, struct error *error)
{
    struct postgres_store *store = (struct postgres_store *)base;
    int result;

    if (store->pieces.is_on)
        return postgres_pieces_next(store, row);
    PQclear(store->row);
    store->row = NULL;
    if (!store->is_scanning)
        return STORE_SCAN_END;
    store->conn.until_ms = clock_ms() + SCAN_WAIT_MS;
    result = postgres_next(&store->conn, &store->row, error);
    if (result == 0 && store->row)
        result = postgres_check(&store->conn, store->row, error);
    if (result != 0)
        return result;
    if (!store->row || PQntuples(store->row) == 0) {
        store->is_scanning = store->row != NULL; /* an empty reply at the end, then none */
        return store->row ? postgres_scan_next(base, row, error) : 0;
    }
    *row = postgres_scan_row(store->row, 0);
    return STORE_SCAN_ROW;
}
