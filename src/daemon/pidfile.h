/* SPDX-License-Identifier: MIT */
/* The pid file, which tells the process that serves an address.
 *
 * The process that holds a lock on it is the running server; the number in it does not count. So
 * the file of a dead server is stale and is reused, and a forged number is never signalled. */
#ifndef PRSERVD_PIDFILE_H
#define PRSERVD_PIDFILE_H

#include "base/address.h"
#include "base/error.h"

#include <limits.h>
#include <sys/types.h>

struct pidfile {
    char path[PATH_MAX];
    int descriptor; /* -1: no pid file */
};

/* Makes the default path, /tmp/PRServer_<ip>_<port>.pid, as BitBake's server does. Resolves the
 * host's name. */
void pidfile_path(const struct address *address, char path[PATH_MAX]);

/* Creates the file, or reuses a stale one, locks it and writes this process' number. The lock ends
 * with the process. Fails with ERROR_SYSTEM if the file is another user's, not a regular file, or
 * locked by a running server. */
ERROR_MUST_CHECK int pidfile_create(struct pidfile *pidfile, const char *path, struct error *error);

/* Removes the file, if any. */
void pidfile_remove(struct pidfile *pidfile);

/* Finds the process that holds the lock; *holder is 0 if none does: the file is stale. Fails with
 * ERROR_INPUT if there is no file, and with ERROR_SYSTEM if it can't be read, or is not a pid
 * file. */
ERROR_MUST_CHECK int pidfile_find_holder(const char *path, pid_t *holder, struct error *error);

/* Removes a stale file. Fails with ERROR_SYSTEM if it is not this user's, not a pid file, or a
 * server starts with it. */
ERROR_MUST_CHECK int pidfile_remove_stale(const char *path, struct error *error);

/* Calls fn for each running server with a default pid file that this user can read, with the
 * options that name it: "--host 127.0.0.1 --port 8585". */
void pidfile_each_running(void (*fn)(void *context, const char *options), void *context);

#endif
