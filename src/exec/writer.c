/*   arrived ──look pass──→ finished            needs no new row
 *              │
 *              └─→ waiting ──store pass──→ finished      stored and committed
 *                    ↑  │
 *                    └──┘ database locked, or away: try again, LOCK_SLICE_MS at a time;
 *                         a package held by another server: the others go first
 *
 * The look pass decides on a snapshot. Once a client's request for a package is waiting,
 * later ones of that client for it wait behind: they must see its effect. While the lock is
 * waited for, new arrivals go through the look pass, so that known content is
 * answered whoever holds the lock.
 *
 * An error in a transaction is the error of each request in it; nothing was stored,
 * and the memory, which may hold rows that were not, is forgotten. ERROR_LOCKED is no such error:
 * they are decided again, from what is there then. */
#include "exec/writer.h"

#include "base/clock.h"
#include "exec/decide.h"
#include "exec/memory.h"
#include "exec/waiting.h"
#include "exec/wants.h"

#include <pthread.h>
#include <stdlib.h>

#define LOCK_SLICE_MS 20
#define HELD_SLICE_US 20000
#define LARGE_BATCH 8 /* smaller ones are always looked at: known content waits for no lock */
#define LONG_TRANSACTION_US 4000 /* then it pays to wait for more */
#define LONGEST_GRACE_US 5000
#define MEMORY_BYTES ((size_t)64 * 1024 * 1024)

struct writer {
    struct store *store;
    struct memory *memory;
    struct log *log;
    struct waiting waiting;
    struct wants wants;
    bool skips_look; /* the last look at a large batch was in vain: a round trip for nothing */
    enum store_scope scope; /* of the next transaction */
    size_t n_held; /* how many of those that wait could not be stored, for others hold their
                      packages */
    uint64_t held_until_ms;      /* then they are tried again */
    uint64_t n_decided;          /* requests of the transaction under way */
    uint64_t n_added;            /* its rows */
    uint64_t took_us;            /* the last transaction */
    pthread_mutex_t stats_mutex; /* guards stats */
    struct batch_stats stats;
};

int writer_create(struct writer **result, struct store *store, struct odd_rows *odd_rows,
    struct log *log, struct error *error)
{
    struct writer *writer = calloc(1, sizeof *writer);

    *result = NULL;
    if (writer)
        writer->memory = memory_create(store, MEMORY_BYTES, odd_rows);
    if (!writer || !writer->memory) {
        free(writer);
        store_close(store);
        return error_set_memory(error);
    }
    writer->store = store;
    writer->log = log;
    waiting_init(&writer->waiting);
    (void)pthread_mutex_init(&writer->stats_mutex, NULL);
    *result = writer;
    return 0;
}

void writer_free(struct writer *writer)
{
    if (!writer)
        return;
    waiting_free(&writer->waiting);
    wants_free(&writer->wants);
    memory_free(writer->memory);
    store_close(writer->store);
    (void)pthread_mutex_destroy(&writer->stats_mutex);
    free(writer);
}

/* ---- finishing ---- */

static void finish(struct job_list *finished, struct job *job)
{
    STAILQ_INSERT_TAIL(finished, job, link);
}

static void fail(struct job_list *finished, struct job *job, int code, const struct error *error)
{
    decide_again(job);
    job->result = code;
    job->error = *error;
    finish(finished, job);
}

static void fail_all(
    struct job_list *jobs, struct job_list *finished, int code, const struct error *error)
{
    struct job *job;

    while ((job = STAILQ_FIRST(jobs))) {
        STAILQ_REMOVE_HEAD(jobs, link);
        fail(finished, job, code, error);
    }
}

/* ---- the look pass ---- */

static void wait_for_lock(struct writer *writer, struct job *job, struct job_list *finished)
{
    job->result = waiting_add(&writer->waiting, job);
    if (job->result != 0)
        finish(finished, job);
}

/* max-package-pr waits for nobody: what is waiting has not been stored. */
static void look_for_greatest(struct job *job, const struct package *package)
{
    const char *greatest = package_greatest(package);

    job->value = greatest ? strdup(greatest) : NULL;
    if (greatest && !job->value)
        job->result = error_set_memory(&job->error);
    else
        job->result = job_hold_value(job);
}

