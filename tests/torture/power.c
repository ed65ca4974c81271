/* SPDX-License-Identifier: MIT */
/* Cuts the power again and again, and checks that no answered row is lost.
 *
 *     trial:  an empty disk and servers; then, many times:
 *             clients ask, checkpoints run  →  at some change of the disk, the power is cut or a
 *             process killed  →  (the power is cut again while the servers start)  →  the servers
 *             start, and the database is compared with all answers so far
 *
 * Without --threads, a trial can be repeated from its seed. */
#include "disk.h"
#include "ledger.h"
#include "rig.h"

#include "base/clock.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_SERVERS 2
#define CHECKER 3 /* owner of the files that the ledger reads */
#define CUTS_PER_TRIAL 25

struct options {
    uint64_t seed;
    uint64_t cuts;
    uint64_t seconds; /* 0: the number of cuts counts */
    enum store_sync sync;
    bool threads;
};

struct figures {
    uint64_t trials, cuts, kills, starts_cut, at_rest, answers, syncs, writes, broken;
};

struct trial {
    const struct options *options;
    struct figures *figures;
    struct rig_clients clients;
    unsigned n_servers;
    struct rig *servers[MOST_SERVERS];
    char reason[512];
};

static uint64_t chance(struct trial *trial, uint64_t limit)
{
    return rig_chance(&trial->clients, limit);
}

/* ---- servers ---- */

static void start(struct trial *trial, unsigned owner)
{
    const struct rig_options options = {
        .owner = owner, .threads = trial->options->threads, .sync = trial->options->sync};
    struct error error;

    trial->servers[owner] = rig_create(&options, &error);
    if (!trial->servers[owner])
        (void)snprintf(
            trial->reason, sizeof trial->reason, "the server does not start: %.400s", error.text);
}

/* Frees dead servers; the others continue, or are stopped cleanly. */
static void clean_up(struct trial *trial)
{
    for (unsigned owner = 0; owner < trial->n_servers; owner++) {
        if (!disk_is_dead(owner) && chance(trial, 8) > 0)
            continue;
        rig_free(trial->servers[owner]);
        trial->servers[owner] = NULL;
    }
    for (unsigned owner = 0; owner < DISK_OWNERS; owner++)
        disk_restart(owner);
}

static void plan(struct trial *trial, uint64_t most)
{
    struct disk_plan plan = {
        .fault = chance(trial, 3) == 0 ? DISK_KILL : DISK_POWER,
        .calls = DISK_CHANGES,
        .after = chance(trial, most),
    };

    if (plan.fault == DISK_KILL) {
        trial->figures->kills++;
        if (chance(trial, 2)) { /* its writes are visible but not durable */
            plan.calls = 1U << DISK_SYNC;
            plan.after /= 4;
        }
    }
    disk_plan(&plan);
    trial->figures->cuts++;
}

static bool start_all(struct trial *trial)
{
    while (chance(trial, 4) == 0) { /* the power is cut again while they start */
        plan(trial, 12);
        for (unsigned owner = 0; owner < trial->n_servers; owner++)
            if (!trial->servers[owner] && !disk_is_dead(owner))
                start(trial, owner);
        trial->figures->starts_cut += disk_fault_happened();
        trial->figures->cuts -= !disk_fault_happened();
        disk_no_plan();
        clean_up(trial);
    }
    for (unsigned owner = 0; owner < trial->n_servers; owner++) {
        if (!trial->servers[owner])
            start(trial, owner);
        if (!trial->servers[owner])
            return false;
    }
    return true;
}

/* ---- between two cuts ---- */

static void checkpoint(void *context)
{
    rig_checkpoint(context);
}

/* Runs a checkpoint in the middle of a call of the server. */
static void plan_checkpoint(struct trial *trial, struct rig *rig)
{
    const struct disk_plan plan = {
        .fault = DISK_CALLBACK,
        .calls = 1U << DISK_WRITE | 1U << DISK_SYNC | 1U << DISK_READ | 1U << DISK_SHM_LOCK,
        .after = chance(trial, 12),
        .run = checkpoint,
        .context = rig,
    };

    disk_plan_callback(&plan);
}

static bool serve_until_cut(struct trial *trial)
{
    uint64_t dice = chance(trial, 10);
    enum rig_requests requests = dice == 0 ? RIG_KNOWN : dice < 3 ? RIG_LOOK_UP : RIG_ANYTHING;
    uint64_t n_batches = 1 + chance(trial, 30);
    bool is_good = true;

    while (is_good && n_batches-- > 0) {
        unsigned owner = (unsigned)chance(trial, trial->n_servers);
        struct rig *rig = trial->servers[owner];

        if (!rig || disk_is_dead(owner))
            continue;
        if (!trial->options->threads && chance(trial, 6) == 0)
            plan_checkpoint(trial, rig);
        is_good = rig_serve(rig, &trial->clients, requests, trial->reason);
        disk_plan_callback(&(struct disk_plan){.fault = DISK_NO_FAULT});
        if (chance(trial, 12) == 0)
            rig_checkpoint(rig);
    }
    if (!disk_fault_happened()) { /* then while the server is idle */
        trial->figures->at_rest++;
        if (chance(trial, 4) == 0)
            disk_kill(0);
        else
            disk_cut_power();
    }
    disk_no_plan();
    return is_good;
}

