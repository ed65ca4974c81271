/* SPDX-License-Identifier: MIT */
/* The file of --address-file: tells whoever has started the server where it listens. */
#ifndef PRSERVD_ADDRESS_FILE_H
#define PRSERVD_ADDRESS_FILE_H

#include "base/error.h"
#include "base/text.h"

#include <limits.h>
#include <sys/types.h>

struct address_file {
    char path[PATH_MAX]; /* "": there is none */
    dev_t device;
    ino_t inode;
};

/* Writes a text to a file that appears complete, in place of any other of that name. Fails with
 * ERROR_SYSTEM. */
ERROR_MUST_CHECK int address_file_write(
    struct address_file *file, const char *path, struct text text, struct error *error);

/* Removes the file, unless another one has its name by now. Does nothing if there is none. */
void address_file_remove(struct address_file *file);

#endif
