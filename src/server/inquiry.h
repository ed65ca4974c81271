/* What has to be known before a get-pr can be decided where there is an upstream: is the
 * answer here already, and if not, what does the upstream say?
 *
 * On the loop's thread. Inquiries about many calls go on at the same time; the order of the
 * calls does not matter to them. */
#ifndef PRSERVD_INQUIRY_H
#define PRSERVD_INQUIRY_H

#include "base/error.h"
#include "server/call.h"

#include <stdbool.h>

bool inquiry_is_needed(const struct call *call);

/* done is called when all is known, not before this returns: the job then has what upstream
 * said, or, if its result is not 0, the error that is the answer. Until then the stage is
 * CALL_CHECKING or CALL_ASKING; done chooses the next one. If the caller is gone, done comes
 * as soon as nobody works on the call. Returns false if there is no memory: done is not
 * called, and the job's result says so. */
ERROR_MUST_CHECK bool inquiry_begin(struct call *call, void (*done)(struct call *call));

#endif
