#include "daemon/activation.h"

#ifdef PRSERVD_SYSTEMD

#include "base/clock.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

static bool is_read_only(char **names, int i)
{
    return names && names[i] && strcmp(names[i], "ro") == 0;
}

int activation_take_sockets(struct server_inherited sockets[ACTIVATION_MOST_SOCKETS],
    size_t *n_sockets, struct error *error)
{
    char **names = NULL;
    int count = sd_listen_fds_with_names(1, &names);
    int result = 0;

    *n_sockets = 0;
    if (count < 0)
        result = error_set(error, ERROR_SYSTEM,
            "can't take the inherited sockets (LISTEN_FDS, LISTEN_FDNAMES): %s", strerror(-count));
    else if (count > ACTIVATION_MOST_SOCKETS)
        result = error_set(error, ERROR_SYSTEM,
            "can't take the inherited sockets: %d are too many, %d at most", count,
            ACTIVATION_MOST_SOCKETS);
    for (int i = 0; i < count && result == 0; i++)
        sockets[(*n_sockets)++] = (struct server_inherited){
            .descriptor = SD_LISTEN_FDS_START + i, .read_only = is_read_only(names, i)};
    for (int i = 0; names && names[i]; i++)
        free(names[i]);
    free(names);
    return result;
}

void activation_tell(enum server_phase phase)
{
    switch (phase) {
    case SERVER_SERVING:
        (void)sd_notify(0, "READY=1");
        break;
    case SERVER_RELOADING:
        (void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)clock_us());
        break;
    case SERVER_STOPPING:
        (void)sd_notify(0, "STOPPING=1");
        break;
    }
}

#else

int activation_take_sockets(struct server_inherited sockets[ACTIVATION_MOST_SOCKETS],
    size_t *n_sockets, struct error *error)
{
    (void)sockets;
    (void)error;
    *n_sockets = 0;
    return 0;
}

void activation_tell(enum server_phase phase)
{
    (void)phase;
}

#endif
