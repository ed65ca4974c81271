/* What a transaction will be asked about is asked in one question, before it is: for each package
 * that is wanted its number and greatest row, for each checksum its smallest and largest value, for
 * each value one row that holds it.
 *
 *     want ──→ package ──→ rows of the result (a list through next)
 *        │        └──────→ checksums
 *        └───→ checksum ─→ its smallest and largest row
 *
 * The question has one element for each want that asks for anything new. */
#include "store/postgres.h"

#include <arpa/inet.h>
#include <stdlib.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define NO_ROW (-1)

enum { COLUMN_WANT, COLUMN_KIND, COLUMN_CHECKSUM, COLUMN_VALUE, COLUMN_ID };

/* What a question consists of, an array each. */
enum {
    ASKS_KEY,      /* the package */
    ASKS_DIGEST,   /* the checksum, or NULL */
    ASKS_SMALLEST, /* value of the checksum? */
    ASKS_LARGEST,
    ASKS_PLACE, /* which row holds this value, or NULL */
    ASKS_REST,
    ASKS_FIRST, /* was the package not asked about before? */
    N_QUESTION
};
enum { NAMES_KEY, NAMES_VERSION, NAMES_PKGARCH, N_NAMES };

struct checksum {
    UT_hash_handle hh;
    struct checksum *next; /* of the package */
    struct text text;      /* borrowed from the want */
    bool asks_smallest;
    bool asks_largest;
    int smallest; /* row of the result */
    int largest;
    unsigned char digest[DIGEST_BYTES];
    size_t key_length;
    char key[];
};

struct package {
    UT_hash_handle hh;
    struct checksum *checksums;
    int64_t id;
    bool is_held; /* locked by this transaction */
    int rows;     /* the first of them in the result */
    unsigned char digest[DIGEST_BYTES];
    size_t key_length;
    char key[];
};

/* An element of the question. */
struct element {
    struct package *package;
    struct checksum *checksum; /* or NULL */
};

struct postgres_facts {
    struct package *packages;
    struct checksum *checksums;
    struct element *elements;
    size_t n_elements;
    PGresult *result;
    int *next; /* for each row of the result, the next of the same package */
    struct buffer key;
    struct buffer place;
    struct digest *digest; /* borrowed */
    struct postgres_array question[N_QUESTION];
    struct postgres_array names[N_NAMES]; /* each package once */
};

struct postgres_facts *postgres_facts_create(struct digest *digest)
{
    struct postgres_facts *facts = calloc(1, sizeof *facts);

    if (facts)
        facts->digest = digest;
    return facts;
}

