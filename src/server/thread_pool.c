/* SPDX-License-Identifier: MIT */
/* libuv can't say whether it would abort. So as many threads are started first, and some to spare,
 * because the system counts those that have just ended for a moment longer. */
#include "server/thread_pool.h"

#include "base/thread.h"

#include <stdlib.h>

#define SIZE "2" /* one name may take long to resolve */
#define TRIED_THREADS 4

void thread_pool_set_size(void)
{
    (void)setenv("UV_THREADPOOL_SIZE", SIZE, 1); /* without memory, libuv starts four */
}

static void *thread_pool_wait(void *mutex)
{
    (void)pthread_mutex_lock(mutex);
    (void)pthread_mutex_unlock(mutex);
    return NULL;
}

/* Starts threads that exist at the same time, and ends them. */
static int thread_pool_try(struct error *error)
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_t threads[TRIED_THREADS];
    int result = 0;
    int n = 0;

    (void)pthread_mutex_lock(&mutex);
    while (n < TRIED_THREADS && result == 0) {
        result = thread_start(&threads[n], thread_pool_wait, &mutex, "names", error);
        n += result == 0;
    }
    (void)pthread_mutex_unlock(&mutex);
    while (n > 0)
        (void)pthread_join(threads[--n], NULL);
    (void)pthread_mutex_destroy(&mutex);
    return result;
}

static void thread_pool_work(uv_work_t *work)
{
    (void)work;
}

int thread_pool_start(uv_loop_t *loop, uv_work_t *work, struct error *error)
{
    int result = thread_pool_try(error);

    if (result != 0)
        return result;
    result = uv_queue_work(loop, work, thread_pool_work, NULL);
    return result == 0 ? 0
                       : error_set(error, ERROR_SYSTEM, "can't start threads for names: %s",
                             uv_strerror(result));
}
