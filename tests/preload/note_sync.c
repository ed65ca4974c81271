/* SPDX-License-Identifier: MIT */
/* Preloaded into a server: logs the name of each file and folder that fsync and fdatasync are
 * called for to the file that NOTE_SYNC names, one on a line. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static void note(int descriptor)
{
    const char *file = getenv("NOTE_SYNC");
    char conn[64];
    char name[PATH_MAX + 1];
    ssize_t length;
    int notes;

    (void)snprintf(conn, sizeof conn, "/proc/self/fd/%d", descriptor);
    length = readlink(conn, name, sizeof name - 1);
    notes = file && length > 0 ? open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    if (notes < 0)
        return;
    name[length] = '\n';
    if (write(notes, name, (size_t)length + 1) < 0)
        abort();
    (void)close(notes);
}

int fsync(int descriptor)
{
    note(descriptor);
    return (int)syscall(SYS_fsync, descriptor);
}

int fdatasync(int descriptor)
{
    note(descriptor);
    return (int)syscall(SYS_fdatasync, descriptor);
}
