/* SPDX-License-Identifier: MIT */
#include "rig.h"

#include "exec/executor.h"
#include "exec/invalid_rows.h"
#include "exec/reader.h"
#include "exec/writer.h"

#include "disk.h"

#include <inttypes.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PACKAGES 6 /* rows are imported for the second half of them */
#define MOST_TASKS 12
#define CHECKPOINT_PAGES 40

struct rig {
    struct rig_options options;
    struct executor *executor; /* with threads; else the members below */
    struct writer *writer;
    struct reader *reader;
    struct store *checkpointer;
    struct invalid_rows *invalid_rows;
    struct store_options store_options;
    atomic_bool shutting_down; /* true, so that no call waits for another process */
    atomic_ullong read_deadline_ms;
    sem_t woken;
    unsigned n_under_way;
};

/* A request and its result. */
struct task {
    struct job job;
    struct request request;
    struct ledger_note note;
    char version[32];
    char checksum[32];
    char value[64];
};

/* ---- FILE-mark ---- */

static char folder[] = "/tmp/rig-XXXXXX";

void rig_enter_folder(void)
{
    if (!mkdtemp(folder) || chdir(folder) != 0)
        abort();
}

void rig_forget_mark(void)
{
    (void)unlink(RIG_FILE "-mark");
}

void rig_leave_folder(void)
{
    rig_forget_mark();
    if (chdir("/") != 0 || rmdir(folder) != 0)
        abort();
}

/* ---- start and end ---- */

static void wake(void *context)
{
    (void)sem_post(&((struct rig *)context)->woken);
}

static int create_executor(struct rig *rig, struct error *error)
{
    const struct store_options options = {
        .file = RIG_FILE,
        .sync = rig->options.sync,
        .checkpoint_pages = CHECKPOINT_PAGES,
    };

    return executor_create(&rig->executor, &options, wake, rig, error);
}

static int create_parts(struct rig *rig, struct error *error)
{
    int result;

    rig->invalid_rows = invalid_rows_create(NULL);
    if (!rig->invalid_rows)
        return error_set_memory(error);
    result = writer_create(&rig->writer, &rig->store_options, rig->invalid_rows, error);
    if (result == 0)
        result = store_open(&rig->checkpointer, &rig->store_options, STORE_CHECKPOINTER, error);
    if (result == 0)
        result =
            reader_create(&rig->reader, &rig->store_options, rig->invalid_rows, rig->writer, error);
    return result;
}

struct rig *rig_create(const struct rig_options *options, struct error *error)
{
    struct rig *rig = calloc(1, sizeof *rig);

    if (!rig)
        abort();
    rig->options = *options;
    (void)sem_init(&rig->woken, 0, 0);
    atomic_store(&rig->shutting_down, true);
    atomic_store(&rig->read_deadline_ms, UINT64_MAX);
    rig->store_options = (struct store_options){
        .file = RIG_FILE,
        .sync = options->sync,
        .shutting_down = &rig->shutting_down,
        .read_deadline_ms = &rig->read_deadline_ms,
    };
    disk_set_owner(options->owner);
    if ((options->threads ? create_executor(rig, error) : create_parts(rig, error)) == 0)
        return rig;
    rig_free(rig);
    return NULL;
}

void rig_free(struct rig *rig)
{
    if (!rig)
        return;
    disk_set_owner(rig->options.owner);
    executor_free(rig->executor);
    reader_free(rig->reader);
    store_close(rig->checkpointer);
    writer_free(rig->writer);
    invalid_rows_free(rig->invalid_rows);
    (void)sem_destroy(&rig->woken);
    free(rig);
}

void rig_checkpoint(struct rig *rig)
{
    struct error error;

    if (!rig->checkpointer)
        return;
    disk_set_owner(rig->options.owner);
    if (store_checkpoint(rig->checkpointer, &error) != 0)
        return; /* a later checkpoint tries again */
}

/* ---- running requests ---- */

static void finish(struct job *job, void *context)
{
    struct rig *rig = context;

    (void)job;
    rig->n_under_way--;
}

static void run_executor(struct rig *rig, struct task *tasks, size_t n)
{
    rig->n_under_way = (unsigned)n;
    for (size_t i = 0; i < n; i++)
        executor_submit(rig->executor, &tasks[i].job);
    while (executor_turn(rig->executor))
        ;
    while (rig->n_under_way > 0) {
        (void)sem_wait(&rig->woken);
        executor_deliver(rig->executor);
    }
}

