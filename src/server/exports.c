/* SPDX-License-Identifier: MIT */
#include "server/exports.h"

#include "exec/export.h"

/* A power of two, because the buffer of a piece doubles its size. */
#define MOST_BYTES ((size_t)128 * 1024)
#define LEAST_BYTES ((size_t)4096)
#define SHARE 32   /* the part of the budget that pieces are meant for */
#define FRAMING 16 /* the part of the memory for a piece that is left for its framing */
#define N_PASSED 8 /* exports without room for their row, in one turn of the loop */

static const unsigned exports_at_once[EXPORTS_QUEUES] = {
    [EXPORTS_PIECES] = 2, /* one is waiting when the thread has made the other */
    [EXPORTS_LONG] = 1,
};

void exports_init(struct exports *exports, struct executor *executor, struct budget *budget)
{
    *exports = (struct exports){.executor = executor, .budget = budget};
    for (int i = 0; i < EXPORTS_QUEUES; i++)
        turns_init(&exports->queues[i].turns);
}

void exports_deinit(struct exports *exports)
{
    for (int i = 0; i < EXPORTS_QUEUES; i++)
        turns_deinit(&exports->queues[i].turns);
}

/* Returns how long a piece may become when it is framed. */
static size_t exports_framed_bytes(size_t bytes)
{
    return bytes + bytes / (FRAMING - 1) + 1;
}

/* Returns the next power of two. */
static size_t exports_round_up(size_t bytes)
{
    size_t rounded = LEAST_BYTES;

    while (rounded < bytes)
        rounded *= 2;
    return rounded;
}

static size_t exports_piece_bytes(const struct exports *exports)
{
    const size_t share = exports->budget->limit / SHARE / (exports->n_open + 1);
    size_t bytes = MOST_BYTES;

    while (bytes > share && bytes > LEAST_BYTES)
        bytes /= 2;
    return bytes;
}

void exports_end_piece(struct exports *exports, struct export_turn *turn)
{
    budget_give(exports->budget, turn->reserved_bytes);
    turn->reserved_bytes = 0;
    exports->queues[turn->queue].n_running--;
}

bool exports_cancel(struct exports *exports, struct export_turn *turn)
{
    const bool was_waiting = turn_is_waiting(&turn->turn);

    if (was_waiting)
        turns_remove(&exports->queues[turn->queue].turns, &turn->turn);
    return was_waiting;
}

void exports_close(struct exports *exports, struct export_turn *turn)
{
    if (!turn->job)
        return;
    (void)exports_cancel(exports, turn);
    exports->n_open--;
    turn->job = NULL;
}

/* Returns the memory for the next piece of a job. */
static size_t exports_next_bytes(const struct exports *exports, const struct job *job)
{
    const size_t share = exports_piece_bytes(exports);
    const size_t wanted = exports_round_up(exports_framed_bytes(job->wanted_bytes));

    return wanted > share ? wanted : share;
}

int exports_check(const struct exports *exports, const struct job *job, struct error *error)
{
    const size_t limit = exports->budget->limit;

    if (job->wanted_bytes == 0 ||
        exports_round_up(exports_framed_bytes(job->wanted_bytes)) <= limit / 2)
        return 0;
    return error_set(error, ERROR_MEMORY,
        "a row may take %zu bytes, for which the memory for requests and answers (%zu bytes) is "
        "too small; raise --max-memory-bytes",
        job->wanted_bytes, limit);
}

/* Takes the memory for a piece. Returns false if there is no room for it. */
static bool exports_reserve(struct exports *exports, struct export_turn *turn)
{
    const size_t bytes = exports_next_bytes(exports, turn->job);

    if (!budget_try(exports->budget, bytes))
        return false;
    turn->reserved_bytes = bytes;
    turn->job->piece_bytes = bytes - bytes / FRAMING;
    return true;
}

static void exports_run(struct exports *exports, struct export_turn *turn)
{
    exports->queues[turn->queue].n_running++;
    executor_submit(exports->executor, turn->job);
}

void exports_request(
    struct exports *exports, struct export_turn *turn, struct job *job, struct text address)
{
    /* A search that has found nothing goes on before others of its address begin. */
    const bool is_in_front =
        job->scan && job->more && job->piece.length == 0 && export_is_search(job->request);

    exports->n_open += !turn->job;
    turn->job = job;
    turn->queue = job->is_long ? EXPORTS_LONG : EXPORTS_PIECES;
    turn->turn.owner = turn;
    if (turns_add(&exports->queues[turn->queue].turns, &turn->turn, address, is_in_front))
        return;
    job->piece_bytes = LEAST_BYTES; /* no memory to wait in turn */
    exports_run(exports, turn);
}

void exports_turn(struct exports *exports)
{
    for (int i = 0; i < EXPORTS_QUEUES; i++) {
        struct turns *turns = &exports->queues[i].turns;
        struct turn *first;
        int n_passed = 0;

        while (exports->queues[i].n_running < exports_at_once[i] && (first = turns_first(turns))) {
            struct export_turn *turn = first->owner;

            if (exports_reserve(exports, turn)) {
                turns_take(turns, first);
                exports_run(exports, turn);
            } else if (n_passed++ < N_PASSED && turn->job->wanted_bytes > 0) {
                turns_pass(turns);
            } else {
                break;
            }
        }
    }
}
