/* SPDX-License-Identifier: MIT */
/* A question of the HTTP module:
 *
 *     module's thread   wanted ──uv_async_send──→ waits, at most WAIT_MS ──→ takes the revision
 *     loop's thread               └─→ asks the upstream ──→ its answer, if the mutex is free; else
 *                                                           again later
 *
 * A question that the module no longer waits for is cancelled when the next one begins. The loop
 * never waits for the mutex: the module's threads have the lowest priority. */
#include "server/http_upstream.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdlib.h>

#define WAIT_MS 500

enum asker_state { ASKER_IDLE, ASKER_ASKED, ASKER_ANSWERED };

struct http_upstream {
    struct upstream *upstream;
    uv_async_t changed;

    /* the loop's */
    enum asker_state state;
    uint64_t asked; /* the number of the question */
    struct upstream_question question;
    struct buffer names; /* its version and pkgarch */

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t answered;
    bool is_stopping;
    bool is_wanted;  /* the module waits for the answer to number */
    uint64_t number; /* of its question; rises with each */
    struct text version;
    struct text pkgarch;
    bool is_answered;
    int result;
    struct error error;
    struct buffer greatest;
};

/* ---- the loop's thread ---- */

static void asker_on_answer(struct upstream_question *question, void *context)
{
    struct http_upstream *asker = context;

    (void)question;
    asker->state = ASKER_ANSWERED;
    (void)uv_async_send(&asker->changed);
}

/* Ends the question, whatever its state. */
static void asker_end(struct http_upstream *asker)
{
    if (asker->state == ASKER_ASKED)
        upstream_cancel(asker->upstream, &asker->question);
    else if (asker->state == ASKER_ANSWERED)
        upstream_question_release(&asker->question);
    asker->state = ASKER_IDLE;
}

/* Gives the answer to the module. The mutex is held. */
static void asker_answer(struct http_upstream *asker)
{
    const struct upstream_question *question = &asker->question;

    asker->result = question->result;
    asker->error = question->error;
    buffer_reset(&asker->greatest, BUFFER_KEEP_BYTES);
    if (question->result == 0 && question->umax)
        buffer_append_string(&asker->greatest, question->umax);
    asker->is_answered = true;
    asker->is_wanted = false;
    (void)pthread_cond_signal(&asker->answered);
}

/* Asks what the module wants to know. The mutex is held. */
static void asker_ask(struct http_upstream *asker)
{
    asker->asked = asker->number;
    buffer_reset(&asker->names, BUFFER_KEEP_BYTES);
    buffer_append_text(&asker->names, asker->version);
    buffer_append_text(&asker->names, asker->pkgarch);
    if (buffer_failed(&asker->names))
        return; /* the module stops waiting */
    asker->question = (struct upstream_question){
        .version = {.bytes = asker->names.bytes, .length = asker->version.length},
        .pkgarch = text_from(buffer_text(&asker->names), asker->version.length),
        .checksum = text_of(""),
        .arrived_ms = clock_ms(),
        .is_cancelled = true,
        .done = asker_on_answer,
        .context = asker,
    };
    asker->state = ASKER_ASKED;
    upstream_ask(asker->upstream, &asker->question);
}

static void asker_on_changed(uv_async_t *async)
{
    struct http_upstream *asker = async->data;

    if (pthread_mutex_trylock(&asker->mutex) != 0) {
        (void)uv_async_send(async);
        return;
    }
    if (asker->is_wanted && asker->state == ASKER_ANSWERED && asker->asked == asker->number)
        asker_answer(asker);
    if (asker->state == ASKER_ANSWERED || (asker->is_wanted && asker->asked != asker->number))
        asker_end(asker);
    if (asker->is_wanted && asker->asked != asker->number)
        asker_ask(asker);
    (void)pthread_mutex_unlock(&asker->mutex);
}

struct http_upstream *http_upstream_create(uv_loop_t *loop, struct upstream *upstream)
{
    struct http_upstream *asker = calloc(1, sizeof *asker);
    pthread_condattr_t attributes;

    if (!asker)
        return NULL;
    asker->upstream = upstream;
    (void)pthread_mutex_init(&asker->mutex, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&asker->answered, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    (void)uv_async_init(loop, &asker->changed, asker_on_changed);
    uv_unref((uv_handle_t *)&asker->changed);
    asker->changed.data = asker;
    return asker;
}

static void asker_on_closed(uv_handle_t *handle)
{
    struct http_upstream *asker = handle->data;

    (void)pthread_cond_destroy(&asker->answered);
    (void)pthread_mutex_destroy(&asker->mutex);
    buffer_free(&asker->names);
    buffer_free(&asker->greatest);
    free(asker);
}

void http_upstream_close(struct http_upstream *asker)
{
    if (!asker)
        return;
    asker_end(asker);
    uv_close((uv_handle_t *)&asker->changed, asker_on_closed);
}

/* ---- the module's thread ---- */

/* Waits for the answer. The mutex is held. */
static void asker_wait(struct http_upstream *asker)
{
    const uint64_t until_ms = clock_ms() + WAIT_MS;
    const struct timespec until = {
        .tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000) * 1000000};
    int waited = 0;

    while (!asker->is_answered && !asker->is_stopping && waited == 0)
        waited = pthread_cond_timedwait(&asker->answered, &asker->mutex, &until);
    asker->is_wanted = false;
}

int http_upstream_find_greatest(struct http_upstream *asker, struct text version,
    struct text pkgarch, struct buffer *greatest, struct error *error)
{
    int result;

    (void)pthread_mutex_lock(&asker->mutex);
    asker->number++;
    asker->version = version;
    asker->pkgarch = pkgarch;
    asker->is_wanted = true;
    asker->is_answered = false;
    (void)uv_async_send(&asker->changed);
    asker_wait(asker);
    result = asker->result;
    if (!asker->is_answered)
        result =
            error_set(error, ERROR_UPSTREAM, "the upstream has not answered within %d ms", WAIT_MS);
    else if (result == 0)
        buffer_append_text(greatest, buffer_text(&asker->greatest));
    else
        *error = asker->error;
    (void)pthread_mutex_unlock(&asker->mutex);
    return result;
}

void http_upstream_stop(struct http_upstream *asker)
{
    if (!asker)
        return;
    (void)pthread_mutex_lock(&asker->mutex);
    asker->is_stopping = true;
    (void)pthread_cond_signal(&asker->answered);
    (void)pthread_mutex_unlock(&asker->mutex);
}
