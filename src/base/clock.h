/* SPDX-License-Identifier: MIT */
/* Monotonic time, for deadlines and durations. Any thread. */
#ifndef PRSERVD_CLOCK_H
#define PRSERVD_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Returns the microseconds since an arbitrary moment. */
static inline uint64_t clock_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Returns the milliseconds since the same moment. */
static inline uint64_t clock_ms(void)
{
    return clock_us() / 1000;
}

#endif
