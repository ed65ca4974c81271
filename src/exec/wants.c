#include "exec/wants.h"

#include "base/clock.h"

#include <stdlib.h>

/* A transaction with a database that is far gets at least this long, even for a job that has waited
 * almost to its end; with a look before it, and another behind, it is STORE_LOCK_WAIT_MS. */
#define LEAST_MS 1200

unsigned wants_patience_ms(const struct store *store)
{
    return store->far ? STORE_LOCK_WAIT_MS - 2 * LEAST_MS : STORE_LOCK_WAIT_MS;
}

bool wants_is_over(const struct store *store, const struct job *job)
{
    return clock_ms() - job->submitted_ms >= wants_patience_ms(store);
}

static bool can_be_held(struct store *store, struct job *job)
{
    const struct request *request = job->request;
    const struct text texts[] = {request->version, request->pkgarch, request->checksum};

    job->result = store_check(store, texts, sizeof texts / sizeof *texts, &job->error);
    return job->result == 0;
}

static bool grow(struct wants *wants)
{
    size_t capacity = wants->capacity ? wants->capacity * 2 : 64;
    struct store_want *items = realloc(wants->items, capacity * sizeof *items);

    if (!items)
        return false;
    wants->items = items;
    wants->capacity = capacity;
    return true;
}

static struct store_want want_of(const struct job *job)
{
    const struct request *request = job->request;
    const bool has_checksum =
        request->kind != REQUEST_MAX_PACKAGE_PR && request->kind != REQUEST_TEST_PACKAGE;
    const bool imports = request->kind == REQUEST_IMPORT_ONE;

    return (struct store_want){
        .version = request->version,
        .pkgarch = request->pkgarch,
        .checksum = has_checksum ? text_not_null(request->checksum) : (struct text){.bytes = NULL},
        .smallest = imports || request->history,
        .largest = imports || !request->history,
        .adds = request->kind == REQUEST_GET_PR || imports,
        .value = job->uval ? text_of(job->uval) : (struct text){.bytes = NULL},
    };
}

int wants_gather(struct wants *wants, struct store *store, struct job_list *jobs,
    struct job_list *finished, struct error *error)
{
    struct job_list kept = STAILQ_HEAD_INITIALIZER(kept);
    uint64_t oldest_ms = UINT64_MAX;
    struct job *job;
    size_t n = 0;
    int result = 0;

    if (!store->far)
        return 0;
    while ((job = STAILQ_FIRST(jobs))) {
        bool holds = can_be_held(store, job);

        STAILQ_REMOVE_HEAD(jobs, link);
        STAILQ_INSERT_TAIL(holds ? &kept : finished, job, link);
        if (!holds)
            continue;
        if (n == wants->capacity && !grow(wants))
            result = error_set_memory(error);
        else
            wants->items[n++] = want_of(job);
        oldest_ms = job->submitted_ms < oldest_ms ? job->submitted_ms : oldest_ms;
    }
    STAILQ_CONCAT(jobs, &kept);
    wants->list = (struct store_wants){.items = wants->items, .count = n};
    wants->list.until_ms = clock_ms() + LEAST_MS;
    if (n > 0 && oldest_ms + wants_patience_ms(store) > wants->list.until_ms)
        wants->list.until_ms = oldest_ms + wants_patience_ms(store);
    store_expect(store, &wants->list);
    return result;
}

void wants_free(struct wants *wants)
{
    free(wants->items);
}
