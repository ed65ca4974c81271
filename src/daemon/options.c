/* Settings come from the command line, then, for what was not said there, from
 * PRSERVD_<NAME> in the environment; then it is seen whether they fit together. */
#include "daemon/options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#define DEFAULT_HOST "0.0.0.0"
#define DEFAULT_PORT 8585
#define DEFAULT_MESSAGE_BYTES ((size_t)4 * 1024 * 1024)
#define DEFAULT_MEMORY_BYTES ((size_t)256 * 1024 * 1024)
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
    struct settings settings;
    bool given[SETTINGS]; /* on the command line */
    enum command command;
};

/* ---- the command line ---- */

static const struct {
    const char *name;
    enum command command;
} commands[] = {
    {"start", COMMAND_START},
    {"stop", COMMAND_STOP},
    {"help", COMMAND_HELP},
    {"version", COMMAND_VERSION},
};

#define N_COMMANDS (sizeof commands / sizeof *commands)
#define FIRST_SETTING 1000 /* what getopt_long returns: beyond all letters */
#define FIRST_COMMAND 2000

static int set_command(struct reading *reading, enum command command, struct error *error)
{
    bool both = (reading->command == COMMAND_START && command == COMMAND_STOP) ||
                (reading->command == COMMAND_STOP && command == COMMAND_START);

    if (both)
        return error_set(error, ERROR_INPUT, "--start and --stop contradict each other");
    if (reading->command != COMMAND_HELP && reading->command != COMMAND_VERSION)
        reading->command = command;
    return 0;
}

static void make_long_options(struct option *long_options)
{
    for (enum setting_id id = 0; id < SETTINGS; id++)
        *long_options++ = (struct option){.name = setting_name(id),
            .has_arg = setting_is_flag(id) ? no_argument : required_argument,
            .val = FIRST_SETTING + (int)id};
    for (size_t i = 0; i < N_COMMANDS; i++)
        *long_options++ = (struct option){.name = commands[i].name, .val = FIRST_COMMAND + (int)i};
    *long_options = (struct option){.name = NULL};
}

static int from_letter(int letter)
{
    switch (letter) {
    case 'f':
        return FIRST_SETTING + SETTING_FILE;
    case 'r':
        return FIRST_SETTING + SETTING_READ_ONLY;
    case 'u':
        return FIRST_SETTING + SETTING_UPSTREAM;
    case 'l':
        return FIRST_SETTING + SETTING_LOG;
    case 'h':
        return FIRST_COMMAND + 2;
    default:
        return letter;
    }
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

static int read_option(struct reading *reading, enum setting_id id, struct error *error)
{
    char name[40];

    (void)snprintf(name, sizeof name, "--%s", setting_name(id));
    reading->given[id] = true;
    return settings_set(&reading->settings, id, setting_is_flag(id) ? "1" : optarg, name, error);
}

static int read_command_line(struct reading *reading, int argc, char **argv, struct error *error)
{
    struct option long_options[SETTINGS + N_COMMANDS + 1];
    int found;
    int result = 0;

    make_long_options(long_options);
    opterr = 0;
    optind = 1;
    while (
        result == 0 && (found = getopt_long(argc, argv, "+:f:ru:l:h", long_options, NULL)) != -1) {
        found = from_letter(found);
        if (found >= FIRST_COMMAND) {
            result = set_command(reading, commands[found - FIRST_COMMAND].command, error);
        } else if (found >= FIRST_SETTING && found < FIRST_SETTING + SETTINGS) {
            result = read_option(reading, (enum setting_id)(found - FIRST_SETTING), error);
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

static int read_environment(struct reading *reading, struct error *error)
{
    struct settings *settings = &reading->settings;

    for (enum setting_id id = 0; id < SETTINGS; id++) {
        const char *value = getenv(setting_variable(id));
        bool beside_bind = id == SETTING_HOST || id == SETTING_PORT;

        if (reading->given[id] || !value || value[0] == '\0' ||
            (reading->given[SETTING_BIND] && beside_bind))
            continue;
        if (settings_set(settings, id, value, setting_variable(id), error) != 0)
            return ERROR_INPUT;
    }
    if (!settings->upstream)
        settings->upstream = getenv("PRSERV_UPSTREAM");
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
static int put_first(const struct settings *settings, struct address *address, struct error *error)
{
    struct error reason;
    unsigned port = DEFAULT_PORT;

    if (settings->port && address_parse_port(&port, settings->port, &reason) != 0)
        return error_set(error, ERROR_INPUT, "port: %.400s", reason.text);
    if (address_set_host(address, settings->host ? settings->host : DEFAULT_HOST, port, &reason) !=
        0)
        return error_set(error, ERROR_INPUT, "host: %.400s", reason.text);
    return 0;
}

static int put_listeners(
    struct options *options, const struct settings *settings, struct error *error)
{
    options->listens_by_default = settings->n_binds == 0 && !settings->host && !settings->port;
    if (settings->n_binds == 0 || settings->host || settings->port) {
        struct server_listener *first = &options->listeners[options->n_listeners++];

        if (put_first(settings, &first->address, error) != 0)
            return ERROR_INPUT;
    }
    for (size_t i = 0; i < settings->n_binds; i++)
        options->listeners[options->n_listeners++] = settings->binds[i];
    return 0;
}

static int put_upstream(
    struct options *options, const struct settings *settings, struct error *error)
{
    struct error reason;

    if (!settings->upstream || settings->upstream[0] == '\0')
        return 0;
    if (address_parse(&options->upstream, settings->upstream, &reason) != 0)
        return error_set(error, ERROR_INPUT, "upstream: %.400s", reason.text);
    if (options->upstream.is_unix || options->upstream.port == 0)
        return error_set(error, ERROR_INPUT, "upstream: '%s' can't be an upstream; write HOST:PORT",
            settings->upstream);
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

static int put_together(
    struct options *options, const struct settings *settings, struct error *error)
{
    int result;

    options->file = settings->file;
    options->file_read = settings->file_read;
    options->read_only = settings->read_only;
    options->log_file = settings->log_file;
    options->log_level = settings->log_level;
    options->pid_file = settings->pid_file;
    options->sync = settings->sync;
    options->max_message_bytes = settings->max_message_bytes;
    options->max_memory_bytes = settings->max_memory_bytes;
    result = check_databases(options, error);
    if (result == 0)
        result = put_listeners(options, settings, error);
    if (result == 0)
        result = put_memory(options, error);
    return result == 0 ? put_upstream(options, settings, error) : result;
}

int options_read(struct options *options, int argc, char **argv, struct error *error)
{
    struct reading reading = {
        .settings.file = "prserv.sqlite3",
        .settings.log_level = LOG_INFO,
        .settings.max_message_bytes = DEFAULT_MESSAGE_BYTES,
    };
    int result = read_command_line(&reading, argc, argv, error);

    *options = (struct options){.command = reading.command};
    if (result != 0 || options->command == COMMAND_HELP || options->command == COMMAND_VERSION)
        return result;
    result = read_environment(&reading, error);
    return result == 0 ? put_together(options, &reading.settings, error) : result;
}
