/* SPDX-License-Identifier: MIT */
/* Asks the upstream for the HTTP module, which shows a package's greatest revision there beside the
 * local one (doc/http.md). One question at a time, through the connections that answer PR clients:
 * a question is as cheap as a client's look-up. */
#ifndef PRSERVD_HTTP_UPSTREAM_H
#define PRSERVD_HTTP_UPSTREAM_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/text.h"
#include "upstream/upstream.h"

#include <uv.h>

struct http_upstream;

/* Makes the asker; NULL without memory. upstream: borrowed until http_upstream_close. On the
 * loop's thread. */
struct http_upstream *http_upstream_create(uv_loop_t *loop, struct upstream *upstream);

/* Appends the upstream's greatest revision of a package to greatest: nothing if it has none.
 * Fails with ERROR_UPSTREAM, at once if the upstream is known to be away, and after half a second
 * without an answer. On one other thread, until http_upstream_stop. */
ERROR_MUST_CHECK int http_upstream_find_greatest(struct http_upstream *asker, struct text version,
    struct text pkgarch, struct buffer *greatest, struct error *error);

/* Ends the wait of the other thread. On any thread. NULL is allowed. */
void http_upstream_stop(struct http_upstream *asker);

/* Cancels a question that is under way and frees the asker. The loop has to run once more. No
 * other thread may use it any more. On the loop's thread. NULL is allowed. */
void http_upstream_close(struct http_upstream *asker);

#endif
