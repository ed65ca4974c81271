/* The command line and the environment of prservd. */
#ifndef PRSERVD_OPTIONS_H
#define PRSERVD_OPTIONS_H

#include "base/address.h"
#include "base/error.h"
#include "base/log.h"
#include "daemon/settings.h"
#include "server/server.h"
#include "store/store.h"

#include <stdbool.h>
#include <stddef.h>

enum command { COMMAND_RUN, COMMAND_START, COMMAND_STOP, COMMAND_HELP, COMMAND_VERSION };

#define OPTIONS_MOST_LISTENERS (SETTINGS_MOST_BINDS + 1)

struct options {
    enum command command;
    const char *file;      /* strings are borrowed from the command line or the environment */
    const char *file_read; /* NULL: none */
    bool read_only;
    struct server_listener listeners[OPTIONS_MOST_LISTENERS];
    size_t n_listeners;      /* at least one */
    bool listens_by_default; /* nobody said where: inherited sockets take its place */
    bool has_upstream;
    struct address upstream;
    const char *log_file; /* NULL: standard error, or prserv.log for COMMAND_START */
    enum log_level log_level;
    const char *pid_file; /* NULL: the usual one for COMMAND_START, none otherwise */
    enum store_sync sync;
    size_t max_message_bytes;
    size_t max_memory_bytes;
};

/* Fails with ERROR_INPUT: the options can't be used, error says why. */
ERROR_MUST_CHECK int options_read(
    struct options *options, int argc, char **argv, struct error *error);

extern const char options_help[];

#endif
