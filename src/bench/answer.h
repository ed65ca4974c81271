/* SPDX-License-Identifier: MIT */
/* Judges an answer without parsing its JSON, so that the cost does not show beside a server's. */
#ifndef PRSERV_ANSWER_H
#define PRSERV_ANSWER_H

#include "base/text.h"

#include <stdbool.h>

/* Returns whether the answer is {"value": REVISION or a boolean} or {"alive": true}. Others are
 * unexpected: an invoke-error, a value of null, null. Requests are about content that is known or
 * becomes known, so null is never expected. */
bool bench_answer_is_expected(struct text answer);

#endif
