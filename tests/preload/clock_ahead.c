/* Preloaded into a server: its time that only goes forward is ahead by as many seconds as stand
 * in the first byte of the file that CLOCK_AHEAD names; so that nobody has to wait for deadlines.
 */
#include <fcntl.h>
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
