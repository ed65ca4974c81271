/* SPDX-License-Identifier: MIT */
/* Each slot is one connection, or with reconnect a sequence of connections:
 *
 *     kept open   idle → requests in flight → answers → as many new requests → …
 *     reconnect   idle → connect, send → answer → close → idle
 *                        ↑ broken: retried at once, BENCH_ATTEMPTS attempts in all
 *
 * A latency is the time from making a request (with reconnect: before its first connection) to
 * reading its answer. */
#include "bench/load.h"

#include "bench/answer.h"
#include "bench/sealed.h"
#include "wire/framer.h"
#include "wire/handshake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 256
#define INPUT_BYTES ((size_t)256 * 1024)
#define ANSWER_BYTES ((size_t)256 * 1024 * 1024)   /* in the longest answer */
#define MAX_UNSENT_BYTES ((size_t)8 * 1024 * 1024) /* more than the greatest depth needs */
#define TICK_NS 200000000ull
#define ABORT_AFTER_NS 3000000000ull /* longest wait for answers after a signal */
#define NS_IN_MS 1000000ull

struct slot {
    int descriptor;              /* -1: none */
    bool wants_write;            /* epoll waits until it is writable */
    struct tls_session *session; /* NULL: without TLS */
    struct buffer plain;         /* with TLS: requests that have to be encrypted */
    struct buffer out;
    size_t sent; /* bytes of out that were sent */
    struct framer framer;
    uint64_t *start_ns; /* ring with the start of each request in flight */
    unsigned oldest;    /* index in the ring */
    unsigned in_flight;
    unsigned attempts;
};

struct bench_load {
    const struct bench_target *target;
    struct bench_load_options options;
    int epoll;
    struct slot *slots;
    char *input;
    struct buffer opened; /* decrypted input */
    /* the current phase */
    const struct bench_phase *phase;
    struct bench_figures *figures;
    struct error *error;
    uint64_t start_ns;
    uint64_t end_ns;   /* deadline for new requests */
    uint64_t abort_ns; /* deadline for answers after a signal; 0: no signal yet */
    uint64_t in_flight;
    int result;
};

static uint64_t bench_load_clock_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Ends the phase because the server can't be used any more. */
static void bench_load_fail(struct bench_load *load, const char *reason)
{
    if (load->result == 0)
        load->result = error_set(load->error, ERROR_SYSTEM, "%s: %s", load->target->text, reason);
}

static bool bench_load_may_send(const struct bench_load *load, uint64_t now_ns)
{
    const struct bench_phase *phase = load->phase;

    return load->result == 0 && now_ns < load->end_ns &&
           (phase->requests == 0 || load->figures->sent < phase->requests);
}

/* ---- a slot's connection ---- */

static int bench_load_watch(
    struct bench_load *load, struct slot *slot, int action, bool wants_write)
{
    struct epoll_event event = {
        .events = EPOLLIN | (wants_write ? EPOLLOUT : 0u), .data.ptr = slot};

    slot->wants_write = wants_write;
    return epoll_ctl(load->epoll, action, slot->descriptor, &event);
}

static void bench_load_disconnect(struct slot *slot)
{
    if (slot->descriptor >= 0)
        (void)close(slot->descriptor);
    slot->descriptor = -1;
    framer_drop(&slot->framer);
}

/* Sends as much of out as the socket takes. Returns false, with errno, if the connection is
 * broken. */
static bool bench_load_flush(struct bench_load *load, struct slot *slot)
{
    while (slot->sent < slot->out.length) {
        ssize_t sent = send(slot->descriptor, slot->out.bytes + slot->sent,
            slot->out.length - slot->sent, MSG_NOSIGNAL);

        if (sent >= 0)
            slot->sent += (size_t)sent;
        else if (errno == EAGAIN)
            return slot->wants_write || bench_load_watch(load, slot, EPOLL_CTL_MOD, true) == 0;
        else if (errno != EINTR)
            return false;
    }
    return !slot->wants_write || bench_load_watch(load, slot, EPOLL_CTL_MOD, false) == 0;
}

/* Connects and sends the request in out, until that works or no attempt is left. last_error is
 * the reason why the last connection broke, or NULL. */
