/* SPDX-License-Identifier: MIT */
/* prservd: reads its options, then runs, starts or stops a server. */
#include "base/process.h"
#include "commit.h"
#include "daemon/activation.h"
#include "daemon/bus_error.h"
#include "daemon/daemonize.h"
#include "daemon/listener_words.h"
#include "daemon/options.h"
#include "daemon/pidfile.h"
#include "daemon/sandbox.h"
#include "daemon/signals.h"
#include "daemon/stop.h"
#include "server/server.h"
#include "version.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_LOG "prserv.log" /* with --start */

/* Reports an error on standard error. Returns the exit status. */
static int daemon_fail(const struct error *error, int status)
{
    (void)fprintf(stderr, "prservd: %s\n", error->text);
    return status;
}

static void daemon_find_pidfile(const struct options *options, char path[PATH_MAX])
{
    if (options->settings.pid_file)
        (void)snprintf(path, PATH_MAX, "%s", options->settings.pid_file);
    else
        pidfile_path(&options->listeners[0].address, path);
}

/* ---- running ---- */

/* A running prservd, from its start to its end. */
struct daemon {
    const struct options *options;
    int report; /* descriptor for daemonize_report; -1: none */
    struct log *log;
    struct server_inherited inherited[ACTIVATION_MAX_SOCKETS];
    size_t n_inherited;
    struct signals signals;
    struct server *server;
};

static void daemon_ignore_signals(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a file at its size limit is an error for clients */
}

/* Returns the log file; NULL: standard error. */
static const char *daemon_log_file(const struct options *options)
{
    if (!options->settings.log_file && options->command == COMMAND_START)
        return DEFAULT_LOG;
    return options->settings.log_file;
}

/* Tells the terminal of --start; the log has it, too. */
static void daemon_tell_waiting(void *context, const char *text)
{
    const struct daemon *daemon = context;

    if (daemon->report >= 0)
        daemonize_tell(daemon->report, text);
}

/* Ends the process because nothing may be answered any more, not even what is ready to be sent. The
 * next start recognises the pid file and sockets as left over. */
static void daemon_exit_at_once(void)
{
    _exit(1);
}

static int daemon_create_server(struct daemon *daemon, struct error *error)
{
    const struct options *options = daemon->options;
    const struct settings *settings = &options->settings;
    const bool uses_inherited = daemon->n_inherited > 0 && options->listens_by_default;
    const struct server_options server_options = {
        .file = settings->file,
        .file_read = settings->file_read,
        .read_only = settings->read_only,
        .history = settings->history,
        .sync = settings->sync,
        .stale_ok = settings->stale_ok,
        .patience_ms = settings->patience_ms,
        .new_database = settings->new_database,
        .accept_rollback = settings->accept_rollback,
        .state_dir = settings->state_dir,
        .audit = settings->audit,
        .audit_keep_days = settings->audit_keep_days,
        .max_message_bytes = settings->max_message_bytes,
        .max_memory_bytes = settings->max_memory_bytes,
        .max_connections = settings->max_connections,
        .max_requests_per_second_per_address = settings->max_requests_per_second_per_address,
        .idle_timeout_s = settings->idle_timeout_s,
        .tls_certificate = settings->tls_certificate,
        .tls_key = settings->tls_key,
        .tls_client_ca = settings->tls_client_ca,
        .tls_ca = settings->tls_ca,
        .listeners = options->listeners,
        .n_listeners = uses_inherited ? 0 : options->n_listeners,
        .inherited = daemon->inherited,
        .n_inherited = daemon->n_inherited,
        .tell_waiting = daemon_tell_waiting,
        .tell_context = daemon,
        .on_tick = activation_tell,
        .on_loss = daemon_exit_at_once,
        .upstream = options->has_upstream ? &options->upstream : NULL,
        .forward = options->is_relay ? &options->forward : NULL,
        .annotations = options->annotations,
        .http = settings->http,
        .n_http = settings->n_http,
        .commit = PRSERVD_COMMIT,
        .log = daemon->log,
    };

    return server_create(&daemon->server, &server_options, error);
}

