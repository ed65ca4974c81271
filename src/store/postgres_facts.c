/* What a transaction will be asked about is asked in one question, before it is: for each package
 * that is wanted its number and greatest row, for each checksum its smallest or largest value, for
 * each value one row that holds it. Here the answer is taken, and told to who asks then. */
#include "store/postgres_facts.h"

#include <stdlib.h>

enum { COLUMN_WANT, COLUMN_KIND, COLUMN_CHECKSUM, COLUMN_VALUE, COLUMN_ID };

struct postgres_facts *postgres_facts_create(struct digest *digest)
{
    struct postgres_facts *facts = calloc(1, sizeof *facts);

    if (facts)
        facts->digest = digest;
    return facts;
}

void postgres_facts_clear(struct postgres_facts *facts)
{
    struct facts_package *package, *next_package;
    struct facts_checksum *checksum, *next_checksum;

    HASH_ITER (hh, facts->packages, package, next_package) {
        HASH_DEL(facts->packages, package);
        free(package);
    }
    HASH_ITER (hh, facts->checksums, checksum, next_checksum) {
        HASH_DEL(facts->checksums, checksum);
        free(checksum);
    }
    free(facts->elements);
    facts->elements = NULL;
    facts->n_elements = 0;
    PQclear(facts->result);
    facts->result = NULL;
    free(facts->next);
    facts->next = NULL;
}

void postgres_facts_free(struct postgres_facts *facts)
{
    if (!facts)
        return;
    postgres_facts_clear(facts);
    for (int i = 0; i < N_QUESTION; i++)
        postgres_array_free(&facts->question[i]);
    for (int i = 0; i < N_NAMES; i++)
        postgres_array_free(&facts->names[i]);
    buffer_free(&facts->key);
    buffer_free(&facts->place);
    free(facts);
}

/* ---- what is wanted ---- */

struct facts_package *facts_find_package(
    struct postgres_facts *facts, struct text version, struct text pkgarch)
{
    struct facts_package *package = NULL;

    buffer_set_pair(&facts->key, version, pkgarch);
    if (!buffer_failed(&facts->key))
        HASH_FIND(hh, facts->packages, facts->key.bytes, facts->key.length, package);
    return package;
}

struct facts_checksum *facts_find_checksum(
    struct postgres_facts *facts, const struct facts_package *package, struct text text)
{
    const uintptr_t number = (uintptr_t)package;
    const struct text owner = {.bytes = (const char *)&number, .length = sizeof number};
    struct facts_checksum *checksum = NULL;

    buffer_set_pair(&facts->key, owner, text);
    if (!buffer_failed(&facts->key))
        HASH_FIND(hh, facts->checksums, facts->key.bytes, facts->key.length, checksum);
    return checksum;
}

/* ---- the answer ---- */

static void take_row(struct postgres_facts *facts, int row)
{
    const PGresult *result = facts->result;
    const size_t at = (size_t)postgres_get_int4(result, row, COLUMN_WANT) - 1;
    const struct facts_element *element = at < facts->n_elements ? &facts->elements[at] : NULL;

    if (!element)
        return;
    switch (PQgetvalue(result, row, COLUMN_KIND)[0]) {
    case 'i':
        element->package->id = postgres_get_int8(result, row, COLUMN_ID);
        break;
    case 's':
        element->checksum->smallest = row;
        break;
    case 'l':
        element->checksum->largest = row;
        break;
    default:
        facts->next[row] = element->package->rows;
        element->package->rows = row;
    }
}

static int compare_ids(const void *a, const void *b)
{
    const int64_t *const left = a;
    const int64_t *const right = b;

    return (*left > *right) - (*left < *right);
}

/* Which packages are held: all of them, or those in locked. */
static int take_locks(struct postgres_facts *facts, const PGresult *locked, struct error *error)
{
    const size_t n = locked ? (size_t)PQntuples(locked) : 0;
    int64_t *ids = calloc(n + 1, sizeof *ids);
    struct facts_package *package, *next;

    if (!ids)
        return error_set_memory(error);
    for (size_t i = 0; i < n; i++)
        ids[i] = postgres_get_int8(locked, (int)i, 0);
    qsort(ids, n, sizeof *ids, compare_ids);
    HASH_ITER (hh, facts->packages, package, next)
        package->is_held = !locked || bsearch(&package->id, ids, n, sizeof *ids, compare_ids);
    free(ids);
    return 0;
}

int postgres_facts_take(
    struct postgres_facts *facts, PGresult *result, const PGresult *locked, struct error *error)
{
    const int n_rows = PQntuples(result);

    facts->result = result;
    facts->next = calloc((size_t)n_rows + 1, sizeof *facts->next);
    if (!facts->next)
        return error_set_memory(error);
    for (int row = 0; row < n_rows; row++)
        take_row(facts, row);
    return take_locks(facts, locked, error);
}

/* ---- rows ---- */

/* A checksum's smallest and largest row, which may be the same. */
static int tell_checksum(const struct postgres_facts *facts, const struct facts_checksum *checksum,
    struct row *row, store_row_fn fn, void *context)
{
    int stop = 0;

    row->checksum = checksum->text;
    if (checksum->smallest != FACTS_NO_ROW) {
        row->value = postgres_get_text(facts->result, checksum->smallest, COLUMN_VALUE);
        stop = fn(context, row);
    }
    if (stop == 0 && checksum->largest != FACTS_NO_ROW) {
        row->value = postgres_get_text(facts->result, checksum->largest, COLUMN_VALUE);
        stop = fn(context, row);
    }
    return stop;
}

int postgres_facts_load(struct postgres_facts *facts, struct text version, struct text pkgarch,
    store_row_fn fn, void *context, struct error *error)
{
    const struct facts_package *package = facts_find_package(facts, version, pkgarch);
    struct row row = {.version = version, .pkgarch = pkgarch};
    int stop = 0;

    if (buffer_failed(&facts->key))
        return error_set_memory(error);
    for (int at = package ? package->rows : FACTS_NO_ROW; at != FACTS_NO_ROW && stop == 0;
         at = facts->next[at]) {
        row.checksum = postgres_get_text(facts->result, at, COLUMN_CHECKSUM);
        row.value = postgres_get_text(facts->result, at, COLUMN_VALUE);
        stop = fn(context, &row);
    }
    for (const struct facts_checksum *checksum = package ? package->checksums : NULL;
         checksum && stop == 0; checksum = checksum->next)
        stop = tell_checksum(facts, checksum, &row, fn, context);
    return 0;
}

int postgres_facts_look_up(struct postgres_facts *facts, struct text version, struct text pkgarch,
    struct text text, store_row_fn fn, void *context, struct error *error)
{
    const struct facts_package *package = facts_find_package(facts, version, pkgarch);
    const struct facts_checksum *checksum =
        package ? facts_find_checksum(facts, package, text) : NULL;
    struct row row = {.version = version, .pkgarch = pkgarch};

    if (buffer_failed(&facts->key))
        return error_set_memory(error);
    if (checksum)
        (void)tell_checksum(facts, checksum, &row, fn, context);
    return 0;
}

bool postgres_facts_hold(struct postgres_facts *facts, struct text version, struct text pkgarch)
{
    const struct facts_package *package = facts_find_package(facts, version, pkgarch);

    return package && package->is_held;
}

int64_t postgres_facts_package(
    struct postgres_facts *facts, struct text version, struct text pkgarch)
{
    const struct facts_package *package = facts_find_package(facts, version, pkgarch);

    return package ? package->id : 0;
}
