/* SPDX-License-Identifier: MIT */
/* The signals stay blocked in all threads; the thread reads them from a signalfd. While it acts on
 * one it holds the mutex, and the main thread can't change what it uses.
 *
 * A thread that waits for a disk can't be ended, and keeps the descriptors of the process open even
 * after _exit, until the kernel has finished. So the sockets are shut, not only closed. */
#include "daemon/signals.h"

#include "base/clock.h"
#include "base/thread.h"
#include "daemon/activation.h"
#include "daemon/daemonize.h"
#include "store/store.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define STOP_MS 4000 /* more than SERVER_STOP_MS */
#define CHECK_MS 100 /* while stopping */
#define EXIT_S 5     /* the latest end after a signal */

static void signals_fill(sigset_t *set)
{
    (void)sigemptyset(set);
    (void)sigaddset(set, SIGTERM);
    (void)sigaddset(set, SIGINT);
    (void)sigaddset(set, SIGHUP);
}

/* ---- the thread: ending the process ---- */

static void signals_on_alarm(int number)
{
    (void)number;
    _exit(0);
}

/* Ends the process later, should this thread have to wait as well. */
static void signals_set_alarm(void)
{
    const struct sigaction action = {.sa_handler = signals_on_alarm};

    (void)sigaction(SIGALRM, &action, NULL);
    (void)alarm(EXIT_S);
}

/* Ends a start: no client has got an answer yet. */
_Noreturn static void signals_end_start(struct signals *signals)
{
    if (signals->server)
        server_remove_sockets(signals->server);
    pidfile_remove(&signals->pidfile);
    address_file_remove(&signals->address_file);
    log_write(signals->options.log, LOG_INFO, "Stopped");
    if (signals->options.report >= 0)
        daemonize_report(
            signals->options.report, "the server was stopped by a signal during its start");
    _exit(0);
}

static bool signals_is_inherited(const struct signals *signals, int descriptor)
{
    for (size_t i = 0; i < signals->options.n_inherited; i++) {
        if (signals->options.inherited[i].descriptor == descriptor)
            return true;
    }
    return false;
}

/* Ends all connections and listeners. Inherited sockets belong to another process, too. */
static void signals_shut_sockets(const struct signals *signals)
{
    DIR *folder = opendir("/proc/self/fd");
    const struct dirent *entry;

    while (folder && (entry = readdir(folder))) {
        int descriptor = (int)strtol(entry->d_name, NULL, 10);

        if (descriptor > STDERR_FILENO && !signals_is_inherited(signals, descriptor))
            (void)shutdown(descriptor, SHUT_RDWR);
    }
    if (folder)
        (void)closedir(folder);
}

/* What signals_log_sync has logged. */
struct signals_syncs {
    struct log *log;
    unsigned n;
};

static void signals_log_sync(void *context, const char *file, uint64_t since_ms)
{
    struct signals_syncs *syncs = context;

    syncs->n++;
    log_write(syncs->log, LOG_WARNING,
        "Ending without the sync of %s, for which the kernel has been waiting for %llu s: the disk "
        "does not respond",
        file, (unsigned long long)((clock_ms() - since_ms) / 1000));
}

/* Ends the process although threads of the server are busy. */
_Noreturn static void signals_end_by_force(struct signals *signals)
{
    struct signals_syncs syncs = {.log = signals->options.log};

    signals_shut_sockets(signals);
    pidfile_remove(&signals->pidfile);
    address_file_remove(&signals->address_file);
    store_each_sync(signals_log_sync, &syncs);
    if (syncs.n == 0)
        log_write(signals->options.log, LOG_WARNING,
            "Ending although the server is busy: the disk, the database or the resolver of names "
            "does not respond");
    log_write(signals->options.log, LOG_INFO, "Stopped");
    _exit(0);
}

/* ---- the thread: handling signals ---- */

static void signals_reload(const struct signals *signals)
{
    activation_notify(ACTIVATION_RELOADING);
    if (log_reopen(signals->options.log))
        log_write(signals->options.log, LOG_INFO, "Opened the log again (SIGHUP)");
    if (signals->server && signals->phase == SIGNALS_SERVING)
        server_reload(signals->server);
    if (signals->phase == SIGNALS_SERVING)
        activation_notify(ACTIVATION_SERVING);
}

static void signals_stop(struct signals *signals, const char *reason)
{
    const bool is_starting = signals->phase == SIGNALS_STARTING;

    if (signals->phase == SIGNALS_STOPPING)
        return;
    signals_set_alarm();
    signals->phase = SIGNALS_STOPPING;
    signals->stop_by_ms = clock_ms() + STOP_MS;
    if (signals->server && !is_starting)
        server_stop(signals->server);
    activation_notify(ACTIVATION_STOPPING);
    log_write(signals->options.log, LOG_INFO, "Stopping%s (%s)",
        is_starting ? " during the start" : "", reason);
    if (is_starting)
        signals_end_start(signals);
}

