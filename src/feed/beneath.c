/* SPDX-License-Identifier: MIT */
#include "feed/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

int beneath_open(int root, const char *name)
{
    const struct open_how how = {
        .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    long descriptor;

    if (root == AT_FDCWD)
        return open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    descriptor = syscall(SYS_openat2, root, name, &how, sizeof how);
    if (descriptor < 0 && (errno == ENOSYS || errno == EPERM))
        return openat(root, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    return (int)descriptor;
}
