/* SPDX-License-Identifier: MIT */
/* Preloaded into a server: advances its monotonic clock by the number of seconds at the beginning
 * of the file that CLOCK_AHEAD names, so that tests need not wait for deadlines. The kernel
 * does not know of that, so the ends of waits for condition variables are given to it without
 * these seconds. */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const volatile int *seconds;

__attribute__((constructor)) static void find_file(void)
{
    const char *name = getenv("CLOCK_AHEAD");
    int descriptor = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    void *memory = mmap(NULL, sizeof *seconds, PROT_READ, MAP_SHARED, descriptor, 0);

    if (memory == MAP_FAILED)
        abort();
    seconds = memory;
    (void)close(descriptor);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = (int)syscall(SYS_clock_gettime, clock, now);

    if (result == 0 && seconds && (clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE))
        now->tv_sec += *seconds;
    return result;
}

int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *end)
{
    static int (*next)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    struct timespec real = *end;

    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    real.tv_sec -= seconds ? *seconds : 0;
    return next(cond, mutex, &real);
}
