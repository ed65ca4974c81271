/* SPDX-License-Identifier: MIT */
/* The command line and the environment of prservd. */
#ifndef PRSERVD_OPTIONS_H
#define PRSERVD_OPTIONS_H

#include "base/address.h"
#include "base/error.h"
#include "base/log.h"
#include "daemon/settings.h"
#include "server/server.h"
#include "store/store.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

enum command { COMMAND_RUN, COMMAND_START, COMMAND_STOP, COMMAND_HELP, COMMAND_VERSION };

#define OPTIONS_MAX_LISTENERS (SETTINGS_MAX_BINDS + 1)

struct options {
    enum command command;
    bool given[SETTINGS];     /* set on the command line */
    char file[PATH_MAX];      /* an SQLite database, absolute */
    struct settings settings; /* strings are borrowed from the command line or the environment */
    struct server_listener listeners[OPTIONS_MAX_LISTENERS];
    size_t n_listeners;      /* at least one */
    bool listens_by_default; /* no address was given: inherited sockets replace the default */
    bool has_upstream;
    struct address upstream;
    bool is_relay;
    struct address forward;
    char *annotations; /* owned (options_release); of a relay */
};

/* Reads the command line, then the environment. Fails with ERROR_INPUT if they can't be used. */
ERROR_MUST_CHECK int options_read(
    struct options *options, int argc, char **argv, struct error *error);

/* Frees what the options hold. */
void options_release(struct options *options);

extern const char options_help[];

#endif