static void bench_load_connect_and_send(
    struct bench_load *load, struct slot *slot, const char *last_error)
{
    struct error reason;

    (void)error_set(
        &reason, ERROR_SYSTEM, "%s: %s", load->target->text, last_error ? last_error : "");

    while (slot->attempts < BENCH_ATTEMPTS) {
        if (slot->attempts++ > 0)
            load->figures->retries++;
        slot->sent = 0;
        if (bench_target_start(
                load->target, (size_t)(slot - load->slots), &slot->descriptor, &reason) != 0)
            continue;
        if (bench_load_watch(load, slot, EPOLL_CTL_ADD, false) == 0 && bench_load_flush(load, slot))
            return;
        (void)error_set(&reason, ERROR_SYSTEM, "%s: %s", load->target->text, strerror(errno));
        bench_load_disconnect(slot);
    }
    if (load->result == 0)
        load->result = error_set(load->error, ERROR_SYSTEM,
            "%s (a request failed %d times in a row)", reason.text, BENCH_ATTEMPTS);
}

static void bench_load_on_break(struct bench_load *load, struct slot *slot, const char *reason)
{
    if (!load->options.reconnect || slot->in_flight == 0) {
        bench_load_fail(load, reason);
        return;
    }
    bench_load_disconnect(slot);
    bench_load_connect_and_send(load, slot, reason);
}

/* ---- requests ---- */

static void bench_load_make_request(struct bench_load *load, struct slot *slot, uint64_t now_ns)
{
    unsigned at = slot->oldest + slot->in_flight;

    if (at >= load->options.depth)
        at -= load->options.depth;
    load->phase->next(load->phase->work, slot->session ? &slot->plain : &slot->out);
    slot->start_ns[at] = now_ns;
    slot->in_flight++;
    load->in_flight++;
    load->figures->sent++;
}

/* Makes and sends requests until the slot has as many in flight as it may. */
static void bench_load_fill(struct bench_load *load, struct slot *slot)
{
    uint64_t now_ns = bench_load_clock_ns();
    unsigned before = slot->in_flight;

    if (load->options.reconnect || slot->sent == slot->out.length) {
        buffer_reset(&slot->out, INPUT_BYTES);
        slot->sent = 0;
    }
    if (slot->out.length - slot->sent > MAX_UNSENT_BYTES) {
        bench_load_fail(load, "the server answers requests that it has not read");
        return;
    }
    if (load->options.reconnect)
        buffer_append_string(&slot->out, HANDSHAKE_CLIENT);
    while (slot->in_flight < load->options.depth && bench_load_may_send(load, now_ns))
        bench_load_make_request(load, slot, now_ns);
    if (slot->in_flight == before)
        return;
    if (slot->session && !sealed_write(slot->session, &slot->plain, &slot->out))
        bench_load_fail(load, "TLS fails");
    if (buffer_failed(&slot->out)) {
        load->result = error_set_memory(load->error);
    } else if (load->options.reconnect) {
        slot->attempts = 0;
        bench_load_connect_and_send(load, slot, NULL);
    } else if (!bench_load_flush(load, slot)) {
        bench_load_fail(load, strerror(errno));
    }
}

/* ---- answers ---- */

static void bench_load_note_error(struct bench_figures *figures, struct text answer)
{
    size_t length = answer.length < BENCH_ERROR_BYTES ? answer.length : BENCH_ERROR_BYTES;

    if (figures->errors++ > 0)
        return;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)answer.bytes[i];

        figures->first_error[i] = (char)(byte >= ' ' && byte < 127 ? byte : '?');
    }
    figures->first_error[length] = '\0';
}

static void bench_load_on_answer(
    struct bench_load *load, struct slot *slot, struct text answer, uint64_t now_ns)
{
    struct bench_figures *figures = load->figures;

    histogram_add(&figures->latency_ns, now_ns - slot->start_ns[slot->oldest]);
    slot->oldest = slot->oldest + 1 < load->options.depth ? slot->oldest + 1 : 0;
    slot->in_flight--;
    load->in_flight--;
    figures->answers++;
    figures->elapsed_ns = now_ns - load->start_ns;
    if (!bench_answer_is_expected(answer))
        bench_load_note_error(figures, answer);
}

