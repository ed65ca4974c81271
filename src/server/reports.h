/* SPDX-License-Identifier: MIT */
/* The reports of the audit log, for the HTTP interface: the seam between the two. Without an audit
 * log there is none, and the HTTP interface answers 501.
 *
 * Each function appends one JSON value to out, or fails: with ERROR_INPUT (the question is
 * invalid), ERROR_LOCKED (away for a moment), ERROR_STORE, ERROR_MEMORY. They are called on one
 * thread, which is not the loop's and may wait, and end by deadline_ms (clock_ms). They use a
 * connection of their own to the audit log, never one that answers PR clients. */
#ifndef PRSERVD_REPORTS_H
#define PRSERVD_REPORTS_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/text.h"

#include <stdint.h>

struct reports {
    void *context;

    /* The newest assignments since a time, at most limit of them: an array. since is as the client
     * gave it; bytes NULL: not given. */
    int (*log)(void *context, struct text since, unsigned limit, uint64_t deadline_ms,
        struct buffer *out, struct error *error);

    /* The packages by number of new revisions, and those that flap: an object. */
    int (*churn)(void *context, struct text since, unsigned limit, uint64_t deadline_ms,
        struct buffer *out, struct error *error);

    /* Why a package's revisions grew: an object. */
    int (*why)(void *context, struct text version, struct text pkgarch, uint64_t deadline_ms,
        struct buffer *out, struct error *error);

    /* The time of a package's last assignment: a string, or null. */
    int (*last_assigned)(void *context, struct text version, struct text pkgarch,
        uint64_t deadline_ms, struct buffer *out, struct error *error);
};

#endif
