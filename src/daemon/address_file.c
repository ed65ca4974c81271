/* SPDX-License-Identifier: MIT */
#include "daemon/address_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MODE 0644 /* others start clients */

/* Writes the text to a new file, whose name is made from the template. */
static int address_file_create(struct address_file *file, char *name, struct text text)
{
    const int descriptor = mkostemp(name, O_CLOEXEC);
    struct stat status;
    bool is_good;

    if (descriptor < 0)
        return -1;
    is_good = write(descriptor, text.bytes, text.length) == (ssize_t)text.length &&
              fchmod(descriptor, MODE) == 0 && fstat(descriptor, &status) == 0;
    if (is_good) {
        file->device = status.st_dev;
        file->inode = status.st_ino;
    }
    (void)close(descriptor);
    return is_good ? 0 : -1;
}

int address_file_write(
    struct address_file *file, const char *path, struct text text, struct error *error)
{
    char name[PATH_MAX];
    const int length = snprintf(name, sizeof name, "%s.XXXXXX", path);

    file->path[0] = '\0';
    if (length < 0 || (size_t)length >= sizeof name)
        return error_set(error, ERROR_SYSTEM, "the name of --address-file is too long");
    if (address_file_create(file, name, text) != 0 || rename(name, path) != 0) {
        const int reason = errno;

        (void)unlink(name);
        return error_set(error, ERROR_SYSTEM, "can't write %s: %s", path, strerror(reason));
    }
    memcpy(file->path, path, strlen(path) + 1);
    return 0;
}

void address_file_remove(struct address_file *file)
{
    struct stat status;

    if (file->path[0] != '\0' && lstat(file->path, &status) == 0 && status.st_dev == file->device &&
        status.st_ino == file->inode)
        (void)unlink(file->path);
    file->path[0] = '\0';
}