/* False: it could not be decided at once. */
static bool look(
    struct writer *writer, struct job *job, struct job_list *finished, enum store_patience patience)
{
    bool looks_only = job->request->kind == REQUEST_MAX_PACKAGE_PR;
    bool is_behind = false;
    struct package *package;

    job->result = looks_only ? 0 : waiting_is_behind(&writer->waiting, job, &is_behind);
    if (job->result != 0) {
        finish(finished, job);
        return true;
    }
    if (is_behind) {
        wait_for_lock(writer, job, finished);
        return true;
    }
    job->result = memory_recall(
        writer->memory, job->request->version, job->request->pkgarch, &package, &job->error);
    if (job->result == ERROR_LOCKED && patience == STORE_AT_ONCE)
        return false;
    if (job->result == 0 && looks_only)
        look_for_greatest(job, package);
    if (job->result == 0 && !looks_only && decide(job, package, writer->log))
        wait_for_lock(writer, job, finished);
    else
        finish(finished, job);
    return true;
}

static void look_at_all(struct writer *writer, struct job_list *arrived, struct job_list *finished,
    enum store_patience patience)
{
    struct job *job;

    while ((job = STAILQ_FIRST(arrived))) {
        STAILQ_REMOVE_HEAD(arrived, link);
        if (!look(writer, job, finished, patience)) {
            STAILQ_INSERT_HEAD(arrived, job, link); /* those behind it keep their order */
            return;
        }
    }
}

/* What is probably new has to wait for the lock anyhow: looking would be in vain. */
static bool is_probably_new(struct writer *writer, const struct job *job)
{
    const struct request *request = job->request;

    return request->kind != REQUEST_MAX_PACKAGE_PR && job->upstream != UPSTREAM_UNKNOWN &&
           memory_lacks(writer->memory, request->version, request->pkgarch, request->checksum);
}

/* From the first that is not probably new they are left to be looked at. */
static void skip_new(struct writer *writer, struct job_list *arrived, struct job_list *finished)
{
    struct job *job;

    while ((job = STAILQ_FIRST(arrived)) && is_probably_new(writer, job)) {
        STAILQ_REMOVE_HEAD(arrived, link);
        wait_for_lock(writer, job, finished);
    }
}

/* Leaves all of them to the store pass: the database is away, and may be back in time; or looking
 * would be in vain. */
static void wait_all(struct writer *writer, struct job_list *arrived, struct job_list *finished)
{
    struct job *job;

    while ((job = STAILQ_FIRST(arrived))) {
        STAILQ_REMOVE_HEAD(arrived, link);
        wait_for_lock(writer, job, finished);
    }
}

/* Looks at all; where almost everything of a large batch was new, the next one is not looked at,
 * if looking costs a round trip. */
static void look_and_learn(struct writer *writer, struct job_list *arrived,
    struct job_list *finished, enum store_patience patience)
{
    size_t n_arrived = writer->store->far ? job_count(arrived) : 0;
    size_t n_before = n_arrived >= LARGE_BATCH ? job_count(&writer->waiting.jobs) : 0;

    look_at_all(writer, arrived, finished, patience);
    if (n_arrived >= LARGE_BATCH)
        writer->skips_look = (job_count(&writer->waiting.jobs) - n_before) * 4 > n_arrived * 3;
}

void writer_look(struct writer *writer, struct job_list *arrived, struct job_list *finished,
    enum store_patience patience)
{
    bool far = writer->store->far;
    struct error error;
    int result;

    if (far && patience == STORE_AT_ONCE)
        return;
    skip_new(writer, arrived, finished);
    if (STAILQ_EMPTY(arrived))
        return;
    result = wants_gather(&writer->wants, writer->store, arrived, finished, &error);
    if (result == 0 && writer->skips_look && job_count(arrived) >= LARGE_BATCH) {
        wait_all(writer, arrived, finished);
        return;
    }
    if (result == 0)
        result = store_begin_read(writer->store, patience, &error);
    if (result == 0)
        result = memory_refresh(writer->memory, &error);
    if (result == 0)
        look_and_learn(writer, arrived, finished, patience);
    else if (result == ERROR_LOCKED && far)
        wait_all(writer, arrived, finished);
    else if (patience == STORE_WAITS)
        fail_all(arrived, finished, result, &error);
    store_rollback(writer->store);
    memory_trim(writer->memory);
}

/* ---- the store pass ---- */

