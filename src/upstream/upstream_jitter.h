/* SPDX-License-Identifier: MIT */
#ifndef PRSERVD_UPSTREAM_JITTER_H
#define PRSERVD_UPSTREAM_JITTER_H

#include <sys/random.h>

/* Returns a random time between half of the pause and all of it, so that many servers below one
 * upstream do not connect again at the same moment. */
static inline unsigned upstream_jitter(unsigned pause_ms)
{
    unsigned chance = 0;

    if (getrandom(&chance, sizeof chance, GRND_NONBLOCK) != sizeof chance)
        chance = 0; /* the machine has just started and has no random numbers yet */
    return pause_ms / 2 + chance % (pause_ms / 2 + 1);
}

#endif
