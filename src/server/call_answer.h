/* SPDX-License-Identifier: MIT */
/* The answer of a call, as JSON text. On the loop's thread. */
#ifndef PRSERVD_CALL_ANSWER_H
#define PRSERVD_CALL_ANSWER_H

#include "server/call.h"
#include "server/metrics.h"

/* Writes an error as the answer, and counts it. */
void call_answer_error(struct call *call, enum metrics_result result, const char *reason);

/* Writes the answer from the result of the job, if the request has one; counts and logs it. The
 * answer of an export is written in pieces, not here. */
void call_answer_result(struct call *call);

/* Appends the piece of an export, framed. */
ERROR_MUST_CHECK enum call_written call_answer_piece(struct call *call, struct buffer *out);

#endif
