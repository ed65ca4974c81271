/* SPDX-License-Identifier: MIT */
/* Searches for packages by name, for people: along the index prserv_package_name, and for each
 * package along those of its rows. The greatest revision is always known; of a package with very
 * many rows only some are counted. */
#include "store/postgres/postgres.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <stdlib.h>

#define SEARCH_MS 900
#define MOST_ROWS_OF_ONE 10000 /* of a package that are counted */
#define MOST_ROWS 200          /* of each of several */
#define N_PARAMETERS 6

enum { COLUMN_VERSION, COLUMN_PKGARCH, COLUMN_GREATEST, COLUMN_N, COLUMN_IS_ALL };

/* The parameters of a statement, in binary form. */
struct search_parameters {
    const char *values[N_PARAMETERS];
    int lengths[N_PARAMETERS];
    unsigned char key[DIGEST_BYTES];
    uint32_t limit; /* in network order, as is n_rows */
    uint32_t n_rows;
};

static void search_set(struct search_parameters *parameters, int i, struct text text)
{
    parameters->values[i] = text_not_null(text).bytes;
    parameters->lengths[i] = (int)text.length;
}

static void search_set_number(struct search_parameters *parameters, int i, const uint32_t *number)
{
    search_set(
        parameters, i, (struct text){.bytes = (const char *)number, .length = sizeof *number});
}

/* Sets the key of the package that the search names. */
static int search_set_key(struct postgres_store *store, const struct store_search *search,
    struct search_parameters *parameters, int i, struct error *error)
{
    if (!postgres_hash_package(store->digest, search->version, search->pkgarch, parameters->key))
        return error_set_memory(error);
    search_set(parameters, i, postgres_hash_text(parameters->key));
    return 0;
}

static int search_set_all(struct postgres_store *store, const struct store_search *search,
    struct search_parameters *parameters, struct error *error)
{
    const struct text prefix = text_not_null(search->prefix);

    *parameters = (struct search_parameters){.limit = htonl(search->limit),
        .n_rows = htonl(search->is_one ? MOST_ROWS_OF_ONE : MOST_ROWS)};
    if (search->is_one) {
        search_set_number(parameters, 1, &parameters->n_rows);
        return search_set_key(store, search, parameters, 0, error);
    }
    search_set(parameters, 0, prefix);
    search_set(parameters, 1, search->has_after ? search->version : prefix);
    search_set(parameters, 2, search->has_after ? search->pkgarch : text_of(""));
    search_set(parameters, 3, text_of(""));
    search_set_number(parameters, 4, &parameters->limit);
    search_set_number(parameters, 5, &parameters->n_rows);
    return search->has_after ? search_set_key(store, search, parameters, 3, error) : 0;
}

static int search_run(struct postgres_store *store, const struct store_search *search,
    PGresult **reply, struct error *error)
{
    static const int formats[N_PARAMETERS] = {1, 1, 1, 1, 1, 1};
    struct search_parameters parameters;
    int result = search_set_all(store, search, &parameters, error);

    if (result == 0 &&
        PQsendQueryPrepared(store->conn.connection, search->is_one ? "search_one" : "search",
            search->is_one ? 2 : N_PARAMETERS, parameters.values, parameters.lengths, formats,
            1) != 1)
        return postgres_lost(&store->conn, error);
    return result == 0 ? postgres_finish(&store->conn, reply, error) : result;
}

/* Without the index each search would walk through all packages. */
static int search_require_index(struct postgres_store *store, struct error *error)
{
    PGresult *reply = NULL;
    int result = postgres_run(&store->conn,
        "SET plan_cache_mode = force_custom_plan; "
        "SELECT to_regclass('prserv_package_name') IS NOT NULL",
        &reply, error);

    if (result == 0 && PQgetvalue(reply, 0, 0)[0] != 't')
        result = error_set(error, ERROR_STORE,
            "the database %s lacks the index prserv_package_name; as the owner of the table, make "
            "it: CREATE INDEX CONCURRENTLY prserv_package_name ON prserv_package (left(version, "
            "400), left(pkgarch, 200), key)",
            store->name);
    PQclear(reply);
    return result;
}

static void search_take_row(const PGresult *reply, int i, struct store_package *package)
{
    *package = (struct store_package){
        .version = postgres_get_text(reply, i, COLUMN_VERSION),
        .pkgarch = postgres_get_text(reply, i, COLUMN_PKGARCH),
        .greatest = postgres_get_text(reply, i, COLUMN_GREATEST),
        .n_contents = (uint64_t)postgres_get_int8(reply, i, COLUMN_N),
        .is_complete = PQgetvalue(reply, i, COLUMN_IS_ALL)[3] != 0,
    };
    if (PQgetisnull(reply, i, COLUMN_GREATEST))
        package->greatest.bytes = NULL;
}

/* Returns whether the database can be asked for these texts: it holds no others. */
static bool search_can_match(const struct store_search *search)
{
    return postgres_can_hold(text_not_null(search->prefix)) &&
           postgres_can_hold(text_not_null(search->version)) &&
           postgres_can_hold(text_not_null(search->pkgarch));
}

int postgres_search(struct store *base, const struct store_search *search, store_package_fn fn,
    void *context, bool *is_end, struct error *error)
{
    struct postgres_store *store = (struct postgres_store *)base;
    PGresult *reply = NULL;
    int n = 0;
    int result = 0;

    *is_end = true;
    if (!store->has_tables || !search_can_match(search))
        return 0;
    store->conn.until_ms = clock_ms() + SEARCH_MS;
    if (!search->is_one)
        result = search_require_index(store, error);
    if (result == 0)
        result = search_run(store, search, &reply, error);
    if (result == 0)
        n = PQntuples(reply);
    for (int i = 0; i < n; i++) {
        struct store_package package;

        search_take_row(reply, i, &package);
        if (fn(context, &package) != 0)
            break;
    }
    *is_end = n < (int)search->limit;
    PQclear(reply);
    return result;
}
