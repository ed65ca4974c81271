/* The settings of prservd, each by its name: which values it takes, and what was said.
 *
 * Where they are said, and how they fit together, is not known here (options.c). Strings are
 * borrowed from who said them. */
#ifndef PRSERVD_SETTINGS_H
#define PRSERVD_SETTINGS_H

#include "base/address.h"
#include "base/error.h"
#include "base/log.h"
#include "server/server.h"
#include "store/store.h"

#include <stdbool.h>
#include <stddef.h>

enum setting_id {
    SETTING_FILE,
    SETTING_FILE_READ,
    SETTING_HOST,
    SETTING_PORT,
    SETTING_BIND,
    SETTING_READ_ONLY,
    SETTING_UPSTREAM,
    SETTING_LOG,
    SETTING_LOGLEVEL,
    SETTING_PIDFILE,
    SETTING_SYNC,
    SETTING_MAX_MESSAGE_BYTES,
    SETTING_MAX_MEMORY_BYTES,
    SETTINGS,
};

#define SETTINGS_MOST_BINDS 63

/* What was said, or was there before. */
struct settings {
    const char *file;
    const char *file_read; /* NULL: not said, as with the others */
    const char *host;
    const char *port; /* a number, or not */
    struct server_listener binds[SETTINGS_MOST_BINDS];
    size_t n_binds;
    bool read_only;
    const char *upstream; /* an address, or not */
    const char *log_file;
    enum log_level log_level;
    const char *pid_file;
    enum store_sync sync;
    size_t max_message_bytes;
    size_t max_memory_bytes; /* 0: not said */
};

/* "max-message-bytes", "PRSERVD_MAX_MESSAGE_BYTES". */
const char *setting_name(enum setting_id id);
const char *setting_variable(enum setting_id id);

/* On the command line it has no value, and means 1. */
bool setting_is_flag(enum setting_id id);

/* Fails with ERROR_INPUT if it does not take this value; said_as is how the error calls it.
 * SETTING_BIND can be set several times, and adds. */
ERROR_MUST_CHECK int settings_set(struct settings *settings, enum setting_id id, const char *value,
    const char *said_as, struct error *error);

#endif