static void run_parts(struct rig *rig, struct task *tasks, size_t n)
{
    struct job_list looks = STAILQ_HEAD_INITIALIZER(looks);
    struct job_list decides = STAILQ_HEAD_INITIALIZER(decides);
    struct job_list finished = STAILQ_HEAD_INITIALIZER(finished);

    for (size_t i = 0; i < n; i++) {
        struct job_list *list = tasks[i].job.kind == JOB_LOOK ? &looks : &decides;

        STAILQ_INSERT_TAIL(list, &tasks[i].job, entry);
    }
    while (!STAILQ_EMPTY(&decides))
        writer_read_pass(rig->writer, &decides, &finished, STORE_BLOCK);
    writer_store_pass(rig->writer, &finished);
    if (writer_has_waiting(rig->writer))
        writer_give_up(rig->writer, &finished);
    while (!STAILQ_EMPTY(&looks))
        reader_work(rig->reader, &looks, &finished, STORE_BLOCK);
}

static void run(struct rig *rig, struct task *tasks, size_t n)
{
    disk_set_owner(rig->options.owner);
    if (rig->executor)
        run_executor(rig, tasks, n);
    else
        run_parts(rig, tasks, n);
}

/* ---- clients ---- */

uint64_t rig_chance(struct rig_clients *clients, uint64_t limit)
{
    return chance_below(&clients->chance, limit);
}

/* Checksum n belongs to package n % PACKAGES. */
static void prepare(struct rig *rig, struct rig_clients *clients, struct task *task,
    enum request_kind kind, uint64_t checksum)
{
    static const char clients_are[4];
    uint64_t package = checksum % PACKAGES;

    *task = (struct task){.request.kind = kind};
    (void)snprintf(task->version, sizeof task->version, "package-%" PRIu64, package);
    (void)snprintf(task->checksum, sizeof task->checksum, "%020" PRIu64, checksum);
    (void)snprintf(task->value, sizeof task->value, "%" PRIu64 ".%" PRIu64 ".0",
        rig_chance(clients, 3 + clients->n_values / 8), clients->n_values);
    clients->n_values += kind == REQUEST_IMPORT_ONE;
    task->request.version = text_of(task->version);
    task->request.pkgarch = text_of("all");
    task->request.checksum = text_of(task->checksum);
    task->request.value = text_of(task->value);
    task->request.history = rig_chance(clients, 4) == 0;
    task->job.kind = kind == REQUEST_TEST_PR ? JOB_LOOK : JOB_DECIDE;
    task->job.request = &task->request;
    task->job.client = &clients_are[rig_chance(clients, 4)];
    task->job.upstream = UPSTREAM_NONE;
    task->job.done = finish;
    task->job.context = rig;
    ledger_ask(clients->ledger, &task->request, &task->note);
}

static void choose(
    struct rig *rig, struct rig_clients *clients, struct task *task, enum rig_requests requests)
{
    uint64_t dice = rig_chance(clients, 100);
    enum request_kind kind = REQUEST_GET_PR;
    uint64_t checksum = clients->n_checksums;

    if ((dice < 30 || requests != RIG_ANYTHING) && clients->n_checksums > 0) {
        /* or, as likely, a recent one, whose answer may be missing */
        uint64_t recent = clients->n_checksums < 20 ? clients->n_checksums : 20;

        checksum = rig_chance(clients, 2) ? rig_chance(clients, clients->n_checksums)
                                          : checksum - 1 - rig_chance(clients, recent);
        kind = dice % 4 == 0 || requests == RIG_LOOK_UP ? REQUEST_TEST_PR : REQUEST_GET_PR;
    } else {
        clients->n_checksums++;
        if (dice > 85 && checksum % PACKAGES >= PACKAGES / 2)
            kind = REQUEST_IMPORT_ONE;
    }
    prepare(rig, clients, task, kind, checksum);
}

static bool check_answer(struct rig_clients *clients, struct task *task, char reason[512])
{
    const char *value = task->job.value;
    bool is_good;

    if (task->request.kind == REQUEST_IMPORT_ONE)
        value = task->value;
    if (task->job.result != 0) {
        value = NULL;
        clients->n_errors++;
        clients->error = task->job.error;
    }
    is_good = ledger_answer(clients->ledger, &task->request, &task->note, value, reason);
    free(task->job.value);
    return is_good;
}

static bool check_answers(
    struct rig_clients *clients, struct task *tasks, size_t n, char reason[512])
{
    char more[512];
    bool is_good = true;

    for (size_t i = 0; i < n; i++)
        is_good = check_answer(clients, &tasks[i], is_good ? reason : more) && is_good;
    return is_good;
}

bool rig_serve(
    struct rig *rig, struct rig_clients *clients, enum rig_requests requests, char reason[512])
{
    struct task tasks[MOST_TASKS];
    size_t n = 1 + rig_chance(clients, MOST_TASKS);

    for (size_t i = 0; i < n; i++)
        choose(rig, clients, &tasks[i], requests);
    run(rig, tasks, n);
    return check_answers(clients, tasks, n, reason);
}

bool rig_ask_new(struct rig *rig, struct rig_clients *clients, char reason[512])
{
    struct task task;

    prepare(rig, clients, &task, REQUEST_GET_PR, clients->n_checksums++);
    run(rig, &task, 1);
    return check_answers(clients, &task, 1, reason);
}
