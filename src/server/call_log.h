/* SPDX-License-Identifier: MIT */
/* What the log says of calls: at DEBUG each answer, at ERROR each error that an invalid request did
 * not cause. On the loop's thread. */
#ifndef PRSERVD_CALL_LOG_H
#define PRSERVD_CALL_LOG_H

#include "server/call.h"

/* Writes the answer of a call at DEBUG. error is what the client got, or NULL; then the answer is
 * the job's result. */
void call_log_answer(const struct call *call, const char *error);

/* Writes a refused message at DEBUG. */
void call_log_refusal(const struct call *call, const char *reason);

/* Writes the error of a call's job, unless the request is invalid or the log has the error: during
 * an outage that was reported, the lines of the outage count it. */
void call_log_error(const struct call *call);

#endif
