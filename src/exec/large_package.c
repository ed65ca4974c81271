/* SPDX-License-Identifier: MIT */
/* Questions that wait for a scan join the next one that begins. A scan goes through the rows in the
 * order of checksums and values, and remembers its place between two pieces. Each piece is a
 * transaction of its own: rows are only ever added, so a row that is added behind the place is
 * found, and one before it comes through large_package_add. If others have written, the store
 * can't tell which rows are new, and the scan begins anew. */
#include "exec/large_package.h"

#include "base/clock.h"
#include "base/map.h"
#include "revision/floor.h"
#include "revision/revision.h"

#include <stdlib.h>

#define CLOCK_ROWS 256                   /* rows of a scan between two looks at the clock, */
#define CLOCK_BYTES ((size_t)256 * 1024) /* or bytes of them */
#define KEPT_BYTES ((size_t)1024 * 1024) /* answers that are kept when a scan begins */
#define MAX_RESETS 3

enum asked_kind { ASKED_VALUE = 'v', ASKED_CHECKSUM = 'c' };

/* A question that a scan answers. The key is its kind, and the value or checksum. */
struct asked {
    struct map_entry entry;
    bool is_joined; /* the scan under way will have seen all rows for it */
    bool is_complete;
    bool is_held;   /* a value: a row holds it */
    char *smallest; /* a checksum's; owned */
    char *largest;
};

struct large_package {
    struct buffer version;
    struct buffer pkgarch;
    char *greatest; /* owned; of the rows that were seen */
    char *floor;    /* likewise */
    char *smallest; /* the values of the checksum that was last looked up */
    char *largest;
    struct map asked;
    size_t asked_bytes;
    size_t n_incomplete; /* of asked */
    struct buffer key;   /* scratch, for asked */
    bool is_wanted;      /* a question was left to a scan since the last reset */
    bool is_complete;    /* greatest and floor are those of all rows */
    bool is_under_way;   /* a scan is; then its place is where the last piece ended */
    struct buffer place_checksum;
    struct buffer place_value;
    unsigned n_resets; /* since a scan last led to an answer */
};

bool large_package_count_row(struct large_package_count *count,
    const struct large_package_limits *limits, const struct row *row)
{
    count->rows++;
    count->bytes += row->checksum.length + row->value.length;
    return count->rows > limits->rows || count->bytes > limits->bytes;
}

/* ---- start and end ---- */

struct large_package *large_package_create(struct text version, struct text pkgarch)
{
    struct large_package *large = calloc(1, sizeof *large);

    if (!large)
        return NULL;
    buffer_append_text(&large->version, version);
    buffer_append_text(&large->pkgarch, pkgarch);
    if (!buffer_failed(&large->version) && !buffer_failed(&large->pkgarch))
        return large;
    large_package_free(large);
    return NULL;
}

static void large_package_release_asked(void *item)
{
    struct asked *asked = item;

    free(asked->smallest);
    free(asked->largest);
    free(asked);
}

void large_package_free(struct large_package *large)
{
    if (!large)
        return;
    map_clear(&large->asked, large_package_release_asked);
    buffer_free(&large->version);
    buffer_free(&large->pkgarch);
    buffer_free(&large->key);
    buffer_free(&large->place_checksum);
    buffer_free(&large->place_value);
    free(large->greatest);
    free(large->floor);
    free(large->smallest);
    free(large->largest);
    free(large);
}

size_t large_package_bytes(const struct large_package *large)
{
    return sizeof *large + large->asked_bytes + map_bytes(&large->asked);
}

/* ---- values ---- */

/* Replaces *kept by the value if that is smaller (sign < 0) or greater (sign > 0), or if there is
 * none. */
static int large_package_keep(char **kept, struct text value, int sign)
{
    int order = *kept ? revision_compare(value.bytes, *kept) : sign;
    char *copy;

    if ((sign < 0 && order >= 0) || (sign > 0 && order <= 0))
        return 0;
    copy = strndup(value.bytes, value.length);
    if (!copy)
        return ERROR_MEMORY;
    free(*kept);
    *kept = copy;
    return 0;
}

