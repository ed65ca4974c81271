/* Settings come from the command line, then, for what was not said there, from
 * PRSERVD_<NAME> in the environment. One table names them all. */
#include "daemon/options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DEFAULT_HOST "0.0.0.0"
#define DEFAULT_PORT 8585
#define DEFAULT_MESSAGE_BYTES ((size_t)4 * 1024 * 1024)
#define LEAST_MESSAGE_BYTES 1024
#define MOST_MESSAGE_BYTES 1000000000 /* what SQLite keeps in a field */
#define DEFAULT_MEMORY_BYTES ((size_t)256 * 1024 * 1024)
#define LEAST_MEMORY_BYTES 65536
#define MOST_MEMORY_BYTES 1000000000000
#define LEAST_MESSAGES 4 /* of the longest kind that there has to be memory for */

const char options_help[] =
    "Usage: prservd [OPTION]...\n"
    "Hands out package revisions (PR) to BitBake and remembers them.\n"
    "\n"
    "  -f, --file FILE          database; missing folders are made [prserv.sqlite3];\n"
    "                           or PostgreSQL's: postgresql://USER@HOST/NAME, KEY=VALUE ...\n"
    "      --file-read URI      the replica that look-ups and exports read from (PostgreSQL)\n"
    "      --host ADDR          address to bind: a name, IPv4 or IPv6 [0.0.0.0]\n"
    "      --port N             port to bind; 0 takes a free one [8585]\n"
    "      --bind ADDRESS       HOST:PORT, [IPv6]:PORT or unix:///PATH, as often as wanted,\n"
    "                           instead of the default or of what PRSERVD_HOST, _PORT and\n"
    "                           _BIND say, and beside --host and --port, if these are given;\n"
    "                           with ',ro' at the end nothing is stored through it\n"
    "  -r, --read-only          open the database read-only; nothing is stored\n"
    "  -u, --upstream HOST:PORT the server whose revisions ours extend: x there, x.y here\n"
    "                           [$PRSERV_UPSTREAM]\n"
    "  -l, --log FILE           [standard error; prserv.log with --start]; SIGHUP reopens it\n"
    "      --loglevel LEVEL     CRITICAL, ERROR, WARNING, INFO or DEBUG [INFO]\n"
    "      --start              run in the background; returns when clients can connect\n"
    "      --stop               end the server that was started for --host and --port, or\n"
    "                           for the first --bind\n"
    "      --pidfile FILE       [with --start and --stop: /tmp/PRServer_<ip>_<port>.pid]\n"
    "      --sync LEVEL         when an answer is on the disk: full (before it is sent),\n"
    "                           normal or off (some time later) [full]\n"
    "      --max-message-bytes N\n"
    "                           the longest message that is taken [4194304]\n"
    "      --max-memory-bytes N\n"
    "                           the memory for requests and answers of all clients together\n"
    "                           [268435456, or 4 times --max-message-bytes]\n"
    "      --version            print the version\n"
    "  -h, --help               print this\n"
    "\n"
    "Every option but --start, --stop, --version and --help is also read from the environment:\n"
    "PRSERVD_FILE, PRSERVD_FILE_READ, PRSERVD_HOST, PRSERVD_PORT, PRSERVD_BIND (several:\n"
    "separated by blanks; beside --host, --port and their variables, if these are given),\n"
    "PRSERVD_READ_ONLY (1, true, yes, on; 0, false, no, off), PRSERVD_UPSTREAM, PRSERVD_LOG,\n"
    "PRSERVD_LOGLEVEL, PRSERVD_PIDFILE, PRSERVD_SYNC, PRSERVD_MAX_MESSAGE_BYTES,\n"
    "PRSERVD_MAX_MEMORY_BYTES.\n"
    "\n"
    "SIGTERM and SIGINT end the server after it has answered what it has read.\n"
    "Exit status: 0 done, 1 it could not be done, 2 the options can't be used.\n";

/* What is read before it is put together. */
struct reading {
    struct options *options;
    const char *host;
    const char *port;
    struct server_listener binds[OPTIONS_MOST_LISTENERS];
    size_t n_binds;
    const char *upstream;
};

/* ---- one setting each ---- */

static int set_file(struct reading *reading, const char *value, struct error *error)
{
    if (value[0] == '\0')
        return error_set(error, ERROR_INPUT, "the name of the database is empty");
    reading->options->file = value;
    return 0;
}

static int set_file_read(struct reading *reading, const char *value, struct error *error)
{
    (void)error;
    reading->options->file_read = value;
    return 0;
}

