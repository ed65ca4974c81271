/* SPDX-License-Identifier: MIT */
/* One table lists all settings. A function checks and stores the value of a setting that is more
 * than a string. */
#include "daemon/settings.h"

#include "base/text.h"
#include "daemon/listener_words.h"
#include "wire/handshake.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_PATIENCE_S 86400
#define MAX_KEEP_DAYS 36500
#define MAX_IDLE_S 31536000 /* a year */
#define MAX_CONNECTIONS 1000000
#define MAX_REQUESTS 1000000
#define MIN_MESSAGE_BYTES 1024
#define MAX_MESSAGE_BYTES 1000000000 /* SQLite's limit for a field */
#define MIN_MEMORY_BYTES 1048576
#define MAX_MEMORY_BYTES 1000000000000
#define NO_FILE "the name of the file is empty"

/* ---- the settings ---- */

static int settings_add_bind(struct settings *settings, const char *value, struct error *error)
{
    /* The path of a unix socket may have commas. */
    const bool is_unix = strncmp(value, "unix:", strlen("unix:")) == 0;
    const char *comma = is_unix ? listener_words_find(value) : strchr(value, ',');
    const size_t length = comma ? (size_t)(comma - value) : strlen(value);
    struct server_listener *listener = &settings->binds[settings->n_binds];
    char address[ADDRESS_TEXT_BYTES];

    if (settings->n_binds >= SETTINGS_MAX_BINDS)
        return error_set(error, ERROR_INPUT, "too many addresses to bind");
    if (length >= sizeof address)
        return error_set(error, ERROR_INPUT, "the address is too long: %s", value);
    memcpy(address, value, length);
    address[length] = '\0';
    if (address_parse(&listener->address, address, error) != 0)
        return ERROR_INPUT;
    if (listener->address.is_tls)
        return error_set(error, ERROR_INPUT, "write %s,tls", address + strlen("tls://"));
    settings->n_binds++; /* also after an error: then settings_release frees the options */
    if (comma && comma[1] == '\0')
        return error_set(error, ERROR_INPUT, "%s: there is no word behind the comma", value);
    return listener_words_read(&listener->options, comma ? comma + 1 : "", address, error);
}

/* Calls add for each word of a list with blanks between them. */
static int settings_each_word(struct settings *settings, const char *value,
    int (*add)(struct settings *settings, const char *word, struct error *error),
    struct error *error)
{
    char *list = strdup(value);
    char *rest = list;
    const char *word;
    int result = list ? 0 : error_set_memory(error);

    while (result == 0 && (word = strsep(&rest, " \t\n")))
        result = word[0] ? add(settings, word, error) : 0;
    free(list);
    return result;
}

static int settings_set_bind(struct settings *settings, const char *value, struct error *error)
{
    int result = settings_each_word(settings, value, settings_add_bind, error);

    if (result == 0 && settings->n_binds == 0)
        return error_set(error, ERROR_INPUT, "the address to bind is empty");
    return result;
}

static int settings_add_http(struct settings *settings, const char *value, struct error *error)
{
    if (settings->n_http >= SETTINGS_MAX_HTTP)
        return error_set(error, ERROR_INPUT, "too many addresses");
    if (address_parse(&settings->http[settings->n_http], value, error) != 0)
        return ERROR_INPUT;
    if (settings->http[settings->n_http].is_tls)
        return error_set(error, ERROR_INPUT,
            "%s: HTTP has no TLS here; put a proxy in front of it (doc/security.md)", value);
    settings->n_http++;
    return 0;
}

static int settings_set_http(struct settings *settings, const char *value, struct error *error)
{
    int result = settings_each_word(settings, value, settings_add_http, error);

    if (result == 0 && settings->n_http == 0)
        return error_set(error, ERROR_INPUT, "the address is empty");
    return result;
}

/* Sets a flag from a word. */
static int settings_read_flag(bool *flag, const char *value, struct error *error)
{
    static const char *const yes[] = {"1", "true", "yes", "on"};
    static const char *const no[] = {"0", "false", "no", "off"};

    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        if (strcasecmp(value, yes[i]) == 0 || strcasecmp(value, no[i]) == 0) {
            *flag = strcasecmp(value, yes[i]) == 0;
            return 0;
        }
    }
    return error_set(error, ERROR_INPUT, "'%s' is neither 1 nor 0", value);
}

