/* SPDX-License-Identifier: MIT */
/* A call: one request, from its message to its answer, with all memory that it holds.
 *
 *     call_start ──┬──┬──→ CHECKING   get-pr with history, below an upstream: does the
 *                  │  │       │       database know the checksum?
 *                  │  │       ↓
 *                  │  ├──→ ASKING     get-pr below an upstream: which values does it have?
 *                  │  │       ↓
 *                  │  └──→ READY      waits for other calls of its session
 *                  │          │ call_run
 *                  │          ↓
 *                  │       RUNNING ←──┐
 *                  │          ↓       │ call_run: the next piece of an export
 *                  └─────→ ANSWERED ──┘
 *                             │ call_write
 *                             ↓
 *                          written, call_free
 *
 * While the upstream is away, a call is RUNNING without its answer at first: content that needs no
 * new revision gets its own. If the call needs one, it goes back from RUNNING to ASKING, and then
 * is RUNNING again; for its session it is RUNNING all the time.
 *
 * A long message is READING at first: a thread reads it, before call_start.
 *
 * An error leads from any stage to ANSWERED. In READING, CHECKING, ASKING and RUNNING a
 * thread, the executor or the upstream works on the call. Until it calls back, the call must not be
 * freed, but can be abandoned. On the loop's thread. */
#ifndef PRSERVD_CALL_H
#define PRSERVD_CALL_H

#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "exec/job.h"
#include "server/exports.h"
#include "server/message_reader.h"
#include "server/server_context.h"
#include "server/session.h"
#include "wire/framer.h"
#include "wire/request.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

enum call_stage {
    CALL_READING,
    CALL_CHECKING,
    CALL_ASKING,
    CALL_READY,
    CALL_RUNNING,
    CALL_ANSWERED
};

/* For a get-pr below an upstream. */
struct call_lookup {
    struct request check; /* the same as a test-pr */
    struct upstream_question question;
    bool was_run; /* it was RUNNING without the upstream's answer, and needs it */
};

/* For an export or a report: its answer is made and written in pieces. */
struct call_export {
    struct export_turn turn;
    bool has_begun;      /* whether a piece was written */
    bool is_streaming;   /* framer_write_piece */
    bool wants_piece;    /* the last piece was written, and there are more */
    uint64_t written_ms; /* when that was (clock_ms) */
};

#define CALL_FAST_MS 50 /* for a client to read a piece of an export */

struct call {
    TAILQ_ENTRY(call) entry; /* place among the calls of its session */
    const struct server_context *server;
    const struct session_client *client; /* borrowed from the session */
    struct session *session;
    enum call_stage stage;
    bool is_read_only;   /* whether the client may not store */
    bool is_from_server; /* whether the client is a server that asks its upstream */
    bool is_abandoned;   /* whether the client is gone; the call is freed when it comes back */
    uint64_t arrived_us; /* when it was taken (clock_us) */
    size_t message_bytes;
    size_t own_bytes;       /* size of this allocation */
    size_t held_bytes;      /* taken from the budget */
    size_t under_way_bytes; /* held_bytes while the call is worked on, otherwise 0 */
    struct request request;
    struct buffer answer; /* empty for an export without an error */

    /* Part of the same allocation; NULL if the request does not need it. */
    struct job *job;
    struct call_lookup *lookup;
    struct call_export *pieces;
    struct message_reading *reading; /* of a long message */
    struct call_relayed *relayed;    /* of a relay */

    /* Called when the call has taken more or less from the budget: held_bytes was before_bytes. */
    void (*charged)(const struct call *call, size_t before_bytes);
    /* Called when the call has left the stage before, in which others worked on it. It may free
     * the call. Not called from a function of this header. */
    void (*moved)(struct call *call, enum call_stage before);
};

/* Creates a call for a request, and takes the request over, even on failure. Returns NULL if there
 * is no memory. */
struct call *call_create(const struct server_context *server, const struct session_client *client,
    struct request *request, size_t message_bytes);

/* Creates a call for a long message, which is taken over, even on failure. The call is READING
 * until moved is called; then reading has the result, and the call has the request. Returns NULL if
 * there is no memory. */
struct call *call_create_long(const struct server_context *server,
    const struct session_client *client, struct buffer message);

/* Has the message of such a call read. */
void call_read(struct call *call);

/* Stops asking the upstream for a call, or waiting for its turn, if that is what the call waits
 * for. Returns whether it was: then nobody works on the call any more, and moved is not called. If
 * it waits for its turn, or lookup->was_run, its session still counts it as RUNNING. */
bool call_cancel(struct call *call);

/* Frees a call on which nobody works, and all that it holds. */
void call_free(struct call *call);

/* Takes the call from its message to READY, or to ANSWERED. If the call is in neither of them when
 * this returns, moved is called later. */
void call_start(struct call *call);

/* Says that the client of a call has ended its input, or is gone. If the call waits for something
 * that is away, or comes to wait for it, it is answered with an error. At any time, also before
 * call_start. */
void call_end_waiting(struct call *call);

/* Answers with an error, instead of call_start. */
void call_refuse(struct call *call, const char *reason);

/* Lets the executor answer a call that is READY, or make the next piece of an export. */
void call_run(struct call *call);

/* Continues after the central server has answered a call of a relay, or has sent a piece. */
void call_finish_relayed(struct call *call);

enum call_written {
    CALL_WRITTEN,       /* all of the answer */
    CALL_PIECE_WRITTEN, /* there are more pieces: call_wants_piece */
    CALL_BROKEN,        /* the answer can't be completed: close the connection */
};

/* Appends the answer, or the piece, of a call that is ANSWERED, framed. */
ERROR_MUST_CHECK enum call_written call_write(struct call *call, struct buffer *out);

/* Notes, for the metrics, that the whole answer was written at now_us (clock_us). */
void call_note_written(const struct call *call, uint64_t now_us);

/* Returns whether nobody works on the call: it waits for others, or to be written. */
static inline bool call_is_idle(const struct call *call)
{
    return call->stage == CALL_READY || call->stage == CALL_ANSWERED;
}

/* Returns whether the call is an export that needs its next piece: call_run makes it. */
static inline bool call_wants_piece(const struct call *call)
{
    return call->pieces && call->pieces->wants_piece;
}

/* Returns whether the client of an export has read the last piece quickly. To be asked when it has
 * read all of it. */
static inline bool call_is_read_fast(const struct call *call)
{
    return call->pieces && clock_ms() - call->pieces->written_ms < CALL_FAST_MS;
}

/* Returns whether the call is done by the thread that goes through all rows. */
static inline bool call_is_scan(const struct call *call)
{
    return call->request.kind == REQUEST_EXPORT || call->request.kind == REQUEST_GET_STATS ||
           request_is_report(call->request.kind);
}

/* Returns whether the call may store a row. */
static inline bool call_is_write(const struct call *call)
{
    return !call->is_read_only &&
           (call->request.kind == REQUEST_GET_PR || call->request.kind == REQUEST_IMPORT_ONE);
}

#endif
