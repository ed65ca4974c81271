/* SPDX-License-Identifier: MIT */
/* The checker goes through the packages of each database one by one, in three passes over the
 * operations of a package:
 *
 *   1. what does not depend on time: the owner of each value, the first value of each checksum;
 *   2. in the order of sending (history_order.c);
 *   3. answers against the rows at the end.
 *
 * Before that, answers that are not revisions are reported and removed.
 *
 * Values are compared by rank, and ranks are computed once, so that sorting dominates the time.
 * For each operation, those under way at the same time are searched. */
#include "history_check.h"

#include "revision/revision.h"

#include <stdlib.h>

static void *must_have(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

/* ---- pass 1: independent of time ---- */

/* A floor may share its value with a content, so it does not own it. */
static void note_floor(struct checker *checker, const struct history_operation *operation)
{
    struct owner *owner = &checker->owners[checker_rank(checker, operation)];

    if (operation->kind == HISTORY_FLOOR)
        owner->floor_mark = checker->mark;
    else
        owner->stored_floor_mark = owner->any_mark = checker->mark;
}

static void claim(struct checker *checker, uint32_t number)
{
    const struct history_operation *operation = checker_at(checker, number);
    struct owner *owner = &checker->owners[checker_rank(checker, operation)];
    bool is_stored = operation->kind == HISTORY_STORED;

    if (is_stored)
        owner->any_mark = checker->mark;
    if (operation_is_foreign(operation))
        return;
    if (owner->mark != checker->mark) {
        owner->mark = checker->mark;
        owner->checksum = operation->checksum;
        owner->by = number;
    }
    if (owner->checksum != operation->checksum)
        checker_complain(checker, 1, operation, "it was given to another checksum:", owner->by);
    else if (is_stored)
        owner->stored_mark = checker->mark;
}

static void note_first(struct checker *checker, uint32_t number)
{
    const struct history_operation *operation = checker_at(checker, number);
    struct content *content = checker_content(checker, operation);
    uint32_t rank = checker_rank(checker, operation);

    if (!operation->history || operation_is_foreign(operation))
        return;
    if (content->first.rank == 0)
        content->first = (struct seen){.rank = rank, .by = number};
    else if (content->first.rank != rank)
        checker_complain(checker, 4, operation, "with history it was", content->first.by);
}

static void note_asked(struct checker *checker, struct group *group, uint32_t number)
{
    const struct history_operation *operation = checker_at(checker, number);
    struct content *content = checker_content(checker, operation);

    if (operation_stores(operation) && operation->sent < content->asked)
        content->asked = operation->sent;
    if (operation->sent < group->asked)
        group->asked = operation->sent;
}

static void look_without_time(struct checker *checker, struct group *group)
{
    for (size_t i = 0; i < group->n_sent; i++) {
        const struct history_operation *operation = checker_at(checker, group->sent[i]);

        if (operation_stores(operation) || operation->kind == HISTORY_FLOOR)
            note_asked(checker, group, group->sent[i]);
        if (operation->kind == HISTORY_FLOOR || operation->kind == HISTORY_STORED_FLOOR)
            note_floor(checker, operation);
        if (operation->kind == HISTORY_STORED ||
            (operation->kind != HISTORY_FOREIGN_ROW && operation_shows_row(operation)))
            claim(checker, group->sent[i]);
        if (!operation_is_stored(operation) && operation_shows_row(operation))
            note_first(checker, group->sent[i]);
        if (operation_shows_package(operation))
            group->answered[group->n_answered++] = group->sent[i];
    }
}

/* ---- pass 3: the rows at the end ---- */

static void look_for(struct checker *checker, const struct history_operation *operation)
{
    const struct owner *owner = &checker->owners[checker_rank(checker, operation)];
    bool is_there = owner->any_mark == checker->mark;

    if (operation_has_checksum(operation) && !operation_is_foreign(operation))
        is_there = owner->stored_mark == checker->mark && owner->checksum == operation->checksum;
    else if (operation->kind == HISTORY_FLOOR)
        is_there = owner->stored_floor_mark == checker->mark;
    if (!is_there)
        checker_complain(checker, 5, operation, "this row is missing at the end", NOBODY);
}

static void look_at_rows(struct checker *checker, const struct group *group)
{
    for (size_t i = 0; i < group->n_sent; i++) {
        const struct history_operation *operation = checker_at(checker, group->sent[i]);

        if (operation_shows_package(operation) && operation->kind != HISTORY_TEST_PACKAGE)
            look_for(checker, operation);
        else if (operation->kind == HISTORY_STORED && !operation_is_foreign(operation) &&
                 checker_content(checker, operation)->asked == HISTORY_NEVER)
            checker_complain(checker, 1, operation, "it was never asked for", NOBODY);
        else if (operation->kind == HISTORY_STORED_FLOOR &&
                 checker->owners[checker_rank(checker, operation)].floor_mark != checker->mark)
            checker_complain(checker, NO_PROMISE, operation, "it was never stored", NOBODY);
    }
}

/* ---- packages ---- */

static size_t count_contents(const struct checker *checker, size_t from, size_t to)
{
    size_t n_contents = 2;

    for (size_t i = from; i < to; i++) {
        size_t checksum = checker_at(checker, checker->order[i])->checksum & ~HISTORY_FOREIGN;

        if (n_contents < (checksum + 1) * 2)
            n_contents = (checksum + 1) * 2;
    }
    return n_contents;
}

static void clear_contents(struct checker *checker, size_t n_contents)
{
    size_t n_all = n_contents * checker->rules->n_databases;

    if (n_all > checker->most_contents) {
        free(checker->contents);
        checker->contents = must_have(calloc(n_all, sizeof *checker->contents));
        checker->most_contents = n_all;
    }
    checker->n_contents = n_contents;
    for (size_t i = 0; i < n_all; i++)
        checker->contents[i] = (struct content){.asked = HISTORY_NEVER};
}

static void check_group(struct checker *checker, unsigned database)
{
    int upstream = checker->rules->upstream_of[database];
    struct group *group = &checker->groups[database];

    checker->mark++;
    look_without_time(checker, group);
    checker_look_in_order(checker, group, upstream < 0 ? NULL : &checker->groups[upstream]);
    if (checker->rules->is_complete)
        look_at_rows(checker, group);
}

static void check_package_everywhere(struct checker *checker, size_t from, size_t to)
{
    clear_contents(checker, count_contents(checker, from, to));
    for (unsigned database = 0; database < checker->rules->n_databases; database++) {
        size_t end = from;

        while (end < to && checker_at(checker, checker->order[end])->database == database)
            end++;
        checker->groups[database] = (struct group){
            .sent = checker->order + from,
            .answered = checker->answered + from,
            .n_sent = end - from,
            .asked = HISTORY_NEVER,
        };
        check_group(checker, database);
        from = end;
    }
}

static int compare_sent(const void *a, const void *b, void *context)
{
    const struct history_operation *first = checker_at(context, *(const uint32_t *)a);
    const struct history_operation *second = checker_at(context, *(const uint32_t *)b);

    if (first->package != second->package)
        return first->package < second->package ? -1 : 1;
    if (first->database != second->database)
        return first->database < second->database ? -1 : 1;
    return (first->sent > second->sent) - (first->sent < second->sent);
}

static void check_packages(struct checker *checker, size_t n_operations)
{
    size_t from = 0;

    qsort_r(checker->order, n_operations, sizeof *checker->order, compare_sent, checker);
    while (from < n_operations) {
        uint32_t package = checker_at(checker, checker->order[from])->package;
        size_t to = from;

        while (to < n_operations && checker_at(checker, checker->order[to])->package == package)
            to++;
        check_package_everywhere(checker, from, to);
        from = to;
    }
}

/* ---- all packages ---- */

/* Removes an answer that is not a revision: its request counts as not answered. */
static bool put_aside(
    struct checker *checker, struct history *history, struct history_operation *operation)
{
    if (operation->value == 0 || history_is_revision(history, operation->value))
        return false;
    checker_complain(checker, NO_PROMISE, operation, "this is not a revision", NOBODY);
    operation->value = 0;
    operation->answered = HISTORY_NEVER;
    return true;
}

/* Returns the number of operations to check. */
static size_t choose_operations(struct checker *checker, struct history *history)
{
    size_t n = 0;

    for (uint32_t i = 0; i < history_length(history); i++) {
        struct history_operation *operation = history_at(history, i);

        if (!put_aside(checker, history, operation) || !operation_is_stored(operation))
            checker->order[n++] = i;
    }
    return n;
}

static int compare_values(const void *a, const void *b, void *context)
{
    const struct checker *checker = context;

    return revision_compare(history_revision(checker->history, *(const uint32_t *)a),
        history_revision(checker->history, *(const uint32_t *)b));
}

static void rank_values(struct checker *checker, size_t n_values)
{
    uint32_t n = 0;

    for (uint32_t i = 1; i <= n_values; i++) {
        if (history_is_revision(checker->history, i))
            checker->by_rank[++n] = i;
    }
    qsort_r(checker->by_rank + 1, n, sizeof *checker->by_rank, compare_values, checker);
    for (uint32_t rank = 1; rank <= n; rank++)
        checker->ranks[checker->by_rank[rank]] = rank;
}

size_t history_check(
    struct history *history, const struct history_rules *rules, history_says_fn says, void *context)
{
    size_t n_operations = history_length(history);
    size_t n_values = history_values(history);
    struct checker checker = {
        .history = history,
        .rules = rules,
        .says = says,
        .context = context,
        .ranks = must_have(calloc(n_values + 1, sizeof *checker.ranks)),
        .by_rank = must_have(calloc(n_values + 1, sizeof *checker.by_rank)),
        .order = must_have(calloc(n_operations + 1, sizeof *checker.order)),
        .answered = must_have(calloc(n_operations + 1, sizeof *checker.answered)),
        .pending = must_have(calloc(n_operations + 1, sizeof *checker.pending)),
        .owners = must_have(calloc(n_values + 1, sizeof *checker.owners)),
    };

    rank_values(&checker, n_values);
    check_packages(&checker, choose_operations(&checker, history));
    free(checker.ranks);
    free(checker.by_rank);
    free(checker.order);
    free(checker.answered);
    free(checker.pending);
    free(checker.owners);
    free(checker.contents);
    return checker.n_broken;
}
