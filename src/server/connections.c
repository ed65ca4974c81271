/* SPDX-License-Identifier: MIT */
#include "server/connections.h"

#include "base/clock.h"
#include "server/access.h"
#include "wire/xml_rpc.h"

#include <unistd.h>

#define ADMIT_PER_TURN 64 /* of those that wait */
#define THROTTLE_MS 10    /* until those that are throttled are looked at again */

/* Work is measured in bytes of messages. The most hostile byte takes about 5 ns. */
#define MESSAGE_WORK ((size_t)2048)        /* of any message, besides its bytes */
#define QUIET_WORK ((size_t)16 * 1024)     /* in a turn, of a connection that is not busy */
#define BUSY_WORK ((size_t)128 * 1024)     /* of one that is busy */
#define ALL_BUSY_WORK ((size_t)128 * 1024) /* of all that are busy, up to four times a turn */

void connections_init(struct connections *connections, uv_loop_t *loop,
    const struct server_context *server, size_t max_message_bytes, void (*closed)(void *context),
    void *context)
{
    connections->loop = loop;
    connections->server = *server;
    connections->max_message_bytes = max_message_bytes;
    connections->closed = closed;
    connections->context = context;
    memory_pressure_init(&connections->pressure, server->budget, server->log);
    TAILQ_INIT(&connections->all);
    TAILQ_INIT(&connections->scheduled);
    TAILQ_INIT(&connections->busy);
    TAILQ_INIT(&connections->waiting);
    TAILQ_INIT(&connections->activity);
    TAILQ_INIT(&connections->throttled);
    negotiations_init(&connections->negotiations);
    (void)uv_timer_init(loop, &connections->throttle_timer);
    connections->throttle_timer.data = connections;
}

/* ---- the lists ---- */

void connections_add(struct connections *connections, struct connection_entry *entry)
{
    TAILQ_INSERT_TAIL(&connections->all, entry, entry);
    TAILQ_INSERT_TAIL(&connections->activity, entry, activity_entry);
    entry->active_ms = entry->request_ms = clock_ms();
    connections->n_open++;
}

void connections_remove(struct connections *connections, struct connection_entry *entry)
{
    TAILQ_REMOVE(&connections->all, entry, entry);
    TAILQ_REMOVE(&connections->activity, entry, activity_entry);
    address_limits_leave(&connections->limits, entry->address);
    connections->n_open--;
}

void connections_note_activity(struct connections *connections, struct connection_entry *entry)
{
    TAILQ_REMOVE(&connections->activity, entry, activity_entry);
    TAILQ_INSERT_TAIL(&connections->activity, entry, activity_entry);
    entry->active_ms = clock_ms();
}

void connections_refuse_xml_rpc(struct connections *connections, struct transport *transport)
{
    char peer[ADDRESS_TEXT_BYTES];

    transport_write_peer(transport, peer);
    if (!connections->has_met_xml_rpc)
        log_write(connections->server.log, LOG_WARNING,
            "Refused a client that is too old: %s speaks XML-RPC, as BitBake 1.50 and older does; "
            "BitBake 1.52 or newer is needed (this is logged once)",
            peer);
    connections->has_met_xml_rpc = true;
    xml_rpc_write_fault(&transport->out);
}

void connections_log_give_way(struct connections *connections, uint64_t idle_ms)
{
    log_often(connections->server.log, LOG_WARNING,
        "Closed a connection that had been idle for %llu s, to accept another one: %s",
        (unsigned long long)(idle_ms / 1000),
        connections_are_full(connections)
            ? "there are as many as --max-connections allows"
            : "the clients use all descriptors; raise the limit of open files (ulimit -n)");
}

void connections_refuse(struct connections *connections, int descriptor)
{
    (void)close(descriptor);
    log_often(connections->server.log, LOG_ERROR, "No memory for another connection");
    connections->n_refused++;
}

/* Closes the socket of a client that may not connect. */
static void connections_reject(
    struct connections *connections, int descriptor, const struct peer *peer, const char *reason)
{
    (void)close(descriptor);
    connections->n_refused++;
    log_often(connections->server.log, LOG_WARNING, "Refused a connection of %s: %s",
        peer->name[0] ? peer->name : "a client that can't be named", reason);
}

bool connections_admit(struct connections *connections, int descriptor,
    const struct listener_options *options, struct admission *admission)
{
    const struct access *access = options->access;
    const struct peer *peer = &admission->peer;

    admission->options = *options;
    admission->address = NULL;
    peer_find(descriptor, &admission->peer);
    if (!access_allows(access, descriptor, peer)) {
        connections_reject(connections, descriptor, peer, "its address is not allowed (,allow)");
        return false;
    }
    if (!access_is_writer(access, descriptor, peer))
        admission->options.rights = LISTENER_READ_ONLY;
    if (!connections->counts_addresses || peer->address.length == 0 ||
        access_is_relay(access, descriptor, peer))
        return true;
    if (address_limits_enter(&connections->limits, peer_address_text(&peer->address),
            options->max_connections_per_address, &admission->address))
        return true;
    connections_reject(connections, descriptor, peer,
        "its address has as many as ,max-connections-per-address allows");
    return false;
}

