/* SPDX-License-Identifier: MIT */
/* Builds the question of a batch: one element for each request that asks for something that the
 * requests before it do not ask for. */
#include "store/postgres/facts.h"

#include <stdlib.h>

/* Adds the package whose key postgres_facts_find has built. */
static struct facts_package *postgres_question_add_package(
    struct postgres_facts *facts, const struct store_item *item)
{
    struct facts_package *package = NULL;

    if (!buffer_failed(&facts->key))
        package = map_find_or_add(&facts->packages, buffer_text(&facts->key), sizeof *package);
    if (!package)
        return NULL;
    package->rows = FACTS_NO_ROW;
    return postgres_hash_package(facts->digest, item->version, item->pkgarch, package->digest)
               ? package
               : NULL;
}

static struct facts_checksum *postgres_question_add_checksum(
    struct postgres_facts *facts, struct facts_package *package, struct text text)
{
    struct facts_checksum *checksum = map_find_or_add(&package->checksums, text, sizeof *checksum);

    if (!checksum)
        return NULL;
    checksum->smallest = checksum->largest = FACTS_NO_ROW;
    checksum->next = package->first_checksum;
    package->first_checksum = checksum;
    return postgres_hash_checksum(facts->digest, text, checksum->digest) ? checksum : NULL;
}

/* Marks a package to be made, if it is missing, and to be locked. */
static void postgres_question_name(
    struct postgres_facts *facts, const struct store_item *item, struct facts_package *package)
{
    if (package->is_named)
        return;
    package->is_named = true;
    postgres_array_text(&facts->names[NAMES_KEY], postgres_hash_text(package->digest));
    postgres_array_text(&facts->names[NAMES_VERSION], text_not_null(item->version));
    postgres_array_text(&facts->names[NAMES_PKGARCH], text_not_null(item->pkgarch));
}

/* Appends an element to the question. */
static void postgres_question_ask(struct postgres_facts *facts, const struct store_item *item,
    const struct facts_element *element, bool is_first)
{
    struct postgres_array *question = facts->question;
    const struct facts_checksum *checksum = element->checksum;
    const struct text none = {.bytes = NULL};
    struct text sort_key = none;
    struct text overflow = none;

    if (item->value.bytes)
        postgres_sort_key(&facts->order_key, item->value, &sort_key, &overflow);
    postgres_array_text(&question[ASKS_KEY], postgres_hash_text(element->package->digest));
    postgres_array_text(
        &question[ASKS_DIGEST], checksum ? postgres_hash_text(checksum->digest) : none);
    postgres_array_bool(&question[ASKS_SMALLEST], checksum && checksum->asks_smallest);
    postgres_array_bool(&question[ASKS_LARGEST], checksum && checksum->asks_largest);
    postgres_array_text(&question[ASKS_SORT_KEY], sort_key);
    postgres_array_text(&question[ASKS_OVERFLOW], overflow);
    postgres_array_bool(&question[ASKS_FIRST], is_first);
    facts->elements[facts->n_elements++] = *element;
}

/* Notes what an item wants of its checksum. *checksum is NULL if earlier items want the same. */
static bool postgres_question_want_checksum(struct postgres_facts *facts,
    struct facts_package *package, const struct store_item *item, struct facts_checksum **checksum)
{
    *checksum = map_find(&package->checksums, item->checksum);
    if (!*checksum)
        *checksum = postgres_question_add_checksum(facts, package, item->checksum);
    if (!*checksum)
        return false;
    if ((!item->wants_smallest || (*checksum)->asks_smallest) &&
        (!item->wants_largest || (*checksum)->asks_largest)) {
        *checksum = NULL;
        return true;
    }
    (*checksum)->asks_smallest = (*checksum)->asks_smallest || item->wants_smallest;
    (*checksum)->asks_largest = (*checksum)->asks_largest || item->wants_largest;
    return true;
}

/* Returns whether the database can hold the texts. The caller refuses the request if not. */
static bool postgres_question_is_possible(const struct store_item *item)
{
    return postgres_can_hold(item->version) && postgres_can_hold(item->pkgarch) &&
           postgres_can_hold(item->checksum);
}

static int postgres_question_add(
    struct postgres_facts *facts, const struct store_item *item, struct error *error)
{
    struct facts_element element = {
        .package = postgres_facts_find(facts, item->version, item->pkgarch)};
    bool is_first = !element.package;

    if (is_first)
        element.package = postgres_question_add_package(facts, item);
    if (!element.package)
        return error_set_memory(error);
    if (item->checksum.bytes &&
        !postgres_question_want_checksum(facts, element.package, item, &element.checksum))
        return error_set_memory(error);
    if (item->may_add)
        postgres_question_name(facts, item, element.package);
    if (is_first || element.checksum || item->value.bytes)
        postgres_question_ask(facts, item, &element, is_first);
    return buffer_failed(&facts->key) || buffer_failed(&facts->order_key) ? error_set_memory(error)
                                                                          : 0;
}

static void postgres_question_begin(struct postgres_facts *facts)
{
    static const enum postgres_type types[N_QUESTION] = {
        [ASKS_KEY] = POSTGRES_BYTEA,
        [ASKS_DIGEST] = POSTGRES_BYTEA,
        [ASKS_SMALLEST] = POSTGRES_BOOL,
        [ASKS_LARGEST] = POSTGRES_BOOL,
        [ASKS_SORT_KEY] = POSTGRES_BYTEA,
        [ASKS_OVERFLOW] = POSTGRES_BYTEA,
        [ASKS_FIRST] = POSTGRES_BOOL,
    };

    postgres_facts_clear(facts);
    for (int i = 0; i < N_QUESTION; i++)
        postgres_array_begin(&facts->question[i], types[i]);
    postgres_array_begin(&facts->names[NAMES_KEY], POSTGRES_BYTEA);
    postgres_array_begin(&facts->names[NAMES_VERSION], POSTGRES_TEXT);
    postgres_array_begin(&facts->names[NAMES_PKGARCH], POSTGRES_TEXT);
}

int postgres_facts_want(
    struct postgres_facts *facts, const struct store_batch *batch, struct error *error)
{
    struct store_item item;
    size_t n = 0;
    int result = 0;

    for (const void *at = batch->first; at != batch->end; n++)
        at = batch->describe(at, &item);
    postgres_question_begin(facts);
    facts->elements = calloc(n + 1, sizeof *facts->elements);
    if (!facts->elements)
        return error_set_memory(error);
    for (const void *at = batch->first; at != batch->end && result == 0;) {
        at = batch->describe(at, &item);
        if (postgres_question_is_possible(&item))
            result = postgres_question_add(facts, &item, error);
    }
    return result;
}

int postgres_facts_send_make(
    struct postgres_facts *facts, struct postgres_conn *conn, struct error *error)
{
    return postgres_send(conn, "make", facts->names, N_NAMES, error);
}

int postgres_facts_send_lock(
    struct postgres_facts *facts, struct postgres_conn *conn, bool only_free, struct error *error)
{
    return postgres_send(
        conn, only_free ? "lock_free" : "lock", &facts->names[NAMES_KEY], 1, error);
}

int postgres_facts_send(
    struct postgres_facts *facts, struct postgres_conn *conn, struct error *error)
{
    return postgres_send(conn, "facts", facts->question, N_QUESTION, error);
}
