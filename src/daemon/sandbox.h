/* SPDX-License-Identifier: MIT */
/* A filter for system calls that a running server never needs: seccomp(2). */
#ifndef PRSERVD_SANDBOX_H
#define PRSERVD_SANDBOX_H

#include "base/error.h"

/* Installs the filter in all threads of this process, also future ones, for the rest of its life.
 * They can then no longer start programs or processes, trace processes, mount file systems, load
 * code into the kernel, open sockets of unusual families, and more: these calls fail with EPERM,
 * and the process goes on. They can still start threads. Executing a program no longer grants
 * privileges (PR_SET_NO_NEW_PRIVS).
 *
 * Does nothing if built without libseccomp or with a sanitizer. Fails with ERROR_MEMORY, or with
 * ERROR_SYSTEM if the kernel or the process' environment (a container) does not allow filters; the
 * process then continues without one, apart from PR_SET_NO_NEW_PRIVS. To be called once, from any
 * thread. */
ERROR_MUST_CHECK int sandbox_enter(struct error *error);

#endif
