/* The pieces of torture_histories: servers, what strikes them, links between them, clients,
 * another program's writer. All but the links and the writer live on the main thread. Without
 * memory they abort. */
#ifndef PRSERVD_TEST_HISTORIES_H
#define PRSERVD_TEST_HISTORIES_H

#include "history.h"

#include <stdatomic.h>
#include <sys/types.h>

#define MOST_SERVERS 32
#define PACKAGES 6
#define MOST_DEPTH 64

struct server {
    unsigned database;
    bool read_only;
    pid_t pid; /* 0: it does not run */
    uint64_t start_at_ms;
    char address[108]; /* path of its socket */
};

struct servers {
    const char *program;
    const char *folder;
    const char *file; /* of the user's choice, or NULL */
    struct server list[MOST_SERVERS];
    unsigned n;
    unsigned ports[HISTORY_MOST_DATABASES]; /* of the links to the next database, or 0 */
    uint64_t kills, died;
};

uint64_t dice(uint64_t *state, uint64_t limit);

/* A blocking or other socket to the server; -1: it can't be reached. */
int servers_connect(const struct server *server, int flags);
void servers_add(struct servers *servers, unsigned database, bool read_only);
/* Starts what is due, counts what ended by itself. */
void servers_look_after(struct servers *servers, uint64_t now_ms);
void servers_kill(struct servers *servers, struct server *server, uint64_t start_at_ms);
void servers_stop(struct servers *servers);
void servers_file(const struct servers *servers, unsigned database, char path[512]);

/* ---- strikes ---- */

struct strikes {
    struct servers *servers;
    const char *command; /* of the user's, for the shell; or NULL */
    uint64_t every_ms;   /* on the average; 0: never */
    uint64_t at_ms;      /* the next one */
    uint64_t dice;
    uint64_t command_in; /* so many strikes; 0: in the next one */
    pid_t pid;           /* of the command under way, or 0 */
    uint64_t commands, failures;
};

/* Strikes if it is time to. */
void strikes_turn(struct strikes *strikes);
/* Waits for the command. */
void strikes_finish(struct strikes *strikes);

/* ---- links ---- */

struct links;

/* Carries what the servers of a database ask to those of the one below it. */
struct links *links_create(const struct servers *servers, uint64_t seed, bool fail);
/* Returns the port that leads to servers of this database. */
unsigned links_add(struct links *links, unsigned database);
void links_start(struct links *links);
void links_free(struct links *links);

/* ---- clients ---- */

/* What a round asks for. */
struct round {
    struct history *history;
    uint32_t n_checksums[PACKAGES]; /* that were asked for so far */
    uint64_t left;                  /* requests to be sent */
    unsigned depth;                 /* requests under way on a connection, at most */
    char name[64];                  /* with which the names of its packages begin */
};

struct clients;

struct clients *clients_create(
    struct servers *servers, unsigned per_server, atomic_ullong *ticks, uint64_t seed);
void clients_free(struct clients *clients);
/* Sends and receives for some milliseconds at most. False: nothing is under way nor left. */
bool clients_turn(struct clients *clients, struct round *round);
/* Ends connections whose answers don't come. */
void clients_drop(struct clients *clients);
uint64_t clients_answers(const struct clients *clients);
uint64_t clients_errors(const struct clients *clients);
uint64_t clients_nonsense(const struct clients *clients);

/* Adds every row of the round's packages. False: it could not be read. */
bool rows_add(const struct server *server, struct round *round);

/* ---- another program's writer ---- */

struct sql_writer;

struct sql_writer *sql_writer_create(const char *file, atomic_ullong *ticks, uint64_t seed);
void sql_writer_begin(struct sql_writer *writer, const char *name);
/* Waits until it is at rest, where it stays until the next round begins; adds its rows. */
void sql_writer_finish(struct sql_writer *writer, struct history *history);
uint64_t sql_writer_rows(struct sql_writer *writer);
void sql_writer_free(struct sql_writer *writer);

#endif