bool connections_are_overdue(const struct connections *connections, struct connection_entry *entry,
    uint64_t now_ms, bool is_all_written)
{
    if (!is_all_written)
        entry->request_ms = now_ms;
    return connections->idle_ms > 0 && now_ms >= entry->request_ms + connections->idle_ms;
}

/* Returns the list in which a connection is scheduled. */
static struct connection_list *connections_list_of(
    struct connections *connections, const struct connection_entry *entry)
{
    return entry->is_busy ? &connections->busy : &connections->scheduled;
}

void connections_schedule(struct connections *connections, struct connection_entry *entry)
{
    if (entry->is_scheduled)
        return;
    entry->is_scheduled = true;
    connections->n_scheduled++;
    TAILQ_INSERT_TAIL(connections_list_of(connections, entry), entry, scheduled_entry);
}

static void connections_unschedule(struct connections *connections, struct connection_entry *entry)
{
    if (!entry->is_scheduled)
        return;
    entry->is_scheduled = false;
    connections->n_scheduled--;
    TAILQ_REMOVE(connections_list_of(connections, entry), entry, scheduled_entry);
}

static void connections_schedule_busy(
    struct connections *connections, struct connection_entry *entry)
{
    if (!entry->is_busy)
        connections_unschedule(connections, entry);
    entry->is_busy = true;
    connections_schedule(connections, entry);
}

/* Work is counted when input is received, because lines cost time even while their message is
 * incomplete, and when a message is taken. */
void connections_schedule_input(
    struct connections *connections, struct connection_entry *entry, size_t bytes)
{
    entry->work += bytes;
    if (entry->work >= QUIET_WORK)
        connections_schedule_busy(connections, entry);
    else
        connections_schedule(connections, entry);
}

/* ---- TLS ---- */

bool connections_begin_negotiation(struct connections *connections, struct connection_entry *entry,
    void (*abandon)(struct connection *connection))
{
    const struct connection_entry *excess = negotiations_find_excess(&connections->negotiations);

    if (excess) {
        log_often(connections->server.log, LOG_WARNING,
            "Closed a connection that had not negotiated TLS yet: %d negotiations are under way",
            NEGOTIATIONS_MOST);
        abandon(excess->connection);
    }
    return negotiations_begin(
        &connections->negotiations, &entry->negotiation, entry, peer_address_text(&entry->peer));
}

void connections_end_negotiation(struct connections *connections, struct connection_entry *entry)
{
    negotiations_end(&connections->negotiations, &entry->negotiation);
}

bool connections_schedule_negotiation(
    struct connections *connections, struct connection_entry *entry)
{
    return negotiations_want_step(
        &connections->negotiations, &entry->negotiation, peer_address_text(&entry->peer));
}

void connections_log_tls_failure(
    struct connections *connections, const struct transport *transport, const char *reason)
{
    char peer[ADDRESS_TEXT_BYTES];

    transport_write_peer(transport, peer);
    connections->n_tls_failures++;
    log_often(connections->server.log, LOG_WARNING, "No TLS with the client %s: %s", peer, reason);
}

/* ---- throttling ---- */

void connections_end_throttle(struct connections *connections, struct connection_entry *entry)
{
    if (!entry->is_throttled)
        return;
    entry->is_throttled = false;
    TAILQ_REMOVE(&connections->throttled, entry, throttled_entry);
    if (TAILQ_EMPTY(&connections->throttled))
        (void)uv_timer_stop(&connections->throttle_timer);
}

/* Lets those go on whose address has a permission. */
static void connections_on_throttle_timer(uv_timer_t *timer)
{
    struct connections *connections = timer->data;
    const uint64_t now_us = clock_us();
    struct connection_entry *entry;
    struct connection_entry *following;

    for (entry = TAILQ_FIRST(&connections->throttled); entry; entry = following) {
        following = TAILQ_NEXT(entry, throttled_entry);
        if (!address_limits_take(&connections->limits, entry->address, now_us))
            continue;
        connections_end_throttle(connections, entry);
        entry->has_permission = true;
        connections_schedule(connections, entry);
    }
}