/* Decides one request and adds its row. What fails here fails the transaction, but
 * for a request that can't be decided: that is its own error. */
static int store_one(struct writer *writer, struct job *job, struct error *error)
{
    struct package *package;
    struct row row;
    int result = memory_recall(
        writer->memory, job->request->version, job->request->pkgarch, &package, error);

    if (result != 0)
        return result;
    if (job->request->kind == REQUEST_MAX_PACKAGE_PR) {
        look_for_greatest(job, package);
        return 0;
    }
    if (!decide(job, package, writer->log))
        return 0;
    decide_row(job, &row);
    if (package_add(package, row.checksum, row.value) != 0)
        return error_set_memory(error);
    writer->n_added++;
    return store_add(writer->store, &row, error);
}

static int commit(struct writer *writer, struct error *error)
{
    uint64_t before_us = clock_us();
    int result = store_commit(writer->store, error);

    if (result != 0)
        return result;
    (void)pthread_mutex_lock(&writer->stats_mutex);
    writer->stats.count++;
    writer->stats.requests += writer->n_decided;
    writer->stats.rows += writer->n_added;
    if (writer->n_decided > writer->stats.largest)
        writer->stats.largest = writer->n_decided;
    histogram_add(&writer->stats.commit_us, clock_us() - before_us);
    (void)pthread_mutex_unlock(&writer->stats_mutex);
    return 0;
}

/* Inside the transaction: everything up to the commit. */
static int store_all(struct writer *writer, struct error *error)
{
    struct job *job;
    int result = memory_refresh(writer->memory, error);

    STAILQ_FOREACH (job, &writer->waiting.jobs, link) {
        if (result == 0)
            result = store_one(writer, job, error);
        writer->n_decided++;
    }
    return result == 0 ? commit(writer, error) : result;
}

/* Ends those that have waited for the lock as long as a client may wait. Those that were held by
 * others stand before younger ones. */
static void expire(struct writer *writer, struct job_list *finished)
{
    struct job_list kept = STAILQ_HEAD_INITIALIZER(kept);
    struct job *job;

    while ((job = STAILQ_FIRST(&writer->waiting.jobs))) {
        STAILQ_REMOVE_HEAD(&writer->waiting.jobs, link);
        if (wants_is_over(writer->store, job)) {
            job->result = ERROR_LOCKED;
            finish(finished, job);
        } else {
            STAILQ_INSERT_TAIL(&kept, job, link);
        }
    }
    STAILQ_CONCAT(&writer->waiting.jobs, &kept);
}

/* They go on waiting, undecided; the error is theirs, should they have waited for too long. */
static void try_again(struct writer *writer, struct job_list *jobs, const struct error *error)
{
    struct job *job;

    STAILQ_FOREACH (job, jobs, link) {
        decide_again(job);
        job->error = *error;
    }
    STAILQ_CONCAT(&writer->waiting.jobs, jobs);
}

/* Moves those away whose packages somebody else holds. */
static void set_aside(struct writer *writer, struct job_list *held)
{
    struct job_list ours = STAILQ_HEAD_INITIALIZER(ours);
    struct job *job;

    while ((job = STAILQ_FIRST(&writer->waiting.jobs))) {
        const struct request *request = job->request;
        bool may_be_done = request->kind == REQUEST_MAX_PACKAGE_PR ||
                           store_holds(writer->store, request->version, request->pkgarch);

        STAILQ_REMOVE_HEAD(&writer->waiting.jobs, link);
        STAILQ_INSERT_TAIL(may_be_done ? &ours : held, job, link);
    }
    STAILQ_CONCAT(&writer->waiting.jobs, &ours);
}

/* Decides and stores what is waiting; what it can't, because somebody else holds the package, is
 * moved to held. */
static int transact(struct writer *writer, struct job_list *held, struct error *error)
{
    int result = store_begin_write(writer->store, writer->scope, LOCK_SLICE_MS, error);

    if (result != 0)
        return result;
    if (writer->scope != STORE_ALL)
        set_aside(writer, held);
    if (STAILQ_EMPTY(&writer->waiting.jobs)) {
        store_rollback(writer->store);
        return 0;
    }
    result = store_all(writer, error);
    if (result != 0) {
        store_rollback(writer->store);
        memory_forget(writer->memory);
        log_often(writer->log, LOG_ERROR, "%s", error->text);
    }
    return result;
}

