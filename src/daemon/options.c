/* SPDX-License-Identifier: MIT */
/* Settings come from the command line or, if not given there, from PRSERVD_<NAME> in the
 * environment. Then they are combined and checked against each other. */
#include "daemon/options.h"

#include "audit/audit.h"
#include "base/outage.h"
#include "server/access.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_HOST "0.0.0.0"
#define DEFAULT_PORT 8585
#define DEFAULT_MESSAGE_BYTES ((size_t)256 * 1024)
#define DEFAULT_MEMORY_BYTES ((size_t)256 * 1024 * 1024)
#define OPTION_BYTES 48 /* "--max-message-bytes", "PRSERVD_MAX_MESSAGE_BYTES" */
/* Number of longest messages that have to fit into memory: a value of that length is held as a
 * request, as an answer, and in buffers that double. */
#define MIN_MESSAGES 6

const char options_help[] =
    "Usage: prservd [OPTION]...\n"
    "Hands out package revisions (PR) to BitBake and stores them.\n"
    "\n"
    "  -f, --file FILE          database; missing folders are created [prserv.sqlite3];\n"
    "                           PostgreSQL: postgresql://USER@HOST/NAME or KEY=VALUE ...\n"
    "      --file-read URI      replica for look-ups and exports (PostgreSQL)\n"
    "      --host ADDR          address to bind: a name, IPv4 or IPv6 [0.0.0.0]\n"
    "      --port N             port to bind; 0 chooses a free port [8585]\n"
    "      --bind ADDRESS       address to bind: HOST:PORT, [IPv6]:PORT or unix:///PATH; may be\n"
    "                           repeated. Replaces the default address and the variables\n"
    "                           PRSERVD_HOST, PRSERVD_PORT and PRSERVD_BIND; --host and --port\n"
    "                           are bound as well, if given. Words after an address say what\n"
    "                           its clients may do, as in HOST:PORT,assign,allow=10.0.0.0/8:\n"
    "        ,ro                  not store\n"
    "        ,assign              not import (import-one); get-pr stores\n"
    "        ,full                everything; the default\n"
    "        ,history             as --history, for this address alone\n"
    "        ,log                 also read only, see build hosts in the audit log\n"
    "        ,tls                 have to use TLS (--tls-cert)\n"
    "        ,allow=NETWORK       come from there alone: 10.0.0.0/8, fd00::/64, 192.0.2.7; for a\n"
    "                             unix socket uid:NAME or gid:NAME; this and the next two may be\n"
    "                             repeated\n"
    "        ,writers=NETWORK     have the rights of the address if they come from there; all\n"
    "                             others read only\n"
    "        ,trusted-relay=NETWORK\n"
    "                             have no limits per address if they come from there\n"
    "        ,max-connections-per-address=N\n"
    "                             have so many connections; an IPv6 /64 counts as one address\n"
    "  -r, --read-only          open the database read-only; nothing is stored\n"
    "      --history            answer get-pr and test-pr in history mode, although the clients\n"
    "                           don't ask for it: known content gets its first revision again\n"
    "      --stale-ok           read-only, on a standby (PostgreSQL): answer servers below this "
    "one\n"
    "                           all the same, from rows that may be old\n"
    "  -u, --upstream ADDRESS   upstream server, whose revisions this server extends: x there,\n"
    "                           x.y here; HOST:PORT or tls://HOST:PORT [$PRSERV_UPSTREAM]\n"
    "      --forward ADDRESS    be a relay, without a database: send all requests on to the "
    "central\n"
    "                           server HOST:PORT or tls://HOST:PORT, and wait while it is away\n"
    "      --annotate NAME=VALUE\n"
    "                           what a relay says of its clients, for the audit log: build-host\n"
    "                           [the name of this machine], build-name, machine, distro, layers;\n"
    "                           may be repeated\n"
    "      --tls-cert FILE      certificate with its chain (PEM): for addresses with ',tls', and "
    "for\n"
    "                           an --upstream or --forward that asks for one; SIGHUP reads it\n"
    "                           again, and the key\n"
    "      --tls-key FILE       its key, which nobody else may read [in the file of --tls-cert]\n"
    "      --tls-client-ca FILE clients of addresses with ',tls' need a certificate of this CA\n"
    "      --tls-ca FILE        who signs the certificate of tls://HOST:PORT in --upstream and\n"
    "                           --forward [the system's CAs]\n"
    "      --http ADDRESS       address of the HTTP interface: metrics, health, JSON; HOST:PORT,\n"
    "                           [IPv6]:PORT or unix:///PATH; may be repeated [none]\n"
    "  -l, --log FILE           log file [standard error; prserv.log with --start]; SIGHUP\n"
    "                           reopens it\n"
    "      --loglevel LEVEL     CRITICAL, ERROR, WARNING, INFO or DEBUG [INFO]\n"
    "      --log-format FORMAT  text, or json: an object a line [text]\n"
    "      --start              run in the background; return when clients can connect\n"
    "      --stop               stop the server that was started for --host and --port, or for\n"
    "                           the first --bind\n"
    "      --pidfile FILE       pid file [with --start and --stop:\n"
    "                           /tmp/PRServer_<ip>_<port>.pid]\n"
    "      --with-parent PID    end when this process is gone, as on SIGTERM\n"
    "      --address-file FILE  file that is written when clients can connect: the addresses that\n"
    "                           the server listens on, a line each; it is removed at the end\n"
    "      --sync LEVEL         when an answer is durable: full (before it is sent), normal or\n"
    "                           off (some time later) [full]\n"
    "      --patience SECONDS   how long requests wait for what is away (the upstream, the\n"
    "                           database, a lock, space on the disk), from the start of the\n"
    "                           outage; 0: never [90]\n"
    "      --new-database       accept a database that is not the one that was used here before\n"
    "      --accept-rollback ID:COUNTER\n"
    "                           accept that the database went back to an older state: the\n"
    "                           values are in the log\n"
    "      --state-dir DIR      folder that remembers the last state of a PostgreSQL database, so\n"
    "                           that a restart notices an older one [none]\n"
    "      --audit on|off       keep in FILE-audit (PostgreSQL: in tables) who got which revision\n"
    "                           and when, for prserv log, why and churn [on]\n"
    "      --audit-keep DAYS    remove records of the audit log that are older [400]\n"
    "      --max-message-bytes N\n"
    "                           longest message that is accepted [262144]\n"
    "      --max-memory-bytes N\n"
    "                           memory for requests and answers of all clients together\n"
    "                           [268435456, or 6 times --max-message-bytes]\n"
    "      --max-connections N  connections of all clients; beyond it the one that has been idle\n"
    "                           longest makes room, or new clients wait [as many as descriptors]\n"
    "      --max-requests-per-second-per-address N\n"
    "                           requests of an address that are taken in a second, after 10 times\n"
    "                           as many at once; the others wait [any number]\n"
    "      --idle-timeout SECONDS\n"
    "                           close connections that have asked for nothing for so long [never]\n"
    "      --version            print the version\n"
    "  -h, --help               print this help\n"
    "\n"
    "Every option except --start, --stop, --version and --help can be set in the environment:\n"
    "PRSERVD_FILE, PRSERVD_FILE_READ, PRSERVD_HOST, PRSERVD_PORT, PRSERVD_BIND (several\n"
    "addresses separated by blanks; --host, --port and their variables are bound as well, if\n"
    "given), PRSERVD_READ_ONLY, PRSERVD_HISTORY and PRSERVD_STALE_OK (1, true, yes, on;\n"
    "0, false, no, off), PRSERVD_UPSTREAM, PRSERVD_LOG, PRSERVD_LOGLEVEL,\n"
    "PRSERVD_LOG_FORMAT, PRSERVD_PIDFILE, PRSERVD_WITH_PARENT, PRSERVD_ADDRESS_FILE, PRSERVD_SYNC, "
    "PRSERVD_PATIENCE,\n"
    "PRSERVD_NEW_DATABASE, PRSERVD_ACCEPT_ROLLBACK, PRSERVD_STATE_DIR,\n"
    "PRSERVD_AUDIT (on, off), PRSERVD_AUDIT_KEEP, PRSERVD_MAX_MESSAGE_BYTES,\n"
    "PRSERVD_MAX_MEMORY_BYTES, PRSERVD_MAX_CONNECTIONS,\n"
    "PRSERVD_MAX_REQUESTS_PER_SECOND_PER_ADDRESS, PRSERVD_IDLE_TIMEOUT, PRSERVD_HTTP (several "
    "addresses separated by blanks),\n"
    "PRSERVD_FORWARD, PRSERVD_ANNOTATE (one), PRSERVD_TLS_CERT, PRSERVD_TLS_KEY,\n"
    "PRSERVD_TLS_CLIENT_CA, PRSERVD_TLS_CA.\n"
    "\n"
    "SIGTERM and SIGINT end the server after it has answered the requests received so far.\n"
    "Exit status: 0 success, 1 failure, 2 the options can't be used.\n";

