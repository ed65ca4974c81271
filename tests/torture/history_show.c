/* SPDX-License-Identifier: MIT */
/* What one operation proves, and how complaints describe it. */
#include "history_check.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- what an operation proves ---- */

const struct history_operation *checker_at(const struct checker *checker, uint32_t number)
{
    return history_at(checker->history, number);
}

uint32_t checker_rank(const struct checker *checker, const struct history_operation *operation)
{
    return checker->ranks[operation->value];
}

struct content *checker_content(
    const struct checker *checker, const struct history_operation *operation)
{
    size_t number = (size_t)(operation->checksum & ~HISTORY_FOREIGN) * 2 +
                    (operation->checksum & HISTORY_FOREIGN ? 1 : 0);

    return &checker->contents[operation->database * checker->n_contents + number];
}

bool operation_is_stored(const struct history_operation *operation)
{
    return operation->kind == HISTORY_STORED || operation->kind == HISTORY_STORED_FLOOR;
}

bool operation_has_checksum(const struct history_operation *operation)
{
    return operation->kind == HISTORY_GET_PR || operation->kind == HISTORY_TEST_PR ||
           operation->kind == HISTORY_FOREIGN_ROW || operation->kind == HISTORY_STORED;
}

bool operation_is_foreign(const struct history_operation *operation)
{
    return operation->checksum & HISTORY_FOREIGN;
}

bool operation_stores(const struct history_operation *operation)
{
    return operation->kind == HISTORY_FOREIGN_ROW ||
           (operation->kind == HISTORY_GET_PR && !operation->read_only);
}

bool operation_shows_row(const struct history_operation *operation)
{
    return operation->answered != HISTORY_NEVER && operation->value != 0 &&
           (operation_stores(operation) || operation->kind == HISTORY_TEST_PR);
}

bool operation_shows_package(const struct history_operation *operation)
{
    return operation_shows_row(operation) ||
           (operation->answered != HISTORY_NEVER &&
               (operation->kind == HISTORY_FLOOR ||
                   (operation->kind == HISTORY_MAX_PACKAGE_PR && operation->value != 0) ||
                   (operation->kind == HISTORY_TEST_PACKAGE && operation->found)));
}

void seen_keep_greater(struct seen *greatest, uint32_t rank, uint32_t by)
{
    if (rank > greatest->rank)
        *greatest = (struct seen){.rank = rank, .by = by};
}

void seen_keep_smaller(struct seen *smallest, uint32_t rank, uint32_t by)
{
    if (rank != 0 && (smallest->rank == 0 || rank < smallest->rank))
        *smallest = (struct seen){.rank = rank, .by = by};
}

/* ---- sentences ---- */

static const char *name_of(const struct history_operation *operation)
{
    static const char *const names[] = {[HISTORY_GET_PR] = "get-pr",
        [HISTORY_TEST_PR] = "test-pr",
        [HISTORY_MAX_PACKAGE_PR] = "max-package-pr",
        [HISTORY_TEST_PACKAGE] = "test-package",
        [HISTORY_FOREIGN_ROW] = "the other program's row",
        [HISTORY_FLOOR] = "import-one of a floor",
        [HISTORY_STORED] = "the stored row",
        [HISTORY_STORED_FLOOR] = "the stored floor"};

    return names[operation->kind];
}

static const char *answer_of(
    const struct checker *checker, const struct history_operation *operation)
{
    if (operation->kind == HISTORY_TEST_PACKAGE)
        return operation->found ? "true" : "false";
    return operation->value ? history_revision(checker->history, operation->value) : "null";
}

static void describe(
    const struct checker *checker, const struct history_operation *operation, char text[256])
{
    char checksum[40] = "";
    char when[128] = "";

    if (operation_has_checksum(operation))
        (void)snprintf(checksum, sizeof checksum, ", checksum %s%u",
            operation->checksum & HISTORY_FOREIGN ? "foreign " : "",
            operation->checksum & ~HISTORY_FOREIGN);
    if (!operation_is_stored(operation))
        (void)snprintf(when, sizeof when,
            "%s by%s server %u, connection %u, sent at %" PRIu64 ", answered at %" PRIu64,
            operation->history ? " with history" : "", operation->read_only ? " read-only" : "",
            operation->server, operation->connection, operation->sent, operation->answered);
    (void)snprintf(text, 256, "%s of package %u%s in database %u%s: %s", name_of(operation),
        operation->package, checksum, operation->database, when, answer_of(checker, operation));
}

void checker_complain(struct checker *checker, unsigned promise,
    const struct history_operation *operation, const char *what, uint32_t by)
{
    char first[256];
    char second[256] = "";
    char promised[32] = "";
    char sentence[700];

    checker->n_broken++;
    if (promise != NO_PROMISE)
        (void)snprintf(promised, sizeof promised, "promise %u: ", promise);
    describe(checker, operation, first);
    if (by != NOBODY)
        describe(checker, checker_at(checker, by), second);
    (void)snprintf(sentence, sizeof sentence, "%s%s; %s %s", promised, first, what, second);
    checker->says(checker->context, sentence);
}