static int large_package_keep_both(char **smallest, char **largest, struct text value)
{
    int result = large_package_keep(smallest, value, -1);

    return result == 0 ? large_package_keep(largest, value, 1) : result;
}

/* ---- questions for a scan ---- */

static struct text large_package_asked_key(
    struct large_package *large, enum asked_kind kind, struct text text)
{
    const char as_char = (char)kind;

    buffer_reset(&large->key, BUFFER_KEEP_BYTES);
    buffer_append(&large->key, &as_char, 1);
    buffer_append_text(&large->key, text);
    return buffer_text(&large->key);
}

/* Returns the question, or NULL if it was not asked. *result: ERROR_MEMORY, or as it is. */
static struct asked *large_package_find_asked(
    struct large_package *large, enum asked_kind kind, struct text text, int *result)
{
    struct text key;

    if (large->asked.n_items == 0)
        return NULL;
    key = large_package_asked_key(large, kind, text);
    if (!buffer_failed(&large->key))
        return map_find(&large->asked, key);
    *result = ERROR_MEMORY;
    return NULL;
}

/* Returns the question, asked now or before; NULL when memory ran out. */
static struct asked *large_package_ask_scan(
    struct large_package *large, enum asked_kind kind, struct text text)
{
    const struct text key = large_package_asked_key(large, kind, text);
    const size_t n_items = large->asked.n_items;
    struct asked *asked;

    if (buffer_failed(&large->key))
        return NULL;
    asked = map_find_or_add(&large->asked, key, sizeof *asked);
    if (large->asked.n_items == n_items)
        return asked;
    large->n_incomplete++;
    large->asked_bytes += sizeof *asked + key.length;
    return asked;
}

/* Removes the answers, if they take much memory. */
static void large_package_drop_answers(struct large_package *large)
{
    if (large->asked_bytes <= KEPT_BYTES)
        return;
    for (size_t i = 0; i < large->asked.n_buckets; i++) {
        struct map_entry *next;

        for (struct map_entry *entry = large->asked.buckets[i]; entry; entry = next) {
            struct asked *asked = (struct asked *)entry;

            next = entry->next;
            if (!asked->is_complete)
                continue;
            map_remove(&large->asked, entry);
            large->asked_bytes -= sizeof *asked + entry->key.length;
            large_package_release_asked(asked);
        }
    }
}

static void large_package_each_asked(
    const struct large_package *large, void (*fn)(struct asked *asked))
{
    for (size_t i = 0; i < large->asked.n_buckets; i++) {
        for (struct map_entry *entry = large->asked.buckets[i]; entry; entry = entry->next)
            fn((struct asked *)entry);
    }
}

static void large_package_join(struct asked *asked)
{
    asked->is_joined = true;
}

static void large_package_complete(struct asked *asked)
{
    asked->is_complete = asked->is_complete || asked->is_joined;
}

static void large_package_forget(struct asked *asked)
{
    asked->is_joined = asked->is_complete = asked->is_held = false;
    free(asked->smallest);
    free(asked->largest);
    asked->smallest = asked->largest = NULL;
}

/* ---- rows ---- */

int large_package_add(struct large_package *large, struct text checksum, struct text value)
{
    int result = large_package_keep(&large->greatest, value, 1);
    struct asked *asked;

    if (result == 0 && floor_is_checksum(checksum))
        result = large_package_keep(&large->floor, value, 1);
    if (result != 0 || large->asked.n_items == 0)
        return result;
    asked = large_package_find_asked(large, ASKED_VALUE, value, &result);
    if (asked)
        asked->is_held = true;
    asked = large_package_find_asked(large, ASKED_CHECKSUM, checksum, &result);
    return asked && result == 0 ? large_package_keep_both(&asked->smallest, &asked->largest, value)
                                : result;
}