/* ---- the command line ---- */

static const struct {
    const char *name;
    char letter; /* '\0': none */
    enum command command;
} commands[] = {
    {"start", '\0', COMMAND_START},
    {"stop", '\0', COMMAND_STOP},
    {"help", 'h', COMMAND_HELP},
    {"version", '\0', COMMAND_VERSION},
};

#define SHORT_OPTIONS "+:f:ru:l:h"
#define N_COMMANDS (sizeof commands / sizeof *commands)

/* What getopt_long returns for a long option: a number above all letters, plus the setting or the
 * index of the command. */
#define FIRST_SETTING 1000
#define FIRST_COMMAND (FIRST_SETTING + SETTINGS)

static int options_set_command(struct options *options, enum command command, struct error *error)
{
    bool both = (options->command == COMMAND_START && command == COMMAND_STOP) ||
                (options->command == COMMAND_STOP && command == COMMAND_START);

    if (both)
        return error_set(error, ERROR_INPUT, "--start and --stop exclude each other");
    if (options->command != COMMAND_HELP && options->command != COMMAND_VERSION)
        options->command = command;
    return 0;
}

static void options_make_long_options(struct option *long_options)
{
    for (enum setting_id id = 0; id < SETTINGS; id++)
        *long_options++ = (struct option){.name = settings_table[id].name,
            .has_arg = settings_table[id].is_flag ? no_argument : required_argument,
            .val = FIRST_SETTING + (int)id};
    for (size_t i = 0; i < N_COMMANDS; i++)
        *long_options++ = (struct option){.name = commands[i].name, .val = FIRST_COMMAND + (int)i};
    *long_options = (struct option){.name = NULL};
}

