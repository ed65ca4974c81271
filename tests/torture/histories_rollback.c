/* SPDX-License-Identifier: MIT */
/* Rollbacks: a copy of the database that was taken earlier is put back, while all servers are
 * stopped or under running ones; later the rollback is ended by floors for all packages.
 *
 *     copy ──→ put back ──→ floors ──→ over      (each after some time, while clients ask)
 *
 * The checker proves that no number is given twice, that new content is refused in between, and
 * that each rollback is noticed. Rows are lost, so the other promises do not hold in such a round.
 */
#include "histories.h"

#include "base/clock.h"

#include <inttypes.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define STEP_MS 400     /* the longest time between two steps, after the shortest */
#define LEAST_MS 50     /* some rows are stored meanwhile */
#define FLOORS_MS 60000 /* for raising all packages */
#define MARGIN "1000000"

enum { COPY, PUT_BACK, FLOORS, OVER };

static void rollback_name(const struct rollbacks *rollbacks, bool is_copy, char path[560])
{
    char file[512];

    servers_file(rollbacks->servers, 0, file);
    (void)snprintf(path, 560, "%s%s", file, is_copy ? "-copy" : "");
}

/* Copies a database over another one, through SQLite, in one transaction. */
static void copy_database(const char *from, const char *to)
{
    sqlite3 *source;
    sqlite3 *target;
    sqlite3_backup *backup;
    int code;

    if (sqlite3_open(from, &source) != SQLITE_OK || sqlite3_open(to, &target) != SQLITE_OK)
        abort();
    (void)sqlite3_busy_timeout(target, FLOORS_MS);
    backup = sqlite3_backup_init(target, "main", source, "main");
    if (!backup)
        abort();
    do {
        code = sqlite3_backup_step(backup, -1);
        (void)usleep(1000);
    } while (code == SQLITE_BUSY || code == SQLITE_LOCKED);
    if (code != SQLITE_DONE)
        abort();
    (void)sqlite3_backup_finish(backup);
    (void)sqlite3_close(source);
    (void)sqlite3_close(target);
}

static void put_back_under_servers(struct rollbacks *rollbacks)
{
    char copy[560];
    char file[560];

    rollback_name(rollbacks, true, copy);
    rollback_name(rollbacks, false, file);
    copy_database(copy, file);
}

static void put_back_while_stopped(struct rollbacks *rollbacks)
{
    static const char *const ends[] = {"-wal", "-shm"};
    struct servers *servers = rollbacks->servers;
    char copy[560];
    char file[560];
    char path[580];

    for (unsigned i = 0; i < servers->n; i++) {
        struct server *server = &servers->list[i];

        if (server->pid > 0 && kill(server->pid, SIGTERM) == 0)
            (void)waitpid(server->pid, NULL, 0);
        server->pid = 0;
        server->start_at_ms = 0;
    }
    rollback_name(rollbacks, true, copy);
    rollback_name(rollbacks, false, file);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        (void)snprintf(path, sizeof path, "%s%s", file, ends[i]);
        (void)unlink(path);
    }
    if (rename(copy, file) != 0)
        abort();
}

/* Raises all packages through a server. Returns whether that ended a rollback. */
static bool raise_packages(const struct rollbacks *rollbacks)
{
    const char *program = rollbacks->servers->program;
    const char *address = rollbacks->servers->list[0].address;
    const char *folder = rollbacks->servers->folder;
    const char *slash = strrchr(program, '/');
    char command[2400];
    int status;

    (void)snprintf(command, sizeof command,
        "i=0; until '%.*s/prserv' --server 'unix://%s' ping 2>/dev/null >&2 || [ $i -eq 600 ]; do "
        "i=$((i + 1)); sleep 0.1; done; "
        "'%.*s/prserv' --server 'unix://%s' floor --all --margin " MARGIN " >'%s/floors' 2>&1; "
        "grep -q 'is over' '%s/floors' || { cat '%s/floors'; exit 1; }",
        (int)(slash - program), program, address, (int)(slash - program), program, address, folder,
        folder, folder);
    status = system(command); /* NOLINT: this program's own command */
    return status == 0;
}

