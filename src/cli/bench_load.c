/* Each slot is one connection, or with reconnect one after another:
 *
 *     kept        idle → requests under way → an answer → as many new requests → …
 *     reconnect   idle → connect, send → the answer → close → idle
 *                        ↑ broken: at once again, BENCH_TRIES times in all
 *
 * A latency runs from the moment the request was made (with reconnect: before its first
 * connection) until its answer was read. */
#include "cli/bench_load.h"

#include "wire/opening.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 256
#define INPUT_BYTES ((size_t)256 * 1024)
#define MOST_UNSENT_BYTES ((size_t)8 * 1024 * 1024) /* more than any depth needs */
#define TICK_NS 200000000ull
#define STOP_NS 3000000000ull /* how long answers are waited for after a signal */
#define NS_IN_MS 1000000ull

struct slot {
    int descriptor; /* -1: none */
    bool waits;     /* epoll tells when it can be written */
    struct buffer out;
    size_t sent; /* of out */
    struct bench_answer_reader reader;
    uint64_t *began_ns; /* a ring: when each request under way was made */
    unsigned oldest;
    unsigned under_way;
    unsigned tries;
};

struct bench_load {
    const struct bench_target *target;
    struct bench_load_options options;
    int epoll;
    struct slot *slots;
    char *input;
    /* the phase */
    const struct bench_phase *phase;
    struct bench_figures *figures;
    struct error *error;
    uint64_t began_ns;
    uint64_t end_ns;  /* no request is made after that */
    uint64_t halt_ns; /* after a signal: no answer is waited for after that; or 0 */
    uint64_t under_way;
    int result;
};

static uint64_t clock_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Ends the phase: the server can't be used any more. */
static void give_up(struct bench_load *load, const char *reason)
{
    if (load->result == 0)
        load->result = error_set(load->error, ERROR_SYSTEM, "%s: %s", load->target->text, reason);
}

static bool may_send(const struct bench_load *load, uint64_t now_ns)
{
    const struct bench_phase *phase = load->phase;

    return load->result == 0 && now_ns < load->end_ns &&
           (phase->requests == 0 || load->figures->sent < phase->requests);
}

/* ---- a slot's connection ---- */

static int watch(struct bench_load *load, struct slot *slot, int action, bool waits)
{
    struct epoll_event event = {.events = EPOLLIN | (waits ? EPOLLOUT : 0u), .data.ptr = slot};

    slot->waits = waits;
    return epoll_ctl(load->epoll, action, slot->descriptor, &event);
}

static void disconnect(struct slot *slot)
{
    if (slot->descriptor >= 0)
        (void)close(slot->descriptor);
    slot->descriptor = -1;
    memset(&slot->reader, 0, sizeof slot->reader);
}

/* Sends what it can of out. Returns false, with errno, if the connection is broken. */
static bool flush(struct bench_load *load, struct slot *slot)
{
    while (slot->sent < slot->out.length) {
        ssize_t sent = send(slot->descriptor, slot->out.bytes + slot->sent,
            slot->out.length - slot->sent, MSG_NOSIGNAL);

        if (sent >= 0)
            slot->sent += (size_t)sent;
        else if (errno == EAGAIN)
            return slot->waits || watch(load, slot, EPOLL_CTL_MOD, true) == 0;
        else if (errno != EINTR)
            return false;
    }
    return !slot->waits || watch(load, slot, EPOLL_CTL_MOD, false) == 0;
}

/* Connects for the request in out, as often as is allowed; broke is what ended the last
 * connection, or NULL. */
static void send_alone(struct bench_load *load, struct slot *slot, const char *broke)
{
    struct error reason;

    (void)error_set(&reason, ERROR_SYSTEM, "%s: %s", load->target->text, broke ? broke : "");

    while (slot->tries < BENCH_TRIES) {
        if (slot->tries++ > 0)
            load->figures->retries++;
        slot->sent = 0;
        if (bench_target_start(load->target, &slot->descriptor, &reason) != 0)
            continue;
        if (watch(load, slot, EPOLL_CTL_ADD, false) == 0 && flush(load, slot))
            return;
        (void)error_set(&reason, ERROR_SYSTEM, "%s: %s", load->target->text, strerror(errno));
        disconnect(slot);
    }
    if (load->result == 0)
        load->result = error_set(load->error, ERROR_SYSTEM,
            "%s (a request failed %d times in a row)", reason.text, BENCH_TRIES);
}

