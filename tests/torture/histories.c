/* SPDX-License-Identifier: MIT */
/* Records histories of many clients of real servers on one database, or on a chain of databases,
 * and checks whether each history keeps the promises.
 *
 *     round:  some thousand requests about new packages, with kills and network faults
 *             → all are answered or lost → every row is read → the checker (history.h)
 */
#include "histories.h"

#include "base/clock.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DRAIN_MS 60000
#define ROUND_MS 2000 /* after which no more requests are sent: lost ones take long */
#define MOST_SENTENCES 20

struct options {
    uint64_t seed, seconds, operations, round, kills_ms, removals_ms;
    unsigned writers, chain, clients, depth;
    bool sql_writer, steady_network, rollbacks;
    const char *on_kill, *file, *program;
};

struct run {
    const struct options *options;
    struct servers servers;
    struct network *network;
    struct clients *clients;
    struct sql_writer *sql_writer;
    atomic_ullong ticks;
    struct faults faults;
    struct rollbacks rollbacks;
    struct removals removals;
    uint64_t dice;
    struct history_rules rules;
    uint64_t rounds, operations, rows, broken, stuck;
    char folder[64];
};

/* ---- a round ---- */

static void say(void *context, const char *sentence)
{
    struct run *run = context;

    if (run->broken++ < MOST_SENTENCES)
        printf("round %" PRIu64 ": %s\n", run->rounds, sentence);
}

/* Reads the rows from one server of each database; if it fails, from another one. */
static bool add_rows(struct run *run, struct round *round)
{
    for (unsigned database = 0; database < run->rules.n_databases; database++) {
        uint64_t until_ms = clock_ms() + DRAIN_MS;
        size_t before = history_length(round->history);
        bool is_done = false;

        while (!is_done && clock_ms() < until_ms) {
            struct server *server = &run->servers.list[dice(&run->dice, run->servers.n)];

            servers_look_after(&run->servers, clock_ms());
            (void)removals_turn(&run->removals, false);
            if (server->database == database)
                is_done = rows_add(server, round);
            if (!is_done && history_length(round->history) != before)
                return false;
            if (!is_done)
                (void)usleep(2000);
        }
        if (!is_done)
            return false;
    }
    return true;
}

/* Every second round has a rollback. */
static bool has_rollback(const struct run *run)
{
    return run->options->rollbacks && run->rounds % 2 == 0;
}

static void ask_all(struct run *run, struct round *round)
{
    uint64_t give_up_ms = UINT64_MAX;
    uint64_t until_ms = clock_ms() + ROUND_MS;

    while (clients_turn(run->clients, round)) {
        uint64_t now_ms = clock_ms();
        bool may_kill = removals_turn(&run->removals, round->left > 0);

        if (has_rollback(run)) {
            rollbacks_turn(&run->rollbacks);
            until_ms = rollbacks_are_over(&run->rollbacks) ? until_ms : now_ms + ROUND_MS;
        }
        if (now_ms >= until_ms)
            round->left = 0;
        if (has_rollback(run))
            round->left = rollbacks_are_over(&run->rollbacks) ? round->left : run->options->round;
        else if (round->left > 0 && may_kill)
            faults_turn(&run->faults);
        else if (give_up_ms == UINT64_MAX)
            give_up_ms = now_ms + DRAIN_MS;
        servers_look_after(&run->servers, now_ms);
        if (now_ms >= give_up_ms) {
            run->stuck++;
            clients_drop(run->clients);
        }
    }
}

/* Varies the depth: few requests under way reveal a server that does not notice new rows, many
 * reveal one that confuses requests. */
static unsigned choose_depth(struct run *run)
{
    unsigned depths[] = {1, 2, run->options->depth};

    return depths[run->rounds % 3];
}

static void check_round(struct run *run, struct round *round)
{
    if (has_rollback(run)) {
        (void)rollbacks_check(&run->rollbacks, round->history, say, run);
        return;
    }
    run->rules.is_complete = add_rows(run, round);
    if (!run->rules.is_complete) {
        run->stuck++;
        printf("round %" PRIu64 ": the rows can't be read\n", run->rounds);
    }
    (void)history_check(round->history, &run->rules, say, run);
}