/* Returns the number of the long option with this letter; other numbers unchanged. */
static int options_from_letter(int found)
{
    for (enum setting_id id = 0; id < SETTINGS; id++) {
        if (settings_table[id].letter == found)
            return FIRST_SETTING + (int)id;
    }
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (commands[i].letter == found)
            return FIRST_COMMAND + (int)i;
    }
    return found;
}

static int options_refuse_option(int found, char **argv, struct error *error)
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

/* Writes where the value of a setting comes from: "--port" or "PRSERVD_PORT". */
static const char *options_source(
    const struct options *options, enum setting_id id, char source[OPTION_BYTES])
{
    const struct setting *setting = &settings_table[id];

    (void)snprintf(source, OPTION_BYTES, "%s%s", options->given[id] ? "--" : "",
        options->given[id] ? setting->name : setting->variable);
    return source;
}

static int options_read_option(struct options *options, enum setting_id id, struct error *error)
{
    char source[OPTION_BYTES];

    options->given[id] = true;
    return settings_set(&options->settings, id, settings_table[id].is_flag ? "1" : optarg,
        options_source(options, id, source), error);
}

static int options_read_command_line(
    struct options *options, int argc, char **argv, struct error *error)
{
    struct option long_options[SETTINGS + N_COMMANDS + 1];
    int found;
    int result = 0;

    options_make_long_options(long_options);
    opterr = 0;
    optind = 1;
    while (
        result == 0 && (found = getopt_long(argc, argv, SHORT_OPTIONS, long_options, NULL)) != -1) {
        found = options_from_letter(found);
        if (found >= FIRST_COMMAND)
            result = options_set_command(options, commands[found - FIRST_COMMAND].command, error);
        else if (found >= FIRST_SETTING)
            result = options_read_option(options, (enum setting_id)(found - FIRST_SETTING), error);
        else
            result = options_refuse_option(found, argv, error);
    }
    if (result == 0 && optind < argc)
        return error_set(error, ERROR_INPUT, "unexpected argument '%s'; prservd takes only options",
            argv[optind]);
    return result;
}

/* ---- the environment ---- */

static int options_read_environment(struct options *options, struct error *error)
{
    struct settings *settings = &options->settings;

    for (enum setting_id id = 0; id < SETTINGS; id++) {
        const char *value = getenv(settings_table[id].variable);
        bool beside_bind = id == SETTING_HOST || id == SETTING_PORT;

        if (options->given[id] || !value || value[0] == '\0' ||
            (options->given[SETTING_BIND] && beside_bind))
            continue;
        if (settings_set(settings, id, value, settings_table[id].variable, error) != 0)
            return ERROR_INPUT;
    }
    if (!settings->upstream)
        settings->upstream = getenv("PRSERV_UPSTREAM");
    return 0;
}