static void broken(struct bench_load *load, struct slot *slot, const char *reason)
{
    if (!load->options.reconnect || slot->under_way == 0) {
        give_up(load, reason);
        return;
    }
    disconnect(slot);
    send_alone(load, slot, reason);
}

/* ---- requests ---- */

static void make_request(struct bench_load *load, struct slot *slot, uint64_t now_ns)
{
    unsigned at = slot->oldest + slot->under_way;

    if (at >= load->options.depth)
        at -= load->options.depth;
    load->phase->next(load->phase->work, &slot->out);
    slot->began_ns[at] = now_ns;
    slot->under_way++;
    load->under_way++;
    load->figures->sent++;
}

/* Sends as many requests as the slot may have under way. */
static void fill(struct bench_load *load, struct slot *slot)
{
    uint64_t now_ns = clock_ns();
    unsigned before = slot->under_way;

    if (load->options.reconnect || slot->sent == slot->out.length) {
        buffer_reset(&slot->out, INPUT_BYTES);
        slot->sent = 0;
    }
    if (slot->out.length - slot->sent > MOST_UNSENT_BYTES) {
        give_up(load, "the server answers what it has not read");
        return;
    }
    if (load->options.reconnect)
        buffer_append_string(&slot->out, OPENING_CLIENT);
    while (slot->under_way < load->options.depth && may_send(load, now_ns))
        make_request(load, slot, now_ns);
    if (slot->under_way == before)
        return;
    if (buffer_failed(&slot->out)) {
        load->result = error_set_memory(load->error);
    } else if (load->options.reconnect) {
        slot->tries = 0;
        send_alone(load, slot, NULL);
    } else if (!flush(load, slot)) {
        give_up(load, strerror(errno));
    }
}

/* ---- answers ---- */

static void note_error(struct bench_figures *figures, struct text head)
{
    size_t length = head.length < BENCH_HEAD_BYTES ? head.length : BENCH_HEAD_BYTES;

    if (figures->errors++ > 0)
        return;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)head.bytes[i];

        figures->first_error[i] = (char)(byte >= ' ' && byte < 127 ? byte : '?');
    }
    figures->first_error[length] = '\0';
}

static void take_answer(
    struct bench_load *load, struct slot *slot, const struct bench_answer *answer, uint64_t now_ns)
{
    struct bench_figures *figures = load->figures;

    histogram_add(&figures->latency_ns, now_ns - slot->began_ns[slot->oldest]);
    slot->oldest = slot->oldest + 1 < load->options.depth ? slot->oldest + 1 : 0;
    slot->under_way--;
    load->under_way--;
    figures->answers++;
    figures->elapsed_ns = now_ns - load->began_ns;
    if (!answer->right)
        note_error(figures, answer->head);
}

static void take_bytes(struct bench_load *load, struct slot *slot, struct text bytes)
{
    uint64_t now_ns = clock_ns();

    while (bytes.length > 0) {
        struct bench_answer answer;
        bool complete;
        size_t taken = bench_answer_read(&slot->reader, bytes, &complete, &answer);

        bytes.bytes += taken;
        bytes.length -= taken;
        if (!complete)
            return;
        if (slot->under_way == 0) {
            give_up(load, "the server sent an answer that nobody asked for");
            return;
        }
        take_answer(load, slot, &answer, now_ns);
    }
}

static void receive(struct bench_load *load, struct slot *slot)
{
    ssize_t got = recv(slot->descriptor, load->input, INPUT_BYTES, 0);
    unsigned before = slot->under_way;

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        broken(load, slot, got == 0 ? "the server closed the connection" : strerror(errno));
        return;
    }
    take_bytes(load, slot, (struct text){load->input, (size_t)got});
    if (load->result != 0 || slot->under_way == before)
        return;
    if (load->options.reconnect)
        disconnect(slot);
    fill(load, slot);
}