/* Opens the pid file and the server, while signals are handled. */
static int daemon_open(struct daemon *daemon, struct error *error)
{
    const struct options *options = daemon->options;
    char path[PATH_MAX];
    int result = 0;

    if (options->command == COMMAND_START || options->settings.pid_file) {
        daemon_find_pidfile(options, path);
        result = signals_create_pidfile(&daemon->signals, path, error);
    }
    if (result == 0)
        result = daemon_create_server(daemon, error);
    if (result != 0)
        return result;
    signals_set_server(&daemon->signals, daemon->server);
    return server_open(daemon->server, error);
}

static void daemon_log_start(const struct options *options, struct log *log)
{
    const struct settings *settings = &options->settings;
    char upstream[ADDRESS_TEXT_BYTES] = "none";
    char name[PATH_MAX];
    char name_read[PATH_MAX];

    if (options->is_relay) {
        address_format(&options->forward, upstream);
        log_write(log, LOG_INFO, "prservd %s sends requests on to %s", PRSERVD_VERSION, upstream);
        return;
    }
    if (options->has_upstream)
        address_format(&options->upstream, upstream);
    store_name(settings->file, name, sizeof name);
    log_write(log, LOG_INFO, "prservd %s serves %s%s%s, upstream: %s", PRSERVD_VERSION, name,
        settings->read_only ? " (read-only)" : "", settings->history ? " in history mode" : "",
        upstream);
    if (settings->file_read) {
        store_name(settings->file_read, name_read, sizeof name_read);
        log_write(log, LOG_INFO, "Look-ups and exports read from %s", name_read);
    }
    if (settings->sync != STORE_SYNC_FULL && !settings->read_only)
        log_write(log, LOG_WARNING,
            "With --sync other than full, a power failure can undo answers that were sent");
    if (settings->read_only && store_kind_of(settings->file) == STORE_SQLITE &&
        access(settings->file, F_OK) != 0)
        log_write(log, LOG_WARNING,
            "%s does not exist yet; look-ups return nothing until it is created", name);
}

/* Writes the file of --address-file. Clients can connect already. */
static void daemon_write_addresses(struct daemon *daemon)
{
    const char *path = daemon->options->settings.address_file;
    struct buffer addresses = BUFFER_EMPTY;
    struct error error;

    if (!path)
        return;
    server_write_addresses(daemon->server, &addresses);
    if (signals_write_address_file(&daemon->signals, path, buffer_text(&addresses), &error) != 0)
        log_write(daemon->log, LOG_ERROR, "%s", error.text);
    buffer_free(&addresses);
}

/* Warns of names that may be meant as words for the rights of a socket. */
static void daemon_warn_of_names(const struct daemon *daemon)
{
    for (size_t i = 0; i < daemon->n_inherited; i++) {
        if (daemon->inherited[i].odd_name[0] != '\0')
            log_write(daemon->log, LOG_WARNING,
                "The name %s of an inherited socket (FileDescriptorName=) is none of the words "
                "that "
                "limit its clients: they have full rights",
                daemon->inherited[i].odd_name);
    }
}

/* Serves until a signal ends the server. */
static void daemon_serve(struct daemon *daemon)
{
    struct error error;

    daemon_warn_of_names(daemon);
    daemon_log_start(daemon->options, daemon->log);
    /* The database is open and the threads run, but no client has been served. */
    if (sandbox_enter(&error) != 0)
        log_write(daemon->log, LOG_WARNING, "%s; serving without it", error.text);
    server_start(daemon->server);
    daemon_write_addresses(daemon);
    signals_serve(&daemon->signals);
    activation_notify(ACTIVATION_SERVING);
    (void)signals_report(&daemon->signals, NULL);
    server_run(daemon->server);
}

/* Reports a failed start on standard error, unless the log is there. */
static void daemon_print_failure(const struct daemon *daemon, const struct error *error)
{
    if (daemon_log_file(daemon->options) || !daemon->log)
        (void)daemon_fail(error, 1);
}

