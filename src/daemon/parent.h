/* SPDX-License-Identifier: MIT */
/* The process of --with-parent: the server ends when that one is gone, however it has ended. */
#ifndef PRSERVD_PARENT_H
#define PRSERVD_PARENT_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct parent {
    pid_t pid;         /* 0: none is watched */
    int descriptor;    /* a pidfd, readable when the process is gone; -1: the system has none */
    uint64_t begun_at; /* when it was started, so that another process with its number is not it */
};

/* The time between two calls of parent_is_gone where the kernel has no pidfd. */
#define PARENT_CHECK_MS 500

/* Watches a process. Fails with ERROR_SYSTEM if it does not exist. */
ERROR_MUST_CHECK int parent_watch(struct parent *parent, pid_t pid, struct error *error);

/* Returns whether the process that is watched is gone. */
bool parent_is_gone(const struct parent *parent);

/* Ends the watch. Allowed if there is none. */
void parent_forget(struct parent *parent);

#endif
