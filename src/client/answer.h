/* Reading answers: the codec's functions, with the codes of prserv.h. */
#ifndef PRSERV_ANSWER_H
#define PRSERV_ANSWER_H

#include "base/error.h"
#include "base/text.h"
#include "client/prserv.h"

#include <stdbool.h>

/* What the codec says about an answer, in the caller's error. */
PRSERV_CHECK int answer_fail(
    struct prserv_error *error, int codec_code, const struct error *reason);

/* A revision, the caller's (free), or NULL, which needed makes a refusal. */
PRSERV_CHECK int answer_read_revision(
    struct text answer, bool needed, char **revision, struct prserv_error *error);

/* The answer to an import-one of this value. */
PRSERV_CHECK int answer_read_imported(
    struct text answer, struct text value, struct prserv_error *error);

#endif