/* ---- combining ---- */

static int options_check_databases(const struct options *options, struct error *error)
{
    const struct settings *settings = &options->settings;
    char source[OPTION_BYTES];

    if (settings->state_dir && store_kind_of(settings->file) == STORE_SQLITE)
        return error_set(error, ERROR_INPUT,
            "%s: only PostgreSQL needs it; beside an SQLite database there is FILE-mark",
            options_source(options, SETTING_STATE_DIR, source));
    if (!settings->file_read || (store_kind_of(settings->file) == STORE_POSTGRESQL &&
                                    store_kind_of(settings->file_read) == STORE_POSTGRESQL))
        return 0;
    return error_set(error, ERROR_INPUT,
        "%s: only PostgreSQL has replicas; --file and --file-read have to be PostgreSQL URIs",
        options_source(options, SETTING_FILE_READ, source));
}

/* Makes the address of --host and --port. */
static int options_first_address(
    const struct options *options, struct address *address, struct error *error)
{
    const struct settings *settings = &options->settings;
    char source[OPTION_BYTES];
    struct error reason;
    unsigned port = DEFAULT_PORT;

    if (settings->port && address_parse_port(&port, settings->port, &reason) != 0)
        return error_set(error, ERROR_INPUT, "%s: %.400s",
            options_source(options, SETTING_PORT, source), reason.text);
    if (address_set_host(address, settings->host ? settings->host : DEFAULT_HOST, port, &reason) !=
        0)
        return error_set(error, ERROR_INPUT, "%s: %.400s",
            options_source(options, SETTING_HOST, source), reason.text);
    return 0;
}

static int options_set_listeners(struct options *options, struct error *error)
{
    const struct settings *settings = &options->settings;

    options->listens_by_default = settings->n_binds == 0 && !settings->host && !settings->port;
    if (settings->n_binds == 0 || settings->host || settings->port) {
        struct server_listener *first = &options->listeners[options->n_listeners++];

        if (options_first_address(options, &first->address, error) != 0)
            return ERROR_INPUT;
    }
    for (size_t i = 0; i < settings->n_binds; i++)
        options->listeners[options->n_listeners++] = settings->binds[i];
    return 0;
}

static int options_set_upstream(struct options *options, struct error *error)
{
    const char *text = options->settings.upstream;
    const char *variable = getenv(settings_table[SETTING_UPSTREAM].variable);
    char source[OPTION_BYTES] = "PRSERV_UPSTREAM";
    struct error reason;

    if (!text || text[0] == '\0')
        return 0;
    if (options->given[SETTING_UPSTREAM] || text == variable)
        (void)options_source(options, SETTING_UPSTREAM, source);
    if (address_parse(&options->upstream, text, &reason) != 0)
        return error_set(error, ERROR_INPUT, "%s: %.400s", source, reason.text);
    if (options->upstream.is_unix)
        return error_set(
            error, ERROR_INPUT, "%s: '%s' can't be an upstream; write HOST:PORT", source, text);
    if (options->upstream.port == 0)
        return error_set(error, ERROR_INPUT,
            "%s: '%s' can't be an upstream: port 0 means the server that BitBake starts itself",
            source, text);
    options->has_upstream = true;
    return 0;
}

/* Options of a server with a database. Variables of the environment may be there for another
 * server. */
static int options_check_relay(const struct options *options, struct error *error)
{
    static const enum setting_id of_database[] = {SETTING_FILE, SETTING_FILE_READ,
        SETTING_READ_ONLY, SETTING_UPSTREAM, SETTING_SYNC, SETTING_STALE_OK, SETTING_NEW_DATABASE,
        SETTING_ACCEPT_ROLLBACK, SETTING_STATE_DIR, SETTING_AUDIT, SETTING_AUDIT_KEEP};

    for (size_t i = 0; i < sizeof of_database / sizeof *of_database; i++) {
        if (options->given[of_database[i]])
            return error_set(error, ERROR_INPUT,
                "--forward: a relay has no database, so --%s can't be used with it",
                settings_table[of_database[i]].name);
    }
    for (size_t i = 0; i < options->n_listeners; i++) {
        const struct listener_options *listener = &options->listeners[i].options;

        if (listener->rights == LISTENER_READ_ONLY ||
            (listener->access && !access_list_is_empty(&listener->access->writers)))
            return error_set(error, ERROR_INPUT,
                "--forward: a relay can't make clients read-only; use an address of the central "
                "server that has ',ro'");
    }
    return 0;
}

