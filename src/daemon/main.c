/* prservd: reads its options, then runs, starts or stops a server. */
#include "daemon/activation.h"
#include "daemon/confine.h"
#include "daemon/daemonize.h"
#include "daemon/options.h"
#include "daemon/pidfile.h"
#include "server/server.h"
#include "version.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <unistd.h>

#define STOP_MS 15000
#define DAEMON_LOG "prserv.log"

static int complain(const struct error *error, int status)
{
    (void)fprintf(stderr, "prservd: %s\n", error->text);
    return status;
}

/* A connection is a descriptor: take as many as we are allowed to have. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static void find_pidfile(const struct options *options, char path[PATH_MAX])
{
    if (options->pid_file)
        (void)snprintf(path, PATH_MAX, "%s", options->pid_file);
    else
        pidfile_path(&options->listeners[0].address, path);
}

/* ---- running ---- */

/* While it starts, which may mean to wait for a lock, nothing has been answered. */
static void end_at_once(int number)
{
    (void)number;
    _exit(1);
}

/* What a running prservd holds. */
struct process {
    struct log *log;
    struct server_inherited inherited[ACTIVATION_MOST_SOCKETS];
    size_t n_inherited;
    struct pidfile pidfile;
    struct server *server;
};

static int set_up(struct process *process, const struct options *options, struct error *error)
{
    const bool replaced = process->n_inherited > 0 && options->listens_by_default;
    const struct server_options server_options = {
        .file = options->file,
        .file_read = options->file_read,
        .read_only = options->read_only,
        .sync = options->sync,
        .max_message_bytes = options->max_message_bytes,
        .max_memory_bytes = options->max_memory_bytes,
        .listeners = options->listeners,
        .n_listeners = replaced ? 0 : options->n_listeners,
        .inherited = process->inherited,
        .n_inherited = process->n_inherited,
        .tell = activation_tell,
        .upstream = options->has_upstream ? &options->upstream : NULL,
        .log = process->log,
    };
    char path[PATH_MAX];

    if (options->command == COMMAND_START || options->pid_file) {
        find_pidfile(options, path);
        if (pidfile_create(&process->pidfile, path, error) != 0)
            return ERROR_SYSTEM;
    }
    return server_create(&process->server, &server_options, error);
}

static void log_start(const struct options *options, struct log *log)
{
    char upstream[ADDRESS_TEXT_BYTES] = "none";
    char name[PATH_MAX];
    char name_read[PATH_MAX];

    if (options->has_upstream)
        address_format(&options->upstream, upstream);
    store_name(options->file, name, sizeof name);
    log_write(log, LOG_INFO, "prservd %s serves %s%s, upstream: %s", PRSERVD_VERSION, name,
        options->read_only ? " (read-only)" : "", upstream);
    if (options->file_read) {
        store_name(options->file_read, name_read, sizeof name_read);
        log_write(log, LOG_INFO, "Look-ups and exports read from %s", name_read);
    }
    if (options->sync != STORE_SYNC_FULL && !options->read_only)
        log_write(log, LOG_WARNING,
            "With --sync other than full, the power failing can take back answers that were sent");
    if (options->read_only && store_kind_of(options->file) == STORE_SQLITE &&
        access(options->file, F_OK) != 0)
        log_write(
            log, LOG_WARNING, "%s is not there: nothing is known until somebody makes it", name);
}

/* The database is open and the threads run; no client has been heard yet. Without the filter it
 * serves as well. */
static void give_up_system_calls(struct log *log)
{
    struct error error;

    if (confine(&error) != 0)
        log_write(log, LOG_WARNING, "%s; serving without it", error.text);
}

/* report: the descriptor that waits to hear how the start went, or -1. */
static int run(struct process *process, const struct options *options, int report)
{
    const char *log_file = options->log_file;
    struct error error;
    bool clean;
    int result;

    if (!log_file && options->command == COMMAND_START)
        log_file = DAEMON_LOG;
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error for clients */
    (void)signal(SIGTERM, end_at_once);
    (void)signal(SIGINT, end_at_once);
    raise_descriptor_limit();
    result = log_open(&process->log, log_file, options->log_level, &error);
    if (result == 0)
        result = set_up(process, options, &error);
    if (result == 0) {
        log_start(options, process->log);
        give_up_system_calls(process->log);
        server_start(process->server);
        if (report >= 0)
            daemonize_report(report, NULL);
        server_run(process->server);
    }
    clean = server_free(process->server);
    pidfile_remove(&process->pidfile);
    log_write(process->log, result == 0 ? LOG_INFO : LOG_CRITICAL, "%s",
        result == 0 ? "Stopped" : error.text);
    if (result != 0 && report >= 0)
        daemonize_report(report, error.text);
    else if (result != 0 && (log_file || !process->log))
        (void)complain(&error, 1);
    if (!clean)
        _exit(result == 0 ? 0 : 1);
    log_close(process->log);
    return result == 0 ? 0 : 1;
}

/* The sockets first: going to the background makes another process. */
static int start(const struct options *options)
{
    struct process process = {.pidfile = {.descriptor = -1}};
    struct error error;

    if (activation_take_sockets(process.inherited, &process.n_inherited, &error) != 0)
        return complain(&error, 1);
    return run(&process, options, options->command == COMMAND_START ? daemonize() : -1);
}

/* ---- stopping ---- */

static int stop(const struct options *options)
{
    char path[PATH_MAX];
    struct error error;
    pid_t holder;
    int descriptor;
    struct pollfd gone;

    find_pidfile(options, path);
    if (pidfile_holder(path, &holder, &error) != 0)
        return complain(&error, 1);
    descriptor = pidfd_open(holder, 0);
    if (descriptor < 0 && errno == ESRCH)
        return 0;
    if (descriptor < 0 || pidfd_send_signal(descriptor, SIGTERM, NULL, 0) != 0) {
        (void)error_set(&error, ERROR_SYSTEM, "can't end the server, process %ld: %s", (long)holder,
            strerror(errno));
        return complain(&error, 1);
    }
    gone = (struct pollfd){.fd = descriptor, .events = POLLIN};
    if (poll(&gone, 1, STOP_MS) != 1) {
        (void)error_set(&error, ERROR_SYSTEM, "the server, process %ld, did not end in %d s",
            (long)holder, STOP_MS / 1000);
        return complain(&error, 1);
    }
    (void)close(descriptor);
    return 0;
}

/* Files that are opened must not get the numbers 0 to 2, which mean something else. */
static void keep_standard_descriptors(void)
{
    int descriptor;

    do {
        descriptor = open("/dev/null", O_RDWR);
    } while (descriptor >= 0 && descriptor <= STDERR_FILENO);
    if (descriptor >= 0)
        (void)close(descriptor);
}

int main(int argc, char **argv)
{
    struct options options;
    struct error error;

    keep_standard_descriptors();
    if (options_read(&options, argc, argv, &error) != 0)
        return complain(&error, 2);
    switch (options.command) {
    case COMMAND_HELP:
        (void)fputs(options_help, stdout);
        return 0;
    case COMMAND_VERSION:
        (void)printf("prservd %s\n", PRSERVD_VERSION);
        return 0;
    case COMMAND_STOP:
        return stop(&options);
    case COMMAND_START:
    case COMMAND_RUN:
        break;
    }
    return start(&options);
}