/* The scope of the next transaction. After one that waited for a package in vain, the others go
 * first, as long as somebody holds one; new packages may have to be left out in turn. */
static enum store_scope next_scope(
    const struct writer *writer, const struct job_list *held, int result)
{
    if (!writer->store->far)
        return STORE_ALL;
    if (result == ERROR_LOCKED)
        return writer->scope == STORE_ALL    ? STORE_FREE
               : writer->scope == STORE_FREE ? STORE_THERE
                                             : STORE_ALL;
    return STAILQ_EMPTY(held) ? STORE_ALL : STORE_FREE;
}

/* Is there nothing to be done but to look again, somewhat later, whether packages are free? */
static bool only_held(const struct writer *writer)
{
    return writer->n_held > 0 && job_count(&writer->waiting.jobs) == writer->n_held &&
           clock_ms() < writer->held_until_ms;
}

static void take_back(struct writer *writer, struct job_list *held)
{
    struct error error;

    writer->n_held = job_count(held);
    writer->held_until_ms = clock_ms() + HELD_SLICE_US / 1000;
    if (writer->n_held == 0)
        return;
    (void)error_set(&error, ERROR_LOCKED, "another server holds the package in the database");
    try_again(writer, held, &error);
}

/* What became of the jobs of a transaction. */
static void settle(struct writer *writer, struct job_list *jobs, struct job_list *finished,
    int result, const struct error *error)
{
    if (result == 0)
        STAILQ_CONCAT(finished, jobs);
    else if (result == ERROR_LOCKED)
        try_again(writer, jobs, error);
    else
        fail_all(jobs, finished, result, error);
}

void writer_store(struct writer *writer, struct job_list *finished)
{
    struct job_list held = STAILQ_HEAD_INITIALIZER(held);
    struct job_list ours = STAILQ_HEAD_INITIALIZER(ours);
    struct error error;
    uint64_t began_us;
    int result;

    writer->took_us = writer->n_decided = writer->n_added = 0;
    if (STAILQ_EMPTY(&writer->waiting.jobs) || only_held(writer))
        return;
    began_us = clock_us();
    result = wants_gather(&writer->wants, writer->store, &writer->waiting.jobs, finished, &error);
    if (result == 0)
        result = transact(writer, &held, &error);
    if (result != 0 || writer->n_added * 2 < writer->n_decided)
        writer->skips_look = false;
    writer->scope = next_scope(writer, &held, result);
    writer->took_us = clock_us() - began_us;
    STAILQ_CONCAT(&ours, &writer->waiting.jobs);
    take_back(writer, &held);
    settle(writer, &ours, finished, result, &error);
    expire(writer, finished);
    waiting_tidy(&writer->waiting);
    memory_trim(writer->memory);
}

uint64_t writer_grace_us(const struct writer *writer, size_t n_arrived, size_t *n_wanted)
{
    const uint64_t grace_us = writer->took_us / 4;

    if (n_arrived == 0 && only_held(writer)) {
        *n_wanted = 1;
        return HELD_SLICE_US;
    }
    *n_wanted = writer->n_decided + n_arrived;
    if (!writer->store->far || writer->took_us < LONG_TRANSACTION_US || *n_wanted <= 1)
        return 0;
    return grace_us < LONGEST_GRACE_US ? grace_us : LONGEST_GRACE_US;
}

bool writer_is_untidy(const struct writer *writer)
{
    return store_is_untidy(writer->store);
}

bool writer_has_waiting(const struct writer *writer)
{
    return !STAILQ_EMPTY(&writer->waiting.jobs);
}

void writer_give_up(struct writer *writer, struct job_list *finished)
{
    struct error error;

    /* A commit of a database that is far may be under way. */
    (void)error_set(&error, ERROR_LOCKED, "the server is stopping, and the database is %s",
        writer->store->far ? "away or locked by another server; nobody knows what was stored"
                           : "locked by another process; nothing was stored");
    fail_all(&writer->waiting.jobs, finished, ERROR_LOCKED, &error);
    waiting_tidy(&writer->waiting);
}

void writer_stats(struct writer *writer, struct batch_stats *stats)
{
    (void)pthread_mutex_lock(&writer->stats_mutex);
    *stats = writer->stats;
    (void)pthread_mutex_unlock(&writer->stats_mutex);
}
