/* One package in one database after the other, in three goes over its operations:
 *
 *   1. what does not depend on time: whose each value is, what each checksum's first value is;
 *   2. in the order in which they were sent, each against all that had been answered before
 *      (those answers are taken in the order of their coming, so that each is looked at once);
 *   3. what was answered against the rows that are there in the end.
 *
 * Values are compared by their ranks, which are found once. So the time it takes is that of
 * sorting; what is under way at the same moment is gone through for each operation. */
#include "history.h"

#include "revision/revision.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define NOBODY UINT32_MAX

/* A value's rank (0: none), and an operation that shows it. */
struct seen {
    uint32_t rank;
    uint32_t by;
};

/* One checksum of the package, in one database. */
struct content {
    uint64_t asked;    /* when somebody first asked for a value of it; HISTORY_NEVER */
    struct seen first; /* its value with history */
    struct seen smallest, largest;
    struct seen before;          /* the greatest of all values when it was first asked for */
    struct seen before_upstream; /* likewise, the upstream's */
};

/* Whose a value is, in one package and database: true for marks of the same number. */
struct owner {
    uint32_t mark;
    uint32_t checksum;
    uint32_t by;
    uint32_t stored_mark; /* a row of the owner's holds it in the end */
    uint32_t any_mark;    /* any row does */
};

/* What had been answered up to a moment. */
struct window {
    const struct group *group;
    size_t next; /* answer of the group's that is not in it */
    struct seen greatest;
    struct seen exists;
};

/* A package in a database. */
struct group {
    const uint32_t *sent; /* its operations, in this order */
    uint32_t *answered;   /* those that show a row, in that order */
    size_t n_sent;
    size_t n_answered;
    struct content *contents;
    uint64_t asked; /* when somebody first asked for any value */
};

struct checker {
    const struct history *history;
    const struct history_rules *rules;
    history_says_fn says;
    void *context;
    size_t n_broken;
    uint32_t *ranks;    /* by value */
    uint32_t *by_rank;  /* values */
    uint32_t *order;    /* operations by package, database, time */
    uint32_t *answered; /* room for the groups' */
    struct owner *owners;
    struct content *contents; /* of the package, by database and checksum */
    size_t n_contents;        /* of one database */
    size_t most_contents;     /* that there is room for */
    uint32_t mark;            /* of the group */
    uint32_t *pending;        /* sent before, not answered then */
    size_t n_pending;
    struct group groups[HISTORY_MOST_DATABASES];
};

