/* SPDX-License-Identifier: MIT */
/* The kernel gives out the lowest free number. So the number of a new descriptor says how many are
 * in use at least. The limit is read again each time, because prlimit(1) can change it. */
#include "server/descriptor_reserve.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/resource.h>
#include <unistd.h>

/* The files of the database, the log, connections to the database and the upstream, and
 * names to resolve; with a low limit, half of what is left for clients. */
#define RESERVE 64

/* While the clients have less than one descriptor in so many, the numbers are not looked at. */
#define FEW 4

/* Returns the lowest free number; INT_MAX if there is none. */
static int descriptor_reserve_find_free(void)
{
    const int descriptor = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
    const int number = descriptor < 0 ? INT_MAX : descriptor;

    if (descriptor >= 0)
        (void)close(descriptor);
    return number;
}

void descriptor_reserve_init(struct descriptor_reserve *reserve)
{
    reserve->used_at_start = descriptor_reserve_find_free();
}

bool descriptor_reserve_is_reached(const struct descriptor_reserve *reserve, size_t n_clients)
{
    struct rlimit limit;
    rlim_t used = (rlim_t)reserve->used_at_start;
    rlim_t kept;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return false;
    kept = limit.rlim_cur > used ? (limit.rlim_cur - used) / 2 : 0;
    kept = kept < RESERVE ? kept : RESERVE;
    if (used + n_clients < (limit.rlim_cur - kept) / FEW)
        return false;
    return (rlim_t)descriptor_reserve_find_free() >= limit.rlim_cur - kept;
}
