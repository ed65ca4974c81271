/* SPDX-License-Identifier: MIT */
#include "daemon/activation.h"

#ifdef PRSERVD_SYSTEMD

#include "base/clock.h"
#include "daemon/listener_words.h"

#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#define STATUS_MS 10000 /* between two lines of the same kind: ready, or not ready */
#define SUMMARY_BYTES 400

static int activation_add_socket(
    struct server_inherited *socket, int descriptor, const char *name, struct error *error)
{
    struct error reason;

    *socket = (struct server_inherited){.descriptor = descriptor};
    if (!name || !listener_words_are(name) ||
        listener_words_read(&socket->options, name, name, &reason) == 0)
        return 0;
    return error_set(error, ERROR_SYSTEM,
        "can't use the inherited sockets (LISTEN_FDNAMES): %.400s", reason.text);
}

int activation_take_sockets(
    struct server_inherited sockets[ACTIVATION_MAX_SOCKETS], size_t *n_sockets, struct error *error)
{
    char **names = NULL;
    int count = sd_listen_fds_with_names(1, &names);
    int result = 0;

    *n_sockets = 0;
    if (count < 0)
        result = error_set(error, ERROR_SYSTEM,
            "can't use the inherited sockets (LISTEN_FDS, LISTEN_FDNAMES): %s", strerror(-count));
    else if (count > ACTIVATION_MAX_SOCKETS)
        result = error_set(error, ERROR_SYSTEM,
            "can't use the inherited sockets: %d are too many, the maximum is %d", count,
            ACTIVATION_MAX_SOCKETS);
    for (int i = 0; i < count && result == 0; i++)
        result = activation_add_socket(
            &sockets[(*n_sockets)++], SD_LISTEN_FDS_START + i, names ? names[i] : NULL, error);
    for (int i = 0; names && names[i]; i++)
        free(names[i]);
    free(names);
    return result;
}

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

int activation_take_sockets(
    struct server_inherited sockets[ACTIVATION_MAX_SOCKETS], size_t *n_sockets, struct error *error)
{
    (void)sockets;
    (void)error;
    *n_sockets = 0;
    return 0;
}

void activation_notify(enum activation_phase phase)
{
    (void)phase;
}

void activation_tell(const char *summary)
{
    (void)summary;
}

#endif
