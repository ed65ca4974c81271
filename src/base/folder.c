/* SPDX-License-Identifier: MIT */
#include "base/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int folder_sync(const char *folder)
{
    const int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result;
    int code;

    if (descriptor < 0)
        return -1;
    result = fsync(descriptor);
    code = errno;
    (void)close(descriptor);
    errno = code;
    return result;
}

int folder_sync_above(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    const int result = folder ? folder_sync(folder) : -1;
    const int code = errno;

    free(folder);
    errno = code;
    return result;
}
