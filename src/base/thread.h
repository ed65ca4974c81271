/* SPDX-License-Identifier: MIT */
/* Starting a thread, which fails when the system allows no more of them. */
#ifndef PRSERVD_THREAD_H
#define PRSERVD_THREAD_H

#include "base/error.h"

#include <pthread.h>

/* Starts a thread, which the caller joins or detaches. purpose completes "a thread for …" in the
 * error. Fails with ERROR_SYSTEM. */
ERROR_MUST_CHECK int thread_start(pthread_t *thread, void *(*run)(void *), void *argument,
    const char *purpose, struct error *error);

/* Lowers the priority of the calling thread to a nice value (nice(2)). It gets the processors that
 * other threads leave. */
void thread_lower_priority(int nice_value);

#endif