static int set_host(struct reading *reading, const char *value, struct error *error)
{
    (void)error;
    reading->host = value;
    return 0;
}

static int set_port(struct reading *reading, const char *value, struct error *error)
{
    (void)error;
    reading->port = value;
    return 0;
}

static int add_bind(struct reading *reading, const char *value, struct error *error)
{
    static const char suffix[] = ",ro";
    const size_t n_suffix = sizeof suffix - 1;
    char address[ADDRESS_TEXT_BYTES];
    size_t length = strlen(value);
    struct server_listener *listener = &reading->binds[reading->n_binds];

    if (reading->n_binds + 1 >= OPTIONS_MOST_LISTENERS)
        return error_set(error, ERROR_INPUT, "too many addresses to bind");
    if (length >= sizeof address)
        return error_set(error, ERROR_INPUT, "the address is too long: %s", value);
    memcpy(address, value, length + 1);
    listener->read_only = length > n_suffix && strcmp(value + length - n_suffix, suffix) == 0;
    if (listener->read_only)
        address[length - n_suffix] = '\0';
    if (address_parse(&listener->address, address, error) != 0)
        return ERROR_INPUT;
    reading->n_binds++;
    return 0;
}

static int set_bind(struct reading *reading, const char *value, struct error *error)
{
    char *list = strdup(value);
    char *rest = list;
    const char *word;
    int result = list ? 0 : error_set_memory(error);

    while (result == 0 && (word = strsep(&rest, " \t\n")))
        result = word[0] ? add_bind(reading, word, error) : 0;
    free(list);
    if (result == 0 && reading->n_binds == 0)
        return error_set(error, ERROR_INPUT, "the address to bind is empty");
    return result;
}

static int set_read_only(struct reading *reading, const char *value, struct error *error)
{
    static const char *const yes[] = {"1", "true", "yes", "on"};
    static const char *const no[] = {"0", "false", "no", "off"};

    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        if (strcasecmp(value, yes[i]) == 0 || strcasecmp(value, no[i]) == 0) {
            reading->options->read_only = strcasecmp(value, yes[i]) == 0;
            return 0;
        }
    }
    return error_set(error, ERROR_INPUT, "'%s' is neither 1 nor 0", value);
}

static int set_upstream(struct reading *reading, const char *value, struct error *error)
{
    (void)error;
    reading->upstream = value;
    return 0;
}

static int set_log(struct reading *reading, const char *value, struct error *error)
{
    if (value[0] == '\0')
        return error_set(error, ERROR_INPUT, "the name of the log is empty");
    reading->options->log_file = value;
    return 0;
}

static int set_loglevel(struct reading *reading, const char *value, struct error *error)
{
    if (log_level_parse(value, &reading->options->log_level))
        return 0;
    return error_set(error, ERROR_INPUT,
        "'%s' is no level; the levels are CRITICAL, ERROR, WARNING, INFO and DEBUG", value);
}

static int set_pidfile(struct reading *reading, const char *value, struct error *error)
{
    if (value[0] == '\0')
        return error_set(error, ERROR_INPUT, "the name of the pid file is empty");
    reading->options->pid_file = value;
    return 0;
}

