/* One function for each setting checks its value; one table names them all. */
#include "daemon/settings.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LEAST_MESSAGE_BYTES 1024
#define MOST_MESSAGE_BYTES 1000000000 /* what SQLite keeps in a field */
#define LEAST_MEMORY_BYTES 65536
#define MOST_MEMORY_BYTES 1000000000000

/* ---- one setting each ---- */

static int set_file(struct settings *settings, const char *value, struct error *error)
{
    if (value[0] == '\0')
        return error_set(error, ERROR_INPUT, "the name of the database is empty");
    settings->file = value;
    return 0;
}

static int set_file_read(struct settings *settings, const char *value, struct error *error)
{
    (void)error;
    settings->file_read = value;
    return 0;
}

static int set_host(struct settings *settings, const char *value, struct error *error)
{
    (void)error;
    settings->host = value;
    return 0;
}

static int set_port(struct settings *settings, const char *value, struct error *error)
{
    (void)error;
    settings->port = value;
    return 0;
}

static int add_bind(struct settings *settings, const char *value, struct error *error)
{
    static const char suffix[] = ",ro";
    const size_t n_suffix = sizeof suffix - 1;
    char address[ADDRESS_TEXT_BYTES];
    size_t length = strlen(value);
    struct server_listener *listener = &settings->binds[settings->n_binds];

    if (settings->n_binds >= SETTINGS_MOST_BINDS)
        return error_set(error, ERROR_INPUT, "too many addresses to bind");
    if (length >= sizeof address)
        return error_set(error, ERROR_INPUT, "the address is too long: %s", value);
    memcpy(address, value, length + 1);
    listener->read_only = length > n_suffix && strcmp(value + length - n_suffix, suffix) == 0;
    if (listener->read_only)
        address[length - n_suffix] = '\0';
    if (address_parse(&listener->address, address, error) != 0)
        return ERROR_INPUT;
    settings->n_binds++;
    return 0;
}

static int set_bind(struct settings *settings, const char *value, struct error *error)
{
    char *list = strdup(value);
    char *rest = list;
    const char *word;
    int result = list ? 0 : error_set_memory(error);

    while (result == 0 && (word = strsep(&rest, " \t\n")))
        result = word[0] ? add_bind(settings, word, error) : 0;
    free(list);
    if (result == 0 && settings->n_binds == 0)
        return error_set(error, ERROR_INPUT, "the address to bind is empty");
    return result;
}

static int set_read_only(struct settings *settings, const char *value, struct error *error)
{
    static const char *const yes[] = {"1", "true", "yes", "on"};
    static const char *const no[] = {"0", "false", "no", "off"};

    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        if (strcasecmp(value, yes[i]) == 0 || strcasecmp(value, no[i]) == 0) {
            settings->read_only = strcasecmp(value, yes[i]) == 0;
            return 0;
        }
    }
    return error_set(error, ERROR_INPUT, "'%s' is neither 1 nor 0", value);
}

static int set_upstream(struct settings *settings, const char *value, struct error *error)
{
    (void)error;
    settings->upstream = value;
    return 0;
}

static int set_log(struct settings *settings, const char *value, struct error *error)
{
    if (value[0] == '\0')
        return error_set(error, ERROR_INPUT, "the name of the log is empty");
    settings->log_file = value;
    return 0;
}

static int set_loglevel(struct settings *settings, const char *value, struct error *error)
{
    if (log_level_parse(value, &settings->log_level))
        return 0;
    return error_set(error, ERROR_INPUT,
        "'%s' is no level; the levels are CRITICAL, ERROR, WARNING, INFO and DEBUG", value);
}

static int set_pidfile(struct settings *settings, const char *value, struct error *error)
{
    if (value[0] == '\0')
        return error_set(error, ERROR_INPUT, "the name of the pid file is empty");
    settings->pid_file = value;
    return 0;
}

static int set_sync(struct settings *settings, const char *value, struct error *error)
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
    return error_set(error, ERROR_INPUT, "'%s' is none of full, normal and off", value);
}

static int read_bytes(size_t *bytes, const char *value, unsigned long long least,
    unsigned long long most, struct error *error)
{
    char *end;
    unsigned long long number;

    errno = 0;
    number = strtoull(value, &end, 10);
    if (!isdigit((unsigned char)value[0]) || *end != '\0' || errno != 0 || number > most ||
        number < least || number > SIZE_MAX)
        return error_set(
            error, ERROR_INPUT, "'%s' is no number of bytes from %llu to %llu", value, least, most);
    *bytes = (size_t)number;
    return 0;
}

static int set_max_message_bytes(struct settings *settings, const char *value, struct error *error)
{
    return read_bytes(
        &settings->max_message_bytes, value, LEAST_MESSAGE_BYTES, MOST_MESSAGE_BYTES, error);
}

static int set_max_memory_bytes(struct settings *settings, const char *value, struct error *error)
{
    return read_bytes(
        &settings->max_memory_bytes, value, LEAST_MEMORY_BYTES, MOST_MEMORY_BYTES, error);
}

/* ---- the table ---- */

static const struct setting {
    const char *name;
    const char *environment;
    bool is_flag;
    int (*set)(struct settings *settings, const char *value, struct error *error);
} table[SETTINGS] = {
    [SETTING_FILE] = {"file", "PRSERVD_FILE", false, set_file},
    [SETTING_FILE_READ] = {"file-read", "PRSERVD_FILE_READ", false, set_file_read},
    [SETTING_HOST] = {"host", "PRSERVD_HOST", false, set_host},
    [SETTING_PORT] = {"port", "PRSERVD_PORT", false, set_port},
    [SETTING_BIND] = {"bind", "PRSERVD_BIND", false, set_bind},
    [SETTING_READ_ONLY] = {"read-only", "PRSERVD_READ_ONLY", true, set_read_only},
    [SETTING_UPSTREAM] = {"upstream", "PRSERVD_UPSTREAM", false, set_upstream},
    [SETTING_LOG] = {"log", "PRSERVD_LOG", false, set_log},
    [SETTING_LOGLEVEL] = {"loglevel", "PRSERVD_LOGLEVEL", false, set_loglevel},
    [SETTING_PIDFILE] = {"pidfile", "PRSERVD_PIDFILE", false, set_pidfile},
    [SETTING_SYNC] = {"sync", "PRSERVD_SYNC", false, set_sync},
    [SETTING_MAX_MESSAGE_BYTES] = {"max-message-bytes", "PRSERVD_MAX_MESSAGE_BYTES", false,
        set_max_message_bytes},
    [SETTING_MAX_MEMORY_BYTES] = {"max-memory-bytes", "PRSERVD_MAX_MEMORY_BYTES", false,
        set_max_memory_bytes},
};

const char *setting_name(enum setting_id id)
{
    return table[id].name;
}

const char *setting_variable(enum setting_id id)
{
    return table[id].environment;
}

bool setting_is_flag(enum setting_id id)
{
    return table[id].is_flag;
}

int settings_set(struct settings *settings, enum setting_id id, const char *value,
    const char *said_as, struct error *error)
{
    struct error reason;

    if (table[id].set(settings, value, &reason) == 0)
        return 0;
    return error_set(error, ERROR_INPUT, "%s: %.400s", said_as, reason.text);
}
