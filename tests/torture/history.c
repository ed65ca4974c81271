/* SPDX-License-Identifier: MIT */
#include "history.h"

#include "base/map.h"
#include "revision/revision.h"

#include <stdlib.h>

struct value {
    struct map_entry revision;
    uint32_t number;
    bool is_revision;
};

struct history {
    struct history_operation *operations;
    size_t n_operations;
    size_t most_operations;
    struct map table;
    struct value **values; /* by number, from 1 */
    uint32_t n_values;
};

static void *must_have(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

struct history *history_create(void)
{
    return must_have(calloc(1, sizeof(struct history)));
}

void history_free(struct history *history)
{
    if (!history)
        return;
    map_clear(&history->table, free);
    free(history->values);
    free(history->operations);
    free(history);
}

static uint32_t add_value(struct history *history, struct text revision)
{
    struct value *value = must_have(map_find_or_add(&history->table, revision, sizeof *value));

    value->is_revision = revision_is_valid(revision.bytes, revision.length);
    value->number = ++history->n_values;
    history->values = must_have(
        reallocarray(history->values, (size_t)history->n_values + 1, sizeof(struct value *)));
    history->values[value->number] = value;
    return value->number;
}

uint32_t history_value(struct history *history, struct text revision)
{
    const struct value *value = map_find(&history->table, revision);

    return value ? value->number : add_value(history, revision);
}

const char *history_revision(const struct history *history, uint32_t value)
{
    return history->values[value]->revision.key.bytes;
}

bool history_is_revision(const struct history *history, uint32_t value)
{
    return history->values[value]->is_revision;
}

size_t history_add(struct history *history, const struct history_operation *operation)
{
    if (history->n_operations == history->most_operations) {
        history->most_operations = history->most_operations * 2 + 1024;
        history->operations = must_have(reallocarray(
            history->operations, history->most_operations, sizeof *history->operations));
    }
    history->operations[history->n_operations] = *operation;
    return history->n_operations++;
}

struct history_operation *history_at(const struct history *history, size_t number)
{
    return &history->operations[number];
}

size_t history_length(const struct history *history)
{
    return history->n_operations;
}

size_t history_values(const struct history *history)
{
    return history->n_values;
}
