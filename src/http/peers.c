/* SPDX-License-Identifier: MIT */
#include "http/peers.h"

#include "base/clock.h"

#include <stdlib.h>
#include <sys/socket.h>

void peers_init(struct peers *peers)
{
    (void)pthread_mutex_init(&peers->mutex, NULL);
    TAILQ_INIT(&peers->all);
}

void peers_deinit(struct peers *peers)
{
    (void)pthread_mutex_destroy(&peers->mutex);
}

struct peer *peers_add(struct peers *peers, int descriptor)
{
    struct peer *peer = malloc(sizeof *peer);

    if (!peer)
        return NULL;
    *peer = (struct peer){.descriptor = descriptor, .since_ms = clock_ms()};
    (void)pthread_mutex_lock(&peers->mutex);
    TAILQ_INSERT_TAIL(&peers->all, peer, entry);
    (void)pthread_mutex_unlock(&peers->mutex);
    return peer;
}

void peers_answered(struct peers *peers, struct peer *peer)
{
    if (!peer)
        return;
    (void)pthread_mutex_lock(&peers->mutex);
    peer->since_ms = clock_ms();
    TAILQ_REMOVE(&peers->all, peer, entry);
    TAILQ_INSERT_TAIL(&peers->all, peer, entry);
    (void)pthread_mutex_unlock(&peers->mutex);
}

void peers_remove(struct peers *peers, struct peer *peer)
{
    if (!peer)
        return;
    (void)pthread_mutex_lock(&peers->mutex);
    TAILQ_REMOVE(&peers->all, peer, entry);
    (void)pthread_mutex_unlock(&peers->mutex);
    free(peer);
}

void peers_end_late(struct peers *peers, uint64_t now_ms)
{
    struct peer *peer;

    (void)pthread_mutex_lock(&peers->mutex);
    TAILQ_FOREACH (peer, &peers->all, entry) {
        if (now_ms < peer->since_ms + PEERS_ANSWER_MS)
            break;
        (void)shutdown(peer->descriptor, SHUT_RDWR);
    }
    (void)pthread_mutex_unlock(&peers->mutex);
}