static int set_sync(struct reading *reading, const char *value, struct error *error)
{
    static const char *const names[] = {
        [STORE_SYNC_FULL] = "full",
        [STORE_SYNC_NORMAL] = "normal",
        [STORE_SYNC_OFF] = "off",
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcasecmp(value, names[i]) == 0) {
            reading->options->sync = (enum store_sync)i;
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

static int set_max_message_bytes(struct reading *reading, const char *value, struct error *error)
{
    return read_bytes(&reading->options->max_message_bytes, value, LEAST_MESSAGE_BYTES,
        MOST_MESSAGE_BYTES, error);
}

static int set_max_memory_bytes(struct reading *reading, const char *value, struct error *error)
{
    return read_bytes(
        &reading->options->max_memory_bytes, value, LEAST_MEMORY_BYTES, MOST_MEMORY_BYTES, error);
}

/* ---- the table ---- */

static const struct setting {
    const char *name;
    const char *environment;
    bool is_flag;
    int (*set)(struct reading *reading, const char *value, struct error *error);
} settings[] = {
    {"file", "PRSERVD_FILE", false, set_file},
    {"file-read", "PRSERVD_FILE_READ", false, set_file_read},
    {"host", "PRSERVD_HOST", false, set_host},
    {"port", "PRSERVD_PORT", false, set_port},
    {"bind", "PRSERVD_BIND", false, set_bind},
    {"read-only", "PRSERVD_READ_ONLY", true, set_read_only},
    {"upstream", "PRSERVD_UPSTREAM", false, set_upstream},
    {"log", "PRSERVD_LOG", false, set_log},
    {"loglevel", "PRSERVD_LOGLEVEL", false, set_loglevel},
    {"pidfile", "PRSERVD_PIDFILE", false, set_pidfile},
    {"sync", "PRSERVD_SYNC", false, set_sync},
    {"max-message-bytes", "PRSERVD_MAX_MESSAGE_BYTES", false, set_max_message_bytes},
    {"max-memory-bytes", "PRSERVD_MAX_MEMORY_BYTES", false, set_max_memory_bytes},
};

static const struct {
    const char *name;
    enum command command;
} commands[] = {
    {"start", COMMAND_START},
    {"stop", COMMAND_STOP},
    {"help", COMMAND_HELP},
    {"version", COMMAND_VERSION},
};

#define N_SETTINGS (sizeof settings / sizeof *settings)
#define N_COMMANDS (sizeof commands / sizeof *commands)
#define FIRST_SETTING 1000 /* what getopt_long returns: beyond all letters */
#define FIRST_COMMAND 2000

static size_t find_setting(const char *name)
{
    size_t i = 0;

    while (strcmp(settings[i].name, name) != 0)
        i++;
    return i;
}

static int set(
    struct reading *reading, size_t which, const char *name, const char *value, struct error *error)
{
    struct error reason;

    if (settings[which].set(reading, value, &reason) == 0)
        return 0;
    return error_set(error, ERROR_INPUT, "%s: %.400s", name, reason.text);
}

/* ---- the command line ---- */

static int set_command(struct options *options, enum command command, struct error *error)
{
    bool both = (options->command == COMMAND_START && command == COMMAND_STOP) ||
                (options->command == COMMAND_STOP && command == COMMAND_START);

    if (both)
        return error_set(error, ERROR_INPUT, "--start and --stop contradict each other");
    if (options->command != COMMAND_HELP && options->command != COMMAND_VERSION)
        options->command = command;
    return 0;
}

static void make_long_options(struct option *long_options)
{
    for (size_t i = 0; i < N_SETTINGS; i++)
        *long_options++ = (struct option){.name = settings[i].name,
            .has_arg = settings[i].is_flag ? no_argument : required_argument,
            .val = FIRST_SETTING + (int)i};
    for (size_t i = 0; i < N_COMMANDS; i++)
        *long_options++ = (struct option){.name = commands[i].name, .val = FIRST_COMMAND + (int)i};
    *long_options = (struct option){.name = NULL};
}

static int from_letter(int letter)
{
    static const struct {
        char letter;
        const char *name;
    } letters[] = {{'f', "file"}, {'r', "read-only"}, {'u', "upstream"}, {'l', "log"}};

    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++) {
        if (letter == letters[i].letter)
            return FIRST_SETTING + (int)find_setting(letters[i].name);
    }
    return letter == 'h' ? FIRST_COMMAND + 2 : letter;
}

static int refuse_option(int found, char **argv, struct error *error)
{
    const char *option = argv[optind - 1];

    if (found == ':')
        return error_set(error, ERROR_INPUT, "the option %s needs a value", option);
    if (optopt > 0 && optopt < FIRST_SETTING)
        return error_set(error, ERROR_INPUT, "unknown option -%c; see prservd --help", optopt);
    if (optopt >= FIRST_SETTING)
        return error_set(error, ERROR_INPUT, "the option %s takes no value", option);
    return error_set(error, ERROR_INPUT, "unknown option %s; see prservd --help", option);
}

static int read_command_line(
    struct reading *reading, bool *given, int argc, char **argv, struct error *error)
{
    struct option long_options[N_SETTINGS + N_COMMANDS + 1];
    int found;
    int result = 0;

    make_long_options(long_options);
    opterr = 0;
    optind = 1;
    while (
        result == 0 && (found = getopt_long(argc, argv, "+:f:ru:l:h", long_options, NULL)) != -1) {
        found = from_letter(found);
        if (found >= FIRST_COMMAND) {
            result = set_command(reading->options, commands[found - FIRST_COMMAND].command, error);
        } else if (found >= FIRST_SETTING && found < FIRST_SETTING + (int)N_SETTINGS) {
            size_t which = (size_t)(found - FIRST_SETTING);
            char name[40];

            (void)snprintf(name, sizeof name, "--%s", settings[which].name);
            given[which] = true;
            result = set(reading, which, name, settings[which].is_flag ? "1" : optarg, error);
        } else {
            result = refuse_option(found, argv, error);
        }
    }
    if (result == 0 && optind < argc)
        return error_set(error, ERROR_INPUT, "unexpected argument '%s'; prservd takes options only",
            argv[optind]);
    return result;
}

/* ---- the environment ---- */

static int read_environment(struct reading *reading, const bool *given, struct error *error)
{
    bool bind_given = given[find_setting("bind")];

    for (size_t i = 0; i < N_SETTINGS; i++) {
        const char *value = getenv(settings[i].environment);
        bool beside_bind = settings[i].set == set_host || settings[i].set == set_port;

        if (given[i] || !value || value[0] == '\0' || (bind_given && beside_bind))
            continue;
        if (set(reading, i, settings[i].environment, value, error) != 0)
            return ERROR_INPUT;
    }
    if (!reading->upstream)
        reading->upstream = getenv("PRSERV_UPSTREAM");
    return 0;
}

/* ---- putting it together ---- */

static int check_databases(const struct options *options, struct error *error)
{
    if (!options->file_read || (store_kind_of(options->file) == STORE_POSTGRESQL &&
                                   store_kind_of(options->file_read) == STORE_POSTGRESQL))
        return 0;
    return error_set(error, ERROR_INPUT,
        "file-read: a replica to read from is for PostgreSQL; --file and --file-read have to be "
        "its URIs");
}

/* --host and --port, together one address. */
static int put_first(struct reading *reading, struct address *address, struct error *error)
{
    struct error reason;
    unsigned port = DEFAULT_PORT;

    if (reading->port && address_parse_port(&port, reading->port, &reason) != 0)
        return error_set(error, ERROR_INPUT, "port: %.400s", reason.text);
    if (address_set_host(address, reading->host ? reading->host : DEFAULT_HOST, port, &reason) != 0)
        return error_set(error, ERROR_INPUT, "host: %.400s", reason.text);
    return 0;
}

static int put_listeners(struct reading *reading, struct error *error)
{
    struct options *options = reading->options;

    options->listens_by_default = reading->n_binds == 0 && !reading->host && !reading->port;
    if (reading->n_binds == 0 || reading->host || reading->port) {
        struct server_listener *first = &options->listeners[options->n_listeners++];

        if (put_first(reading, &first->address, error) != 0)
            return ERROR_INPUT;
    }
    for (size_t i = 0; i < reading->n_binds; i++)
        options->listeners[options->n_listeners++] = reading->binds[i];
    return 0;
}

static int put_upstream(struct reading *reading, struct error *error)
{
    struct options *options = reading->options;
    struct error reason;

    if (!reading->upstream || reading->upstream[0] == '\0')
        return 0;
    if (address_parse(&options->upstream, reading->upstream, &reason) != 0)
        return error_set(error, ERROR_INPUT, "upstream: %.400s", reason.text);
    if (options->upstream.is_unix || options->upstream.port == 0)
        return error_set(error, ERROR_INPUT, "upstream: '%s' can't be an upstream; write HOST:PORT",
            reading->upstream);
    options->has_upstream = true;
    return 0;
}

static int put_memory(struct options *options, struct error *error)
{
    const size_t least = LEAST_MESSAGES * options->max_message_bytes;

    if (options->max_memory_bytes == 0)
        options->max_memory_bytes = DEFAULT_MEMORY_BYTES > least ? DEFAULT_MEMORY_BYTES : least;
    if (options->max_memory_bytes >= least)
        return 0;
    return error_set(error, ERROR_INPUT,
        "max-memory-bytes: %zu bytes are less than %d of the longest messages; raise it, or lower "
        "--max-message-bytes to %zu",
        options->max_memory_bytes, LEAST_MESSAGES, options->max_memory_bytes / LEAST_MESSAGES);
}

int options_read(struct options *options, int argc, char **argv, struct error *error)
{
    struct reading reading = {.options = options};
    bool given[N_SETTINGS] = {false};
    int result;

    *options = (struct options){
        .file = "prserv.sqlite3",
        .log_level = LOG_INFO,
        .max_message_bytes = DEFAULT_MESSAGE_BYTES,
    };
    result = read_command_line(&reading, given, argc, argv, error);
    if (result != 0 || options->command == COMMAND_HELP || options->command == COMMAND_VERSION)
        return result;
    result = read_environment(&reading, given, error);
    if (result == 0)
        result = check_databases(options, error);
    if (result == 0)
        result = put_listeners(&reading, error);
    if (result == 0)
        result = put_memory(options, error);
    return result == 0 ? put_upstream(&reading, error) : result;
}
