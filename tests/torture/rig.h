/* SPDX-License-Identifier: MIT */
/* A test rig: a server without sockets on the disk of disk.h. It runs either the executor with its
 * threads, or the same writer, reader and checkpointer one after the other, so that a run can be
 * repeated from its seed. */
#ifndef PRSERVD_RIG_H
#define PRSERVD_RIG_H

#include "base/error.h"
#include "chance.h"
#include "ledger.h"
#include "store/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RIG_FILE "pr.sqlite3"

/* Enters a folder of its own, for FILE-mark, which is a real file; removes that folder. */
void rig_enter_folder(void);
void rig_leave_folder(void);

/* Removes FILE-mark, for a new database. */
void rig_forget_mark(void);

struct rig_options {
    unsigned owner; /* of the files */
    bool threads;
    enum store_sync sync;
};

struct rig;

/* Returns NULL, with the reason in error, if the database can't be opened. */
struct rig *rig_create(const struct rig_options *options, struct error *error);
void rig_free(struct rig *rig);

/* Runs a checkpoint, as the checkpointer does. With threads it runs by itself. */
void rig_checkpoint(struct rig *rig);

/* ---- clients ---- */

enum rig_requests {
    RIG_ANYTHING,
    RIG_KNOWN,   /* only checksums that were asked for before */
    RIG_LOOK_UP, /* the same, and only look-ups */
};

/* The requests of all clients, and their answers. */
struct rig_clients {
    struct ledger *ledger;
    uint64_t n_checksums; /* number of checksums so far; a checksum's name is its number */
    uint64_t n_values;    /* number of imported values */
    uint64_t n_errors;
    struct error error;   /* the last error answered */
    struct chance chance; /* of the clients' choices */
};

/* Runs some requests at the same time and checks the answers. Returns false if one of them breaks
 * a promise. */
bool rig_serve(
    struct rig *rig, struct rig_clients *clients, enum rig_requests requests, char reason[512]);

/* Asks for new content of a package. An error counts in n_errors. */
bool rig_ask_new(struct rig *rig, struct rig_clients *clients, char reason[512]);

uint64_t rig_chance(struct rig_clients *clients, uint64_t limit);

#endif
