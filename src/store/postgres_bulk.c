/* Many rows at once. They are copied in binary to a table of this session, and from there one
 * statement each makes the packages, locks them as a server's transaction does, and adds the rows;
 * or finds those that are there. */
#include "store/postgres.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <limits.h>

#define BULK_WAIT_MS 60000 /* for all of one batch */
#define FIELDS 6

static const char make_table[] =
    "BEGIN; CREATE TEMPORARY TABLE IF NOT EXISTS prserv_bulk ("
    "version text COLLATE \"C\", pkgarch text COLLATE \"C\", checksum text COLLATE \"C\", "
    "value text COLLATE \"C\", place bytea, rest bytea) ON COMMIT DELETE ROWS";

static const char copy[] = "COPY pg_temp.prserv_bulk FROM STDIN (FORMAT binary)";

#define KEY                                                                         \
    "sha256(int4send(octet_length(b.version)) || convert_to(b.version, 'UTF8') || " \
    "convert_to(b.pkgarch, 'UTF8'))"
#define PACKAGES "(SELECT DISTINCT version, pkgarch FROM pg_temp.prserv_bulk) AS b"

static const char make_packages[] =
    "INSERT INTO prserv_package (key, version, pkgarch) "
    "SELECT n.key, n.version, n.pkgarch FROM (SELECT " KEY " AS key, b.version, b.pkgarch "
    "FROM " PACKAGES ") AS n "
    "WHERE NOT EXISTS (SELECT FROM prserv_package p WHERE p.key = n.key) "
    "ORDER BY n.key ON CONFLICT (key) DO NOTHING";

static const char lock_packages[] =
    "SELECT count(*) FROM (SELECT FROM prserv_package WHERE key = ANY (ARRAY("
    "SELECT " KEY " FROM " PACKAGES ")) ORDER BY key FOR UPDATE) AS l";

static const char add_rows[] =
    "INSERT INTO prserv_row (package, digest, place, rest, checksum, value) "
    "SELECT p.id, sha256(convert_to(b.checksum, 'UTF8')), b.place, b.rest, b.checksum, b.value "
    "FROM pg_temp.prserv_bulk b JOIN prserv_package p ON p.key = " KEY " "
    "ON CONFLICT DO NOTHING";

static const char find_rows[] =
    "SELECT p.version, p.pkgarch, r.checksum, r.value "
    "FROM pg_temp.prserv_bulk b JOIN prserv_package p ON p.key = " KEY " "
    "JOIN prserv_row r ON r.package = p.id "
    "AND r.digest = sha256(convert_to(b.checksum, 'UTF8')) "
    "AND r.place = b.place AND r.rest = b.rest";

/* ---- rows as COPY takes them ---- */

static void append_number(struct buffer *bytes, uint32_t number)
{
    const uint32_t wire = htonl(number);

    buffer_append(bytes, (const char *)&wire, sizeof wire);
}

static void append_count(struct buffer *bytes, uint16_t number)
{
    const uint16_t wire = htons(number);

    buffer_append(bytes, (const char *)&wire, sizeof wire);
}

static void append_field(struct buffer *bytes, struct text text)
{
    bytes->failed = bytes->failed || text.length > INT_MAX;
    append_number(bytes, text.bytes ? (uint32_t)text.length : UINT32_MAX);
    if (text.bytes)
        buffer_append_text(bytes, text);
}

static void append_row(struct buffer *bytes, struct buffer *key, const struct row *row)
{
    struct text place;
    struct text rest;

    postgres_place(key, row->value, &place, &rest);
    append_count(bytes, FIELDS);
    append_field(bytes, text_not_null(row->version));
    append_field(bytes, text_not_null(row->pkgarch));
    append_field(bytes, text_not_null(row->checksum));
    append_field(bytes, row->value);
    append_field(bytes, place);
    append_field(bytes, rest);
    bytes->failed = bytes->failed || buffer_failed(key);
}

