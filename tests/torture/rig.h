/* A server without its sockets, on the disk of disk.h: either the executor with its threads,
 * or the same writer, looker and keeper one after the other, so that a seed says exactly what
 * happens. */
#ifndef PRSERVD_TEST_RIG_H
#define PRSERVD_TEST_RIG_H

#include "base/error.h"
#include "chance.h"
#include "ledger.h"
#include "store/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RIG_FILE "pr.sqlite3"

struct rig_options {
    unsigned owner; /* of its files */
    bool threads;
    enum store_sync sync;
};

struct rig;

/* NULL: the database can't be opened, and error says why. */
struct rig *rig_create(const struct rig_options *options, struct error *error);
void rig_free(struct rig *rig);

/* Moves the journal to the database, as the keeper does. With threads it does so by itself. */
void rig_tidy(struct rig *rig);

/* ---- clients ---- */

enum rig_mood {
    RIG_ANYTHING,
    RIG_KNOWN, /* nothing but what somebody has asked for before */
    RIG_LOOK,  /* the same, and nothing is stored */
};

/* What clients have asked for, and what they were told. */
struct rig_clients {
    struct ledger *ledger;
    uint64_t n_checksums; /* that were ever asked for; their numbers are their names */
    uint64_t n_values;    /* imported */
    uint64_t n_errors;
    struct error error;   /* the last answer that was one */
    struct chance chance; /* their own dice */
};

/* Some clients ask something at once, and get their answers. False: one of them breaks a
 * promise. */
bool rig_serve(struct rig *rig, struct rig_clients *clients, enum rig_mood mood, char says[512]);

/* Asks for one package's next number. Counts in n_errors if there is none. */
bool rig_ask_new(struct rig *rig, struct rig_clients *clients, char says[512]);

uint64_t rig_chance(struct rig_clients *clients, uint64_t limit);

#endif