static int settings_set_read_only(struct settings *settings, const char *value, struct error *error)
{
    return settings_read_flag(&settings->read_only, value, error);
}

static int settings_set_history(struct settings *settings, const char *value, struct error *error)
{
    return settings_read_flag(&settings->history, value, error);
}

static int settings_set_stale_ok(struct settings *settings, const char *value, struct error *error)
{
    return settings_read_flag(&settings->stale_ok, value, error);
}

static int settings_set_new_database(
    struct settings *settings, const char *value, struct error *error)
{
    return settings_read_flag(&settings->new_database, value, error);
}

static int settings_set_audit(struct settings *settings, const char *value, struct error *error)
{
    return settings_read_flag(&settings->audit, value, error);
}

static int settings_read_number(unsigned *number, const char *value, const char *unit, unsigned min,
    unsigned max, struct error *error)
{
    char *end;
    unsigned long found;

    errno = 0;
    found = strtoul(value, &end, 10);
    if (!isdigit((unsigned char)value[0]) || *end != '\0' || errno != 0 || found < min ||
        found > max)
        return error_set(
            error, ERROR_INPUT, "'%s' is not a number of %s from %u to %u", value, unit, min, max);
    *number = (unsigned)found;
    return 0;
}

static int settings_set_audit_keep(
    struct settings *settings, const char *value, struct error *error)
{
    return settings_read_number(&settings->audit_keep_days, value, "days", 1, MAX_KEEP_DAYS, error);
}

static int settings_set_accept_rollback(
    struct settings *settings, const char *value, struct error *error)
{
    struct mark mark;

    settings->accept_rollback = value;
    if (mark_parse(&mark, text_of(value)))
        return 0;
    return error_set(
        error, ERROR_INPUT, "'%s' is not IDENTITY:COUNTER, as the log names a rollback", value);
}

static int settings_set_loglevel(struct settings *settings, const char *value, struct error *error)
{
    if (log_level_parse(value, &settings->log_level))
        return 0;
    return error_set(error, ERROR_INPUT,
        "'%s' is not a level; the levels are CRITICAL, ERROR, WARNING, INFO and DEBUG", value);
}

static int settings_set_log_format(
    struct settings *settings, const char *value, struct error *error)
{
    settings->log_format = strcasecmp(value, "json") == 0 ? LOG_JSON : LOG_TEXT;
    if (settings->log_format == LOG_JSON || strcasecmp(value, "text") == 0)
        return 0;
    return error_set(error, ERROR_INPUT, "'%s' is neither text nor json", value);
}

static int settings_set_sync(struct settings *settings, const char *value, struct error *error)
{
    static const char *const names[] = {
        [STORE_SYNC_FULL] = "full",
        [STORE_SYNC_NORMAL] = "normal",
        [STORE_SYNC_OFF] = "off",
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcasecmp(value, names[i]) == 0) {
            settings->sync = (enum store_sync)i;
            return 0;
        }
    }
    return error_set(error, ERROR_INPUT, "'%s' is not one of full, normal and off", value);
}

static int settings_set_patience(struct settings *settings, const char *value, struct error *error)
{
    unsigned seconds = 0;
    int result = settings_read_number(&seconds, value, "seconds", 0, MAX_PATIENCE_S, error);

    if (result == 0)
        settings->patience_ms = seconds * 1000;
    return result;
}

static int settings_set_parent(struct settings *settings, const char *value, struct error *error)
{
    return settings_read_number(&settings->parent, value, "a process,", 1, INT_MAX, error);
}

static int settings_set_idle_timeout(
    struct settings *settings, const char *value, struct error *error)
{
    return settings_read_number(&settings->idle_timeout_s, value, "seconds", 1, MAX_IDLE_S, error);
}

static int settings_set_max_connections(
    struct settings *settings, const char *value, struct error *error)
{
    return settings_read_number(
        &settings->max_connections, value, "connections", 1, MAX_CONNECTIONS, error);
}

static int settings_set_max_requests(
    struct settings *settings, const char *value, struct error *error)
{
    return settings_read_number(&settings->max_requests_per_second_per_address, value,
        "requests a second", 1, MAX_REQUESTS, error);
}

