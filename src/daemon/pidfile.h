/* The file that says which process serves an address.
 *
 * Running is who holds a lock on it, not what is written in it: a file that a dead
 * server left is stale and taken over, a forged number is never signalled. */
#ifndef PRSERVD_PIDFILE_H
#define PRSERVD_PIDFILE_H

#include "base/address.h"
#include "base/error.h"

#include <limits.h>
#include <sys/types.h>

struct pidfile {
    char path[PATH_MAX];
    int descriptor; /* -1: there is none */
};

/* /tmp/PRServer_<ip>_<port>.pid, as BitBake names it. The name is resolved. */
void pidfile_path(const struct address *address, char path[PATH_MAX]);

/* Creates the file, or takes a stale one over, locks it, and writes our number. The
 * lock belongs to this process and goes with it. Fails with ERROR_SYSTEM: the file
 * is another user's, no plain file, or held by a running server. */
ERROR_MUST_CHECK int pidfile_create(struct pidfile *pidfile, const char *path, struct error *error);

/* Removes it. Does nothing if there is none. */
void pidfile_remove(struct pidfile *pidfile);

/* Finds the process that holds the lock. Fails with ERROR_SYSTEM if there is none. */
ERROR_MUST_CHECK int pidfile_holder(const char *path, pid_t *holder, struct error *error);

#endif
