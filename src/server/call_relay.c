/* SPDX-License-Identifier: MIT */
#include "server/call_relay.h"

#include "server/call_log.h"
#include "wire/codec.h"

static void call_relay_count(const struct call *call, enum metrics_result result)
{
    metric_add(&call->server->stats->metrics->requests[call->request.kind][result], 1);
}

static void call_relay_refuse(struct call *call, const struct error *error)
{
    call_relay_count(call, METRICS_ERROR);
    call_log_answer(call, error->text);
    codec_write_error(&call->answer, error->text);
}

/* ---- short answers ---- */

/* Appends the answer to get-stats, with a member that is the relay's own. */
static void call_relay_add_stats(const struct call *call, struct text answer, struct buffer *out)
{
    const bool is_object = answer.length > 2 && answer.bytes[answer.length - 1] == '}';

    if (!is_object || text_starts_with(answer, "{\"invoke-error\"")) {
        buffer_append_text(out, answer);
        return;
    }
    buffer_append(out, answer.bytes, answer.length - 1);
    buffer_append_string(out, ",\"forward\":");
    relay_write_stats(call->server->relay, out);
    buffer_append_string(out, "}");
}

static void call_relay_on_answer(
    struct relay_request *request, int result, struct text answer, const struct error *error)
{
    struct call *call = request->context;

    if (result != 0) {
        call_relay_refuse(call, error);
    } else {
        const bool is_error = text_starts_with(answer, "{\"invoke-error\"");

        call_relay_count(call, is_error ? METRICS_ERROR : METRICS_OK);
        call_log_answer(call, is_error ? "the server's error" : NULL);
        if (call->request.kind == REQUEST_GET_STATS)
            call_relay_add_stats(call, answer, &call->answer);
        else
            buffer_append_text(&call->answer, answer);
    }
    call_finish_relayed(call);
}

/* ---- long answers ---- */

/* Tells the session that there is something to write. */
static void call_relay_show(struct call *call)
{
    relay_stream_pause(&call->relayed->stream);
    if (call->stage == CALL_RUNNING)
        call_finish_relayed(call);
}

static void call_relay_on_piece(struct relay_stream *stream, struct text piece, bool is_last)
{
    struct call *call = stream->context;
    struct call_relayed *relayed = call->relayed;

    framer_write_piece(&relayed->piece, &call->pieces->is_streaming, piece, is_last);
    relayed->is_over = is_last;
    call_relay_show(call);
}

static void call_relay_on_stream_failed(struct relay_stream *stream, const struct error *error)
{
    struct call *call = stream->context;
    struct call_relayed *relayed = call->relayed;

    if (call->pieces->has_begun || relayed->piece.length > 0) {
        log_often(call->server->log, LOG_ERROR, "An export broke off: %s", error->text);
        call_relay_count(call, METRICS_ERROR);
        relayed->is_broken = true;
    } else {
        call_relay_refuse(call, error);
    }
    call_relay_show(call);
}

enum call_written call_relay_write_pieces(struct call *call, struct buffer *out)
{
    struct call_relayed *relayed = call->relayed;

    if (relayed->is_broken || buffer_failed(&relayed->piece))
        return CALL_BROKEN;
    buffer_append_text(out, buffer_text(&relayed->piece));
    buffer_reset(&relayed->piece, 0);
    call->pieces->has_begun = true;
    call->pieces->wants_piece = !relayed->is_over;
    call->pieces->written_ms = clock_ms();
    if (buffer_failed(out))
        return CALL_BROKEN;
    if (!relayed->is_over)
        return CALL_PIECE_WRITTEN;
    call_relay_count(call, METRICS_OK);
    call_log_answer(call, NULL);
    return CALL_WRITTEN;
}

/* ---- asking ---- */

static void call_relay_run_stream(struct call *call)
{
    struct call_relayed *relayed = call->relayed;

    call->pieces->wants_piece = false;
    if (relayed->has_stream) {
        relay_stream_resume(&relayed->stream);
        return;
    }
    relayed->has_stream = true;
    relayed->stream.request = &call->request;
    relayed->stream.arrived_ms = call->arrived_us / 1000;
    relayed->stream.piece = call_relay_on_piece;
    relayed->stream.failed = call_relay_on_stream_failed;
    relayed->stream.context = call;
    relay_stream_open(call->client->pool, &relayed->stream);
}

void call_relay_run(struct call *call)
{
    struct relay_request *request = &call->relayed->request;

    if (call->pieces) {
        call_relay_run_stream(call);
        return;
    }
    request->request = &call->request;
    request->arrived_ms = call->arrived_us / 1000;
    request->done = call_relay_on_answer;
    request->context = call;
    relay_ask(call->client->pool, request);
}

void call_relay_cancel(struct call *call)
{
    if (call->pieces)
        relay_stream_close(&call->relayed->stream);
    else
        relay_cancel(&call->relayed->request);
}

void call_relay_end_waiting(struct call *call)
{
    call->relayed->request.is_cancelled = true;
    call->relayed->stream.is_cancelled = true;
}

void call_relay_free(struct call *call)
{
    relay_stream_close(&call->relayed->stream);
    buffer_free(&call->relayed->piece);
}
