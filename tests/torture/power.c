/* Cuts the power, again and again, and looks whether anything that was answered is lost.
 *
 *     life:  an empty disk; servers; then many times:
 *              clients ask, a keeper tidies  →  the power is cut, or a process killed, at some
 *              change of the disk  →  (cut again while the servers start)  →  servers start,
 *              the database is compared with all that was ever answered
 *
 * Without --threads a life is the same every time, by its seed. */
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
#define CUTS_OF_LIFE 25

struct options {
    uint64_t seed;
    uint64_t cuts;
    uint64_t seconds; /* 0: as many cuts as are said */
    enum store_sync sync;
    bool threads;
};

struct figures {
    uint64_t lives, cuts, kills, starts_cut, at_rest, answers, syncs, writes, broken;
};

struct life {
    const struct options *options;
    struct figures *figures;
    struct rig_clients clients;
    unsigned n_servers;
    struct rig *servers[MOST_SERVERS];
    char says[512];
};

static uint64_t chance(struct life *life, uint64_t limit)
{
    return rig_chance(&life->clients, limit);
}

/* ---- servers ---- */

static void start(struct life *life, unsigned owner)
{
    const struct rig_options options = {
        .owner = owner, .threads = life->options->threads, .sync = life->options->sync};
    struct error error;

    life->servers[owner] = rig_create(&options, &error);
    if (!life->servers[owner])
        (void)snprintf(life->says, sizeof life->says, "it does not start: %.400s", error.text);
}

/* Takes away what is dead; what remains may go on or be ended in order. */
static void clean_up(struct life *life)
{
    for (unsigned owner = 0; owner < life->n_servers; owner++) {
        if (!disk_is_dead(owner) && chance(life, 8) > 0)
            continue;
        rig_free(life->servers[owner]);
        life->servers[owner] = NULL;
    }
    for (unsigned owner = 0; owner < DISK_OWNERS; owner++)
        disk_restart(owner);
}

static void plan(struct life *life, uint64_t most)
{
    struct disk_plan plan = {
        .fault = chance(life, 3) == 0 ? DISK_KILL : DISK_POWER,
        .calls = DISK_CHANGES,
        .after = chance(life, most),
    };

    if (plan.fault == DISK_KILL) {
        life->figures->kills++;
        if (chance(life, 2)) { /* what it wrote can be seen, and is not durable */
            plan.calls = 1U << DISK_SYNC;
            plan.after /= 4;
        }
    }
    disk_plan(&plan);
    life->figures->cuts++;
}

static bool start_all(struct life *life)
{
    while (chance(life, 4) == 0) { /* the power fails again while they start */
        plan(life, 12);
        for (unsigned owner = 0; owner < life->n_servers; owner++)
            if (!life->servers[owner] && !disk_is_dead(owner))
                start(life, owner);
        life->figures->starts_cut += disk_fault_happened();
        life->figures->cuts -= !disk_fault_happened();
        disk_no_plan();
        clean_up(life);
    }
    for (unsigned owner = 0; owner < life->n_servers; owner++) {
        if (!life->servers[owner])
            start(life, owner);
        if (!life->servers[owner])
            return false;
    }
    return true;
}

/* ---- between two cuts ---- */

static void tidy(void *context)
{
    rig_tidy(context);
}

/* Lets the keeper work in the middle of what the server does. */
static void plan_keeper(struct life *life, struct rig *rig)
{
    const struct disk_plan plan = {
        .fault = DISK_CALLBACK,
        .calls = 1U << DISK_WRITE | 1U << DISK_SYNC | 1U << DISK_READ | 1U << DISK_SHM_LOCK,
        .after = chance(life, 12),
        .run = tidy,
        .context = rig,
    };

    disk_plan_callback(&plan);
}

static bool serve_until_dark(struct life *life)
{
    uint64_t dice = chance(life, 10);
    enum rig_mood mood = dice == 0 ? RIG_KNOWN : dice < 3 ? RIG_LOOK : RIG_ANYTHING;
    uint64_t n_batches = 1 + chance(life, 30);
    bool is_good = true;

    while (is_good && n_batches-- > 0) {
        unsigned owner = (unsigned)chance(life, life->n_servers);
        struct rig *rig = life->servers[owner];

        if (!rig || disk_is_dead(owner))
            continue;
        if (!life->options->threads && chance(life, 6) == 0)
            plan_keeper(life, rig);
        is_good = rig_serve(rig, &life->clients, mood, life->says);
        disk_plan_callback(&(struct disk_plan){.fault = DISK_NO_FAULT});
        if (chance(life, 12) == 0)
            rig_tidy(rig);
    }
    if (!disk_fault_happened()) { /* then when nothing is going on */
        life->figures->at_rest++;
        if (chance(life, 4) == 0)
            disk_kill(0);
        else
            disk_cut_power();
    }
    disk_no_plan();
    return is_good;
}

static bool live_on(struct life *life)
{
    bool is_good;

    plan(life, chance(life, 2) ? 20 : 300);
    is_good = serve_until_dark(life);
    clean_up(life);
    if (!is_good || !start_all(life))
        return false;
    disk_set_owner(CHECKER);
    return ledger_check(life->clients.ledger, RIG_FILE, life->says);
}

static void end(struct life *life)
{
    disk_no_plan();
    for (unsigned owner = 0; owner < life->n_servers; owner++)
        rig_free(life->servers[owner]);
    life->figures->answers += ledger_answers(life->clients.ledger);
    life->figures->syncs += disk_count(DISK_SYNC);
    life->figures->writes += disk_count(DISK_WRITE);
    ledger_free(life->clients.ledger);
}

static void live(const struct options *options, struct figures *figures, uint64_t seed)
{
    struct life life = {.options = options, .figures = figures};
    bool is_good;
    unsigned n = 0;

    disk_format(seed);
    life.clients = (struct rig_clients){.ledger = ledger_create(), .chance = {~seed}};
    life.n_servers = options->threads ? 1 : 1 + (unsigned)chance(&life, MOST_SERVERS);
    is_good = start_all(&life);
    while (is_good && n < CUTS_OF_LIFE) {
        is_good = live_on(&life);
        n++;
    }
    if (!is_good) {
        figures->broken++;
        printf("seed %" PRIu64 ", after cut %u: %s\n", seed, n, life.says);
    }
    figures->lives++;
    end(&life);
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
    while (options.seconds ? took_ms < options.seconds * 1000 : figures.cuts < options.cuts) {
        live(&options, &figures, options.seed + figures.lives);
        took_ms = clock_ms() - began_ms;
    }
    disk_free();
    printf("%" PRIu64 " cuts (%" PRIu64 " of them kills of a process, %" PRIu64
           " while servers started, %" PRIu64 " at rest) in %" PRIu64 " lives from seed %" PRIu64
           "; %" PRIu64 " answers, %" PRIu64 " writes, %" PRIu64 " syncs; %.1f s, %.0f cuts a "
           "second; %" PRIu64 " broken lives\n",
        figures.cuts, figures.kills, figures.starts_cut, figures.at_rest, figures.lives,
        options.seed, figures.answers, figures.writes, figures.syncs, (double)took_ms / 1000,
        (double)figures.cuts * 1000 / (double)(took_ms ? took_ms : 1), figures.broken);
    return figures.broken ? 1 : 0;
}