static bool go_on(struct trial *trial)
{
    bool is_good;

    plan(trial, chance(trial, 2) ? 20 : 300);
    is_good = serve_until_cut(trial);
    clean_up(trial);
    if (!is_good || !start_all(trial))
        return false;
    disk_set_owner(CHECKER);
    return ledger_check(trial->clients.ledger, RIG_FILE, trial->reason);
}

static void end(struct trial *trial)
{
    disk_no_plan();
    for (unsigned owner = 0; owner < trial->n_servers; owner++)
        rig_free(trial->servers[owner]);
    trial->figures->answers += ledger_answers(trial->clients.ledger);
    trial->figures->syncs += disk_count(DISK_SYNC);
    trial->figures->writes += disk_count(DISK_WRITE);
    ledger_free(trial->clients.ledger);
}

static void run_trial(const struct options *options, struct figures *figures, uint64_t seed)
{
    struct trial trial = {.options = options, .figures = figures};
    bool is_good;
    unsigned n = 0;

    disk_format(seed);
    trial.clients = (struct rig_clients){.ledger = ledger_create(), .chance = {~seed}};
    trial.n_servers = options->threads ? 1 : 1 + (unsigned)chance(&trial, MOST_SERVERS);
    is_good = start_all(&trial);
    while (is_good && n < CUTS_PER_TRIAL) {
        is_good = go_on(&trial);
        n++;
    }
    if (!is_good) {
        figures->broken++;
        printf("seed %" PRIu64 ", after cut %u: %s\n", seed, n, trial.reason);
    }
    figures->trials++;
    end(&trial);
}

/* ---- the program ---- */

static void usage(int status)
{
    (void)fputs("Usage: torture_power [--seed N] [--cuts N | --seconds N] [--sync full|normal|off] "
                "[--threads]\n",
        status == 0 ? stdout : stderr);
    exit(status);
}

static void read_options(struct options *options, int n_words, char **words)
{
    static const struct option known[] = {{"seed", required_argument, NULL, 's'},
        {"cuts", required_argument, NULL, 'c'}, {"seconds", required_argument, NULL, 't'},
        {"sync", required_argument, NULL, 'y'}, {"threads", no_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'}, {0}};
    int option;

    while ((option = getopt_long(n_words, words, "", known, NULL)) != -1) {
        if (option == 's')
            options->seed = strtoull(optarg, NULL, 10);
        else if (option == 'c')
            options->cuts = strtoull(optarg, NULL, 10);
        else if (option == 't')
            options->seconds = strtoull(optarg, NULL, 10);
        else if (option == 'y' && strcmp(optarg, "off") == 0)
            options->sync = STORE_SYNC_OFF;
        else if (option == 'y' && strcmp(optarg, "normal") == 0)
            options->sync = STORE_SYNC_NORMAL;
        else if (option == 'p')
            options->threads = true;
        else if (option != 'y' || strcmp(optarg, "full") != 0)
            usage(option == 'h' ? 0 : 2);
    }
}

int main(int n_words, char **words)
{
    struct options options = {.seed = 1, .cuts = 300, .sync = STORE_SYNC_FULL};
    struct figures figures = {0};
    uint64_t began_ms = clock_ms();
    uint64_t took_ms = 0;

    read_options(&options, n_words, words);
    rig_enter_folder();
    while (options.seconds ? took_ms < options.seconds * 1000 : figures.cuts < options.cuts) {
        rig_forget_mark();
        run_trial(&options, &figures, options.seed + figures.trials);
        took_ms = clock_ms() - began_ms;
    }
    disk_free();
    rig_leave_folder();
    printf("%" PRIu64 " cuts (%" PRIu64 " of them kills of a process, %" PRIu64
           " while servers started, %" PRIu64 " at rest) in %" PRIu64 " trials from seed %" PRIu64
           "; %" PRIu64 " answers, %" PRIu64 " writes, %" PRIu64 " syncs; %.1f s, %.0f cuts a "
           "second; %" PRIu64 " broken trials\n",
        figures.cuts, figures.kills, figures.starts_cut, figures.at_rest, figures.trials,
        options.seed, figures.answers, figures.writes, figures.syncs, (double)took_ms / 1000,
        (double)figures.cuts * 1000 / (double)(took_ms ? took_ms : 1), figures.broken);
    return figures.broken ? 1 : 0;
}
