/* SPDX-License-Identifier: MIT */
/* Checks that threads which share a handle get the answers to their own requests, for each kind of
 * call. Usage: threads ADDRESS THREADS ROUNDS */
#include <prserv.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct worker {
    struct prserv *server; /* shared */
    unsigned number;
    unsigned rounds;
    pthread_t thread;
};

static void check(int condition, const char *what, const struct prserv_error *error)
{
    if (condition)
        return;
    fprintf(stderr, "threads: %s: %s\n", what, error->text);
    exit(99);
}

/* Imports a value that no other thread uses, and asks for it. */
static void import_and_ask(const struct worker *worker, unsigned round)
{
    char version[64];
    char value[64];
    struct prserv_row row = {.pkgarch = prserv_text("all"), .checksum = prserv_text("x")};
    struct prserv_error error;
    char *revision;
    bool known;

    (void)snprintf(version, sizeof version, "v-%u-%u", worker->number, round);
    (void)snprintf(value, sizeof value, "%u.%u", worker->number, round);
    row.version = prserv_text(version);
    row.value = prserv_text(value);
    check(prserv_import_one(worker->server, &row, &error) == 0, "import", &error);
    check(prserv_get_pr(worker->server, row.version, row.pkgarch, row.checksum, false, &revision,
              &error) == 0 &&
              strcmp(revision, value) == 0,
        "get_pr", &error);
    free(revision);
    check(
        prserv_test_package(worker->server, row.version, row.pkgarch, &known, &error) == 0 && known,
        "test_package", &error);
    row.value = prserv_text("nonsense");
    check(
        prserv_import_one(worker->server, &row, &error) == PRSERV_ERROR_REFUSED, "refusal", &error);
}

static void ask_batch(const struct worker *worker)
{
    struct prserv_request requests[20] = {{.history = false}};
    char checksums[20][64];
    struct prserv_error error;

    for (unsigned i = 0; i < 20; i++) {
        (void)snprintf(checksums[i], sizeof checksums[i], "%u", i);
        requests[i].row.version = prserv_text("batch");
        requests[i].row.pkgarch = prserv_text("all");
        requests[i].row.checksum = prserv_text(checksums[i]);
        requests[i].history = true;
    }
    check(prserv_batch(worker->server, requests, 20, &error) == 0, "batch", &error);
    for (unsigned i = 0; i < 20; i++) {
        check(requests[i].error.code == 0 && strcmp(requests[i].revision, checksums[i]) == 0,
            "answer of a batch", &requests[i].error);
        free(requests[i].revision);
    }
}

static int count_row(void *context, const struct prserv_row *row)
{
    (void)row;
    ++*(unsigned *)context;
    return 0;
}

static void ask_export(const struct worker *worker)
{
    unsigned rows = 0;
    struct prserv_error error;
    const struct prserv_export export = {
        .version = prserv_text("batch"), .history = true, .row = count_row, .context = &rows};

    check(prserv_export(worker->server, &export, &error) == 0 && rows == 20, "export", &error);
}

static void *work(void *context)
{
    const struct worker *worker = context;

    for (unsigned round = 0; round < worker->rounds; round++) {
        import_and_ask(worker, round);
        ask_batch(worker);
        ask_export(worker);
        prserv_set_timeout(worker->server, 30000 + round);
        check(prserv_address(worker->server)[0] != '\0', "address", NULL);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    unsigned n = argc == 4 ? (unsigned)atoi(argv[2]) : 0;
    struct worker *workers = calloc(n + 1, sizeof *workers);
    struct prserv *server;
    struct prserv_error error;

    if (n == 0 || !workers)
        return 2;
    check(prserv_connect(&server, argv[1], 30000, &error) == 0, "connect", &error);
    for (unsigned i = 0; i < n; i++) {
        workers[i] = (struct worker){server, i, (unsigned)atoi(argv[3]), 0};
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            return 2;
    }
    for (unsigned i = 0; i < n; i++)
        (void)pthread_join(workers[i].thread, NULL);
    prserv_close(server);
    free(workers);
    return 0;
}
