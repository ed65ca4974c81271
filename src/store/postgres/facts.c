/* SPDX-License-Identifier: MIT */
/* Takes the answer to the question of a batch, and serves store_load and store_look_up from it. The
 * answer has each package's number and greatest row, each checksum's smallest or largest value, and
 * for each value one row that holds it and a floor that is not below. */
#include "store/postgres/facts.h"

#include <stdlib.h>

enum { COLUMN_ELEMENT, COLUMN_KIND, COLUMN_CHECKSUM, COLUMN_VALUE, COLUMN_ID };

struct postgres_facts *postgres_facts_create(struct digest *digest)
{
    struct postgres_facts *facts = calloc(1, sizeof *facts);

    if (facts)
        facts->digest = digest;
    return facts;
}

static void postgres_facts_release(void *item)
{
    struct facts_package *package = item;

    map_clear(&package->checksums, free);
    free(package);
}

void postgres_facts_clear(struct postgres_facts *facts)
{
    map_clear(&facts->packages, postgres_facts_release);
    free(facts->elements);
    facts->elements = NULL;
    facts->n_elements = 0;
    PQclear(facts->reply);
    facts->reply = NULL;
    facts->backend_pid = 0;
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
    buffer_free(&facts->order_key);
    free(facts);
}

/* ---- finding ---- */

struct facts_package *postgres_facts_find(
    struct postgres_facts *facts, struct text version, struct text pkgarch)
{
    buffer_set_pair(&facts->key, version, pkgarch);
    return buffer_failed(&facts->key) ? NULL : map_find(&facts->packages, buffer_text(&facts->key));
}

/* ---- the answer ---- */

static void postgres_facts_take_row(struct postgres_facts *facts, int row)
{
    const PGresult *reply = facts->reply;
    const size_t at = (size_t)postgres_get_int4(reply, row, COLUMN_ELEMENT) - 1;
    const struct facts_element *element = at < facts->n_elements ? &facts->elements[at] : NULL;

    if (!element) {
        if (PQgetvalue(reply, row, COLUMN_KIND)[0] == 'b')
            facts->backend_pid = (int)postgres_get_int8(reply, row, COLUMN_ID);
        return;
    }
    switch (PQgetvalue(reply, row, COLUMN_KIND)[0]) {
    case 'i':
        element->package->id = postgres_get_int8(reply, row, COLUMN_ID);
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

static int postgres_facts_compare_ids(const void *a, const void *b)
{
    const int64_t *const left = a;
    const int64_t *const right = b;

    return (*left > *right) - (*left < *right);
}

/* Marks the packages that are held: all of them, or those in locked. */
static int postgres_facts_take_locks(
    struct postgres_facts *facts, const PGresult *locked, struct error *error)
{
    const size_t n = locked ? (size_t)PQntuples(locked) : 0;
    int64_t *ids = calloc(n + 1, sizeof *ids);

    if (!ids)
        return error_set_memory(error);
    for (size_t i = 0; i < n; i++)
        ids[i] = postgres_get_int8(locked, (int)i, 0);
    qsort(ids, n, sizeof *ids, postgres_facts_compare_ids);
    for (size_t i = 0; i < facts->n_elements; i++) {
        struct facts_package *package = facts->elements[i].package;

        package->is_held =
            !locked || bsearch(&package->id, ids, n, sizeof *ids, postgres_facts_compare_ids);
    }
    free(ids);
    return 0;
}

int postgres_facts_take(
    struct postgres_facts *facts, PGresult *reply, const PGresult *locked, struct error *error)
{
    const int n_rows = PQntuples(reply);

    facts->reply = reply;
    facts->next = calloc((size_t)n_rows + 1, sizeof *facts->next);
    if (!facts->next)
        return error_set_memory(error);
    for (int row = 0; row < n_rows; row++)
        postgres_facts_take_row(facts, row);
    return postgres_facts_take_locks(facts, locked, error);
}

/* ---- loading ---- */

/* Calls back for the smallest and largest row of a checksum, which may be the same. */
static int postgres_facts_tell_checksum(const struct postgres_facts *facts,
    const struct facts_checksum *checksum, struct row *row, store_row_fn fn, void *context)
{
    int stop = 0;

    row->checksum = checksum->entry.key;
    if (checksum->smallest != FACTS_NO_ROW) {
        row->value = postgres_get_text(facts->reply, checksum->smallest, COLUMN_VALUE);
        stop = fn(context, row);
    }
    if (stop == 0 && checksum->largest != FACTS_NO_ROW) {
        row->value = postgres_get_text(facts->reply, checksum->largest, COLUMN_VALUE);
        stop = fn(context, row);
    }
    return stop;
}

int postgres_facts_load(struct postgres_facts *facts, struct text version, struct text pkgarch,
    store_row_fn fn, void *context, struct error *error)
{
    const struct facts_package *package = postgres_facts_find(facts, version, pkgarch);
    struct row row = {.version = version, .pkgarch = pkgarch};
    int stop = 0;

    if (buffer_failed(&facts->key))
        return error_set_memory(error);
    for (int at = package ? package->rows : FACTS_NO_ROW; at != FACTS_NO_ROW && stop == 0;
         at = facts->next[at]) {
        row.checksum = postgres_get_text(facts->reply, at, COLUMN_CHECKSUM);
        row.value = postgres_get_text(facts->reply, at, COLUMN_VALUE);
        stop = fn(context, &row);
    }
    for (const struct facts_checksum *checksum = package ? package->first_checksum : NULL;
         checksum && stop == 0; checksum = checksum->next)
        stop = postgres_facts_tell_checksum(facts, checksum, &row, fn, context);
    return 0;
}

int postgres_facts_look_up(struct postgres_facts *facts, struct text version, struct text pkgarch,
    struct text text, store_row_fn fn, void *context, struct error *error)
{
    const struct facts_package *package = postgres_facts_find(facts, version, pkgarch);
    const struct facts_checksum *checksum = package ? map_find(&package->checksums, text) : NULL;
    struct row row = {.version = version, .pkgarch = pkgarch};

    if (buffer_failed(&facts->key))
        return error_set_memory(error);
    if (checksum)
        (void)postgres_facts_tell_checksum(facts, checksum, &row, fn, context);
    return 0;
}

int postgres_facts_backend_pid(const struct postgres_facts *facts)
{
    return facts->backend_pid;
}

bool postgres_facts_hold(struct postgres_facts *facts, struct text version, struct text pkgarch)
{
    const struct facts_package *package = postgres_facts_find(facts, version, pkgarch);

    return package && package->is_held;
}

int64_t postgres_facts_package(
    struct postgres_facts *facts, struct text version, struct text pkgarch)
{
    const struct facts_package *package = postgres_facts_find(facts, version, pkgarch);

    return package ? package->id : 0;
}
