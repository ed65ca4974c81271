/* Giving up system calls that a server never needs, once it serves: seccomp(2). */
#ifndef PRSERVD_CONFINE_H
#define PRSERVD_CONFINE_H

#include "base/error.h"

/* From now on, for the rest of its life, no thread of this process, running now or started
 * later, starts a program or a process, traces one, mounts, loads code into the kernel, opens a
 * socket of an odd family, …: the call fails with EPERM, and the process goes on. Threads may
 * still be started. No program gains rights by being executed any more (PR_SET_NO_NEW_PRIVS).
 *
 * Does nothing if built without libseccomp, or with a sanitizer. Fails with ERROR_MEMORY, or with
 * ERROR_SYSTEM if the kernel has no such filters or something around the process (a container)
 * forbids them: then nothing is given up, except what PR_SET_NO_NEW_PRIVS takes, and the
 * process may go on as before. To be called from any thread, once. */
ERROR_MUST_CHECK int confine(struct error *error);

#endif
