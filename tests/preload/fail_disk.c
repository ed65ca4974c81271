/* SPDX-License-Identifier: MIT */
/* Preloaded into a server: while the file that FAIL_WRITE names exists, writes fail with the errno
 * in it; FAIL_SYNC does the same for syncs. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

/* Returns the errno in the file that a variable names; 0 if there is no such file. */
static int failure(const char *variable)
{
    const char *name = getenv(variable);
    FILE *file = name ? fopen(name, "re") : NULL;
    int number = 0;

    if (!file)
        return 0;
    if (fscanf(file, "%d", &number) != 1)
        number = 0;
    (void)fclose(file);
    return number;
}

static int fails(const char *variable)
{
    int number = failure(variable);

    if (number != 0)
        errno = number;
    return number != 0;
}

/* Under the name pwrite64, which SQLite calls: the build sets _FILE_OFFSET_BITS. */
ssize_t pwrite(int descriptor, const void *bytes, size_t length, off_t offset)
{
    if (fails("FAIL_WRITE"))
        return -1;
    return syscall(SYS_pwrite64, descriptor, bytes, length, offset);
}

int fsync(int descriptor)
{
    return fails("FAIL_SYNC") ? -1 : (int)syscall(SYS_fsync, descriptor);
}

int fdatasync(int descriptor)
{
    return fails("FAIL_SYNC") ? -1 : (int)syscall(SYS_fdatasync, descriptor);
}
