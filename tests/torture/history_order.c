/* SPDX-License-Identifier: MIT */
/* The second pass over a package: its operations in the order of sending, each against all answers
 * that had arrived before. Those are added in the order of arrival, so that each is read once. */
#include "history_check.h"

#include <stdlib.h>

/* The answers up to a point in time. */
struct window {
    const struct group *group;
    size_t next; /* first answer of the group that is not included */
    struct seen greatest;
    struct seen exists;
    struct seen floor; /* the greatest */
};

static void look_through(
    const struct checker *checker, struct window *window, uint64_t until, bool with_contents)
{
    while (window->next < window->group->n_answered) {
        uint32_t number = window->group->answered[window->next];
        const struct history_operation *operation = checker_at(checker, number);
        uint32_t rank = checker_rank(checker, operation);

        if (operation->answered >= until)
            return;
        seen_keep_greater(&window->greatest, rank, number);
        if (operation->kind == HISTORY_FLOOR)
            seen_keep_greater(&window->floor, rank, number);
        window->exists = (struct seen){.rank = 1, .by = number};
        if (with_contents && operation_shows_row(operation)) {
            seen_keep_smaller(&checker_content(checker, operation)->smallest, rank, number);
            seen_keep_greater(&checker_content(checker, operation)->largest, rank, number);
        }
        window->next++;
    }
}

/* What a server has to know when it answers an operation. */
struct known {
    struct seen greatest, exists;
    struct seen smallest, largest; /* of the checksum */
    struct seen upstream;          /* greatest value in the upstream */
    struct seen floor;             /* greatest floor */
    bool upstream_may_have;        /* the upstream may know the checksum */
};

/* Adds rows that earlier requests of the same connection store, answered or not. (Look-ups that
 * are under way together may be executed in any order.) */
static void add_pending(
    struct checker *checker, const struct history_operation *operation, struct known *known)
{
    size_t n_left = 0;

    for (size_t i = 0; i < checker->n_pending; i++) {
        uint32_t number = checker->pending[i];
        const struct history_operation *other = checker_at(checker, number);
        uint32_t rank = checker_rank(checker, other);

        if (other->answered < operation->sent)
            continue;
        checker->pending[n_left++] = number;
        if (other->connection != operation->connection || other->read_only)
            continue;
        seen_keep_greater(&known->greatest, rank, number);
        if (other->kind == HISTORY_FLOOR)
            seen_keep_greater(&known->floor, rank, number);
        known->exists = (struct seen){.rank = 1, .by = number};
        if (operation_shows_row(other) && other->checksum == operation->checksum) {
            seen_keep_smaller(&known->smallest, rank, number);
            seen_keep_greater(&known->largest, rank, number);
        }
    }
    checker->n_pending = n_left;
}

static void check_look_up(struct checker *checker, const struct history_operation *operation,
    const struct content *content, const struct known *known)
{
    uint32_t rank = checker_rank(checker, operation);

    if (known->largest.rank != 0 && rank == 0)
        checker_complain(checker, 6, operation, "it is known:", known->largest.by);
    else if (!operation->history && rank < known->largest.rank)
        checker_complain(checker, 6, operation, "it has a greater one:", known->largest.by);
    else if (operation->history && known->smallest.rank != 0 && rank > known->smallest.rank)
        checker_complain(checker, 4, operation, "it has a smaller one:", known->smallest.by);
    if (rank != 0 && operation->answered < content->asked)
        checker_complain(checker, 6, operation, "no value of it had been asked for", NOBODY);
}

static void check_package(struct checker *checker, const struct group *group,
    const struct history_operation *operation, const struct known *known)
{
    bool exists = operation->kind == HISTORY_TEST_PACKAGE ? operation->found : operation->value;

    if (operation->kind == HISTORY_TEST_PACKAGE && known->exists.rank != 0 && !operation->found)
        checker_complain(checker, 6, operation, "it is known:", known->exists.by);
    if (operation->kind == HISTORY_MAX_PACKAGE_PR &&
        checker_rank(checker, operation) < known->greatest.rank)
        checker_complain(checker, 6, operation, "there is a greater one:", known->greatest.by);
    if (exists && operation->answered < group->asked)
        checker_complain(checker, 6, operation, "no value of it had been asked for", NOBODY);
}

/* Tells whether the checksum has this value, according to answers and rows. */
static bool is_owner(const struct checker *checker, const struct history_operation *operation)
{
    const struct owner *owner = &checker->owners[checker_rank(checker, operation)];

    return owner->mark == checker->mark && owner->checksum == operation->checksum;
}

/* An answer of a read-only server is not stored, but has to agree with stored rows. With history
 * it may be any value that the upstream has for the checksum. */
static void check_read_only(
    struct checker *checker, const struct history_operation *operation, const struct known *known)
{
    uint32_t rank = checker_rank(checker, operation);

    if (operation_is_foreign(operation) || is_owner(checker, operation))
        return;
    if (rank <= known->floor.rank)
        checker_complain(
            checker, NO_PROMISE, operation, "that is not above the floor:", known->floor.by);
    if (known->largest.rank != 0 && operation->history)
        checker_complain(checker, 4, operation, "the checksum is known:", known->largest.by);
    else if (known->greatest.rank != 0 && rank <= known->greatest.rank &&
             !(operation->history && known->upstream_may_have))
        checker_complain(checker, 6, operation, "that is not above", known->greatest.by);
}