static void bench_load_read_answers(struct bench_load *load, struct slot *slot, struct text bytes)
{
    uint64_t now_ns = bench_load_clock_ns();
    struct text answer;
    struct error reason;
    enum framer_result framed;

    if (framer_feed(&slot->framer, bytes.bytes, bytes.length, &reason) != 0) {
        bench_load_fail(load, reason.text);
        return;
    }
    while ((framed = framer_next_message(&slot->framer, &answer, &reason)) == FRAMER_READY) {
        if (slot->in_flight == 0) {
            bench_load_fail(load, "the server sent an answer without a request");
            return;
        }
        bench_load_on_answer(load, slot, answer, now_ns);
    }
    if (framed == FRAMER_LOST)
        bench_load_fail(load, reason.text);
}

static void bench_load_read_sealed(struct bench_load *load, struct slot *slot, struct text bytes)
{
    buffer_reset(&load->opened, INPUT_BYTES);
    if (sealed_read(slot->session, bytes, &load->opened))
        bench_load_read_answers(load, slot, buffer_text(&load->opened));
    else
        bench_load_fail(load, "the server has ended TLS");
}

static void bench_load_receive(struct bench_load *load, struct slot *slot)
{
    ssize_t got = recv(slot->descriptor, load->input, INPUT_BYTES, 0);
    unsigned before = slot->in_flight;

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        bench_load_on_break(
            load, slot, got == 0 ? "the server closed the connection" : strerror(errno));
        return;
    }
    if (slot->session)
        bench_load_read_sealed(load, slot, (struct text){load->input, (size_t)got});
    else
        bench_load_read_answers(load, slot, (struct text){load->input, (size_t)got});
    if (load->result != 0 || slot->in_flight == before)
        return;
    if (load->options.reconnect)
        bench_load_disconnect(slot);
    bench_load_fill(load, slot);
}

