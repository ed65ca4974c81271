/* SPDX-License-Identifier: MIT */
#include "server/call_answer.h"

#include "exec/executor.h"
#include "server/call_log.h"
#include "upstream/upstream.h"
#include "wire/codec.h"

void call_note_written(const struct call *call, uint64_t now_us)
{
    metric_histogram_add(&call->server->stats->metrics->request_us[call->request.kind],
        METRIC_DURATION, now_us - call->arrived_us);
}

static void call_count_result(const struct call *call, enum metrics_result result)
{
    metric_add(&call->server->stats->metrics->requests[call->request.kind][result], 1);
}

void call_answer_error(struct call *call, enum metrics_result result, const char *reason)
{
    call_count_result(call, result);
    codec_write_error(&call->answer, reason);
}

static void call_answer_peer(struct call *call)
{
    const struct server_context *server = call->server;
    struct codec_peer peer = {
        .is_read_only = call->is_read_only,
        .is_stale = executor_is_stale(server->executor),
    };

    instances_add(&peer.instances, text_of(executor_instance(server->executor)));
    if (server->upstream)
        upstream_add_instances(server->upstream, &peer.instances);
    codec_write_peer(&call->answer, &peer);
}

/* Clients that only read don't get to know the addresses of a farm. */
static void call_answer_stats(struct call *call)
{
    const struct stats_view view = {
        .rows = call->job->rows,
        .rows_estimated = call->job->rows_estimated,
        .shows_addresses = call->job->shows_peers,
    };

    stats_write(call->server->stats, &view, &call->answer);
}

static void call_answer_success(struct call *call)
{
    struct buffer *out = &call->answer;

    switch (call->request.kind) {
    case REQUEST_PING:
        codec_write_alive(out);
        break;
    case REQUEST_IS_READONLY:
        call_answer_peer(call);
        break;
    case REQUEST_GET_PR:
    case REQUEST_TEST_PR:
    case REQUEST_MAX_PACKAGE_PR:
        codec_write_value(out, call->job->value);
        break;
    case REQUEST_TEST_PACKAGE:
        codec_write_found(out, call->job->found);
        break;
    case REQUEST_IMPORT_ONE:
        if (call->is_read_only)
            codec_write_null(out);
        else
            codec_write_imported(out, &call->request);
        break;
    case REQUEST_GET_STATS:
        call_answer_stats(call);
        break;
    case REQUEST_EXPORT: /* in pieces */
    case REQUEST_GET_LOG:
    case REQUEST_GET_WHY:
    case REQUEST_GET_CHURN:
    case REQUEST_KINDS:
        break;
    }
}

void call_answer_result(struct call *call)
{
    const struct job *job = call->job;

    if (job && job->result != 0) {
        call_log_answer(call, job->error.text);
        call_answer_error(
            call, job->result == ERROR_INPUT ? METRICS_REFUSED : METRICS_ERROR, job->error.text);
    } else {
        call_log_answer(call, NULL);
        call_count_result(call, METRICS_OK);
        call_answer_success(call);
    }
}

enum call_written call_answer_piece(struct call *call, struct buffer *out)
{
    struct job *job = call->job;

    if (job->result != 0) {
        log_often(call->server->log, LOG_ERROR, "An export broke off: %s", job->error.text);
        call_count_result(call, METRICS_ERROR);
        return CALL_BROKEN;
    }
    framer_write_piece(out, &call->pieces->is_streaming, buffer_text(&job->piece), !job->more);
    buffer_reset(&job->piece, 0);
    call->pieces->has_begun = true;
    call->pieces->wants_piece = job->more;
    call->pieces->written_ms = clock_ms();
    if (!job->more) {
        call_count_result(call, METRICS_OK);
        call_log_answer(call, NULL);
    }
    if (buffer_failed(out))
        return CALL_BROKEN;
    return job->more ? CALL_PIECE_WRITTEN : CALL_WRITTEN;
}
