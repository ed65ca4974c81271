/* SPDX-License-Identifier: MIT */
/* Scans that go through many transactions, piece by piece, in the order of the index
 * prserv_row_once. A piece comes in one reply, whose length the database limits. So nothing fails
 * between two rows, and the database has nothing open while they are used.
 *
 * Each piece is followed by a look at what the database is: its table, the file of that (restoring
 * a dump makes new ones), and the sum of the servers' marks, which only grows. */
#include "store/postgres/postgres.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_WAIT_MS 10000
#define PARTS 3 /* digest, place, hash of the rest: they follow the package in the index */

/* The columns of "scan_piece" behind those of the row. */
enum { PIECE_PACKAGE = 4, PIECE_DIGEST };

/* The beginning of a place. The parts' bytes follow. */
struct postgres_place {
    struct postgres_state state;
    int64_t package;
    size_t lengths[PARTS];
};

static const char state_sql[] =
    "SELECT oid, pg_relation_filenode(oid) FROM pg_class WHERE oid = 'prserv_row'::regclass";
static const char marks_sql[] = "SELECT coalesce(sum(counter), 0) FROM prserv_mark";

void postgres_pieces_clear(struct postgres_store *store)
{
    PQclear(store->pieces.reply);
    store->pieces.reply = NULL;
    store->pieces.next = 0;
    store->pieces.is_on = false;
}

/* ---- what the database is ---- */

/* Reads the marks. A role may lack the right, or the table. */
static int postgres_pieces_read_marks(struct postgres_store *store, struct error *error)
{
    struct postgres_pieces *pieces = &store->pieces;
    PGresult *reply = NULL;
    int result;

    pieces->state.counters = 0;
    if (pieces->has_no_marks)
        return 0;
    result = postgres_run(&store->conn, marks_sql, &reply, error);
    if (result == 0)
        pieces->state.counters = strtoll(PQgetvalue(reply, 0, 0), NULL, 10);
    PQclear(reply);
    pieces->has_no_marks = result != 0 && !store->conn.is_broken;
    return pieces->has_no_marks ? 0 : result;
}

static int postgres_pieces_read_state(struct postgres_store *store, struct error *error)
{
    struct postgres_state *state = &store->pieces.state;
    PGresult *reply = NULL;
    int result = postgres_run(&store->conn, state_sql, &reply, error);

    *state = (struct postgres_state){.table = 0};
    if (result == 0 && PQntuples(reply) == 1) {
        state->table = strtoll(PQgetvalue(reply, 0, 0), NULL, 10);
        state->file = strtoll(PQgetvalue(reply, 0, 1), NULL, 10);
    }
    PQclear(reply);
    return result == 0 ? postgres_pieces_read_marks(store, error) : result;
}

static int postgres_pieces_require_same(
    struct postgres_store *store, const struct postgres_state *before, struct error *error)
{
    const struct postgres_state *now = &store->pieces.state;

    if (now->table == before->table && now->file == before->file &&
        (now->counters == 0 || now->counters >= before->counters))
        return 0;
    return error_set(error, ERROR_STORE,
        "the database %s was replaced or went back to an older state meanwhile; try again",
        store->name);
}

/* ---- a piece ---- */

/* Runs a prepared statement with one parameter, the key of a package. */
static int postgres_pieces_ask(struct postgres_store *store, const char *statement,
    struct text version, struct text pkgarch, PGresult **reply, struct error *error)
{
    static const int lengths[] = {DIGEST_BYTES};
    static const int formats[] = {1};
    unsigned char key[DIGEST_BYTES] = {0};
    const char *const values[] = {postgres_hash_text(key).bytes};

    if (!postgres_hash_package(store->digest, version, pkgarch, key))
        return error_set_memory(error);
    store->conn.until_ms = clock_ms() + PIECE_WAIT_MS;
    if (PQsendQueryPrepared(store->conn.connection, statement, 1, values, lengths, formats, 1) != 1)
        return postgres_lost(&store->conn, error);
    return postgres_finish(&store->conn, reply, error);
}

/* Finds the number of the package that a filter names. -1: it does not exist. */
static int postgres_pieces_find_package(struct postgres_store *store,
    const struct store_filter *filter, int64_t *package, struct error *error)
{
    PGresult *reply = NULL;
    int result =
        postgres_pieces_ask(store, "scan_package", filter->version, filter->pkgarch, &reply, error);

    *package = result == 0 && PQntuples(reply) == 1 ? postgres_get_int8(reply, 0, 0) : -1;
    PQclear(reply);
    return result;
}

/* Reads the rows from a place up to a package. */
static int postgres_pieces_read(struct postgres_store *store, const struct postgres_place *place,
    const char *parts, int64_t last_package, struct error *error)
{
    static const int formats[] = {1, 1, 1, 1, 1};
    const uint64_t first = htobe64((uint64_t)place->package);
    const uint64_t last = htobe64((uint64_t)last_package);
    const int lengths[] = {sizeof first, (int)place->lengths[0], (int)place->lengths[1],
        (int)place->lengths[2], sizeof last};
    const char *const values[] = {(const char *)&first, parts, parts + place->lengths[0],
        parts + place->lengths[0] + place->lengths[1], (const char *)&last};

    store->conn.until_ms = clock_ms() + PIECE_WAIT_MS;
    if (PQsendQueryPrepared(store->conn.connection, "scan_piece", 5, values, lengths, formats, 1) !=
        1)
        return postgres_lost(&store->conn, error);
    return postgres_finish(&store->conn, &store->pieces.reply, error);
}

