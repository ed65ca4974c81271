/* SPDX-License-Identifier: MIT */
#include "daemon/parent.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STAT_BYTES 1024
#define STATE_FIELD 3 /* of /proc/PID/stat, counted from 1; behind the name in brackets */
#define START_FIELD 22

/* Finds when a process was started, in ticks since the machine was; 0: it is gone, or a zombie. */
static uint64_t parent_find_start(pid_t pid)
{
    char name[64];
    char text[STAT_BYTES];
    const char *at;
    FILE *file;
    size_t length;

    (void)snprintf(name, sizeof name, "/proc/%ld/stat", (long)pid);
    file = fopen(name, "re");
    if (!file)
        return 0;
    length = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[length] = '\0';
    at = strrchr(text, ')');
    if (!at || at[1] == '\0' || at[2] == 'Z' || at[2] == 'X')
        return 0;
    at++;
    for (int field = STATE_FIELD; at && field < START_FIELD; field++)
        at = strchr(at + 1, ' ');
    return at ? strtoull(at, NULL, 10) : 0;
}

int parent_watch(struct parent *parent, pid_t pid, struct error *error)
{
    *parent = (struct parent){.pid = pid, .descriptor = -1};
#ifdef SYS_pidfd_open
    parent->descriptor = (int)syscall(SYS_pidfd_open, pid, 0);
#endif
    parent->begun_at = parent_find_start(pid);
    if (parent->descriptor >= 0 || kill(pid, 0) == 0 || errno == EPERM)
        return 0;
    parent->pid = 0;
    return error_set(error, ERROR_SYSTEM, "--with-parent: process %ld does not exist", (long)pid);
}

bool parent_is_gone(const struct parent *parent)
{
    struct pollfd event = {.fd = parent->descriptor, .events = POLLIN};

    if (parent->pid == 0)
        return false;
    if (parent->descriptor >= 0)
        return poll(&event, 1, 0) > 0;
    if (parent->begun_at == 0) /* without /proc */
        return kill(parent->pid, 0) != 0 && errno == ESRCH;
    return parent_find_start(parent->pid) != parent->begun_at;
}

void parent_forget(struct parent *parent)
{
    if (parent->pid != 0 && parent->descriptor >= 0)
        (void)close(parent->descriptor);
    parent->pid = 0;
}
