#include "exec/looker.h"

#include "base/clock.h"
#include "exec/decide.h"
#include "exec/memory.h"
#include "exec/wants.h"
#include "revision/revision.h"

#include <stdlib.h>

#define SLICE_MS 20 /* then what was answered goes out */
#define MEMORY_BYTES ((size_t)32 * 1024 * 1024)

struct looker {
    struct store *store;
    struct memory *memory; /* for what wants a whole package */
    struct odd_rows *odd_rows;
    struct log *log;
    struct wants wants;
};

int looker_create(struct looker **result, struct store *store, struct odd_rows *odd_rows,
    struct log *log, struct error *error)
{
    struct looker *looker = calloc(1, sizeof *looker);

    *result = NULL;
    if (looker)
        looker->memory = memory_create(store, MEMORY_BYTES, odd_rows);
    if (!looker || !looker->memory) {
        free(looker);
        store_close(store);
        return error_set_memory(error);
    }
    looker->store = store;
    looker->odd_rows = odd_rows;
    looker->log = log;
    *result = looker;
    return 0;
}

void looker_free(struct looker *looker)
{
    if (!looker)
        return;
    memory_free(looker->memory);
    wants_free(&looker->wants);
    store_close(looker->store);
    free(looker);
}

/* ---- one row after the other ---- */

struct search {
    struct looker *looker;
    struct job *job;
    bool smallest; /* the smallest value is wanted, not the greatest */
};

static int see_extreme(void *context, const struct row *row)
{
    struct search *search = context;
    char **best = &search->job->value;
    char *copy;
    int order;

    if (!odd_rows_check(search->looker->odd_rows, row))
        return 0;
    order = *best ? revision_compare(row->value.bytes, *best) : 0;
    if (*best && (search->smallest ? order >= 0 : order <= 0))
        return 0;
    copy = strndup(row->value.bytes, row->value.length);
    if (!copy)
        return search->job->result = error_set_memory(&search->job->error);
    free(*best);
    *best = copy;
    return 0;
}

static int see_any(void *context, const struct row *row)
{
    struct search *search = context;

    search->job->found = odd_rows_check(search->looker->odd_rows, row);
    return search->job->found;
}

/* get-pr and max-package-pr of a read-only server. */
static int look_at_package(struct looker *looker, struct job *job)
{
    const struct request *request = job->request;
    struct package *package;
    const char *greatest;
    int result =
        memory_recall(looker->memory, request->version, request->pkgarch, &package, &job->error);

    if (result != 0)
        return result;
    if (request->kind == REQUEST_GET_PR) {
        (void)decide(job, package, looker->log);
        return job->result;
    }
    greatest = package_greatest(package);
    job->value = greatest ? strdup(greatest) : NULL;
    return greatest && !job->value ? error_set_memory(&job->error) : job_hold_value(job);
}

static int look_for_extreme(struct looker *looker, struct job *job)
{
    const struct request *request = job->request;
    struct search search = {.looker = looker, .job = job, .smallest = request->history};
    int result = store_look_up(looker->store, request->version, request->pkgarch, request->checksum,
        see_extreme, &search, &job->error);

    return result == 0 ? job_hold_value(job) : result;
}

static int look(struct looker *looker, struct job *job)
{
    const struct request *request = job->request;
    struct search search = {.looker = looker, .job = job};

    switch (request->kind) {
    case REQUEST_GET_PR:
    case REQUEST_MAX_PACKAGE_PR:
        return look_at_package(looker, job);
    case REQUEST_TEST_PR:
        return look_for_extreme(looker, job);
    case REQUEST_TEST_PACKAGE:
        return store_load(
            looker->store, request->version, request->pkgarch, see_any, &search, &job->error);
    default:
        return error_set(&job->error, ERROR_INPUT, "%s is no look-up", request_name(request->kind));
    }
}

/* False: it could not be answered at once. */
static bool answer(struct looker *looker, struct job *job, enum store_patience patience)
{
    int result = look(looker, job);

    if (result == ERROR_LOCKED && patience == STORE_AT_ONCE) {
        decide_again(job);
        return false;
    }
    job->result = result ? result : job->result;
    return true;
}

static void answer_all(struct looker *looker, struct job_list *arrived, struct job_list *finished,
    enum store_patience patience)
{
    uint64_t until_ms = clock_ms() + SLICE_MS;
    struct job *job;

    while ((job = STAILQ_FIRST(arrived)) && answer(looker, job, patience)) {
        STAILQ_REMOVE_HEAD(arrived, link);
        STAILQ_INSERT_TAIL(finished, job, link);
        if (clock_ms() >= until_ms)
            return;
    }
}

static void fail(struct job_list *finished, struct job *job, int failure, const struct error *error)
{
    job->result = failure;
    job->error = *error;
    STAILQ_INSERT_TAIL(finished, job, link);
}

/* All of them, or, if the database may come back in time, those that have waited too long. */
static void fail_jobs(struct looker *looker, struct job_list *arrived, struct job_list *finished,
    int failure, const struct error *error)
{
    bool waits = failure == ERROR_LOCKED && looker->store->far;
    struct job *job;

    while ((job = STAILQ_FIRST(arrived)) && (!waits || wants_is_over(looker->store, job))) {
        STAILQ_REMOVE_HEAD(arrived, link);
        fail(finished, job, failure, error);
        log_often(looker->log, LOG_ERROR, "%s", error->text);
    }
}

void looker_work(struct looker *looker, struct job_list *arrived, struct job_list *finished,
    enum store_patience patience)
{
    struct error error;
    int result;

    if (looker->store->far && patience == STORE_AT_ONCE)
        return;
    result = wants_gather(&looker->wants, looker->store, arrived, finished, &error);
    if (result == 0)
        result = store_begin_read(looker->store, patience, &error);
    if (result == 0)
        result = memory_refresh(looker->memory, &error);
    if (result == 0)
        answer_all(looker, arrived, finished, patience);
    else if (patience == STORE_WAITS)
        fail_jobs(looker, arrived, finished, result, &error);
    store_rollback(looker->store);
    memory_trim(looker->memory);
}