static void *must_have(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

static const struct history_operation *at(const struct checker *checker, uint32_t number)
{
    return history_at(checker->history, number);
}

static uint32_t rank_of(const struct checker *checker, const struct history_operation *operation)
{
    return checker->ranks[operation->value];
}

/* ---- sentences ---- */

static const char *name_of(const struct history_operation *operation)
{
    static const char *const names[] = {[HISTORY_GET_PR] = "get-pr",
        [HISTORY_TEST_PR] = "test-pr",
        [HISTORY_MAX_PACKAGE_PR] = "max-package-pr",
        [HISTORY_TEST_PACKAGE] = "test-package",
        [HISTORY_FOREIGN_ROW] = "the other program's row",
        [HISTORY_STORED] = "the stored row"};

    return names[operation->kind];
}

static const char *answer_of(
    const struct checker *checker, const struct history_operation *operation)
{
    if (operation->kind == HISTORY_TEST_PACKAGE)
        return operation->found ? "true" : "false";
    return operation->value ? history_revision(checker->history, operation->value) : "null";
}

static bool has_checksum(const struct history_operation *operation)
{
    return operation->kind != HISTORY_MAX_PACKAGE_PR && operation->kind != HISTORY_TEST_PACKAGE;
}

static void describe(
    const struct checker *checker, const struct history_operation *operation, char text[256])
{
    char checksum[40] = "";
    char when[128] = "";

    if (has_checksum(operation))
        (void)snprintf(checksum, sizeof checksum, ", checksum %s%u",
            operation->checksum & HISTORY_FOREIGN ? "foreign " : "",
            operation->checksum & ~HISTORY_FOREIGN);
    if (operation->kind != HISTORY_STORED)
        (void)snprintf(when, sizeof when,
            "%s by%s server %u, connection %u, sent at %" PRIu64 ", answered at %" PRIu64,
            operation->history ? " with history" : "", operation->read_only ? " read-only" : "",
            operation->server, operation->connection, operation->sent, operation->answered);
    (void)snprintf(text, 256, "%s of package %u%s in database %u%s: %s", name_of(operation),
        operation->package, checksum, operation->database, when, answer_of(checker, operation));
}

/* by: the operation that the first one is at odds with, or NOBODY. */
static void complain(struct checker *checker, unsigned promise,
    const struct history_operation *operation, const char *what, uint32_t by)
{
    char first[256];
    char second[256] = "";
    char sentence[700];

    checker->n_broken++;
    describe(checker, operation, first);
    if (by != NOBODY)
        describe(checker, at(checker, by), second);
    (void)snprintf(
        sentence, sizeof sentence, "promise %u: %s; %s %s", promise, first, what, second);
    checker->says(checker->context, sentence);
}

/* ---- what an operation shows ---- */

static struct content *content_of(
    const struct checker *checker, const struct history_operation *operation)
{
    size_t number = (size_t)(operation->checksum & ~HISTORY_FOREIGN) * 2 +
                    (operation->checksum & HISTORY_FOREIGN ? 1 : 0);

    return &checker->contents[operation->database * checker->n_contents + number];
}

static bool is_foreign(const struct history_operation *operation)
{
    return operation->checksum & HISTORY_FOREIGN;
}

static bool stores(const struct history_operation *operation)
{
    return operation->kind == HISTORY_FOREIGN_ROW ||
           (operation->kind == HISTORY_GET_PR && !operation->read_only);
}

/* Its answer says that the checksum has this value. */
static bool shows_row(const struct history_operation *operation)
{
    return operation->answered != HISTORY_NEVER && operation->value != 0 &&
           (stores(operation) || operation->kind == HISTORY_TEST_PR);
}

static bool shows_package(const struct history_operation *operation)
{
    return shows_row(operation) ||
           (operation->answered != HISTORY_NEVER &&
               ((operation->kind == HISTORY_MAX_PACKAGE_PR && operation->value != 0) ||
                   (operation->kind == HISTORY_TEST_PACKAGE && operation->found)));
}

static void keep_greater(struct seen *greatest, uint32_t rank, uint32_t by)
{
    if (rank > greatest->rank)
        *greatest = (struct seen){.rank = rank, .by = by};
}

static void keep_smaller(struct seen *smallest, uint32_t rank, uint32_t by)
{
    if (rank != 0 && (smallest->rank == 0 || rank < smallest->rank))
        *smallest = (struct seen){.rank = rank, .by = by};
}

/* ---- 1. what does not depend on time ---- */

static void claim(struct checker *checker, uint32_t number)
{
    const struct history_operation *operation = at(checker, number);
    struct owner *owner = &checker->owners[rank_of(checker, operation)];
    bool is_stored = operation->kind == HISTORY_STORED;

    if (is_stored)
        owner->any_mark = checker->mark;
    if (is_foreign(operation))
        return;
    if (owner->mark != checker->mark) {
        owner->mark = checker->mark;
        owner->checksum = operation->checksum;
        owner->by = number;
    }
    if (owner->checksum != operation->checksum)
        complain(checker, 1, operation, "it was given to another checksum:", owner->by);
    else if (is_stored)
        owner->stored_mark = checker->mark;
}

static void note_first(struct checker *checker, uint32_t number)
{
    const struct history_operation *operation = at(checker, number);
    struct content *content = content_of(checker, operation);
    uint32_t rank = rank_of(checker, operation);

    if (!operation->history || is_foreign(operation))
        return;
    if (content->first.rank == 0)
        content->first = (struct seen){.rank = rank, .by = number};
    else if (content->first.rank != rank)
        complain(checker, 4, operation, "with history it was", content->first.by);
}

static void note_asked(struct checker *checker, struct group *group, uint32_t number)
{
    const struct history_operation *operation = at(checker, number);
    struct content *content = content_of(checker, operation);

    if (operation->sent < content->asked)
        content->asked = operation->sent;
    if (operation->sent < group->asked)
        group->asked = operation->sent;
}

static void look_without_time(struct checker *checker, struct group *group)
{
    for (size_t i = 0; i < group->n_sent; i++) {
        const struct history_operation *operation = at(checker, group->sent[i]);

        if (stores(operation))
            note_asked(checker, group, group->sent[i]);
        if (operation->kind == HISTORY_STORED ||
            (operation->kind != HISTORY_FOREIGN_ROW && shows_row(operation)))
            claim(checker, group->sent[i]);
        if (operation->kind != HISTORY_STORED && shows_row(operation))
            note_first(checker, group->sent[i]);
        if (shows_package(operation))
            group->answered[group->n_answered++] = group->sent[i];
    }
}

/* ---- 2. what was answered before ---- */

static void look_through(
    const struct checker *checker, struct window *window, uint64_t until, bool with_contents)
{
    while (window->next < window->group->n_answered) {
        uint32_t number = window->group->answered[window->next];
        const struct history_operation *operation = at(checker, number);
        uint32_t rank = rank_of(checker, operation);

        if (operation->answered >= until)
            return;
        keep_greater(&window->greatest, rank, number);
        window->exists = (struct seen){.rank = 1, .by = number};
        if (with_contents && shows_row(operation)) {
            keep_smaller(&content_of(checker, operation)->smallest, rank, number);
            keep_greater(&content_of(checker, operation)->largest, rank, number);
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
        const struct history_operation *other = at(checker, number);
        uint32_t rank = rank_of(checker, other);

        if (other->answered < operation->sent)
            continue;
        checker->pending[n_left++] = number;
        if (other->connection != operation->connection || !stores(other))
            continue;
        keep_greater(&known->greatest, rank, number);
        known->exists = (struct seen){.rank = 1, .by = number};
        if (shows_row(other) && other->checksum == operation->checksum) {
            keep_smaller(&known->smallest, rank, number);
            keep_greater(&known->largest, rank, number);
        }
    }
    checker->n_pending = n_left;
}

static void check_look_up(struct checker *checker, const struct history_operation *operation,
    const struct content *content, const struct known *known)
{
    uint32_t rank = rank_of(checker, operation);

    if (known->largest.rank != 0 && rank == 0)
        complain(checker, 6, operation, "it is known:", known->largest.by);
    else if (!operation->history && rank < known->largest.rank)
        complain(checker, 6, operation, "it has a greater one:", known->largest.by);
    else if (operation->history && known->smallest.rank != 0 && rank > known->smallest.rank)
        complain(checker, 4, operation, "it has a smaller one:", known->smallest.by);
    if (rank != 0 && operation->answered < content->asked)
        complain(checker, 6, operation, "nobody had asked for a value of it", NOBODY);
}

static void check_package(struct checker *checker, const struct group *group,
    const struct history_operation *operation, const struct known *known)
{
    bool exists = operation->kind == HISTORY_TEST_PACKAGE ? operation->found : operation->value;

    if (operation->kind == HISTORY_TEST_PACKAGE && known->exists.rank != 0 && !operation->found)
        complain(checker, 6, operation, "it is known:", known->exists.by);
    if (operation->kind == HISTORY_MAX_PACKAGE_PR &&
        rank_of(checker, operation) < known->greatest.rank)
        complain(checker, 6, operation, "there is a greater one:", known->greatest.by);
    if (exists && operation->answered < group->asked)
        complain(checker, 6, operation, "nobody had asked for a value of it", NOBODY);
}

/* Does the checksum hold this value, as far as answers and rows say? */
static bool is_owner(const struct checker *checker, const struct history_operation *operation)
{
    const struct owner *owner = &checker->owners[rank_of(checker, operation)];

    return owner->mark == checker->mark && owner->checksum == operation->checksum;
}

/* What a read-only server answers is not stored, but it knows what is. With history it may be
 * the upstream's value of the checksum, however small. */
static void check_read_only(
    struct checker *checker, const struct history_operation *operation, const struct known *known)
{
    uint32_t rank = rank_of(checker, operation);

    if (is_foreign(operation) || is_owner(checker, operation))
        return;
    if (known->largest.rank != 0 && operation->history)
        complain(checker, 4, operation, "the checksum is known:", known->largest.by);
    else if (known->greatest.rank != 0 && rank <= known->greatest.rank &&
             !(operation->history && known->upstream_may_have))
        complain(checker, 6, operation, "that is not above", known->greatest.by);
}

static void check_with_upstream(struct checker *checker, const struct history_operation *operation,
    const struct content *content, const struct known *known)
{
    uint32_t rank = rank_of(checker, operation);

    if (is_foreign(operation))
        return;
    if (!known->upstream_may_have && rank <= content->before_upstream.rank)
        complain(checker, 3, operation,
            "it is not above the upstream's when it was first asked for:",
            content->before_upstream.by);
    if (checker->rules->upstreams_fail || operation->history)
        return;
    if ((!known->upstream_may_have || known->largest.rank != 0) && rank < known->upstream.rank)
        complain(checker, 3, operation, "it is below the upstream's:", known->upstream.by);
}

static void check_get_pr(struct checker *checker, const struct history_operation *operation,
    const struct content *content, const struct known *known)
{
    uint32_t rank = rank_of(checker, operation);

    if (!operation->history && rank < known->greatest.rank)
        complain(checker, 2, operation, "that is below", known->greatest.by);
    if (operation->history && known->smallest.rank != 0 && rank > known->smallest.rank)
        complain(checker, 4, operation, "it has a smaller one:", known->smallest.by);
    if (operation->read_only) {
        check_read_only(checker, operation, known);
        return;
    }
    if (!is_foreign(operation) && content->before.rank != 0 && !known->upstream_may_have &&
        rank <= content->before.rank)
        complain(checker, operation->history ? 4 : 2, operation,
            "that is not above what there was when the checksum was first asked for:",
            content->before.by);
    check_with_upstream(checker, operation, content, known);
    if (content->first.rank > rank)
        complain(checker, 4, operation, "with history the same checksum got", content->first.by);
}

static void check_operation(struct checker *checker, const struct group *group,
    const struct history_operation *operation, const struct known *known)
{
    const struct content *content = content_of(checker, operation);

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
    return content_of(checker, &there)->asked != HISTORY_NEVER;
}

static void check_one(
    struct checker *checker, struct window *here, struct window *above, uint32_t number)
{
    const struct history_operation *operation = at(checker, number);
    struct content *content = content_of(checker, operation);
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
    if (stores(operation) && operation->sent == content->asked) {
        /* not what is pending: that comes before this one, not before others sent later */
        content->before = known.greatest;
        content->before_upstream = known.upstream;
    }
    add_pending(checker, operation, &known);
    if (operation->answered != HISTORY_NEVER)
        check_operation(checker, here->group, operation, &known);
    if (shows_row(operation) && operation->kind == HISTORY_GET_PR)
        checker->pending[checker->n_pending++] = number;
}

static int compare_answered(const void *a, const void *b, void *context)
{
    const struct checker *checker = context;
    uint64_t first = at(checker, *(const uint32_t *)a)->answered;
    uint64_t second = at(checker, *(const uint32_t *)b)->answered;

    return (first > second) - (first < second);
}

static void look_in_order(struct checker *checker, struct group *group, struct group *upstream)
{
    struct window here = {.group = group};
    struct window above = {.group = upstream};

    qsort_r(group->answered, group->n_answered, sizeof *group->answered, compare_answered, checker);
    checker->n_pending = 0;
    for (size_t i = 0; i < group->n_sent; i++) {
        if (at(checker, group->sent[i])->kind != HISTORY_STORED)
            check_one(checker, &here, &above, group->sent[i]);
    }
}

/* ---- 3. what is there in the end ---- */

static void look_for(struct checker *checker, const struct history_operation *operation)
{
    const struct owner *owner = &checker->owners[rank_of(checker, operation)];
    bool is_there = owner->any_mark == checker->mark;

    if (has_checksum(operation) && !is_foreign(operation))
        is_there = owner->stored_mark == checker->mark && owner->checksum == operation->checksum;
    if (!is_there)
        complain(checker, 5, operation, "no such row is there in the end", NOBODY);
}

static void look_at_rows(struct checker *checker, const struct group *group)
{
    for (size_t i = 0; i < group->n_sent; i++) {
        const struct history_operation *operation = at(checker, group->sent[i]);

        if (shows_package(operation) && operation->kind != HISTORY_TEST_PACKAGE)
            look_for(checker, operation);
        else if (operation->kind == HISTORY_STORED && !is_foreign(operation) &&
                 content_of(checker, operation)->asked == HISTORY_NEVER)
            complain(checker, 1, operation, "nobody has asked for it", NOBODY);
    }
}

/* ---- packages ---- */

static size_t count_contents(const struct checker *checker, size_t from, size_t to)
{
    size_t n_contents = 2;

    for (size_t i = from; i < to; i++) {
        size_t checksum = at(checker, checker->order[i])->checksum & ~HISTORY_FOREIGN;

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
    look_in_order(checker, group, upstream < 0 ? NULL : &checker->groups[upstream]);
    if (checker->rules->is_complete)
        look_at_rows(checker, group);
}

static void check_package_everywhere(struct checker *checker, size_t from, size_t to)
{
    clear_contents(checker, count_contents(checker, from, to));
    for (unsigned database = 0; database < checker->rules->n_databases; database++) {
        size_t end = from;

        while (end < to && at(checker, checker->order[end])->database == database)
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
    const struct history_operation *first = at(context, *(const uint32_t *)a);
    const struct history_operation *second = at(context, *(const uint32_t *)b);

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
        uint32_t package = at(checker, checker->order[from])->package;
        size_t to = from;

        while (to < n_operations && at(checker, checker->order[to])->package == package)
            to++;
        check_package_everywhere(checker, from, to);
        from = to;
    }
}

/* ---- the whole ---- */

static int compare_values(const void *a, const void *b, void *context)
{
    return revision_compare(history_revision(context, *(const uint32_t *)a),
        history_revision(context, *(const uint32_t *)b));
}

static void rank_values(struct checker *checker, size_t n_values)
{
    for (uint32_t i = 1; i <= n_values; i++)
        checker->by_rank[i] = i;
    qsort_r(checker->by_rank + 1, n_values, sizeof *checker->by_rank, compare_values,
        (void *)checker->history);
    for (uint32_t rank = 1; rank <= n_values; rank++)
        checker->ranks[checker->by_rank[rank]] = rank;
}

size_t history_check(const struct history *history, const struct history_rules *rules,
    history_says_fn says, void *context)
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

    for (uint32_t i = 0; i < n_operations; i++)
        checker.order[i] = i;
    rank_values(&checker, n_values);
    check_packages(&checker, n_operations);
    free(checker.ranks);
    free(checker.by_rank);
    free(checker.order);
    free(checker.answered);
    free(checker.pending);
    free(checker.owners);
    free(checker.contents);
    return checker.n_broken;
}
