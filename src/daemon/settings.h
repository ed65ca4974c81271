/* SPDX-License-Identifier: MIT */
/* The settings of prservd: their names, the values they accept, and the current values.
 *
 * options.c knows where values come from and how they are combined. Strings are borrowed from the
 * caller. */
#ifndef PRSERVD_SETTINGS_H
#define PRSERVD_SETTINGS_H

#include "base/address.h"
#include "base/buffer.h"
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
    SETTING_HISTORY,
    SETTING_UPSTREAM,
    SETTING_LOG,
    SETTING_LOGLEVEL,
    SETTING_LOG_FORMAT,
    SETTING_PIDFILE,
    SETTING_SYNC,
    SETTING_STALE_OK,
    SETTING_PATIENCE,
    SETTING_NEW_DATABASE,
    SETTING_ACCEPT_ROLLBACK,
    SETTING_STATE_DIR,
    SETTING_AUDIT,
    SETTING_AUDIT_KEEP,
    SETTING_MAX_MESSAGE_BYTES,
    SETTING_MAX_MEMORY_BYTES,
    SETTING_MAX_CONNECTIONS,
    SETTING_MAX_REQUESTS,
    SETTING_IDLE_TIMEOUT,
    SETTING_HTTP,
    SETTING_WITH_PARENT,
    SETTING_ADDRESS_FILE,
    SETTING_FORWARD,
    SETTING_ANNOTATE,
    SETTING_TLS_CERT,
    SETTING_TLS_KEY,
    SETTING_TLS_CLIENT_CA,
    SETTING_TLS_CA,
    SETTINGS,
};

#define SETTINGS_MAX_BINDS 63
#define SETTINGS_MAX_HTTP 8

/* The values, given or default. Unless noted, NULL means not given. */
struct settings {
    const char *file;
    const char *file_read;
    const char *host;
    const char *port; /* not checked yet */
    struct server_listener binds[SETTINGS_MAX_BINDS];
    size_t n_binds;
    bool read_only;
    bool history;
    const char *upstream; /* not checked yet */
    const char *log_file; /* NULL: standard error, or prserv.log with --start */
    enum log_level log_level;
    enum log_format log_format;
    const char *pid_file; /* NULL: the default one with --start and --stop, otherwise none */
    enum store_sync sync;
    bool stale_ok;
    unsigned patience_ms;
    bool new_database;
    const char *accept_rollback; /* IDENTITY:COUNTER */
    const char *state_dir;
    bool audit;
    unsigned audit_keep_days;
    size_t max_message_bytes;
    size_t max_memory_bytes;  /* 0: not given */
    unsigned max_connections; /* these three: 0: not given */
    unsigned max_requests_per_second_per_address;
    unsigned idle_timeout_s;
    struct address http[SETTINGS_MAX_HTTP];
    size_t n_http;
    unsigned parent; /* a process; 0: not given */
    const char *address_file;
    const char *forward;       /* not checked yet */
    struct buffer annotations; /* header lines; owned */
    const char *tls_certificate;
    const char *tls_key;
    const char *tls_client_ca;
    const char *tls_ca;
};

/* What is known about a setting. */
struct setting {
    const char *name;     /* of the option: "max-message-bytes" */
    const char *variable; /* in the environment: "PRSERVD_MAX_MESSAGE_BYTES" */
    char letter;          /* of the short option; '\0': none */
    bool is_flag;         /* the option takes no value, and means 1 */
    /* Checks and stores a value; NULL for a string, which is stored as it is. */
    int (*set)(struct settings *settings, const char *value, struct error *error);
    size_t string_at;  /* offset of the string in struct settings */
    const char *empty; /* why an empty string is invalid; NULL: it is valid */
};

extern const struct setting settings_table[SETTINGS];

/* Sets a value; SETTING_BIND adds to its addresses. Fails with ERROR_INPUT if the value is invalid;
 * label is the name of the setting in the error. */
ERROR_MUST_CHECK int settings_set(struct settings *settings, enum setting_id id, const char *value,
    const char *label, struct error *error);

/* Frees what the values hold. */
void settings_release(struct settings *settings);

#endif
