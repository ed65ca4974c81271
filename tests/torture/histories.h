/* SPDX-License-Identifier: MIT */
/* The modules of torture_histories: servers, faults, the network between servers, clients, and the
 * writer of another program. All run on the main thread, except the network and that writer. If
 * memory runs out, they abort. */
#ifndef PRSERVD_HISTORIES_H
#define PRSERVD_HISTORIES_H

#include "history.h"

#include <stdatomic.h>
#include <sys/types.h>

#define MOST_SERVERS 32
#define PACKAGES 6
#define MOST_DEPTH 64

struct server {
    unsigned database;
    bool read_only;
    pid_t pid; /* 0: not running */
    uint64_t start_at_ms;
    uint64_t started_ms;
    char address[108]; /* path of the socket */
};

struct servers {
    const char *program;
    const char *folder;
    const char *file; /* given by the user, or NULL */
    bool may_give_up; /* a start may fail because the database is away */
    struct server list[MOST_SERVERS];
    unsigned n;
    unsigned ports[HISTORY_MOST_DATABASES]; /* of the upstream in the network, or 0 */
    uint64_t kills, died;
};

/* Returns a random number below limit. */
uint64_t dice(uint64_t *state, uint64_t limit);

/* Returns a socket with these flags that is connected to the server, or -1. */
int servers_connect(const struct server *server, int flags);
void servers_add(struct servers *servers, unsigned database, bool read_only);
/* Starts servers that are due, and counts those that ended by themselves. */
void servers_look_after(struct servers *servers, uint64_t now_ms);
void servers_kill(struct servers *servers, struct server *server, uint64_t start_at_ms);
void servers_stop(struct servers *servers);
void servers_file(const struct servers *servers, unsigned database, char path[512]);

/* ---- faults ---- */

/* Kills of servers, and a command of the user that runs beside some of them. */
struct faults {
    struct servers *servers;
    const char *command; /* for the shell, or NULL */
    uint64_t every_ms;   /* mean time between kills; 0: never */
    uint64_t at_ms;      /* time of the next kill */
    uint64_t dice;
    uint64_t command_in; /* number of kills until the command runs */
    pid_t pid;           /* of the running command, or 0 */
    uint64_t commands, failures;
};

/* Kills servers when it is time to. */
void faults_turn(struct faults *faults);
/* Waits for the command. */
void faults_finish(struct faults *faults);

/* ---- rollbacks: a copy of the first database is put back, and its packages are raised ---- */

struct rollbacks {
    struct servers *servers;
    atomic_ullong *ticks;
    uint64_t dice;
    int step;
    uint64_t at_ms;           /* time of the next step */
    uint64_t put_back, ended; /* ticks: after the copy was put back, before packages were raised */
    uint64_t count, unnoticed;
};

/* Begins a rollback, which goes on with each turn until it is over. No kills meanwhile. */
void rollbacks_begin(struct rollbacks *rollbacks);
void rollbacks_turn(struct rollbacks *rollbacks);
bool rollbacks_are_over(const struct rollbacks *rollbacks);
/* Checks a round with a rollback; returns the number of broken promises. */
uint64_t rollbacks_check(const struct rollbacks *rollbacks, struct history *history,
    history_says_fn says, void *context);
/* Files of databases that are removed while servers have them open. */
struct removals {
    struct servers *servers;
    unsigned n_databases;
    uint64_t every_ms; /* mean time between removals; 0: never */
    uint64_t at_ms;    /* time of the next one */
    uint64_t dice;
    unsigned database; /* of the last removal */
    uint64_t since_ms; /* time of the last removal */
    bool is_unsafe;    /* the rows of a removed WAL are nowhere else */
    uint64_t count, failures;
};

/* Removes something when it is time to and may_remove. Returns whether servers may be killed. */
bool removals_turn(struct removals *removals, bool may_remove);
/* Removes what servers have saved. */
void removals_clean(const struct removals *removals);

/* ---- the network ---- */

struct network;

/* Creates a proxy that forwards questions of the servers of one database to its upstream's. */
struct network *network_create(const struct servers *servers, uint64_t seed, bool fail);
/* Returns a port that leads to servers of this database. */
unsigned network_add(struct network *network, unsigned database);
void network_start(struct network *network);
void network_free(struct network *network);

/* ---- clients ---- */

/* The requests of a round. */
struct round {
    struct history *history;
    uint32_t n_checksums[PACKAGES]; /* number of checksums asked for so far */
    uint32_t latest[PACKAGES];      /* value of the last answer, or 0 */
    uint64_t left;                  /* number of requests still to send */
    unsigned depth;                 /* limit of requests under way on a connection */
    char name[64];                  /* prefix of the names of its packages */
};

struct clients;

struct clients *clients_create(
    struct servers *servers, unsigned per_server, atomic_ullong *ticks, uint64_t seed);
void clients_free(struct clients *clients);
/* Sends and receives for a few milliseconds. Returns false if nothing is left or under way. */
bool clients_turn(struct clients *clients, struct round *round);
/* Closes connections whose answers don't arrive. */
void clients_drop(struct clients *clients);
uint64_t clients_answers(const struct clients *clients);
uint64_t clients_errors(const struct clients *clients);
uint64_t clients_invalid(const struct clients *clients);

/* Adds every row of the round's packages to the history. Returns false if that fails. */
bool rows_add(const struct server *server, struct round *round);

/* ---- the writer of another program ---- */

struct sql_writer;

struct sql_writer *sql_writer_create(const char *file, atomic_ullong *ticks, uint64_t seed);
void sql_writer_begin(struct sql_writer *writer, const char *name);
/* Pauses the writer until the next round, and adds its rows to the history. */
void sql_writer_finish(struct sql_writer *writer, struct history *history);
uint64_t sql_writer_rows(struct sql_writer *writer);
void sql_writer_free(struct sql_writer *writer);

#endif
