#include "daemon/daemonize.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char serving[] = "serving";

_Noreturn static void fail(const char *what)
{
    (void)fprintf(stderr, "prservd: can't %s: %s\n", what, strerror(errno));
    exit(1);
}

/* The foreground: reads the report to its end. */
_Noreturn static void wait_for_report(int descriptor)
{
    char report[1024];
    size_t length = 0;
    ssize_t got;

    while (length < sizeof report - 1 &&
           ((got = read(descriptor, report + length, sizeof report - 1 - length)) > 0 ||
               (got < 0 && errno == EINTR)))
        length += got > 0 ? (size_t)got : 0;
    report[length] = '\0';
    if (strcmp(report, serving) == 0)
        exit(0);
    (void)fprintf(stderr, "prservd: %s\n", length ? report : "the server died while it started");
    exit(1);
}

static void detach_terminal(void)
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
        fail("make a pipe");
    child = fork();
    if (child < 0)
        fail("go to the background");
    if (child > 0) {
        (void)close(ends[1]);
        (void)waitpid(child, NULL, 0);
        wait_for_report(ends[0]);
    }
    (void)close(ends[0]);
    (void)setsid();
    child = fork(); /* no session leader: it never gets a terminal again */
    if (child < 0)
        fail("go to the background");
    if (child > 0)
        _exit(0);
    detach_terminal();
    return ends[1];
}

void daemonize_report(int descriptor, const char *failure)
{
    const char *report = failure ? failure : serving;

    if (write(descriptor, report, strlen(report)) < 0) {
        /* The foreground is gone; it hears nothing, and that is all. */
    }
    (void)close(descriptor);
}
