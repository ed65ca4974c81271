/* What a transaction wants to know, and the question that is made of it: one element for each want
 * that asks for anything new. */
#include "store/postgres_facts.h"

#include <arpa/inet.h>
#include <stdlib.h>

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
static struct facts_package *add_package(
    struct postgres_facts *facts, const struct store_want *want)
{
    struct facts_package *package = NULL;

    if (!buffer_failed(&facts->key))
        package = calloc(1, sizeof *package + facts->key.length);
    if (!package)
        return NULL;
    if (!digest_package(facts->digest, want, package->digest)) {
        free(package);
        return NULL;
    }
    package->rows = FACTS_NO_ROW;
    package->key_length = facts->key.length;
    memcpy(package->key, facts->key.bytes, facts->key.length);
    HASH_ADD_KEYPTR(hh, facts->packages, package->key, package->key_length, package);
    if (package->hh.tbl)
        return package;
    free(package);
    return NULL;
}

static struct facts_checksum *add_checksum(
    struct postgres_facts *facts, struct facts_package *package, const struct store_want *want)
{
    struct facts_checksum *checksum = NULL;

    if (!buffer_failed(&facts->key))
        checksum = calloc(1, sizeof *checksum + facts->key.length);
    if (!checksum || !digest_checksum(facts->digest, want, checksum->digest)) {
        free(checksum);
        return NULL;
    }
    checksum->text = want->checksum;
    checksum->smallest = checksum->largest = FACTS_NO_ROW;
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

/* The package is to be made, if it is not there, and locked. */
static void name(
    struct postgres_facts *facts, const struct store_want *want, struct facts_package *package)
{
    if (package->is_named)
        return;
    package->is_named = true;
    postgres_array_text(&facts->names[NAMES_KEY], digest_text(package->digest));
    postgres_array_text(&facts->names[NAMES_VERSION], text_not_null(want->version));
    postgres_array_text(&facts->names[NAMES_PKGARCH], text_not_null(want->pkgarch));
}

static void ask(struct postgres_facts *facts, const struct store_want *want,
    const struct facts_element *element, bool is_first)
{
    struct postgres_array *question = facts->question;
    const struct facts_checksum *checksum = element->checksum;
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
}

/* What is wanted of a checksum; *checksum is NULL if all of that is asked already. */
static bool add_checksum_want(struct postgres_facts *facts, struct facts_package *package,
    const struct store_want *want, struct facts_checksum **checksum)
{
    *checksum = facts_find_checksum(facts, package, want->checksum);
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
    struct facts_element element = {
        .package = facts_find_package(facts, want->version, want->pkgarch)};
    bool is_first = !element.package;

    if (is_first)
        element.package = add_package(facts, want);
    if (!element.package)
        return error_set_memory(error);
    if (want->checksum.bytes && !add_checksum_want(facts, element.package, want, &element.checksum))
        return error_set_memory(error);
    if (want->adds)
        name(facts, want, element.package);
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

int postgres_facts_send_make(
    struct postgres_facts *facts, struct postgres_link *link, struct error *error)
{
    return postgres_send(link, "make", facts->names, N_NAMES, error);
}

int postgres_facts_send_lock(
    struct postgres_facts *facts, struct postgres_link *link, bool only_free, struct error *error)
{
    return postgres_send(
        link, only_free ? "lock_free" : "lock", &facts->names[NAMES_KEY], 1, error);
}

int postgres_facts_send(
    struct postgres_facts *facts, struct postgres_link *link, struct error *error)
{
    return postgres_send(link, "facts", facts->question, N_QUESTION, error);
}