static void play_round(struct run *run)
{
    uint64_t before = run->broken;
    struct round round = {
        .history = history_create(), .left = run->options->round, .depth = choose_depth(run)};

    if (run->options->operations && run->options->operations - run->operations < round.left)
        round.left = run->options->operations - run->operations;
    run->rounds++;
    (void)snprintf(round.name, sizeof round.name, "h%lld-%d-%" PRIu64, (long long)time(NULL),
        (int)getpid(), run->rounds);
    if (run->sql_writer)
        sql_writer_begin(run->sql_writer, round.name);
    if (has_rollback(run))
        rollbacks_begin(&run->rollbacks);
    ask_all(run, &round);
    run->operations += history_length(round.history);
    if (run->sql_writer)
        sql_writer_finish(run->sql_writer, round.history);
    check_round(run, &round);
    if (run->broken > before)
        printf("round %" PRIu64 " broke %" PRIu64 " promises\n", run->rounds, run->broken - before);
    history_free(round.history);
    (void)fflush(stdout);
}

/* ---- start and end ---- */

static void lay_out(struct run *run)
{
    const struct options *options = run->options;
    bool fail = !options->steady_network;

    run->network = network_create(&run->servers, options->seed + 1, fail);
    run->rules.n_databases = options->chain + 1;
    run->rules.upstreams_fail = options->chain > 0 && (fail || options->kills_ms > 0);
    for (unsigned database = 0; database <= options->chain; database++) {
        run->rules.upstream_of[database] = (int)database - 1;
        if (database > 0)
            run->servers.ports[database] = network_add(run->network, database - 1);
        for (unsigned i = 0; i < options->writers; i++)
            servers_add(&run->servers, database, false);
        servers_add(&run->servers, database, true);
        run->servers.list[run->servers.n - 1].start_at_ms = UINT64_MAX;
    }
}

static void wait_for(struct run *run, const struct server *server)
{
    uint64_t until_ms = clock_ms() + DRAIN_MS;
    int fd = -1;

    while (fd < 0 && clock_ms() < until_ms) {
        servers_look_after(&run->servers, clock_ms());
        fd = servers_connect(server, 0);
        if (fd < 0)
            (void)usleep(5000);
    }
    if (fd < 0) {
        fprintf(stderr, "a server does not start; see %s/log\n", run->folder);
        servers_stop(&run->servers);
        exit(2);
    }
    (void)close(fd);
}

/* Starts the read-write servers first: a read-only one needs a database. */
static void start_all(struct run *run)
{
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < run->servers.n; i++) {
            struct server *server = &run->servers.list[i];

            if (server->read_only == (round == 1)) {
                server->start_at_ms = 0;
                wait_for(run, server);
            }
        }
    }
}

static void begin(struct run *run, const struct options *options)
{
    char file[512];

    *run = (struct run){.options = options, .dice = options->seed};
    (void)snprintf(run->folder, sizeof run->folder, "/tmp/histories-XXXXXX");
    if (!mkdtemp(run->folder))
        abort();
    run->servers.program = options->program;
    run->servers.folder = run->folder;
    run->servers.file = options->file;
    run->servers.may_give_up = options->on_kill != NULL || options->removals_ms > 0;
    run->removals = (struct removals){.servers = &run->servers,
        .n_databases = options->chain + 1,
        .every_ms = options->removals_ms,
        .dice = options->seed + 5};
    run->faults = (struct faults){.servers = &run->servers,
        .command = options->on_kill,
        .every_ms = options->kills_ms,
        .dice = options->seed + 4};
    run->rollbacks = (struct rollbacks){
        .servers = &run->servers, .ticks = &run->ticks, .dice = options->seed + 5};
    lay_out(run);
    start_all(run);
    network_start(run->network);
    run->clients = clients_create(&run->servers, options->clients, &run->ticks, options->seed + 2);
    servers_file(&run->servers, 0, file);
    if (options->sql_writer)
        run->sql_writer = sql_writer_create(file, &run->ticks, options->seed + 3);
}