void large_package_reset(struct large_package *large)
{
    large->n_resets++;
    free(large->greatest);
    free(large->floor);
    large->greatest = large->floor = NULL;
    large->is_complete = large->is_under_way = large->is_wanted = false;
    large_package_each_asked(large, large_package_forget);
    large->n_incomplete = large->asked.n_items;
}

/* ---- scans ---- */

bool large_package_is_scanning(const struct large_package *large)
{
    return large->is_wanted && (!large->is_complete || large->n_incomplete > 0);
}

bool large_package_is_restless(const struct large_package *large)
{
    return large->n_resets >= MAX_RESETS;
}

/* A piece of a scan. */
struct piece {
    struct large_package *large;
    struct invalid_rows *invalid_rows;
    struct large_package_count count; /* since the clock was looked at */
    uint64_t until_ms;
    bool can_stop; /* the store finds the place again by an index */
    bool has_stopped;
    int result;
};

/* Notes the place behind a row. */
static int large_package_set_place(struct large_package *large, const struct row *row)
{
    buffer_reset(&large->place_checksum, BUFFER_KEEP_BYTES);
    buffer_reset(&large->place_value, BUFFER_KEEP_BYTES);
    buffer_append_text(&large->place_checksum, row->checksum);
    buffer_append_text(&large->place_value, row->value);
    return buffer_failed(&large->place_checksum) || buffer_failed(&large->place_value)
               ? ERROR_MEMORY
               : 0;
}

static int large_package_scan_row(void *context, const struct row *row)
{
    static const struct large_package_limits limits = {.rows = CLOCK_ROWS, .bytes = CLOCK_BYTES};
    struct piece *piece = context;
    const bool is_valid = invalid_rows_check(piece->invalid_rows, row);

    if (is_valid)
        piece->result = large_package_add(piece->large, row->checksum, row->value);
    if (piece->result != 0 || !large_package_count_row(&piece->count, &limits, row) || !is_valid ||
        !piece->can_stop)
        return piece->result;
    piece->count = (struct large_package_count){.rows = 0};
    if (clock_ms() < piece->until_ms)
        return 0;
    piece->has_stopped = true;
    piece->result = large_package_set_place(piece->large, row);
    return 1;
}

static void large_package_begin_scan(struct large_package *large)
{
    if (large->is_under_way)
        return;
    large->is_under_way = true;
    buffer_reset(&large->place_checksum, BUFFER_KEEP_BYTES);
    buffer_reset(&large->place_value, BUFFER_KEEP_BYTES);
    large_package_drop_answers(large);
    large_package_each_asked(large, large_package_join);
}

static void large_package_count_incomplete(struct large_package *large)
{
    size_t n = 0;

    for (size_t i = 0; i < large->asked.n_buckets; i++) {
        for (struct map_entry *entry = large->asked.buckets[i]; entry; entry = entry->next)
            n += !((struct asked *)entry)->is_complete;
    }
    large->n_incomplete = n;
}

static void large_package_end_scan(struct large_package *large)
{
    large->is_under_way = false;
    large->is_complete = true;
    large_package_each_asked(large, large_package_complete);
    large_package_count_incomplete(large);
}

int large_package_scan(struct large_package *large, struct store *store,
    struct invalid_rows *invalid_rows, uint64_t until_ms, struct error *error)
{
    struct piece piece = {.large = large, .invalid_rows = invalid_rows, .until_ms = until_ms};
    struct store_place place;
    int result;

    large_package_begin_scan(large);
    place = (struct store_place){.checksum = text_not_null(buffer_text(&large->place_checksum)),
        .value = text_not_null(buffer_text(&large->place_value))};
    result = store_load_after(store, buffer_text(&large->version), buffer_text(&large->pkgarch),
        &place, &piece.can_stop, large_package_scan_row, &piece, error);
    if (result == 0 && piece.result != 0)
        result = error_set_memory(error);
    if (result != 0)
        large->is_under_way = false;
    else if (!piece.has_stopped)
        large_package_end_scan(large);
    return result;
}