bool connections_may_request(struct connections *connections, struct connection_entry *entry)
{
    if (connections->limits.requests_per_second == 0 || connections->is_stopping)
        return true;
    if (!entry->has_permission && !entry->is_throttled)
        entry->has_permission =
            address_limits_take(&connections->limits, entry->address, clock_us());
    if (entry->has_permission || entry->is_throttled)
        return entry->has_permission;
    entry->is_throttled = true;
    TAILQ_INSERT_TAIL(&connections->throttled, entry, throttled_entry);
    if (!uv_is_active((uv_handle_t *)&connections->throttle_timer))
        (void)uv_timer_start(
            &connections->throttle_timer, connections_on_throttle_timer, THROTTLE_MS, THROTTLE_MS);
    return false;
}

void connections_tick(struct connections *connections)
{
    address_limits_tick(&connections->limits, clock_us());
}

void connections_close(struct connections *connections)
{
    if (!connections->loop)
        return;
    address_limits_deinit(&connections->limits);
    negotiations_deinit(&connections->negotiations);
    uv_close((uv_handle_t *)&connections->throttle_timer, NULL);
}

/* ---- shares of a turn ---- */

void connections_count_work(struct connection_entry *entry, size_t message_bytes)
{
    entry->work += MESSAGE_WORK + message_bytes;
    entry->request_ms = clock_ms();
    entry->has_permission = false;
}

bool connections_may_work(struct connections *connections, struct connection_entry *entry)
{
    if (entry->work < (entry->is_busy ? BUSY_WORK : QUIET_WORK))
        return true;
    connections_schedule_busy(connections, entry);
    return false;
}

void connections_wait(struct connections *connections, struct connection_entry *entry)
{
    if (entry->is_waiting)
        return;
    entry->is_waiting = true;
    TAILQ_INSERT_TAIL(&connections->waiting, entry, waiting_entry);
}

static void connections_end_wait(struct connections *connections, struct connection_entry *entry)
{
    if (!entry->is_waiting)
        return;
    entry->is_waiting = false;
    TAILQ_REMOVE(&connections->waiting, entry, waiting_entry);
}

void connections_retire(struct connections *connections, struct connection_entry *entry)
{
    connections_unschedule(connections, entry);
    connections_end_wait(connections, entry);
    connections_end_throttle(connections, entry);
    connections_end_negotiation(connections, entry);
}

/* ---- a turn of the loop ---- */

/* Schedules those that have waited longest. One that is not admitted again waits at the end. */
static void connections_admit_waiting(struct connections *connections)
{
    struct connection_entry *entry;

    for (int i = 0; i < ADMIT_PER_TURN && (entry = TAILQ_FIRST(&connections->waiting)); i++) {
        connections_end_wait(connections, entry);
        connections_schedule(connections, entry);
    }
}

/* Ends the work for a connection in this turn. One that is not scheduled again is no longer busy.
 */
static void connections_end_visit(struct connections *connections, struct connection_entry *entry)
{
    if (entry->is_busy)
        connections->busy_work += entry->work;
    entry->is_busy = entry->is_busy && entry->is_scheduled;
    entry->work = 0;
}

/* Processes the connections of a list, or until the busy ones have had their work. Those
 * that are scheduled meanwhile are processed in the next turn. */
static void connections_process(struct connections *connections, struct connection_list *list,
    void (*process)(struct connection *connection))
{
    const bool is_busy = list == &connections->busy;
    struct connection_entry *entry;

    for (size_t left = connections->n_scheduled; left > 0 && (entry = TAILQ_FIRST(list)); left--) {
        if (is_busy && connections->busy_work >= ALL_BUSY_WORK)
            return;
        connections_unschedule(connections, entry);
        process(entry->connection);
        connections_end_visit(connections, entry);
    }
}

bool connections_turn(
    struct connections *connections, void (*process)(struct connection *connection))
{
    connections->busy_work = 0;
    connections_admit_waiting(connections);
    connections_process(connections, &connections->scheduled, process);
    connections_process(connections, &connections->busy, process);
    memory_pressure_relieve(&connections->pressure);
    return connections->n_scheduled > 0;
}

bool connections_negotiate(
    struct connections *connections, void (*process)(struct connection *connection))
{
    struct connection_entry *entry = negotiations_take_step(&connections->negotiations);

    if (!entry)
        return false;
    process(entry->connection);
    connections_end_visit(connections, entry);
    return true;
}

bool connections_make_room(
    struct connections *connections, bool (*give_way)(struct connection *connection))
{
    const struct connection_entry *entry;

    TAILQ_FOREACH (entry, &connections->activity, activity_entry) {
        if (give_way(entry->connection))
            return true;
    }
    return false;
}

void connections_each(
    struct connections *connections, void (*function)(struct connection *connection))
{
    const struct connection_entry *entry;

    TAILQ_FOREACH (entry, &connections->all, entry)
        function(entry->connection);
}