static void remove_folder(struct run *run)
{
    char path[640];

    removals_clean(&run->removals);
    for (unsigned i = 0; i < run->servers.n; i++)
        (void)unlink(run->servers.list[i].address);
    for (unsigned database = 0; !run->options->file && database < run->rules.n_databases;
         database++) {
        static const char *const ends[] = {"", "-wal", "-shm", "-journal", "-mark", "-copy"};

        for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
            (void)snprintf(path, sizeof path, "%s/pr-%u.sqlite3%s", run->folder, database, ends[i]);
            (void)unlink(path);
        }
    }
    (void)snprintf(path, sizeof path, "%s/log", run->folder);
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/floors", run->folder);
    (void)unlink(path);
    (void)rmdir(run->folder);
}

static bool report(struct run *run, uint64_t took_ms)
{
    uint64_t invalid = clients_invalid(run->clients);
    bool is_good = run->broken == 0 && run->stuck == 0 && invalid == 0 && run->servers.died == 0 &&
                   run->faults.failures == 0 && run->rollbacks.unnoticed == 0 &&
                   run->removals.failures == 0;

    printf("%" PRIu64 " operations in %" PRIu64 " rounds, seed %" PRIu64
           ": %u servers, %u databases, "
           "%" PRIu64 " answers, %" PRIu64 " errors, %" PRIu64 " rows of another program; "
           "%.1f s, %.0f operations a second; %" PRIu64 " kills, %" PRIu64 " commands, %" PRIu64
           " removals; %" PRIu64 " broken promises\n",
        run->operations, run->rounds, run->options->seed, run->servers.n, run->rules.n_databases,
        clients_answers(run->clients), clients_errors(run->clients),
        run->sql_writer ? sql_writer_rows(run->sql_writer) : 0, (double)took_ms / 1000,
        (double)run->operations * 1000 / (double)(took_ms ? took_ms : 1), run->servers.kills,
        run->faults.commands, run->removals.count, run->broken);
    if (run->options->rollbacks)
        printf("%" PRIu64 " rollbacks, %" PRIu64 " of them unnoticed\n", run->rollbacks.count,
            run->rollbacks.unnoticed);
    if (!is_good)
        printf("%" PRIu64 " times stuck, %" PRIu64 " invalid answers, %" PRIu64
               " servers ended by themselves, %" PRIu64 " commands failed; left in %s\n",
            run->stuck, invalid, run->servers.died, run->faults.failures, run->folder);
    return is_good;
}

static bool play(const struct options *options)
{
    static struct run run; /* too large for the stack, and the network keeps a pointer to it */
    uint64_t began_ms, took_ms = 0;
    bool is_good;

    begin(&run, options);
    began_ms = clock_ms();
    while (options->operations ? run.operations < options->operations
                               : took_ms < options->seconds * 1000) {
        play_round(&run);
        took_ms = clock_ms() - began_ms;
    }
    faults_finish(&run.faults);
    network_free(run.network);
    servers_stop(&run.servers);
    is_good = report(&run, took_ms);
    clients_free(run.clients);
    if (run.sql_writer)
        sql_writer_free(run.sql_writer);
    if (is_good)
        remove_folder(&run);
    return is_good;
}

/* ---- options ---- */

static void explain(void)
{
    puts(
        "Usage: torture_histories [OPTION]...\n"
        "Sends requests to real servers, kills the servers, and checks whether their answers keep\n"
        "the promises of doc/semantics.md.\n\n"
        "  --seed N          seed of all random choices [1]\n"
        "  --seconds N       duration [5]\n"
        "  --operations N    number of requests, in place of --seconds\n"
        "  --round N         number of requests between two checks [10000]\n"
        "  --writers N       read-write servers on each database, beside a read-only one [3]\n"
        "  --clients N       connections to each server [4]\n"
        "  --depth N         most requests under way on a connection, in every third round [16]\n"
        "  --chain N         databases below the first one; the network between them fails [0]\n"
        "  --steady-network  the network does not fail\n"
        "  --kills MS        mean time between kills of a server, sometimes of all; 0: no kills\n"
        "                    [250]\n"
        "  --on-kill COMMAND\n"
        "                    run COMMAND in the shell at the first kill and at about every "
        "eighth,\n"
        "                    never twice at the same time; servers whose start fails meanwhile\n"
        "                    are started again\n"
        "  --rollbacks       in every second round an older copy of the database is put back, and\n"
        "                    all packages are raised after that (SQLite)\n"
        "  --remove-files MS mean time between removals of a -wal or -shm, or moves of a database\n"
        "                    away and back; servers that end because of that are started again\n"
        "                    [0: none]\n"
        "  --sql-writer      another program writes to the first database, too (SQLite)\n"
        "  --file FILE       database of all servers, or a PostgreSQL URI; not with --chain\n"
        "  --prservd FILE    the server to run [that of this build]");
}