static void handle(struct bench_load *load, struct slot *slot, uint32_t events)
{
    if (slot->descriptor >= 0 && (events & EPOLLOUT) && !flush(load, slot)) {
        broken(load, slot, strerror(errno));
        return;
    }
    if (slot->descriptor >= 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        receive(load, slot);
}

/* ---- a phase ---- */

/* The signal came: the first time, answers are still waited for. */
static void stop(struct bench_load *load, uint64_t now_ns)
{
    struct signalfd_siginfo signal;

    if (read(load->options.stop, &signal, sizeof signal) != (ssize_t)sizeof signal)
        return;
    load->figures->stopped = true;
    load->end_ns = now_ns;
    load->halt_ns = load->halt_ns ? now_ns : now_ns + STOP_NS;
}

static void check_silence(struct bench_load *load, uint64_t now_ns)
{
    uint64_t patience_ns = load->options.timeout_ms * NS_IN_MS;

    for (unsigned i = 0; i < load->options.connections; i++) {
        const struct slot *slot = &load->slots[i];

        if (slot->under_way > 0 && now_ns > slot->began_ns[slot->oldest] + patience_ns) {
            give_up(load, "no answer in time");
            return;
        }
    }
}

static void tick(struct bench_load *load, uint64_t now_ns)
{
    const struct bench_phase *phase = load->phase;

    check_silence(load, now_ns);
    if (phase->tick)
        phase->tick(phase->tick_context, now_ns - load->began_ns, load->figures->answers);
}

static bool goes_on(const struct bench_load *load, uint64_t now_ns)
{
    return load->result == 0 && (load->halt_ns == 0 || now_ns < load->halt_ns) &&
           load->under_way > 0;
}

static void loop(struct bench_load *load)
{
    struct epoll_event events[EVENTS];
    uint64_t now_ns = clock_ns();
    uint64_t tick_ns = now_ns + TICK_NS;

    while (goes_on(load, now_ns)) {
        uint64_t wait_ns = tick_ns > now_ns ? tick_ns - now_ns : 0;
        int count = epoll_wait(load->epoll, events, EVENTS, (int)(wait_ns / NS_IN_MS) + 1);

        for (int i = 0; i < count && load->result == 0; i++) {
            if (events[i].data.ptr)
                handle(load, events[i].data.ptr, events[i].events);
            else
                stop(load, clock_ns());
        }
        now_ns = clock_ns();
        if (now_ns >= tick_ns) {
            tick(load, now_ns);
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
    load->began_ns = clock_ns();
    load->end_ns = phase->duration_ns ? load->began_ns + phase->duration_ns : UINT64_MAX;
    load->halt_ns = 0;
    load->result = 0;
    for (unsigned i = 0; i < load->options.connections && load->result == 0; i++)
        fill(load, &load->slots[i]);
    loop(load);
    return load->result;
}

/* ---- life ---- */

static int open_slot(struct bench_load *load, struct slot *slot, struct error *error)
{
    slot->began_ns = calloc(load->options.depth, sizeof *slot->began_ns);
    if (!slot->began_ns)
        return error_set_memory(error);
    if (load->options.reconnect)
        return 0;
    if (bench_target_connect(load->target, &slot->descriptor, error) != 0)
        return ERROR_SYSTEM;
    buffer_append_string(&slot->out, OPENING_CLIENT);
    if (buffer_failed(&slot->out))
        return error_set_memory(error);
    if (watch(load, slot, EPOLL_CTL_ADD, false) != 0 || !flush(load, slot))
        return error_set(error, ERROR_SYSTEM, "%s: %s", load->target->text, strerror(errno));
    return 0;
}

static int open_slots(struct bench_load *load, struct error *error)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    int result = 0;

    load->slots = calloc(load->options.connections, sizeof *load->slots);
    load->input = malloc(INPUT_BYTES);
    if (!load->slots || !load->input)
        return error_set_memory(error);
    for (unsigned i = 0; i < load->options.connections; i++)
        load->slots[i].descriptor = -1;
    load->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (load->epoll < 0 || epoll_ctl(load->epoll, EPOLL_CTL_ADD, load->options.stop, &event) != 0)
        return error_set(error, ERROR_SYSTEM, "epoll: %s", strerror(errno));
    for (unsigned i = 0; i < load->options.connections && result == 0; i++)
        result = open_slot(load, &load->slots[i], error);
    return result;
}

int bench_load_new(struct bench_load **made, const struct bench_target *target,
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
    result = open_slots(load, error);
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
        disconnect(&load->slots[i]);
        buffer_free(&load->slots[i].out);
        free(load->slots[i].began_ns);
    }
    if (load->epoll >= 0)
        (void)close(load->epoll);
    free(load->slots);
    free(load->input);
    free(load);
}
