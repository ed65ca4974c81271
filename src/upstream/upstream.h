/* SPDX-License-Identifier: MIT */
/* The upstream: asks the server above this one, and waits for it while it is away.
 *
 * Every question ends. It waits as long as the patience allows (base/outage.h, doc/semantics.md,
 * "Patience"): while the upstream can't be reached, and while it is silent. Then, and at once where
 * waiting can't help, it ends with an error. On the loop's thread. */
#ifndef PRSERVD_UPSTREAM_H
#define PRSERVD_UPSTREAM_H

#include "base/address.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/log.h"
#include "base/metric.h"
#include "tls/endpoint.h"
#include "upstream/upstream_question.h"
#include "wire/instances.h"

#include <stdbool.h>
#include <uv.h>

#define UPSTREAM_ANSWER_MS 10000 /* without patience: from a question to its answer */
#define UPSTREAM_LONG_MS 10000   /* an outage in which questions end that may not be needed */

struct upstream;

struct upstream_options {
    const struct address *address; /* borrowed until upstream_create returns */
    struct tls_endpoint *tls; /* for an address with TLS; borrowed as long as the upstream lives */
    unsigned patience_ms;
    struct log *log; /* borrowed */
    /* Returns the name of this server's own database (wire/instances.h), or "" while it is not
     * known. */
    const char *(*instance)(void *context);
    void *context;
};

/* Creates an upstream, which connects when it is first asked. *upstream belongs to the caller. */
ERROR_MUST_CHECK int upstream_create(struct upstream **upstream, uv_loop_t *loop,
    const struct upstream_options *options, struct error *error);

/* Asks a question. done is called later, never before this returns.
 *
 * A question that ends with may_wait has waited for long, or as long as it may, but its answer may
 * not be needed: content with the greatest revision keeps it. If it is needed, ask again. */
void upstream_ask(struct upstream *upstream, struct upstream_question *question);

/* Asks a question again that ended with may_wait: it ends with the upstream's answer, or at the end
 * of the patience, without may_wait. */
void upstream_ask_again(struct upstream *upstream, struct upstream_question *question);

/* Forgets a question that was asked and whose done was not called. It is not called any more. */
void upstream_cancel(struct upstream *upstream, struct upstream_question *question);

/* Sends what was asked in this turn of the loop, together, and calls done for refused
 * questions. Call it at the end of each turn. Returns true if it called done. */
bool upstream_turn(struct upstream *upstream);

/* Adds the databases of the upstream and of those above it, as it named them last. */
void upstream_add_instances(const struct upstream *upstream, struct instances *instances);

/* Appends the upstream's part of the answer to get-stats, a JSON object. Without shows_address its
 * address is null. */
void upstream_write_stats(const struct upstream *upstream, bool shows_address, struct buffer *out);

/* What any thread may read about an upstream, at any time between upstream_create and
 * upstream_close. */
struct upstream_metrics {
    struct metric is_up; /* 1 until it was found to be away or a loop; 0 until it is back */
    struct metric n_answered;
    struct metric n_failed;
    const struct metric_histogram *round_trip_us;
};

const struct upstream_metrics *upstream_metrics(const struct upstream *upstream);

/* Refuses all questions, those under way and later ones, with this reason. */
void upstream_refuse(struct upstream *upstream, const char *reason);

/* Closes the handles. No question may be under way. The loop has to run until the handles are
 * closed; that frees the upstream. NULL is allowed. */
void upstream_close(struct upstream *upstream);

#endif