void postgres_facts_clear(struct postgres_facts *facts)
{
    struct package *package, *next_package;
    struct checksum *checksum, *next_checksum;

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

/* ---- wants ---- */

static struct package *find_package(
    struct postgres_facts *facts, struct text version, struct text pkgarch)
{
    struct package *package = NULL;

    buffer_set_pair(&facts->key, version, pkgarch);
    if (!buffer_failed(&facts->key))
        HASH_FIND(hh, facts->packages, facts->key.bytes, facts->key.length, package);
    return package;
}

/* The key of the package's row: postgres.sql says what it is made of. */
static bool digest_package(
    struct digest *digest, const struct store_want *want, unsigned char result[DIGEST_BYTES])
{
    const uint32_t length = htonl((uint32_t)want->version.length);

    digest_begin(digest);
    digest_add(digest, (struct text){.bytes = (const char *)&length, .length = sizeof length});
    digest_add(digest, want->version);
    digest_add(digest, want->pkgarch);
    return digest_end(digest, result);
}

static bool digest_checksum(
    struct digest *digest, const struct store_want *want, unsigned char result[DIGEST_BYTES])
{
    digest_begin(digest);
    digest_add(digest, want->checksum);
    return digest_end(digest, result);
}

/* With the key at hand. */
static struct package *add_package(struct postgres_facts *facts, const struct store_want *want)
{
    struct package *package = NULL;

    if (!buffer_failed(&facts->key))
        package = calloc(1, sizeof *package + facts->key.length);
    if (!package)
        return NULL;
    if (!digest_package(facts->digest, want, package->digest)) {
        free(package);
        return NULL;
    }
    package->rows = NO_ROW;
    package->key_length = facts->key.length;
    memcpy(package->key, facts->key.bytes, facts->key.length);
    HASH_ADD_KEYPTR(hh, facts->packages, package->key, package->key_length, package);
    if (package->hh.tbl)
        return package;
    free(package);
    return NULL;
}

static struct checksum *find_checksum(
    struct postgres_facts *facts, const struct package *package, struct text text)
{
    const uintptr_t number = (uintptr_t)package;
    const struct text owner = {.bytes = (const char *)&number, .length = sizeof number};
    struct checksum *checksum = NULL;

    buffer_set_pair(&facts->key, owner, text);
    if (!buffer_failed(&facts->key))
        HASH_FIND(hh, facts->checksums, facts->key.bytes, facts->key.length, checksum);
    return checksum;
}

static struct checksum *add_checksum(
    struct postgres_facts *facts, struct package *package, const struct store_want *want)
{
    struct checksum *checksum = NULL;

    if (!buffer_failed(&facts->key))
        checksum = calloc(1, sizeof *checksum + facts->key.length);
    if (!checksum || !digest_checksum(facts->digest, want, checksum->digest)) {
        free(checksum);
        return NULL;
    }
    checksum->text = want->checksum;
    checksum->smallest = checksum->largest = NO_ROW;
    checksum->key_length = facts->key.length;
    memcpy(checksum->key, facts->key.bytes, facts->key.length);
    HASH_ADD_KEYPTR(hh, facts->checksums, checksum->key, checksum->key_length, checksum);
    if (!checksum->hh.tbl) {
        free(checksum);
        return NULL;
    }
    checksum->next = package->checksums;
    package->checksums = checksum;
    return checksum;
}

static struct text digest_text(const unsigned char digest[DIGEST_BYTES])
{
    return (struct text){.bytes = (const char *)digest, .length = DIGEST_BYTES};
}

static void name(
    struct postgres_facts *facts, const struct store_want *want, const struct package *package)
{
    postgres_array_text(&facts->names[NAMES_KEY], digest_text(package->digest));
    postgres_array_text(&facts->names[NAMES_VERSION], text_not_null(want->version));
    postgres_array_text(&facts->names[NAMES_PKGARCH], text_not_null(want->pkgarch));
}

static void ask(struct postgres_facts *facts, const struct store_want *want,
    const struct element *element, bool is_first)
{
    struct postgres_array *question = facts->question;
    const struct checksum *checksum = element->checksum;
    const struct text none = {.bytes = NULL};
    struct text place = none;
    struct text rest = none;

    if (want->value.bytes)
        postgres_place(&facts->place, want->value, &place, &rest);
    postgres_array_text(&question[ASKS_KEY], digest_text(element->package->digest));
    postgres_array_text(&question[ASKS_DIGEST], checksum ? digest_text(checksum->digest) : none);
    postgres_array_bool(&question[ASKS_SMALLEST], checksum && checksum->asks_smallest);
    postgres_array_bool(&question[ASKS_LARGEST], checksum && checksum->asks_largest);
    postgres_array_text(&question[ASKS_PLACE], place);
    postgres_array_text(&question[ASKS_REST], rest);
    postgres_array_bool(&question[ASKS_FIRST], is_first);
    facts->elements[facts->n_elements++] = *element;
    if (is_first)
        name(facts, want, element->package);
}

/* What is wanted of a checksum; *checksum is NULL if all of that is asked already. */
static bool add_checksum_want(struct postgres_facts *facts, struct package *package,
    const struct store_want *want, struct checksum **checksum)
{
    *checksum = find_checksum(facts, package, want->checksum);
    if (!*checksum)
        *checksum = add_checksum(facts, package, want);
    if (!*checksum)
        return false;
    if ((!want->smallest || (*checksum)->asks_smallest) &&
        (!want->largest || (*checksum)->asks_largest)) {
        *checksum = NULL;
        return true;
    }
    (*checksum)->asks_smallest = (*checksum)->asks_smallest || want->smallest;
    (*checksum)->asks_largest = (*checksum)->asks_largest || want->largest;
    return true;
}

static int add_want(
    struct postgres_facts *facts, const struct store_want *want, struct error *error)
{
    struct element element = {.package = find_package(facts, want->version, want->pkgarch)};
    bool is_first = !element.package;

    if (is_first)
        element.package = add_package(facts, want);
    if (!element.package)
        return error_set_memory(error);
    if (want->checksum.bytes && !add_checksum_want(facts, element.package, want, &element.checksum))
        return error_set_memory(error);
    if (is_first || element.checksum || want->value.bytes)
        ask(facts, want, &element, is_first);
    return buffer_failed(&facts->key) || buffer_failed(&facts->place) ? error_set_memory(error) : 0;
}

int postgres_facts_want(
    struct postgres_facts *facts, const struct store_wants *wants, struct error *error)
{
    static const enum postgres_type types[N_QUESTION] = {
        [ASKS_KEY] = POSTGRES_BYTEA,
        [ASKS_DIGEST] = POSTGRES_BYTEA,
        [ASKS_SMALLEST] = POSTGRES_BOOL,
        [ASKS_LARGEST] = POSTGRES_BOOL,
        [ASKS_PLACE] = POSTGRES_BYTEA,
        [ASKS_REST] = POSTGRES_BYTEA,
        [ASKS_FIRST] = POSTGRES_BOOL,
    };
    int result = 0;

    postgres_facts_clear(facts);
    for (int i = 0; i < N_QUESTION; i++)
        postgres_array_begin(&facts->question[i], types[i]);
    postgres_array_begin(&facts->names[NAMES_KEY], POSTGRES_BYTEA);
    postgres_array_begin(&facts->names[NAMES_VERSION], POSTGRES_TEXT);
    postgres_array_begin(&facts->names[NAMES_PKGARCH], POSTGRES_TEXT);
    facts->elements = calloc(wants->count + 1, sizeof *facts->elements);
    if (!facts->elements)
        return error_set_memory(error);
    for (size_t i = 0; i < wants->count && result == 0; i++)
        result = add_want(facts, &wants->items[i], error);
    return result;
}

/* ---- the question and its answer ---- */

int postgres_facts_send_lock(
    struct postgres_facts *facts, struct postgres_link *link, bool only_free, struct error *error)
{
    int result = postgres_send(link, "make", facts->names, N_NAMES, error);

    if (result != 0)
        return result;
    return postgres_send(
        link, only_free ? "lock_free" : "lock", &facts->names[NAMES_KEY], 1, error);
}

int postgres_facts_send(
    struct postgres_facts *facts, struct postgres_link *link, struct error *error)
{
    return postgres_send(link, "facts", facts->question, N_QUESTION, error);
}

static void take_row(struct postgres_facts *facts, int row)
{
    const PGresult *result = facts->result;
    const size_t at = (size_t)postgres_get_int4(result, row, COLUMN_WANT) - 1;
    const struct element *element = at < facts->n_elements ? &facts->elements[at] : NULL;

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
    struct package *package, *next;

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
static int tell_checksum(const struct postgres_facts *facts, const struct checksum *checksum,
    struct row *row, store_row_fn fn, void *context)
{
    int stop = 0;

    row->checksum = checksum->text;
    if (checksum->smallest != NO_ROW) {
        row->value = postgres_get_text(facts->result, checksum->smallest, COLUMN_VALUE);
        stop = fn(context, row);
    }
    if (stop == 0 && checksum->largest != NO_ROW) {
        row->value = postgres_get_text(facts->result, checksum->largest, COLUMN_VALUE);
        stop = fn(context, row);
    }
    return stop;
}

int postgres_facts_load(struct postgres_facts *facts, struct text version, struct text pkgarch,
    store_row_fn fn, void *context, struct error *error)
{
    const struct package *package = find_package(facts, version, pkgarch);
    struct row row = {.version = version, .pkgarch = pkgarch};
    int stop = 0;

    if (buffer_failed(&facts->key))
        return error_set_memory(error);
    for (int at = package ? package->rows : NO_ROW; at != NO_ROW && stop == 0;
         at = facts->next[at]) {
        row.checksum = postgres_get_text(facts->result, at, COLUMN_CHECKSUM);
        row.value = postgres_get_text(facts->result, at, COLUMN_VALUE);
        stop = fn(context, &row);
    }
    for (const struct checksum *checksum = package ? package->checksums : NULL;
         checksum && stop == 0; checksum = checksum->next)
        stop = tell_checksum(facts, checksum, &row, fn, context);
    return 0;
}

int postgres_facts_look_up(struct postgres_facts *facts, struct text version, struct text pkgarch,
    struct text text, store_row_fn fn, void *context, struct error *error)
{
    const struct package *package = find_package(facts, version, pkgarch);
    const struct checksum *checksum = package ? find_checksum(facts, package, text) : NULL;
    struct row row = {.version = version, .pkgarch = pkgarch};

    if (buffer_failed(&facts->key))
        return error_set_memory(error);
    if (checksum)
        (void)tell_checksum(facts, checksum, &row, fn, context);
    return 0;
}

bool postgres_facts_hold(struct postgres_facts *facts, struct text version, struct text pkgarch)
{
    const struct package *package = find_package(facts, version, pkgarch);

    return package && package->is_held;
}

int64_t postgres_facts_package(
    struct postgres_facts *facts, struct text version, struct text pkgarch)
{
    const struct package *package = find_package(facts, version, pkgarch);

    return package ? package->id : 0;
}
