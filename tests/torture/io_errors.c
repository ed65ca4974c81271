/* Lets calls of the disk fail, each of the first ones of a kind in turn, once or until the cause
 * is gone: while a server starts, serves, or tidies. Clients may get errors, which must say
 * something; they never get a wrong answer; and as soon as the cause is gone the same server
 * serves again. In the end the power is cut, and nothing may be missing.
 *
 * A life is the same every time, by its seed. */
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
#define FAULTS_OF_LIFE 20

struct figures {
    uint64_t lives, faults, at_start, errors, answers, broken;
    uint64_t happened[DISK_CALLS];
};

struct life {
    struct figures *figures;
    struct rig_clients clients;
    struct rig *rig;
    char says[512];
};

static uint64_t chance(struct life *life, uint64_t limit)
{
    return rig_chance(&life->clients, limit);
}

static bool fail(struct life *life, const char *what, const char *why)
{
    (void)snprintf(life->says, sizeof life->says, "%s: %.400s", what, why);
    return false;
}

static bool start(struct life *life, struct error *error)
{
    const struct rig_options options = {.owner = SERVER, .sync = STORE_SYNC_FULL};

    error->text[0] = '\0';
    life->rig = rig_create(&options, error);
    return life->rig;
}

static bool must_start(struct life *life)
{
    struct error error;

    return start(life, &error) || fail(life, "it does not start any more", error.text);
}

static void plan(struct life *life, uint64_t n, struct disk_plan *plan)
{
    static const enum disk_fault faults[] = {DISK_ERROR, DISK_ERROR, DISK_ERRORS, DISK_FULL};
    enum disk_call call = (enum disk_call)(n % DISK_CALLS);

    *plan = (struct disk_plan){
        .fault = faults[chance(life, 4)],
        .calls = 1U << call,
        .after = chance(life, 2) ? n / DISK_CALLS % 8 : chance(life, 60),
    };
    if (plan->fault == DISK_FULL)
        plan->calls = 1U << DISK_WRITE;
    disk_plan(plan);
}

static void count(struct life *life, const struct disk_plan *plan)
{
    life->figures->faults += disk_fault_happened();
    for (unsigned call = 0; call < DISK_CALLS; call++)
        life->figures->happened[call] += disk_fault_happened() && plan->calls == 1U << call;
    disk_no_plan();
}

static bool cut_power(struct life *life)
{
    disk_cut_power();
    rig_free(life->rig);
    life->rig = NULL;
    for (unsigned owner = 0; owner < DISK_OWNERS; owner++)
        disk_restart(owner);
    return must_start(life);
}

static bool check(struct life *life)
{
    disk_set_owner(CHECKER);
    return ledger_check(life->clients.ledger, RIG_FILE, life->says);
}

/* ---- while a server starts ---- */

static bool kill_and_start(struct life *life, uint64_t n)
{
    struct disk_plan faults;
    struct error error;

    bool leaves = chance(life, 2); /* something that was written and not synced */

    if (leaves) {
        disk_plan(&(struct disk_plan){.fault = DISK_KILL, .calls = 1U << DISK_SYNC});
        if (!rig_serve(life->rig, &life->clients, RIG_ANYTHING, life->says))
            return false;
    }
    disk_kill(SERVER);
    disk_no_plan();
    rig_free(life->rig);
    disk_restart(SERVER);
    plan(life, n, &faults);
    if (leaves && chance(life, 2)) {
        faults = (struct disk_plan){
            .fault = DISK_ERROR, .calls = 1U << DISK_SYNC, .after = chance(life, 2)};
        disk_plan(&faults);
    }
    if (!start(life, &error) && error.text[0] == '\0')
        return fail(life, "it did not start", "without a reason");
    life->figures->at_start += disk_fault_happened();
    life->figures->errors += !life->rig;
    count(life, &faults);
    if (!life->rig && !must_start(life))
        return false;
    if (!rig_serve(life->rig, &life->clients, RIG_LOOK, life->says))
        return false;
    return chance(life, 2) || (cut_power(life) && check(life));
}

/* ---- while it serves ---- */

static bool serve_badly(struct life *life, uint64_t n)
{
    struct disk_plan faults;
    unsigned batches = 0;
    bool is_good = true;

    plan(life, n, &faults);
    if (chance(life, 2)) {
        faults.forgets = true;
        disk_plan(&faults);
    }
    while (is_good && batches++ < 6) {
        is_good = rig_serve(life->rig, &life->clients, RIG_ANYTHING, life->says);
        if (chance(life, 3) == 0)
            rig_tidy(life->rig);
    }
    count(life, &faults);
    return is_good;
}

/* The cause is gone: from now on there are no errors. */
static bool serves_again(struct life *life)
{
    uint64_t before = life->clients.n_errors;

    for (int i = 0; i < 3; i++) {
        if (!rig_ask_new(life->rig, &life->clients, life->says) ||
            !rig_serve(life->rig, &life->clients, RIG_ANYTHING, life->says))
            return false;
        rig_tidy(life->rig);
    }
    if (life->clients.n_errors == before)
        return true;
    return fail(life, "it does not recover", life->clients.error.text);
}

static bool live_on(struct life *life, uint64_t n)
{
    bool at_start = chance(life, 4) == 0;

    if (!(at_start ? kill_and_start(life, n) : serve_badly(life, n)))
        return false;
    if (life->clients.n_errors > 0 && life->clients.error.text[0] == '\0')
        return fail(life, "an error", "without a reason");
    if (chance(life, 3) > 0 && !(serves_again(life) && check(life)))
        return false;
    return chance(life, 3) > 0 || (cut_power(life) && check(life));
}

static void live(struct figures *figures, uint64_t seed)
{
    struct life life = {.figures = figures};
    bool is_good;
    uint64_t n = 0;

    disk_format(seed);
    life.clients = (struct rig_clients){.ledger = ledger_create(), .chance = {~seed}};
    is_good = must_start(&life);
    while (is_good && n < FAULTS_OF_LIFE)
        is_good = live_on(&life, seed * FAULTS_OF_LIFE + n++);
    if (!is_good) {
        figures->broken++;
        printf("seed %" PRIu64 ", fault %" PRIu64 ": %s\n", seed, n, life.says);
    }
    figures->lives++;
    figures->errors += life.clients.n_errors;
    figures->answers += ledger_answers(life.clients.ledger);
    disk_no_plan();
    rig_free(life.rig);
    ledger_free(life.clients.ledger);
}

/* ---- the program ---- */

struct options {
    uint64_t seed;
    uint64_t faults;
    uint64_t seconds; /* 0: until there were so many faults */
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
    while (options.seconds ? took_ms < options.seconds * 1000 : figures.faults < options.faults) {
        live(&figures, options.seed + figures.lives);
        took_ms = clock_ms() - began_ms;
    }
    disk_free();
    printf("%" PRIu64 " faults (%" PRIu64 " while a server started) in %" PRIu64
           " lives from seed %" PRIu64 "; %" PRIu64 " answers, %" PRIu64
           " errors; %.1f s, %.0f faults a second; %" PRIu64 " broken lives\n ",
        figures.faults, figures.at_start, figures.lives, options.seed, figures.answers,
        figures.errors, (double)took_ms / 1000,
        (double)figures.faults * 1000 / (double)(took_ms ? took_ms : 1), figures.broken);
    for (unsigned call = 0; call < DISK_CALLS; call++)
        printf(" %s %" PRIu64, disk_call_name((enum disk_call)call), figures.happened[call]);
    printf("\n");
    return figures.broken ? 1 : 0;
}