/* Reads the rows from a place, or from the first one, in the transaction that has begun. */
static int postgres_pieces_read_from(struct postgres_store *store,
    const struct store_filter *filter, const struct buffer *bytes, struct error *error)
{
    struct postgres_place place = {.package = INT64_MIN};
    const char *parts = bytes->length > 0 ? bytes->bytes + sizeof place : "";
    const bool is_package = filter->version.length > 0 && filter->pkgarch.length > 0;
    int64_t last_package = INT64_MAX;
    int result = 0;

    if (bytes->length > 0)
        memcpy(&place, bytes->bytes, sizeof place);
    if (is_package)
        result = postgres_pieces_find_package(store, filter, &last_package, error);
    if (result == 0 && is_package && place.package < last_package)
        place = (struct postgres_place){.state = place.state, .package = last_package};
    if (result == 0)
        result = postgres_pieces_read(store, &place, parts, last_package, error);
    if (result == 0)
        result = postgres_pieces_read_state(store, error);
    if (result == 0 && bytes->length > 0)
        result = postgres_pieces_require_same(store, &place.state, error);
    return result;
}

/* PIECE_WAIT_MS is the limit, not the one that the role may have. */
int postgres_pieces_resume(struct store *base, const struct store_filter *filter,
    const struct buffer *bytes, struct error *error)
{
    struct postgres_store *store = (struct postgres_store *)base;
    struct error second;
    int result;
    int ended;

    postgres_pieces_clear(store);
    store->pieces.is_on = true;
    if (!store->has_tables)
        return 0;
    store->conn.until_ms = clock_ms() + PIECE_WAIT_MS;
    result = postgres_run(&store->conn, "BEGIN; SET LOCAL statement_timeout = 0", NULL, error);
    if (result != 0)
        return result;
    result = postgres_pieces_read_from(store, filter, bytes, error);
    ended = postgres_run(&store->conn, "ROLLBACK", NULL, result == 0 ? error : &second);
    return result == 0 ? ended : result;
}

int postgres_pieces_next(struct postgres_store *store, struct row *row)
{
    struct postgres_pieces *pieces = &store->pieces;

    if (!pieces->reply || PQntuples(pieces->reply) == 0)
        return STORE_SCAN_END;
    if (pieces->next == PQntuples(pieces->reply))
        return STORE_SCAN_MORE;
    *row = (struct row){
        .version = postgres_get_text(pieces->reply, pieces->next, 0),
        .pkgarch = postgres_get_text(pieces->reply, pieces->next, 1),
        .checksum = postgres_get_text(pieces->reply, pieces->next, 2),
        .value = postgres_get_text(pieces->reply, pieces->next, 3),
    };
    pieces->next++;
    return STORE_SCAN_ROW;
}

/* The next row in the index has a hash that is greater, if only by a NUL at its end. */
void postgres_pieces_place(struct store *base, enum store_scan_from which, struct buffer *bytes)
{
    struct postgres_store *store = (struct postgres_store *)base;
    const struct postgres_pieces *pieces = &store->pieces;
    const int row = pieces->next - 1;
    struct postgres_place place = {.state = pieces->state, .package = INT64_MIN};

    buffer_reset(bytes, BUFFER_KEEP_BYTES);
    buffer_append(bytes, (const char *)&place, sizeof place);
    if (row >= 0) {
        place.package = postgres_get_int8(pieces->reply, row, PIECE_PACKAGE);
        for (int i = 0; i < PARTS && which != STORE_AT_PACKAGE; i++) {
            const struct text part = postgres_get_text(pieces->reply, row, PIECE_DIGEST + i);

            buffer_append_text(bytes, part);
            place.lengths[i] = part.length;
        }
    }
    if (row >= 0 && which == STORE_BEHIND_ROW) {
        buffer_append(bytes, "", 1);
        place.lengths[PARTS - 1]++;
    }
    if (!buffer_failed(bytes))
        memcpy(bytes->bytes, &place, sizeof place);
}

/* ---- packages ---- */

int postgres_pieces_find_greatest(struct store *base, struct text version, struct text pkgarch,
    struct buffer *value, struct error *error)
{
    struct postgres_store *store = (struct postgres_store *)base;
    PGresult *reply = NULL;
    int result;

    buffer_reset(value, BUFFER_KEEP_BYTES);
    if (!store->has_tables)
        return 0;
    result = postgres_pieces_ask(store, "greatest", version, pkgarch, &reply, error);
    if (result == 0 && PQntuples(reply) == 1) {
        buffer_append_text(value, postgres_get_text(reply, 0, 0));
        buffer_append(value, "", 1);
    }
    PQclear(reply);
    return result == 0 && buffer_failed(value) ? error_set_memory(error) : result;
}
