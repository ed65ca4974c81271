/* SPDX-License-Identifier: MIT */
/* A low priority alone does not do: a thread that has begun keeps its processor for a while, and
 * shares its caches. So HTTP is limited as well: a single client never notices that, but any number
 * of them together takes a small part of one processor only. */
#include "base/clock.h"
#include "base/thread.h"
#include "http/http.h"

#include <time.h>

#define PRIORITY 15 /* nice(2) */
#define WINDOW_US 100000
#define MOST_REQUESTS 20 /* of an address, in a window */
#define REST_FACTOR 9    /* rest of the worker, in times of its work */
#define MAX_REST_US 100000

void pace_be_nice(void)
{
    static _Thread_local bool is_nice;

    if (!is_nice)
        thread_lower_priority(PRIORITY);
    is_nice = true;
}

static void pace_sleep(uint64_t time_us)
{
    const struct timespec time = {
        .tv_sec = (time_t)(time_us / 1000000), .tv_nsec = (long)(time_us % 1000000) * 1000};

    (void)nanosleep(&time, NULL);
}

void pace_request(void)
{
    static _Thread_local uint64_t window_us; /* its begin */
    static _Thread_local unsigned n_requests;
    const uint64_t now_us = clock_us();

    if (now_us - window_us >= WINDOW_US) {
        window_us = now_us;
        n_requests = 0;
    } else if (n_requests >= MOST_REQUESTS) {
        pace_sleep(window_us + WINDOW_US - now_us);
        window_us = clock_us();
        n_requests = 0;
    }
    n_requests++;
}

void pace_rest(uint64_t began_us)
{
    const uint64_t rest_us = (clock_us() - began_us) * REST_FACTOR;

    pace_sleep(rest_us < MAX_REST_US ? rest_us : MAX_REST_US);
}
