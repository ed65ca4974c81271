/* SPDX-License-Identifier: MIT */
/* Random numbers from a seed. */
#ifndef PRSERVD_CHANCE_H
#define PRSERVD_CHANCE_H

#include <stdint.h>

struct chance {
    uint64_t state;
};

/* Returns a random number below limit (splitmix64). */
static inline uint64_t chance_below(struct chance *chance, uint64_t limit)
{
    uint64_t z = chance->state += 0x9e3779b97f4a7c15U;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return (z ^ (z >> 31)) % limit;
}

#endif
