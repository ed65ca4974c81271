/* SPDX-License-Identifier: MIT */
/* Preloaded into a server: fsync and fdatasync block as long as the file that HOLD_SYNC names
 * exists. Meanwhile a second file exists, whose name ends with ".waiting". */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void wait_until_released(void)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    const char *file = getenv("HOLD_SYNC");
    char waiting[PATH_MAX];
    int descriptor;

    if (!file || access(file, F_OK) != 0)
        return;
    (void)snprintf(waiting, sizeof waiting, "%s.waiting", file);
    descriptor = open(waiting, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (descriptor >= 0)
        (void)close(descriptor);
    while (access(file, F_OK) == 0)
        (void)nanosleep(&pause, NULL);
    (void)unlink(waiting);
}

int fsync(int descriptor)
{
    wait_until_released();
    return (int)syscall(SYS_fsync, descriptor);
}

int fdatasync(int descriptor)
{
    wait_until_released();
    return (int)syscall(SYS_fdatasync, descriptor);
}