void rollbacks_begin(struct rollbacks *rollbacks)
{
    rollbacks->step = COPY;
    rollbacks->at_ms = clock_ms() + LEAST_MS + dice(&rollbacks->dice, STEP_MS);
}

bool rollbacks_are_over(const struct rollbacks *rollbacks)
{
    return rollbacks->step == OVER;
}

void rollbacks_turn(struct rollbacks *rollbacks)
{
    char copy[560];
    char file[560];

    if (rollbacks->step == OVER || clock_ms() < rollbacks->at_ms)
        return;
    switch (rollbacks->step++) {
    case COPY:
        rollback_name(rollbacks, false, file);
        rollback_name(rollbacks, true, copy);
        copy_database(file, copy);
        break;
    case PUT_BACK:
        if (dice(&rollbacks->dice, 2) == 0)
            put_back_under_servers(rollbacks);
        else
            put_back_while_stopped(rollbacks);
        rollbacks->put_back = atomic_fetch_add(rollbacks->ticks, 1);
        break;
    default:
        rollbacks->ended = atomic_fetch_add(rollbacks->ticks, 1);
        rollbacks->count++;
        if (!raise_packages(rollbacks))
            rollbacks->unnoticed++;
    }
    rollbacks->at_ms = clock_ms() + LEAST_MS + dice(&rollbacks->dice, STEP_MS);
}

/* ---- the checker ---- */

static bool gives_a_number(const struct history_operation *operation)
{
    return operation->kind == HISTORY_GET_PR && operation->answered != HISTORY_NEVER &&
           !operation->read_only && operation->value != 0;
}

static int compare_numbers(const void *a, const void *b)
{
    const struct history_operation *first = a;
    const struct history_operation *second = b;

    if (first->package != second->package)
        return first->package < second->package ? -1 : 1;
    if (first->value != second->value)
        return first->value < second->value ? -1 : 1;
    return first->checksum < second->checksum ? -1 : first->checksum > second->checksum;
}

/* Returns whether a checksum was asked for before the copy was put back. */
static bool was_asked_before(
    const struct history *history, const struct history_operation *about, uint64_t put_back)
{
    for (size_t i = 0; i < history_length(history); i++) {
        const struct history_operation *other = history_at(history, i);

        if (other->kind == HISTORY_GET_PR && other->package == about->package &&
            other->checksum == about->checksum && other->sent < put_back)
            return true;
    }
    return false;
}

uint64_t rollbacks_check(
    const struct rollbacks *rollbacks, struct history *history, history_says_fn says, void *context)
{
    const size_t n = history_length(history);
    struct history_operation *given = calloc(n + 1, sizeof *given);
    uint64_t broken = 0;
    size_t n_given = 0;
    char sentence[200];

    if (!given)
        abort();
    for (size_t i = 0; i < n; i++) {
        const struct history_operation *operation = history_at(history, i);

        if (!gives_a_number(operation))
            continue;
        given[n_given++] = *operation;
        if (operation->sent > rollbacks->put_back && operation->answered < rollbacks->ended &&
            !was_asked_before(history, operation, rollbacks->put_back)) {
            broken++;
            says(context, "new content got a number while the database was rolled back");
        }
    }
    qsort(given, n_given, sizeof *given, compare_numbers);
    for (size_t i = 1; i < n_given; i++) {
        if (given[i].package != given[i - 1].package || given[i].value != given[i - 1].value ||
            given[i].checksum == given[i - 1].checksum)
            continue;
        broken++;
        (void)snprintf(sentence, sizeof sentence,
            "package %" PRIu32 ": %s was given to the checksums %" PRIu32 " and %" PRIu32,
            given[i].package, history_revision(history, given[i].value), given[i - 1].checksum,
            given[i].checksum);
        says(context, sentence);
    }
    free(given);
    return broken;
}