/* Handles a signal, if one has arrived, and the end of the time for stopping. Returns whether the
 * server is stopping. */
static bool signals_handle(struct signals *signals)
{
    struct signalfd_siginfo arrived;
    bool is_stopping;

    (void)pthread_mutex_lock(&signals->mutex);
    if (read(signals->arrived, &arrived, sizeof arrived) == (ssize_t)sizeof arrived) {
        if (arrived.ssi_signo == SIGHUP)
            signals_reload(signals);
        else
            signals_stop(signals, strsignal((int)arrived.ssi_signo));
    }
    if (parent_is_gone(&signals->parent))
        signals_stop(signals, "the process of --with-parent is gone");
    is_stopping = signals->phase == SIGNALS_STOPPING;
    if (is_stopping && clock_ms() >= signals->stop_by_ms)
        signals_end_by_force(signals);
    (void)pthread_mutex_unlock(&signals->mutex);
    return is_stopping;
}

static void *signals_run(void *argument)
{
    struct signals *signals = argument;
    const struct parent *parent = &signals->parent;
    struct pollfd events[3] = {{.fd = signals->over, .events = POLLIN},
        {.fd = signals->arrived, .events = POLLIN}, {.fd = parent->descriptor, .events = POLLIN}};
    int wait_ms = parent->pid != 0 && parent->descriptor < 0 ? PARENT_CHECK_MS : -1;

    while (poll(events, 3, wait_ms) < 0 || events[0].revents == 0) {
        if (signals_handle(signals)) {
            events[2].fd = -1; /* it stays readable */
            wait_ms = CHECK_MS;
        }
    }
    return NULL;
}

/* ---- the main thread ---- */

static void signals_close(struct signals *signals)
{
    if (signals->arrived >= 0)
        (void)close(signals->arrived);
    if (signals->over >= 0)
        (void)close(signals->over);
    parent_forget(&signals->parent);
    (void)pthread_mutex_destroy(&signals->mutex);
}

int signals_begin(
    struct signals *signals, const struct signals_options *options, struct error *error)
{
    int result = 0;
    sigset_t set;

    *signals = (struct signals){
        .options = *options, .pidfile = {.descriptor = -1}, .parent = {.descriptor = -1}};
    (void)pthread_mutex_init(&signals->mutex, NULL);
    signals_fill(&set);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    signals->arrived = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    signals->over = eventfd(0, EFD_CLOEXEC);
    if (signals->arrived < 0 || signals->over < 0)
        result = error_set(error, ERROR_SYSTEM, "can't wait for signals: %s", strerror(errno));
    if (result == 0 && options->parent != 0)
        result = parent_watch(&signals->parent, options->parent, error);
    if (result == 0)
        result = thread_start(&signals->thread, signals_run, signals, "signals", error);
    if (result != 0)
        signals_close(signals);
    return result;
}

int signals_create_pidfile(struct signals *signals, const char *path, struct error *error)
{
    int result;

    (void)pthread_mutex_lock(&signals->mutex);
    result = pidfile_create(&signals->pidfile, path, error);
    (void)pthread_mutex_unlock(&signals->mutex);
    return result;
}

void signals_remove_pidfile(struct signals *signals)
{
    (void)pthread_mutex_lock(&signals->mutex);
    pidfile_remove(&signals->pidfile);
    (void)pthread_mutex_unlock(&signals->mutex);
}

int signals_write_address_file(
    struct signals *signals, const char *path, struct text text, struct error *error)
{
    int result;

    (void)pthread_mutex_lock(&signals->mutex);
    result = address_file_write(&signals->address_file, path, text, error);
    (void)pthread_mutex_unlock(&signals->mutex);
    return result;
}

void signals_remove_address_file(struct signals *signals)
{
    (void)pthread_mutex_lock(&signals->mutex);
    address_file_remove(&signals->address_file);
    (void)pthread_mutex_unlock(&signals->mutex);
}

void signals_set_server(struct signals *signals, struct server *server)
{
    (void)pthread_mutex_lock(&signals->mutex);
    signals->server = server;
    (void)pthread_mutex_unlock(&signals->mutex);
}

void signals_serve(struct signals *signals)
{
    (void)pthread_mutex_lock(&signals->mutex);
    signals->phase = SIGNALS_SERVING;
    (void)pthread_mutex_unlock(&signals->mutex);
}

bool signals_report(struct signals *signals, const char *failure)
{
    int report;

    (void)pthread_mutex_lock(&signals->mutex);
    report = signals->options.report;
    signals->options.report = -1;
    if (report >= 0)
        daemonize_report(report, failure);
    (void)pthread_mutex_unlock(&signals->mutex);
    return report >= 0;
}

void signals_end(struct signals *signals)
{
    const uint64_t over = 1;

    if (write(signals->over, &over, sizeof over) < 0) {
        /* Can't happen: the counter is 0. */
    }
    (void)pthread_join(signals->thread, NULL);
    signals_close(signals);
}
