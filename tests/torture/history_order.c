/* The second go over a package: its operations in the order in which they were sent, each against
 * all that had been answered before. Those answers are taken in the order of their coming, so that
 * each is looked at once. */
#include "history_check.h"

#include <stdlib.h>

/* What had been answered up to a moment. */
struct window {
    const struct group *group;
    size_t next; /* answer of the group's that is not in it */
    struct seen greatest;
    struct seen exists;
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
        window->exists = (struct seen){.rank = 1, .by = number};
        if (with_contents && operation_shows_row(operation)) {
            seen_keep_smaller(&checker_content(checker, operation)->smallest, rank, number);
            seen_keep_greater(&checker_content(checker, operation)->largest, rank, number);
        }
        window->next++;
    }
}

/* What a server must know when it answers an operation. */
struct known {
    struct seen greatest, exists;
    struct seen smallest, largest; /* of the checksum */
    struct seen upstream;          /* the upstream's greatest */
    bool upstream_may_have;        /* ... the checksum */
};

/* What was to be stored before on the same connection, answered by now or not. (Of look-ups
 * that are under way together, the later one may be the first to be carried out.) */
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
        if (other->connection != operation->connection || !operation_stores(other))
            continue;
        seen_keep_greater(&known->greatest, rank, number);
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
        checker_complain(checker, 6, operation, "nobody had asked for a value of it", NOBODY);
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
        checker_complain(checker, 6, operation, "nobody had asked for a value of it", NOBODY);
}

/* Does the checksum hold this value, as far as answers and rows say? */
static bool is_owner(const struct checker *checker, const struct history_operation *operation)
{
    const struct owner *owner = &checker->owners[checker_rank(checker, operation)];

    return owner->mark == checker->mark && owner->checksum == operation->checksum;
}

/* What a read-only server answers is not stored, but it knows what is. With history it may be
 * the upstream's value of the checksum, however small. */
static void check_read_only(
    struct checker *checker, const struct history_operation *operation, const struct known *known)
{
    uint32_t rank = checker_rank(checker, operation);

    if (operation_is_foreign(operation) || is_owner(checker, operation))
        return;
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
    case HISTORY_STORED:
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
        .upstream_may_have = may_upstream_have(checker, operation)};
    if (operation_stores(operation) && operation->sent == content->asked) {
        /* not what is pending: that comes before this one, not before others sent later */
        content->before = known.greatest;
        content->before_upstream = known.upstream;
    }
    add_pending(checker, operation, &known);
    if (operation->answered != HISTORY_NEVER)
        check_operation(checker, here->group, operation, &known);
    if (operation_shows_row(operation) && operation->kind == HISTORY_GET_PR)
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
        if (checker_at(checker, group->sent[i])->kind != HISTORY_STORED)
            check_one(checker, &here, &above, group->sent[i]);
    }
}
