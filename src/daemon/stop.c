/* SPDX-License-Identifier: MIT */
#include "daemon/stop.h"

#include "base/error.h"
#include "daemon/pidfile.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STOP_MS 10000 /* the server ends within 5 s */

static int stop_fail(const struct error *error)
{
    (void)fprintf(stderr, "prservd: %s\n", error->text);
    return 1;
}

/* ---- no server ---- */

static void stop_name_server(void *context, const char *options)
{
    const char **separator = context;

    (void)fprintf(stderr, "%s%s", *separator, options);
    *separator = ", ";
}

static int stop_fail_without_file(const struct error *error, bool lists_others)
{
    const char *separator = "; servers run for: ";

    (void)fprintf(stderr, "prservd: %s", error->text);
    if (lists_others)
        pidfile_each_running(stop_name_server, &separator);
    (void)fputc('\n', stderr);
    return 1;
}

/* A server that was killed is not running, which is what the user wants. */
static int stop_clear(const char *path)
{
    struct error error;

    if (pidfile_remove_stale(path, &error) != 0)
        return stop_fail(&error);
    (void)fprintf(stderr,
        "prservd: no server is running for this address: the last one ended without removing its "
        "pid file %s, which is removed now; see its log\n",
        path);
    return 0;
}

/* ---- a server ---- */

static int stop_process(pid_t process, struct error *error)
{
    /* Without glibc's functions, which are newer (2.36) than the calls (Linux 5.3). */
    const int descriptor = (int)syscall(SYS_pidfd_open, process, 0);
    struct pollfd gone = {.fd = descriptor, .events = POLLIN};
    int result = 0;

    if (descriptor < 0 && errno == ESRCH)
        return 0;
    if (descriptor < 0 || syscall(SYS_pidfd_send_signal, descriptor, SIGTERM, NULL, 0) != 0)
        result = error_set(error, ERROR_SYSTEM, "can't stop the server, process %ld: %s",
            (long)process, strerror(errno));
    else if (poll(&gone, 1, STOP_MS) != 1)
        result = error_set(error, ERROR_SYSTEM,
            "the server, process %ld, did not end in %d s; see its log, and the disk of its "
            "database",
            (long)process, STOP_MS / 1000);
    if (descriptor >= 0)
        (void)close(descriptor);
    return result;
}

int stop_server(const char *path, bool lists_others)
{
    struct error error;
    pid_t holder;

    switch (pidfile_find_holder(path, &holder, &error)) {
    case 0:
        break;
    case ERROR_INPUT:
        return stop_fail_without_file(&error, lists_others);
    default:
        return stop_fail(&error);
    }
    if (holder == 0)
        return stop_clear(path);
    return stop_process(holder, &error) == 0 ? 0 : stop_fail(&error);
}