/* Makes the header lines of a relay; a name that is given replaces that of this machine. */
static int options_set_annotations(struct options *options, struct error *error)
{
    static const char header[] = "x-build-host:";
    const struct buffer *given = &options->settings.annotations;
    char host[256] = "";

    if (given->length == 0 || !memmem(given->bytes, given->length, header, sizeof header - 1))
        (void)gethostname(host, sizeof host - 1);
    if (asprintf(&options->annotations, "%s%s%s%.*s", host[0] ? "x-build-host: " : "", host,
            host[0] ? "\n" : "", (int)given->length, given->bytes ? given->bytes : "") >= 0)
        return 0;
    options->annotations = NULL;
    return error_set_memory(error);
}

static int options_set_forward(struct options *options, struct error *error)
{
    const char *text = options->settings.forward;
    char source[OPTION_BYTES];
    struct error reason;

    (void)options_source(options, SETTING_FORWARD, source);
    if (!text || text[0] == '\0') {
        if (!options->given[SETTING_ANNOTATE])
            return 0;
        return error_set(error, ERROR_INPUT, "--annotate: it needs --forward");
    }
    if (address_parse(&options->forward, text, &reason) != 0)
        return error_set(error, ERROR_INPUT, "%s: %.400s", source, reason.text);
    if (options->forward.is_unix || options->forward.port == 0)
        return error_set(error, ERROR_INPUT,
            "%s: '%s' can't be a central server; write HOST:PORT or tls://HOST:PORT", source, text);
    options->is_relay = true;
    if (options_check_relay(options, error) != 0)
        return ERROR_INPUT;
    return options_set_annotations(options, error);
}

void options_release(struct options *options)
{
    free(options->annotations);
    settings_release(&options->settings);
}

static int options_set_memory(struct options *options, struct error *error)
{
    struct settings *settings = &options->settings;
    char source[OPTION_BYTES];
    const size_t least = MIN_MESSAGES * settings->max_message_bytes;

    if (settings->max_memory_bytes == 0)
        settings->max_memory_bytes = DEFAULT_MEMORY_BYTES > least ? DEFAULT_MEMORY_BYTES : least;
    if (settings->max_memory_bytes >= least)
        return 0;
    return error_set(error, ERROR_INPUT,
        "%s: %zu bytes are less than %d of the longest messages need; raise it, or "
        "lower --max-message-bytes to %zu",
        options_source(options, SETTING_MAX_MEMORY_BYTES, source), settings->max_memory_bytes,
        MIN_MESSAGES, settings->max_memory_bytes / MIN_MESSAGES);
}

/* Makes the name of the file absolute: the log and all messages name it, and whoever reads them may
 * be in another folder. */
static void options_set_file(struct options *options)
{
    struct settings *settings = &options->settings;
    const char *name = settings->file;
    char folder[PATH_MAX];
    int length;

    if (store_kind_of(name) != STORE_SQLITE || name[0] == '/' || !getcwd(folder, sizeof folder))
        return;
    while (strncmp(name, "./", 2) == 0)
        name += 2;
    length = snprintf(options->file, sizeof options->file, "%s%s%s", folder,
        strcmp(folder, "/") == 0 ? "" : "/", name);
    if (length > 0 && (size_t)length < sizeof options->file)
        settings->file = options->file;
}

static int options_combine(struct options *options, struct error *error)
{
    int result = options_check_databases(options, error);

    options_set_file(options);
    if (result == 0)
        result = options_set_listeners(options, error);
    if (result == 0)
        result = options_set_memory(options, error);
    if (result == 0)
        result = options_set_upstream(options, error);
    return result == 0 ? options_set_forward(options, error) : result;
}

int options_read(struct options *options, int argc, char **argv, struct error *error)
{
    int result;

    *options = (struct options){
        .settings.file = "prserv.sqlite3",
        .settings.log_level = LOG_INFO,
        .settings.patience_ms = OUTAGE_DEFAULT_PATIENCE_S * 1000,
        .settings.audit = true,
        .settings.audit_keep_days = AUDIT_DEFAULT_KEEP_DAYS,
        .settings.max_message_bytes = DEFAULT_MESSAGE_BYTES,
    };
    result = options_read_command_line(options, argc, argv, error);
    if (result != 0 || options->command == COMMAND_HELP || options->command == COMMAND_VERSION)
        return result;
    result = options_read_environment(options, error);
    return result == 0 ? options_combine(options, error) : result;
}