static void check_with_upstream(struct checker *checker, const struct history_operation *operation,
    const struct content *content, const struct known *known)
{
    uint32_t rank = checker_rank(checker, operation);

    if (operation_is_foreign(operation))
        return;
    if (!known->upstream_may_have && rank <= content->before_upstream.rank)
        checker_complain(checker, 3, operation,
            "it is not above the upstream's when it was first asked for:",
            content->before_upstream.by);
    if (checker->rules->upstreams_fail || operation->history)
        return;
    if ((!known->upstream_may_have || known->largest.rank != 0) && rank < known->upstream.rank)
        checker_complain(checker, 3, operation, "it is below the upstream's:", known->upstream.by);
}

static void check_get_pr(struct checker *checker, const struct history_operation *operation,
    const struct content *content, const struct known *known)
{
    uint32_t rank = checker_rank(checker, operation);

    if (!operation->history && rank < known->greatest.rank)
        checker_complain(checker, 2, operation, "that is below", known->greatest.by);
    if (operation->history && known->smallest.rank != 0 && rank > known->smallest.rank)
        checker_complain(checker, 4, operation, "it has a smaller one:", known->smallest.by);
    if (operation->read_only) {
        check_read_only(checker, operation, known);
        return;
    }
    if (!operation_is_foreign(operation) && content->before.rank != 0 &&
        !known->upstream_may_have && rank <= content->before.rank)
        checker_complain(checker, operation->history ? 4 : 2, operation,
            "that is not above what there was when the checksum was first asked for:",
            content->before.by);
    if (rank <= content->before_floor.rank)
        checker_complain(checker, NO_PROMISE, operation,
            "that is not above the floor that there was when the checksum was first asked for:",
            content->before_floor.by);
    check_with_upstream(checker, operation, content, known);
    if (content->first.rank > rank)
        checker_complain(
            checker, 4, operation, "with history the same checksum got", content->first.by);
}

static void check_operation(struct checker *checker, const struct group *group,
    const struct history_operation *operation, const struct known *known)
{
    const struct content *content = checker_content(checker, operation);

    switch ((enum history_kind)operation->kind) {
    case HISTORY_GET_PR:
        check_get_pr(checker, operation, content, known);
        break;
    case HISTORY_TEST_PR:
        check_look_up(checker, operation, content, known);
        break;
    case HISTORY_MAX_PACKAGE_PR:
    case HISTORY_TEST_PACKAGE:
        check_package(checker, group, operation, known);
        break;
    case HISTORY_FOREIGN_ROW:
    case HISTORY_FLOOR:
    case HISTORY_STORED:
    case HISTORY_STORED_FLOOR:
        break;
    }
}

static bool may_upstream_have(
    const struct checker *checker, const struct history_operation *operation)
{
    int upstream = checker->rules->upstream_of[operation->database];
    struct history_operation there = *operation;

    if (upstream < 0)
        return false;
    there.database = (uint8_t)upstream;
    return checker_content(checker, &there)->asked != HISTORY_NEVER;
}

static void check_one(
    struct checker *checker, struct window *here, struct window *above, uint32_t number)
{
    const struct history_operation *operation = checker_at(checker, number);
    struct content *content = checker_content(checker, operation);
    struct known known;

    look_through(checker, here, operation->sent, true);
    if (above->group)
        look_through(checker, above, operation->sent, false);
    known = (struct known){.greatest = here->greatest,
        .exists = here->exists,
        .smallest = content->smallest,
        .largest = content->largest,
        .upstream = above->greatest,
        .floor = here->floor,
        .upstream_may_have = may_upstream_have(checker, operation)};
    if (operation_stores(operation) && operation->sent == content->asked) {
        /* without pending rows, which precede this operation, but not later ones */
        content->before = known.greatest;
        content->before_upstream = known.upstream;
        content->before_floor = known.floor;
    }
    add_pending(checker, operation, &known);
    if (operation->answered != HISTORY_NEVER)
        check_operation(checker, here->group, operation, &known);
    if ((operation_shows_row(operation) && operation->kind == HISTORY_GET_PR) ||
        (operation->kind == HISTORY_FLOOR && operation->answered != HISTORY_NEVER))
        checker->pending[checker->n_pending++] = number;
}

static int compare_answered(const void *a, const void *b, void *context)
{
    const struct checker *checker = context;
    uint64_t first = checker_at(checker, *(const uint32_t *)a)->answered;
    uint64_t second = checker_at(checker, *(const uint32_t *)b)->answered;

    return (first > second) - (first < second);
}

void checker_look_in_order(struct checker *checker, struct group *group, struct group *upstream)
{
    struct window here = {.group = group};
    struct window above = {.group = upstream};

    qsort_r(group->answered, group->n_answered, sizeof *group->answered, compare_answered, checker);
    checker->n_pending = 0;
    for (size_t i = 0; i < group->n_sent; i++) {
        if (!operation_is_stored(checker_at(checker, group->sent[i])))
            check_one(checker, &here, &above, group->sent[i]);
    }
}
