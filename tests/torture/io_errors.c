/* SPDX-License-Identifier: MIT */
/* Lets calls of the disk fail while a server starts, serves or runs a checkpoint: the first calls
 * of each kind in turn, once or until the cause is gone. Clients may get errors, with a reason, but
 * never a wrong answer; once the cause is gone, the same server serves again. At the end the power
 * is cut, and no answered row may be missing.
 *
 * A trial can be repeated from its seed. */
#include "disk.h"
#include "ledger.h"
#include "rig.h"

#include "base/clock.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERVER 0
#define CHECKER 3 /* owner of the files that the ledger reads */
#define FAULTS_PER_TRIAL 20

struct figures {
    uint64_t trials, faults, at_start, errors, answers, broken;
    uint64_t happened[DISK_CALLS];
};

struct trial {
    struct figures *figures;
    struct rig_clients clients;
    struct rig *rig;
    char reason[512];
};

static uint64_t chance(struct trial *trial, uint64_t limit)
{
    return rig_chance(&trial->clients, limit);
}

static bool fail(struct trial *trial, const char *what, const char *why)
{
    (void)snprintf(trial->reason, sizeof trial->reason, "%s: %.400s", what, why);
    return false;
}

static bool start(struct trial *trial, struct error *error)
{
    const struct rig_options options = {.owner = SERVER, .sync = STORE_SYNC_FULL};

    error->text[0] = '\0';
    trial->rig = rig_create(&options, error);
    return trial->rig;
}

static bool must_start(struct trial *trial)
{
    struct error error;

    return start(trial, &error) || fail(trial, "the server does not start again", error.text);
}

static void plan(struct trial *trial, uint64_t n, struct disk_plan *plan)
{
    static const enum disk_fault faults[] = {DISK_ERROR, DISK_ERROR, DISK_ERRORS, DISK_FULL};
    enum disk_call call = (enum disk_call)(n % DISK_CALLS);

    *plan = (struct disk_plan){
        .fault = faults[chance(trial, 4)],
        .calls = 1U << call,
        .after = chance(trial, 2) ? n / DISK_CALLS % 8 : chance(trial, 60),
    };
    if (plan->fault == DISK_FULL)
        plan->calls = 1U << DISK_WRITE;
    disk_plan(plan);
}

static void count(struct trial *trial, const struct disk_plan *plan)
{
    trial->figures->faults += disk_fault_happened();
    for (unsigned call = 0; call < DISK_CALLS; call++)
        trial->figures->happened[call] += disk_fault_happened() && plan->calls == 1U << call;
    disk_no_plan();
}

static bool cut_power(struct trial *trial)
{
    disk_cut_power();
    rig_free(trial->rig);
    trial->rig = NULL;
    for (unsigned owner = 0; owner < DISK_OWNERS; owner++)
        disk_restart(owner);
    return must_start(trial);
}

static bool check(struct trial *trial)
{
    disk_set_owner(CHECKER);
    return ledger_check(trial->clients.ledger, RIG_FILE, trial->reason);
}

/* ---- while a server starts ---- */

static bool kill_and_start(struct trial *trial, uint64_t n)
{
    struct disk_plan faults;
    struct error error;

    bool leaves = chance(trial, 2); /* writes that are not synced */

    if (leaves) {
        disk_plan(&(struct disk_plan){.fault = DISK_KILL, .calls = 1U << DISK_SYNC});
        if (!rig_serve(trial->rig, &trial->clients, RIG_ANYTHING, trial->reason))
            return false;
    }
    disk_kill(SERVER);
    disk_no_plan();
    rig_free(trial->rig);
    disk_restart(SERVER);
    plan(trial, n, &faults);
    if (leaves && chance(trial, 2)) {
        faults = (struct disk_plan){
            .fault = DISK_ERROR, .calls = 1U << DISK_SYNC, .after = chance(trial, 2)};
        disk_plan(&faults);
    }
    if (!start(trial, &error) && error.text[0] == '\0')
        return fail(trial, "the server did not start", "no reason given");
    trial->figures->at_start += disk_fault_happened();
    trial->figures->errors += !trial->rig;
    count(trial, &faults);
    if (!trial->rig && !must_start(trial))
        return false;
    if (!rig_serve(trial->rig, &trial->clients, RIG_LOOK_UP, trial->reason))
        return false;
    return chance(trial, 2) || (cut_power(trial) && check(trial));
}

/* ---- while it serves ---- */