static int settings_read_bytes(size_t *bytes, const char *value, unsigned long long min,
    unsigned long long max, struct error *error)
{
    char *end;
    unsigned long long number;

    errno = 0;
    number = strtoull(value, &end, 10);
    if (!isdigit((unsigned char)value[0]) || *end != '\0' || errno != 0 || number > max ||
        number < min || number > SIZE_MAX)
        return error_set(
            error, ERROR_INPUT, "'%s' is not a number of bytes from %llu to %llu", value, min, max);
    *bytes = (size_t)number;
    return 0;
}

static int settings_set_max_message_bytes(
    struct settings *settings, const char *value, struct error *error)
{
    return settings_read_bytes(
        &settings->max_message_bytes, value, MIN_MESSAGE_BYTES, MAX_MESSAGE_BYTES, error);
}

static int settings_set_max_memory_bytes(
    struct settings *settings, const char *value, struct error *error)
{
    return settings_read_bytes(
        &settings->max_memory_bytes, value, MIN_MEMORY_BYTES, MAX_MEMORY_BYTES, error);
}

/* Adds an annotation: "machine=qemux86-64". */
static int settings_set_annotate(struct settings *settings, const char *value, struct error *error)
{
    const char *equals = strchr(value, '=');
    const struct text name = {
        .bytes = value, .length = equals ? (size_t)(equals - value) : strlen(value)};

    if (!equals || !handshake_is_annotation(name))
        return error_set(error, ERROR_INPUT,
            "'%.100s' is not NAME=VALUE with one of the names build-host, build-name, machine, "
            "distro and layers",
            value);
    if (!text_is_utf8(text_of(equals)) || strpbrk(equals, "\r\n") ||
        strlen(equals) > HANDSHAKE_ANNOTATION_BYTES)
        return error_set(error, ERROR_INPUT,
            "the value of %.*s is not a line of UTF-8 with at most %d bytes", (int)name.length,
            value, HANDSHAKE_ANNOTATION_BYTES);
    buffer_append_string(&settings->annotations, "x-");
    buffer_append_text(&settings->annotations, name);
    buffer_append_string(&settings->annotations, ": ");
    buffer_append_string(&settings->annotations, equals + 1);
    buffer_append_string(&settings->annotations, "\n");
    return buffer_failed(&settings->annotations) ? error_set_memory(error) : 0;
}

/* ---- the table ---- */