/* ---- answers ---- */

/* A look-up of a checksum's values. */
struct look_up {
    struct large_package *large;
    struct invalid_rows *invalid_rows;
    const struct large_package_limits *limits;
    struct large_package_count count;
    bool is_long;
    int result;
};

static int large_package_look_up_row(void *context, const struct row *row)
{
    struct look_up *look_up = context;
    struct large_package *large = look_up->large;

    look_up->is_long = large_package_count_row(&look_up->count, look_up->limits, row);
    if (!look_up->is_long && invalid_rows_check(look_up->invalid_rows, row))
        look_up->result = large_package_keep_both(&large->smallest, &large->largest, row->value);
    return look_up->is_long || look_up->result != 0;
}

/* Finds the values of a checksum: by the index or, if there are very many, by a scan. */
static int large_package_find_checksum(struct large_package *large, struct store *store,
    struct look_up *look_up, const struct package_question *question, struct package_facts *facts,
    struct error *error)
{
    const struct asked *asked;
    int result = store_look_up(store, question->version, question->pkgarch, question->checksum,
        large_package_look_up_row, look_up, error);

    if (result != 0)
        return result;
    if (look_up->result != 0)
        return error_set_memory(error);
    facts->smallest = large->smallest;
    facts->largest = large->largest;
    if (!look_up->is_long)
        return 0;
    asked = large_package_ask_scan(large, ASKED_CHECKSUM, question->checksum);
    if (!asked)
        return error_set_memory(error);
    facts->smallest = asked->smallest;
    facts->largest = asked->largest;
    return asked->is_complete ? 0 : PACKAGE_IS_SCANNED;
}

/* Finds out whether a value is held. A value above all others is not. */
static int large_package_find_value(struct large_package *large, struct text value,
    struct package_facts *facts, struct error *error)
{
    const struct asked *asked;

    if (!large->greatest || revision_compare(value.bytes, large->greatest) > 0)
        return 0;
    facts->is_held = large->floor && revision_compare(value.bytes, large->floor) <= 0;
    if (facts->is_held)
        return 0;
    asked = large_package_ask_scan(large, ASKED_VALUE, value);
    if (!asked)
        return error_set_memory(error);
    facts->is_held = asked->is_held;
    return asked->is_held || asked->is_complete ? 0 : PACKAGE_IS_SCANNED;
}

/* Answers a question, as far as is known. */
static int large_package_answer(struct large_package *large, struct store *store,
    struct look_up *look_up, const struct package_question *question, struct package_facts *facts,
    struct error *error)
{
    int result = 0;

    if (question->checksum.bytes)
        result = large_package_find_checksum(large, store, look_up, question, facts, error);
    if (result != 0 || (question->smallest_is_enough && facts->smallest) ||
        (!question->wants_greatest && !question->value.bytes))
        return result;
    if (!large->is_complete)
        return PACKAGE_IS_SCANNED;
    facts->greatest = large->greatest;
    return question->value.bytes && !facts->smallest
               ? large_package_find_value(large, question->value, facts, error)
               : 0;
}

int large_package_ask(struct large_package *large, struct store *store,
    struct invalid_rows *invalid_rows, const struct large_package_limits *limits,
    const struct package_question *question, struct package_facts *facts, struct error *error)
{
    struct look_up look_up = {.large = large, .invalid_rows = invalid_rows, .limits = limits};
    int result;

    *facts = (struct package_facts){.greatest = NULL};
    free(large->smallest);
    free(large->largest);
    large->smallest = large->largest = NULL;
    result = large_package_answer(large, store, &look_up, question, facts, error);
    if (result == PACKAGE_IS_SCANNED)
        large->is_wanted = true;
    else if (result == 0 && facts->greatest)
        large->n_resets = 0;
    return result;
}
