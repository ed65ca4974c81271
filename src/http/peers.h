/* SPDX-License-Identifier: MIT */
/* The open HTTP connections, and when each has to have received its next answer. A client that
 * sends or reads slowly, or does nothing, loses its connection at that time: the library itself
 * limits only the time without a byte. Any thread. */
#ifndef PRSERVD_PEERS_H
#define PRSERVD_PEERS_H

#include <pthread.h>
#include <stdint.h>
#include <sys/queue.h>

#define PEERS_ANSWER_MS 20000 /* from connecting, or the last answer, to the next */

struct peer {
    TAILQ_ENTRY(peer) entry;
    int descriptor;
    uint64_t since_ms;
};

struct peers {
    pthread_mutex_t mutex;
    TAILQ_HEAD(peer_list, peer) all; /* the one that has waited longest first */
};

void peers_init(struct peers *peers);
void peers_deinit(struct peers *peers);

/* Adds a connection. Returns NULL if there is no memory. */
struct peer *peers_add(struct peers *peers, int descriptor);

/* Notes that the connection was answered. NULL is allowed. */
void peers_answered(struct peers *peers, struct peer *peer);

/* Removes a connection, before its descriptor is closed. NULL is allowed. */
void peers_remove(struct peers *peers, struct peer *peer);

/* Shuts the connections whose time has passed at now_ms (clock_ms). Others may have been added or
 * answered since then. */
void peers_end_late(struct peers *peers, uint64_t now_ms);

#endif