/* Returns false for an unknown option, and for --help. */
static bool take_option(struct options *options, int letter, char *word)
{
    uint64_t number = word ? strtoull(word, NULL, 10) : 0;

    switch (letter) {
    case 's':
        options->seed = number;
        break;
    case 't':
        options->seconds = number;
        break;
    case 'o':
        options->operations = number;
        break;
    case 'r':
        options->round = number;
        break;
    case 'w':
        options->writers = (unsigned)number;
        break;
    case 'c':
        options->clients = (unsigned)number;
        break;
    case 'd':
        options->depth = (unsigned)number;
        break;
    case 'u':
        options->chain = (unsigned)number;
        break;
    case 'l':
        options->steady_network = true;
        break;
    case 'k':
        options->kills_ms = number;
        break;
    case 'm':
        options->removals_ms = number;
        break;
    case 'x':
        options->on_kill = word;
        break;
    case 'b':
        options->rollbacks = true;
        break;
    case 'q':
        options->sql_writer = true;
        break;
    case 'f':
        options->file = word;
        break;
    case 'p':
        options->program = word;
        break;
    default:
        return false;
    }
    return true;
}

static void read_options(struct options *options, int n_words, char **words)
{
    static const struct option known[] = {{"seed", 1, NULL, 's'}, {"seconds", 1, NULL, 't'},
        {"operations", 1, NULL, 'o'}, {"round", 1, NULL, 'r'}, {"writers", 1, NULL, 'w'},
        {"clients", 1, NULL, 'c'}, {"depth", 1, NULL, 'd'}, {"chain", 1, NULL, 'u'},
        {"steady-network", 0, NULL, 'l'}, {"kills", 1, NULL, 'k'}, {"on-kill", 1, NULL, 'x'},
        {"remove-files", 1, NULL, 'm'}, {"rollbacks", 0, NULL, 'b'}, {"sql-writer", 0, NULL, 'q'},
        {"file", 1, NULL, 'f'}, {"prservd", 1, NULL, 'p'}, {"help", 0, NULL, 'h'},
        {NULL, 0, NULL, 0}};
    int letter;

    while ((letter = getopt_long(n_words, words, "", known, NULL)) != -1) {
        if (take_option(options, letter, optarg))
            continue;
        explain();
        exit(letter == 'h' ? 0 : 2);
    }
}

int main(int n_words, char **words)
{
    struct options options = {.seed = 1,
        .seconds = 5,
        .round = 10000,
        .kills_ms = 250,
        .writers = 3,
        .clients = 4,
        .depth = 16};
    char program[512];
    const char *slash = strrchr(words[0], '/');

    (void)snprintf(program, sizeof program, "%.*s/../../prservd",
        slash ? (int)(slash - words[0]) : 1, slash ? words[0] : ".");
    options.program = program;
    read_options(&options, n_words, words);
    if (options.round == 0 || options.writers == 0 || options.depth == 0 ||
        options.depth > MOST_DEPTH || options.clients == 0 ||
        (options.chain + 1) * (options.writers + 1) > MOST_SERVERS ||
        options.chain >= HISTORY_MOST_DATABASES ||
        (options.file && (options.chain > 0 || options.sql_writer || options.rollbacks ||
                             options.removals_ms > 0)) ||
        (options.rollbacks &&
            (options.chain > 0 || options.sql_writer || options.removals_ms > 0)) ||
        (options.sql_writer && options.removals_ms > 0)) {
        fprintf(stderr, "these options can't be used together; see --help\n");
        return 2;
    }
    return play(&options) ? 0 : 1;
}