static void bench_load_handle(struct bench_load *load, struct slot *slot, uint32_t events)
{
    if (slot->descriptor >= 0 && (events & EPOLLOUT) && !bench_load_flush(load, slot)) {
        bench_load_on_break(load, slot, strerror(errno));
        return;
    }
    if (slot->descriptor >= 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        bench_load_receive(load, slot);
}

/* ---- a phase ---- */

/* Handles a signal: the first one stops new requests, the second one also the wait for answers. */
static void bench_load_stop(struct bench_load *load, uint64_t now_ns)
{
    struct signalfd_siginfo signal;

    if (read(load->options.stop, &signal, sizeof signal) != (ssize_t)sizeof signal)
        return;
    load->figures->stopped = true;
    load->end_ns = now_ns;
    load->abort_ns = load->abort_ns ? now_ns : now_ns + ABORT_AFTER_NS;
}

static void bench_load_check_timeouts(struct bench_load *load, uint64_t now_ns)
{
    uint64_t timeout_ns = load->target->timeout_ms * NS_IN_MS;

    for (unsigned i = 0; i < load->options.connections; i++) {
        const struct slot *slot = &load->slots[i];

        if (slot->in_flight > 0 && now_ns > slot->start_ns[slot->oldest] + timeout_ns) {
            bench_load_fail(load, "no answer in time");
            return;
        }
    }
}

static void bench_load_tick(struct bench_load *load, uint64_t now_ns)
{
    const struct bench_phase *phase = load->phase;

    bench_load_check_timeouts(load, now_ns);
    if (phase->tick)
        phase->tick(phase->tick_context, now_ns - load->start_ns, load->figures->answers);
}

static bool bench_load_is_running(const struct bench_load *load, uint64_t now_ns)
{
    return load->result == 0 && (load->abort_ns == 0 || now_ns < load->abort_ns) &&
           load->in_flight > 0;
}

static void bench_load_loop(struct bench_load *load)
{
    struct epoll_event events[EVENTS];
    uint64_t now_ns = bench_load_clock_ns();
    uint64_t tick_ns = now_ns + TICK_NS;

    while (bench_load_is_running(load, now_ns)) {
        uint64_t wait_ns = tick_ns > now_ns ? tick_ns - now_ns : 0;
        int count = epoll_wait(load->epoll, events, EVENTS, (int)(wait_ns / NS_IN_MS) + 1);

        for (int i = 0; i < count && load->result == 0; i++) {
            if (events[i].data.ptr)
                bench_load_handle(load, events[i].data.ptr, events[i].events);
            else
                bench_load_stop(load, bench_load_clock_ns());
        }
        now_ns = bench_load_clock_ns();
        if (now_ns >= tick_ns) {
            bench_load_tick(load, now_ns);
            tick_ns = now_ns + TICK_NS;
        }
    }
}

int bench_load_run(struct bench_load *load, const struct bench_phase *phase,
    struct bench_figures *figures, struct error *error)
{
    memset(figures, 0, sizeof *figures);
    load->phase = phase;
    load->figures = figures;
    load->error = error;
    load->start_ns = bench_load_clock_ns();
    load->end_ns = phase->duration_ns ? load->start_ns + phase->duration_ns : UINT64_MAX;
    load->abort_ns = 0;
    load->result = 0;
    for (unsigned i = 0; i < load->options.connections && load->result == 0; i++)
        bench_load_fill(load, &load->slots[i]);
    bench_load_loop(load);
    return load->result;
}

/* ---- creating and freeing ---- */

static int bench_load_open_slot(struct bench_load *load, struct slot *slot, struct error *error)
{
    slot->start_ns = calloc(load->options.depth, sizeof *slot->start_ns);
    if (!slot->start_ns)
        return error_set_memory(error);
    if (load->options.reconnect)
        return 0;
    if (bench_target_connect(
            load->target, (size_t)(slot - load->slots), &slot->descriptor, error) != 0)
        return ERROR_SYSTEM;
    if (load->target->tls && sealed_open(&slot->session, load->target->tls, load->target->host,
                                 slot->descriptor, (int)load->target->timeout_ms, error) != 0)
        return ERROR_SYSTEM;
    buffer_append_string(slot->session ? &slot->plain : &slot->out, HANDSHAKE_CLIENT);
    if (slot->session && !sealed_write(slot->session, &slot->plain, &slot->out))
        return error_set(error, ERROR_SYSTEM, "TLS fails");
    if (buffer_failed(&slot->out))
        return error_set_memory(error);
    if (bench_load_watch(load, slot, EPOLL_CTL_ADD, false) != 0 || !bench_load_flush(load, slot))
        return error_set(error, ERROR_SYSTEM, "%s: %s", load->target->text, strerror(errno));
    return 0;
}

static int bench_load_open_slots(struct bench_load *load, struct error *error)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    int result = 0;

    load->slots = calloc(load->options.connections, sizeof *load->slots);
    load->input = malloc(INPUT_BYTES);
    if (!load->slots || !load->input)
        return error_set_memory(error);
    for (unsigned i = 0; i < load->options.connections; i++) {
        load->slots[i].descriptor = -1;
        framer_init(&load->slots[i].framer, ANSWER_BYTES);
    }
    load->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (load->epoll < 0 || epoll_ctl(load->epoll, EPOLL_CTL_ADD, load->options.stop, &event) != 0)
        return error_set(error, ERROR_SYSTEM, "epoll: %s", strerror(errno));
    for (unsigned i = 0; i < load->options.connections && result == 0; i++)
        result = bench_load_open_slot(load, &load->slots[i], error);
    return result;
}

int bench_load_create(struct bench_load **made, const struct bench_target *target,
    const struct bench_load_options *options, struct error *error)
{
    struct bench_load *load = calloc(1, sizeof *load);
    int result;

    *made = NULL;
    if (!load)
        return error_set_memory(error);
    load->target = target;
    load->options = *options;
    load->epoll = -1;
    result = bench_load_open_slots(load, error);
    if (result != 0) {
        bench_load_free(load);
        return result;
    }
    *made = load;
    return 0;
}

void bench_load_free(struct bench_load *load)
{
    if (!load)
        return;
    for (unsigned i = 0; load->slots && i < load->options.connections; i++) {
        bench_load_disconnect(&load->slots[i]);
        sealed_close(load->slots[i].session);
        buffer_free(&load->slots[i].plain);
        buffer_free(&load->slots[i].out);
        free(load->slots[i].start_ns);
    }
    if (load->epoll >= 0)
        (void)close(load->epoll);
    free(load->slots);
    free(load->input);
    buffer_free(&load->opened);
    free(load);
}
