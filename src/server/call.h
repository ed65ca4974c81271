/* One call: a request on its way to its answer, and all that it holds of the budget.
 *
 * Whatever a call has made others keep (a turn, an export, upstream's values) goes when the
 * call is freed; when it runs is not its own business but the session's. On the loop's
 * thread. */
#ifndef PRSERVD_CALL_H
#define PRSERVD_CALL_H

#include "base/buffer.h"
#include "base/error.h"
#include "exec/job.h"
#include "server/service.h"
#include "server/turns.h"
#include "server/upstream.h"
#include "wire/framer.h"
#include "wire/request.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct session;

/* What the calls of one client share. */
struct caller {
    struct service service;
    bool read_only;
    bool gone;               /* nobody waits for the answers any more */
    size_t idle;             /* bytes that its calls hold, and nobody works on */
    struct session *session; /* in which the calls are */
};

/*   CHECKING   history, with an upstream: is the checksum known here?
 *      ↓
 *   ASKING     the upstream is asked
 *      ↓
 *   READY ──→ RUNNING ──→ ANSWERED ──→ written and freed
 *               ↑            │
 *               └────────────┘ the next piece of an export
 *
 * In CHECKING, ASKING and RUNNING somebody works on it, and will call back: it must not be
 * freed. */
enum call_stage { CALL_CHECKING, CALL_ASKING, CALL_READY, CALL_RUNNING, CALL_ANSWERED };

struct call {
    TAILQ_ENTRY(call) link;
    struct caller *caller;
    size_t bytes; /* of its message */
    size_t held;  /* what it takes of the budget, when it was last counted */
    size_t idle;  /* of it: nobody works on it */
    enum call_stage stage;
    struct request request;
    struct job job;
    struct buffer answer; /* not for exports: job.piece */

    /* inquiry.h */
    struct request check;               /* CHECKING: the same as a look-up */
    struct upstream_question *question; /* NULL: not asked */
    void (*inquired)(struct call *call);

    /* of an export */
    struct turn turn;
    uint64_t piece_ms; /* when its last piece was asked for (clock_ms) */
    struct framer_writer writer;
    bool piece_written;
};

/* For a message of so many bytes. NULL when memory ran out. */
struct call *call_new(struct caller *caller, size_t bytes);

void call_free(struct call *call);

/* What upstream said takes so many bytes. */
size_t call_values_bytes(const struct call *call);

/* Gives back what was needed to make the answer. */
void call_drop_values(struct call *call);

/* Takes as much of the budget as the call holds now. What waits for the client, or for
 * others of its calls, is not under way: that may last. */
void call_count(struct call *call);

/* Changes the stage, and counts. */
void call_set_stage(struct call *call, enum call_stage stage);

/* The job has been done, or needs not be: makes the answer of what came of it. */
void call_answer(struct call *call);

/* Answers with this error. */
void call_refuse(struct call *call, const struct error *error);

#endif
