/* SPDX-License-Identifier: MIT */
/* Preloaded into a server: a write to a file whose name ends with ".log" blocks as long as the file
 * that HOLD_LOG names exists, as on a disk that does not respond. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int is_log(int descriptor)
{
    char conn[64];
    char name[PATH_MAX];
    ssize_t length;

    (void)snprintf(conn, sizeof conn, "/proc/self/fd/%d", descriptor);
    length = readlink(conn, name, sizeof name);
    return length > 4 && memcmp(name + length - 4, ".log", 4) == 0;
}

ssize_t write(int descriptor, const void *bytes, size_t length)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    const char *file = getenv("HOLD_LOG");

    while (file && access(file, F_OK) == 0 && is_log(descriptor))
        (void)nanosleep(&pause, NULL);
    return syscall(SYS_write, descriptor, bytes, length);
}
