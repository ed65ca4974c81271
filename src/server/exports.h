/* SPDX-License-Identifier: MIT */
/* The exports of all clients: which of them gets its next piece, and how long it may be.
 *
 * Pieces are made one or two at a time, in turn over the addresses of clients and the clients of an
 * address. The memory for a piece is taken from the budget before it is made; until there is room,
 * exports wait. The more exports there are, the shorter are their pieces. So clients that don't
 * read hold little, and keep nobody waiting. On the loop's thread. */
#ifndef PRSERVD_EXPORTS_H
#define PRSERVD_EXPORTS_H

#include "base/budget.h"
#include "base/error.h"
#include "exec/executor.h"
#include "exec/job.h"
#include "server/turns.h"

#include <stdbool.h>
#include <stddef.h>

/* The kinds of pieces that are made at the same time. */
enum exports_queue {
    EXPORTS_PIECES,
    EXPORTS_LONG, /* those for which a long package has to be read */
    EXPORTS_QUEUES
};

struct exports {
    struct executor *executor; /* borrowed, as the budget is */
    struct budget *budget;
    size_t n_open;
    struct {
        struct turns turns;
        unsigned n_running;
    } queues[EXPORTS_QUEUES];
};

/* Part of its owner, an export; all zero at first. */
struct export_turn {
    struct turn turn;
    struct job *job; /* NULL: it is not open */
    enum exports_queue queue;
    size_t reserved_bytes; /* taken from the budget for the piece */
};

void exports_init(struct exports *exports, struct executor *executor, struct budget *budget);

/* Frees what is left when no export is open any more. */
void exports_deinit(struct exports *exports);

/* Has the next piece of a job made when it is its turn (exports_turn). address: of its client. */
void exports_request(
    struct exports *exports, struct export_turn *turn, struct job *job, struct text address);

/* Checks whether the budget can ever have room for the row that a job comes to next. Fails with
 * ERROR_MEMORY. */
ERROR_MUST_CHECK int exports_check(
    const struct exports *exports, const struct job *job, struct error *error);

/* Notes that the executor has called back: gives the memory for the piece back, which the owner
 * counts from now on. */
void exports_end_piece(struct exports *exports, struct export_turn *turn);

/* Ends the wait for a turn. Returns whether the export was waiting. */
bool exports_cancel(struct exports *exports, struct export_turn *turn);

/* Closes an export that has no piece under way. Allowed if it is not open. */
void exports_close(struct exports *exports, struct export_turn *turn);

/* Submits the jobs whose turn it is. To be called at the end of each turn of the loop. */
void exports_turn(struct exports *exports);

#endif