static void append_rows(struct buffer *bytes, const struct row *rows, size_t n)
{
    static const char signature[11] = "PGCOPY\n\377\r\n";
    struct buffer key = BUFFER_EMPTY;

    buffer_append(bytes, signature, sizeof signature);
    append_number(bytes, 0); /* flags */
    append_number(bytes, 0); /* what follows them */
    for (size_t i = 0; i < n; i++)
        append_row(bytes, &key, &rows[i]);
    append_count(bytes, UINT16_MAX); /* the end */
    bytes->failed = bytes->failed || bytes->length > INT_MAX;
    buffer_free(&key);
}

/* ---- sending them ---- */

/* libpq keeps what the socket does not take yet: no more than a batch. */
static int put(struct postgres_link *link, const struct buffer *bytes, struct error *error)
{
    if (PQputCopyData(link->connection, bytes->bytes, (int)bytes->length) != 1 ||
        PQputCopyEnd(link->connection, NULL) != 1)
        return postgres_lost(link, error);
    return 0;
}

/* What COPY says, up to the end of its results. */
static int end_copy(struct postgres_link *link, struct error *error)
{
    PGresult *result = NULL;
    int failure = 0;
    int code;

    while ((code = postgres_next(link, &result, error)) == 0 && result) {
        if (failure == 0)
            failure = postgres_check(link, result, error);
        PQclear(result);
    }
    return code ? code : failure;
}

static int copy_rows(
    struct postgres_link *link, const struct row *rows, size_t n, struct error *error)
{
    struct buffer bytes = BUFFER_EMPTY;
    PGresult *result = NULL;
    int code = 0;

    append_rows(&bytes, rows, n);
    if (buffer_failed(&bytes))
        code = error_set_memory(error);
    if (code == 0 && PQsendQuery(link->connection, copy) != 1)
        code = postgres_lost(link, error);
    if (code == 0)
        code = postgres_next(link, &result, error);
    if (code == 0)
        code = postgres_check(link, result, error);
    if (code == 0 && PQresultStatus(result) == PGRES_COPY_IN)
        code = put(link, &bytes, error);
    if (!link->is_broken && code != ERROR_MEMORY) {
        int end = end_copy(link, error);

        code = code ? code : end;
    }
    PQclear(result);
    buffer_free(&bytes);
    return code;
}

/* Begins a transaction in which the rows are in the session's table. */
static int begin(
    struct postgres_store *store, const struct row *rows, size_t n, struct error *error)
{
    int code = store_begin_write(&store->base, STORE_ALL, STORE_LOCK_WAIT_MS, error);

    if (code != 0)
        return code;
    store->link.until_ms = clock_ms() + BULK_WAIT_MS;
    store->in_transaction = true;
    code = postgres_run(&store->link, make_table, NULL, error);
    return code == 0 ? copy_rows(&store->link, rows, n, error) : code;
}

/* ---- what the store offers ---- */

int postgres_add_many(struct store *base, const struct row *rows, size_t n, struct error *error)
{
    struct postgres_store *store = (struct postgres_store *)base;
    static const char *const steps[] = {make_packages, lock_packages, add_rows};
    int code = begin(store, rows, n, error);

    for (size_t i = 0; i < sizeof steps / sizeof *steps && code == 0; i++)
        code = postgres_run(&store->link, steps[i], NULL, error);
    if (code == 0)
        return store_commit(base, error);
    store_rollback(base);
    return code;
}

int postgres_find_many(struct store *base, const struct row *rows, size_t n, store_row_fn fn,
    void *context, struct error *error)
{
    struct postgres_store *store = (struct postgres_store *)base;
    PGresult *result = NULL;
    int code = begin(store, rows, n, error);

    if (code == 0)
        code = postgres_run(&store->link, find_rows, &result, error);
    for (int i = 0; code == 0 && i < PQntuples(result); i++) {
        const struct row row = {
            .version = postgres_get_text(result, i, 0),
            .pkgarch = postgres_get_text(result, i, 1),
            .checksum = postgres_get_text(result, i, 2),
            .value = postgres_get_text(result, i, 3),
        };

        if (fn(context, &row) != 0)
            break;
    }
    PQclear(result);
    store_rollback(base);
    return code;
}