/* Runs the server until its end. Returns the exit status. */
static int daemon_run_server(struct daemon *daemon)
{
    struct error error;
    int result = daemon_open(daemon, &error);
    /* Options that do not fit together are found here, too. */
    const int status = result == 0 ? 0 : result == ERROR_INPUT ? 2 : 1;
    bool clean;

    if (result == 0)
        bus_error_watch(daemon->log);
    if (result == 0)
        daemon_serve(daemon);
    signals_set_server(&daemon->signals, NULL);
    clean = server_free(daemon->server);
    signals_remove_pidfile(&daemon->signals);
    signals_remove_address_file(&daemon->signals);
    if (result == 0)
        log_write(daemon->log, LOG_INFO, "Stopped");
    else
        log_write(daemon->log, LOG_CRITICAL, "%s", error.text);
    if (result != 0 && !signals_report(&daemon->signals, error.text))
        daemon_print_failure(daemon, &error);
    if (!clean)
        _exit(status); /* without waiting for a thread that is still busy */
    return status;
}

/* Reports that there is no log, or no thread for signals. */
static void daemon_report_failure(const struct daemon *daemon, const struct error *error)
{
    log_write(daemon->log, LOG_CRITICAL, "%s", error->text);
    if (daemon->report >= 0)
        daemonize_report(daemon->report, error->text);
    else
        daemon_print_failure(daemon, error);
}

/* Runs the server, while signals are handled. Returns the exit status. */
static int daemon_run(struct daemon *daemon)
{
    const struct options *options = daemon->options;
    struct signals_options signals_options = {
        .report = daemon->report,
        .parent = (pid_t)options->settings.parent,
        .inherited = daemon->inherited,
        .n_inherited = daemon->n_inherited,
    };
    struct error error;
    int result;
    int status = 1;

    daemon_ignore_signals();
    process_raise_file_limit();
    server_prepare_process();
    result = log_open(&daemon->log, daemon_log_file(options), options->settings.log_level, &error);
    if (result == 0)
        log_set_format(daemon->log, options->settings.log_format);
    signals_options.log = daemon->log;
    if (result == 0)
        result = signals_begin(&daemon->signals, &signals_options, &error);
    if (result == 0) {
        status = daemon_run_server(daemon);
        signals_end(&daemon->signals);
    } else {
        daemon_report_failure(daemon, &error);
    }
    log_close(daemon->log);
    return status;
}

/* Takes the inherited sockets, then goes to the background: that makes another process. */
static int daemon_start(const struct options *options)
{
    struct daemon daemon = {.options = options, .report = -1};
    struct error error;
    int status;

    if (activation_take_sockets(daemon.inherited, &daemon.n_inherited, &error) != 0) {
        status = daemon_fail(&error, 1);
    } else {
        if (options->command == COMMAND_START)
            daemon.report = daemonize();
        status = daemon_run(&daemon);
    }
    for (size_t i = 0; i < daemon.n_inherited; i++)
        listener_words_release(&daemon.inherited[i].options);
    return status;
}

static int daemon_stop(const struct options *options)
{
    char path[PATH_MAX];

    daemon_find_pidfile(options, path);
    return stop_server(path, !options->settings.pid_file);
}

/* Carries out the command. Returns the exit status. */
static int daemon_carry_out(const struct options *options)
{
    switch (options->command) {
    case COMMAND_HELP:
        (void)fputs(options_help, stdout);
        return 0;
    case COMMAND_VERSION:
        (void)puts("prservd " PRSERVD_VERSION PRSERVD_COMMIT);
        return 0;
    case COMMAND_STOP:
        return daemon_stop(options);
    case COMMAND_START:
    case COMMAND_RUN:
        break;
    }
    return daemon_start(options);
}

int main(int argc, char **argv)
{
    struct options options;
    struct error error;
    int status;

    process_open_standard_files();
    if (options_read(&options, argc, argv, &error) == 0)
        status = daemon_carry_out(&options);
    else
        status = daemon_fail(&error, 2);
    options_release(&options);
    return status;
}
