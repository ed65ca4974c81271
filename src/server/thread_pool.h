/* SPDX-License-Identifier: MIT */
/* libuv's threads, which resolve the name of the upstream and read long messages.
 *
 * libuv starts them with the first work, and aborts the process if it can't. So they are started
 * with the server. */
#ifndef PRSERVD_THREAD_POOL_H
#define PRSERVD_THREAD_POOL_H

#include "base/error.h"

#include <uv.h>

/* Sets their number, in the environment (UV_THREADPOOL_SIZE). To be called while the process has
 * one thread, before thread_pool_start. */
void thread_pool_set_size(void);

/* Starts the threads. The loop has to run until work is done: it belongs to the caller, and must
 * live until then. Fails with ERROR_SYSTEM if the system does not allow so many threads. */
ERROR_MUST_CHECK int thread_pool_start(uv_loop_t *loop, uv_work_t *work, struct error *error);

#endif