static bool serve_with_faults(struct trial *trial, uint64_t n)
{
    struct disk_plan faults;
    unsigned batches = 0;
    bool is_good = true;

    plan(trial, n, &faults);
    if (chance(trial, 2)) {
        faults.forgets = true;
        disk_plan(&faults);
    }
    while (is_good && batches++ < 6) {
        is_good = rig_serve(trial->rig, &trial->clients, RIG_ANYTHING, trial->reason);
        if (chance(trial, 3) == 0)
            rig_checkpoint(trial->rig);
    }
    count(trial, &faults);
    return is_good;
}

/* Checks that there are no errors once the cause is gone. */
static bool serves_again(struct trial *trial)
{
    uint64_t before = trial->clients.n_errors;

    for (int i = 0; i < 3; i++) {
        if (!rig_ask_new(trial->rig, &trial->clients, trial->reason) ||
            !rig_serve(trial->rig, &trial->clients, RIG_ANYTHING, trial->reason))
            return false;
        rig_checkpoint(trial->rig);
    }
    if (trial->clients.n_errors == before)
        return true;
    return fail(trial, "the server does not recover", trial->clients.error.text);
}

static bool go_on(struct trial *trial, uint64_t n)
{
    bool at_start = chance(trial, 4) == 0;

    if (!(at_start ? kill_and_start(trial, n) : serve_with_faults(trial, n)))
        return false;
    if (trial->clients.n_errors > 0 && trial->clients.error.text[0] == '\0')
        return fail(trial, "an error", "no reason given");
    if (chance(trial, 3) > 0 && !(serves_again(trial) && check(trial)))
        return false;
    return chance(trial, 3) > 0 || (cut_power(trial) && check(trial));
}

static void run_trial(struct figures *figures, uint64_t seed)
{
    struct trial trial = {.figures = figures};
    bool is_good;
    uint64_t n = 0;

    disk_format(seed);
    trial.clients = (struct rig_clients){.ledger = ledger_create(), .chance = {~seed}};
    is_good = must_start(&trial);
    while (is_good && n < FAULTS_PER_TRIAL)
        is_good = go_on(&trial, seed * FAULTS_PER_TRIAL + n++);
    if (!is_good) {
        figures->broken++;
        printf("seed %" PRIu64 ", fault %" PRIu64 ": %s\n", seed, n, trial.reason);
    }
    figures->trials++;
    figures->errors += trial.clients.n_errors;
    figures->answers += ledger_answers(trial.clients.ledger);
    disk_no_plan();
    rig_free(trial.rig);
    ledger_free(trial.clients.ledger);
}

/* ---- the program ---- */

struct options {
    uint64_t seed;
    uint64_t faults;
    uint64_t seconds; /* 0: the number of faults counts */
};

static void usage(int status)
{
    (void)fputs("Usage: torture_io_errors [--seed N] [--faults N | --seconds N]\n",
        status == 0 ? stdout : stderr);
    exit(status);
}

static void read_options(struct options *options, int n_words, char **words)
{
    static const struct option known[] = {{"seed", required_argument, NULL, 's'},
        {"faults", required_argument, NULL, 'f'}, {"seconds", required_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'}, {0}};
    int letter;

    while ((letter = getopt_long(n_words, words, "", known, NULL)) != -1) {
        uint64_t number = optarg ? strtoull(optarg, NULL, 10) : 0;

        if (letter == 's')
            options->seed = number;
        else if (letter == 'f')
            options->faults = number;
        else if (letter == 't')
            options->seconds = number;
        else
            usage(letter == 'h' ? 0 : 2);
    }
}

int main(int n_words, char **words)
{
    struct options options = {.seed = 1, .faults = 1000};
    struct figures figures = {0};
    uint64_t began_ms = clock_ms();
    uint64_t took_ms = 0;

    read_options(&options, n_words, words);
    rig_enter_folder();
    while (options.seconds ? took_ms < options.seconds * 1000 : figures.faults < options.faults) {
        rig_forget_mark();
        run_trial(&figures, options.seed + figures.trials);
        took_ms = clock_ms() - began_ms;
    }
    disk_free();
    rig_leave_folder();
    printf("%" PRIu64 " faults (%" PRIu64 " while a server started) in %" PRIu64
           " trials from seed %" PRIu64 "; %" PRIu64 " answers, %" PRIu64
           " errors; %.1f s, %.0f faults a second; %" PRIu64 " broken trials\n ",
        figures.faults, figures.at_start, figures.trials, options.seed, figures.answers,
        figures.errors, (double)took_ms / 1000,
        (double)figures.faults * 1000 / (double)(took_ms ? took_ms : 1), figures.broken);
    for (unsigned call = 0; call < DISK_CALLS; call++)
        printf(" %s %" PRIu64, disk_call_name((enum disk_call)call), figures.happened[call]);
    printf("\n");
    return figures.broken ? 1 : 0;
}
