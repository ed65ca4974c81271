/* Time that only goes forward, for deadlines. */
#ifndef PRSERVD_CLOCK_H
#define PRSERVD_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Milliseconds since some moment in the past. Any thread. */
static inline uint64_t clock_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Microseconds likewise, for measuring. */
static inline uint64_t clock_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

#endif
