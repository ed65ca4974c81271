/* SPDX-License-Identifier: MIT */
#include "daemon/daemonize.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char serving[] = "serving\n";
static const char progress = '\t'; /* begins a line that is neither success nor failure */

_Noreturn static void daemonize_fail(const char *what)
{
    (void)fprintf(stderr, "prservd: can't %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Prints the lines of the report until its end, in the foreground process. */
_Noreturn static void daemonize_wait_for_report(int descriptor)
{
    FILE *report = fdopen(descriptor, "r");
    char line[1024];
    bool is_serving = false;
    bool has_failed = false; /* and has said so */

    if (!report)
        daemonize_fail("read from a pipe");
    while (fgets(line, sizeof line, report)) {
        const bool is_progress = line[0] == progress;

        is_serving = strcmp(line, serving) == 0;
        has_failed = has_failed || (!is_serving && !is_progress);
        if (!is_serving)
            (void)fprintf(stderr, "prservd: %s", is_progress ? line + 1 : line);
    }
    if (!is_serving && !has_failed)
        (void)fprintf(stderr, "prservd: the server died during its start\n");
    exit(is_serving ? 0 : 1);
}

static void daemonize_detach_terminal(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null < 0)
        return;
    (void)dup2(null, STDIN_FILENO);
    (void)dup2(null, STDOUT_FILENO);
    (void)dup2(null, STDERR_FILENO);
    if (null > STDERR_FILENO)
        (void)close(null);
}

int daemonize(void)
{
    int ends[2];
    pid_t child;

    if (pipe2(ends, O_CLOEXEC) != 0)
        daemonize_fail("create a pipe");
    child = fork();
    if (child < 0)
        daemonize_fail("go to the background");
    if (child > 0) {
        (void)close(ends[1]);
        (void)waitpid(child, NULL, 0);
        daemonize_wait_for_report(ends[0]);
    }
    (void)close(ends[0]);
    (void)setsid();
    child = fork(); /* not a session leader, so it never gets a terminal again */
    if (child < 0)
        daemonize_fail("go to the background");
    if (child > 0)
        _exit(0);
    daemonize_detach_terminal();
    return ends[1];
}

void daemonize_tell(int descriptor, const char *text)
{
    if (dprintf(descriptor, "%c%s\n", progress, text) < 0) {
        /* The foreground process has ended, so there is nobody to report to. */
    }
}

void daemonize_report(int descriptor, const char *failure)
{
    if (dprintf(descriptor, "%s%s", failure ? failure : serving, failure ? "\n" : "") < 0) {
        /* as above */
    }
    (void)close(descriptor);
}
