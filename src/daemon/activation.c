/* SPDX-License-Identifier: MIT */
#include "daemon/activation.h"

#include "base/clock.h"
#include "daemon/listener_words.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef PRSERVD_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

/* ---- sockets ---- */

#define FIRST_DESCRIPTOR 3

static int activation_refuse(struct error *error, const char *reason)
{
    return error_set(error, ERROR_SYSTEM,
        "can't use the inherited sockets (LISTEN_FDS, LISTEN_FDNAMES): %s", reason);
}

/* Reads a variable of the environment with a number. Returns whether it is one. */
static bool activation_read_number(const char *variable, long *number)
{
    const char *text = getenv(variable);
    char *end = NULL;

    errno = 0;
    *number = text ? strtol(text, &end, 10) : 0;
    return text && end != text && *end == '\0' && errno == 0;
}

/* Returns whether a name comes from the service manager and has no words: that of the unit, or
 * "unknown". */
static bool activation_is_plain_name(const char *name)
{
    const size_t length = strlen(name);
    static const char end[] = ".socket";

    return length == 0 || strcmp(name, "unknown") == 0 || strcmp(name, "stored") == 0 ||
           strcmp(name, "connection") == 0 ||
           (length >= sizeof end && strcmp(name + length - (sizeof end - 1), end) == 0);
}

static int activation_add_socket(
    struct server_inherited *socket, int descriptor, const char *name, struct error *error)
{
    struct error reason;

    *socket = (struct server_inherited){.descriptor = descriptor};
    if (fcntl(descriptor, F_SETFD, FD_CLOEXEC) != 0)
        return activation_refuse(error, strerror(errno));
    if (!name || activation_is_plain_name(name))
        return 0;
    if (!listener_words_are(name) && !strpbrk(name, ",= ")) {
        (void)snprintf(socket->odd_name, sizeof socket->odd_name, "%s", name);
        return 0;
    }
    if (listener_words_read(&socket->options, name, name, &reason) == 0)
        return 0;
    return error_set(error, ERROR_SYSTEM,
        "can't use the inherited sockets (LISTEN_FDNAMES): %.400s", reason.text);
}

/* Takes count sockets with the names in a list with colons between them, which is changed. */
static int activation_add_sockets(struct server_inherited sockets[ACTIVATION_MAX_SOCKETS],
    size_t *n_sockets, long count, char *names, struct error *error)
{
    int result = 0;

    for (int i = 0; i < count && result == 0; i++)
        result = activation_add_socket(&sockets[(*n_sockets)++], FIRST_DESCRIPTOR + i,
            names ? strsep(&names, ":") : NULL, error);
    return result;
}

int activation_take_sockets(
    struct server_inherited sockets[ACTIVATION_MAX_SOCKETS], size_t *n_sockets, struct error *error)
{
    const char *names = getenv("LISTEN_FDNAMES");
    char *list = names ? strdup(names) : NULL;
    long owner;
    long count;
    int result = 0;

    *n_sockets = 0;
    if (activation_read_number("LISTEN_PID", &owner) && owner == getpid()) {
        if (!activation_read_number("LISTEN_FDS", &count) || count < 0)
            result = activation_refuse(error, "the number of sockets is invalid");
        else if (count > ACTIVATION_MAX_SOCKETS)
            result = error_set(error, ERROR_SYSTEM,
                "can't use the inherited sockets: %ld are too many, the maximum is %d", count,
                ACTIVATION_MAX_SOCKETS);
        else
            result = activation_add_sockets(sockets, n_sockets, count, list, error);
    }
    free(list);
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_FDNAMES");
    return result;
}

/* ---- notifications ---- */

#ifdef PRSERVD_SYSTEMD

#define STATUS_MS 10000 /* between two lines of the same kind: ready, or not ready */
#define SUMMARY_BYTES 400

void activation_notify(enum activation_phase phase)
{
    switch (phase) {
    case ACTIVATION_SERVING:
        (void)sd_notify(0, "READY=1");
        break;
    case ACTIVATION_RELOADING:
        (void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)clock_us());
        break;
    case ACTIVATION_STOPPING:
        (void)sd_notify(0, "STOPPING=1");
        break;
    }
}

/* Writes a line without the characters that would begin another assignment. */
static void activation_copy_line(char *line, size_t size, const char *text)
{
    size_t length = 0;

    for (; length < size - 1 && text[length] != '\0'; length++) {
        line[length] = text[length];
        if (text[length] == '\n')
            line[length] = ' ';
    }
    line[length] = '\0';
}

void activation_tell(const char *summary)
{
    static char told[SUMMARY_BYTES]; /* the loop's thread alone */
    static uint64_t told_ms;
    char line[SUMMARY_BYTES];

    if (sd_watchdog_enabled(0, NULL) > 0)
        (void)sd_notify(0, "WATCHDOG=1");
    activation_copy_line(line, sizeof line, summary);
    if (strcmp(line, told) == 0 ||
        (told_ms != 0 && line[0] == told[0] && clock_ms() - told_ms < STATUS_MS))
        return;
    told_ms = clock_ms();
    memcpy(told, line, sizeof told);
    (void)sd_notifyf(0, "STATUS=%s", line);
}

#else

void activation_notify(enum activation_phase phase)
{
    (void)phase;
}

void activation_tell(const char *summary)
{
    (void)summary;
}

#endif
