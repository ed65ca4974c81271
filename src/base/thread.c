/* SPDX-License-Identifier: MIT */
#include "base/thread.h"

#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

int thread_start(pthread_t *thread, void *(*run)(void *), void *argument, const char *purpose,
    struct error *error)
{
    int failure = pthread_create(thread, NULL, run, argument);

    if (failure == 0)
        return 0;
    return error_set(error, ERROR_SYSTEM,
        "can't start a thread for %s: %s; raise the limit of threads (ulimit -u, TasksMax=)",
        purpose, strerror(failure));
}

void thread_lower_priority(int nice_value)
{
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), nice_value);
}
