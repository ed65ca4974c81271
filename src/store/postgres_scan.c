/* What goes through all rows. An export takes row by row from the connection, as it needs them:
 * what it has not taken waits in the database, not here. It reads along the indexes, so that the
 * first row comes at once, however many there are. */
#include "store/postgres.h"

#include "base/clock.h"

#include <stdlib.h>

#define SCAN_WAIT_MS 10000   /* for the next row */
#define COUNT_WAIT_MS "9000" /* less than that */
#define MOST_CONDITIONS 3

/* The table as semantics and protocol have it: that of SQLite. */
int postgres_describe(struct store *base, store_column_fn fn, void *context, struct error *error)
{
    static const char *const names[] = {"version", "pkgarch", "checksum", "value"};

    (void)base;
    (void)error;
    for (int i = 0; i < 4; i++) {
        const struct store_column described = {
            .name = names[i], .type = "TEXT", .not_null = true, .primary_key = i + 1};

        fn(context, &described);
    }
    return 0;
}

int postgres_count(struct store *base, uint64_t *rows, struct error *error)
{
    struct postgres_store *store = (struct postgres_store *)base;
    PGresult *result = NULL;
    int code;

    *rows = 0;
    if (!store->has_tables)
        return 0;
    store->link.until_ms = clock_ms() + SCAN_WAIT_MS;
    /* The database goes on counting after we have left, if nothing stops it. */
    code = postgres_run(&store->link, "SET statement_timeout = " COUNT_WAIT_MS, NULL, error);
    if (code == 0)
        code = postgres_run(&store->link, "SELECT count(*) FROM prserv_row", &result, error);
    if (code == 0)
        *rows = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return code;
}

/* Conditions for the filters that are set, with their parameters. */
static int write_conditions(
    struct buffer *sql, const struct store_filter *filter, const struct text **parameters)
{
    static const char *const conditions[] = {
        " AND p.version = $", " AND p.pkgarch = $", " AND r.checksum = $"};
    static const char *const numbers[] = {"1", "2", "3"};
    const struct text *const filters[] = {&filter->version, &filter->pkgarch, &filter->checksum};
    int n = 0;

    for (int i = 0; i < MOST_CONDITIONS; i++) {
        if (filters[i]->length == 0)
            continue;
        buffer_append_string(sql, conditions[i]);
        buffer_append_string(sql, numbers[n]);
        parameters[n++] = filters[i];
    }
    if (filter->version.length > 0 && filter->pkgarch.length > 0)
        buffer_append_string(sql, " AND p.key = sha256(int4send(octet_length($1)) || "
                                  "convert_to($1, 'UTF8') || convert_to($2, 'UTF8'))");
    return n;
}

static int send_scan(struct postgres_store *store, const struct store_filter *filter,
    struct buffer *sql, struct error *error)
{
    static const Oid types[MOST_CONDITIONS] = {POSTGRES_TEXT, POSTGRES_TEXT, POSTGRES_TEXT};
    static const int formats[MOST_CONDITIONS] = {1, 1, 1};
    const struct text *parameters[MOST_CONDITIONS];
    const char *values[MOST_CONDITIONS];
    int lengths[MOST_CONDITIONS];
    int n;

    buffer_append_string(sql,
        "SELECT p.version, p.pkgarch, r.checksum, r.value FROM prserv_package p "
        "JOIN prserv_row r ON r.package = p.id WHERE true");
    n = write_conditions(sql, filter, parameters);
    buffer_append_string(sql, " ORDER BY p.id");
    buffer_append(sql, "", 1);
    if (buffer_failed(sql))
        return error_set_memory(error);
    for (int i = 0; i < n; i++) {
        values[i] = parameters[i]->bytes;
        lengths[i] = (int)parameters[i]->length;
    }
    if (PQsendQueryParams(
            store->link.connection, sql->bytes, n, types, values, lengths, formats, 1) != 1 ||
        PQsetSingleRowMode(store->link.connection) != 1)
        return postgres_lost(&store->link, error);
    store->is_scanning = true;
    return 0;
}

int postgres_scan_begin(struct store *base, const struct store_filter *filter, struct error *error)
{
    struct postgres_store *store = (struct postgres_store *)base;
    struct buffer sql = BUFFER_EMPTY;
    int code;

    if (!store->has_tables)
        return 0;
    store->link.until_ms = clock_ms() + SCAN_WAIT_MS;
    /* Along the indexes, whatever the planner thinks that sorting all would cost. */
    code =
        postgres_run(&store->link, "SET enable_sort = off; SET enable_hashjoin = off", NULL, error);
    if (code == 0)
        code = send_scan(store, filter, &sql, error);
    buffer_free(&sql);
    return code;
}

int postgres_scan_next(struct store *base, struct row *row, struct error *error)
{
    struct postgres_store *store = (struct postgres_store *)base;
    int code;

    PQclear(store->row);
    store->row = NULL;
    if (!store->is_scanning)
        return 0;
    store->link.until_ms = clock_ms() + SCAN_WAIT_MS;
    code = postgres_next(&store->link, &store->row, error);
    if (code == 0 && store->row)
        code = postgres_check(&store->link, store->row, error);
    if (code != 0)
        return code;
    if (!store->row || PQntuples(store->row) == 0) {
        store->is_scanning = store->row != NULL; /* the end's own result, then nothing */
        return store->row ? postgres_scan_next(base, row, error) : 0;
    }
    row->version = postgres_get_text(store->row, 0, 0);
    row->pkgarch = postgres_get_text(store->row, 0, 1);
    row->checksum = postgres_get_text(store->row, 0, 2);
    row->value = postgres_get_text(store->row, 0, 3);
    return 1;
}