const struct setting settings_table[SETTINGS] = {
    [SETTING_FILE] = {"file", "PRSERVD_FILE", .letter = 'f',
        .string_at = offsetof(struct settings, file), .empty = "the name of the database is empty"},
    [SETTING_FILE_READ] = {"file-read", "PRSERVD_FILE_READ",
        .string_at = offsetof(struct settings, file_read)},
    [SETTING_HOST] = {"host", "PRSERVD_HOST", .string_at = offsetof(struct settings, host)},
    [SETTING_PORT] = {"port", "PRSERVD_PORT", .string_at = offsetof(struct settings, port)},
    [SETTING_BIND] = {"bind", "PRSERVD_BIND", .set = settings_set_bind},
    [SETTING_READ_ONLY] = {"read-only", "PRSERVD_READ_ONLY", .letter = 'r', .is_flag = true,
        .set = settings_set_read_only},
    [SETTING_HISTORY] = {"history", "PRSERVD_HISTORY", .is_flag = true,
        .set = settings_set_history},
    [SETTING_UPSTREAM] = {"upstream", "PRSERVD_UPSTREAM", .letter = 'u',
        .string_at = offsetof(struct settings, upstream)},
    [SETTING_LOG] = {"log", "PRSERVD_LOG", .letter = 'l',
        .string_at = offsetof(struct settings, log_file), .empty = "the name of the log is empty"},
    [SETTING_LOGLEVEL] = {"loglevel", "PRSERVD_LOGLEVEL", .set = settings_set_loglevel},
    [SETTING_LOG_FORMAT] = {"log-format", "PRSERVD_LOG_FORMAT", .set = settings_set_log_format},
    [SETTING_PIDFILE] = {"pidfile", "PRSERVD_PIDFILE",
        .string_at = offsetof(struct settings, pid_file),
        .empty = "the name of the pid file is empty"},
    [SETTING_SYNC] = {"sync", "PRSERVD_SYNC", .set = settings_set_sync},
    [SETTING_STALE_OK] = {"stale-ok", "PRSERVD_STALE_OK", .is_flag = true,
        .set = settings_set_stale_ok},
    [SETTING_PATIENCE] = {"patience", "PRSERVD_PATIENCE", .set = settings_set_patience},
    [SETTING_NEW_DATABASE] = {"new-database", "PRSERVD_NEW_DATABASE", .is_flag = true,
        .set = settings_set_new_database},
    [SETTING_ACCEPT_ROLLBACK] = {"accept-rollback", "PRSERVD_ACCEPT_ROLLBACK",
        .set = settings_set_accept_rollback},
    [SETTING_STATE_DIR] = {"state-dir", "PRSERVD_STATE_DIR",
        .string_at = offsetof(struct settings, state_dir),
        .empty = "the name of the state folder is empty"},
    [SETTING_AUDIT] = {"audit", "PRSERVD_AUDIT", .set = settings_set_audit},
    [SETTING_AUDIT_KEEP] = {"audit-keep", "PRSERVD_AUDIT_KEEP", .set = settings_set_audit_keep},
    [SETTING_MAX_MESSAGE_BYTES] = {"max-message-bytes", "PRSERVD_MAX_MESSAGE_BYTES",
        .set = settings_set_max_message_bytes},
    [SETTING_MAX_MEMORY_BYTES] = {"max-memory-bytes", "PRSERVD_MAX_MEMORY_BYTES",
        .set = settings_set_max_memory_bytes},
    [SETTING_MAX_CONNECTIONS] = {"max-connections", "PRSERVD_MAX_CONNECTIONS",
        .set = settings_set_max_connections},
    [SETTING_MAX_REQUESTS] = {"max-requests-per-second-per-address",
        "PRSERVD_MAX_REQUESTS_PER_SECOND_PER_ADDRESS", .set = settings_set_max_requests},
    [SETTING_IDLE_TIMEOUT] = {"idle-timeout", "PRSERVD_IDLE_TIMEOUT",
        .set = settings_set_idle_timeout},
    [SETTING_HTTP] = {"http", "PRSERVD_HTTP", .set = settings_set_http},
    [SETTING_WITH_PARENT] = {"with-parent", "PRSERVD_WITH_PARENT", .set = settings_set_parent},
    [SETTING_ADDRESS_FILE] = {"address-file", "PRSERVD_ADDRESS_FILE",
        .string_at = offsetof(struct settings, address_file), .empty = NO_FILE},
    [SETTING_FORWARD] = {"forward", "PRSERVD_FORWARD",
        .string_at = offsetof(struct settings, forward)},
    [SETTING_ANNOTATE] = {"annotate", "PRSERVD_ANNOTATE", .set = settings_set_annotate},
    [SETTING_TLS_CERT] = {"tls-cert", "PRSERVD_TLS_CERT",
        .string_at = offsetof(struct settings, tls_certificate), .empty = NO_FILE},
    [SETTING_TLS_KEY] = {"tls-key", "PRSERVD_TLS_KEY",
        .string_at = offsetof(struct settings, tls_key), .empty = NO_FILE},
    [SETTING_TLS_CLIENT_CA] = {"tls-client-ca", "PRSERVD_TLS_CLIENT_CA",
        .string_at = offsetof(struct settings, tls_client_ca), .empty = NO_FILE},
    [SETTING_TLS_CA] = {"tls-ca", "PRSERVD_TLS_CA", .string_at = offsetof(struct settings, tls_ca),
        .empty = NO_FILE},
};

static int settings_set_string(struct settings *settings, const struct setting *setting,
    const char *value, struct error *error)
{
    if (setting->empty && value[0] == '\0')
        return error_set(error, ERROR_INPUT, "%s", setting->empty);
    memcpy((char *)settings + setting->string_at, &value, sizeof value);
    return 0;
}

int settings_set(struct settings *settings, enum setting_id id, const char *value,
    const char *label, struct error *error)
{
    const struct setting *setting = &settings_table[id];
    struct error reason;
    int result = setting->set ? setting->set(settings, value, &reason)
                              : settings_set_string(settings, setting, value, &reason);

    return result == 0 ? 0 : error_set(error, ERROR_INPUT, "%s: %.400s", label, reason.text);
}

void settings_release(struct settings *settings)
{
    for (size_t i = 0; i < settings->n_binds; i++)
        listener_words_release(&settings->binds[i].options);
    buffer_free(&settings->annotations);
}
