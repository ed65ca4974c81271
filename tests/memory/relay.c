/* SPDX-License-Identifier: MIT */
/* Failing allocations in a relay, with TLS and without, and in libprserv with TLS. The central
 * server is another process, whose allocations don't fail. OpenSSL's own don't, either (tls.c). */
#include "failing.h"
#include "requests.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILE_NAME "memory_relay.sqlite3"
#define TIMEOUT_MS 20000
#define PATIENCE_MS 100

struct files {
    const char *certificate, *key, *ca; /* PEM files; NULL: without TLS */
};

struct rig {
    pid_t central;
    struct serving relay;
    struct server_inherited inherited;
    struct server_options options;
    struct address upstream;
    unsigned long n_runs;
    char address[100];
};

/* ---- servers ---- */

/* Listens on a free port, and writes the address that clients need. */
static int listen_anywhere(bool with_tls, char address[100])
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof name;
    const int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    FAILING_REQUIRE(bind(descriptor, (struct sockaddr *)&name, length) == 0);
    FAILING_REQUIRE(getsockname(descriptor, (struct sockaddr *)&name, &length) == 0);
    FAILING_REQUIRE(listen(descriptor, 64) == 0);
    (void)snprintf(address, 100, "%slocalhost:%u", with_tls ? "tls://" : "", ntohs(name.sin_port));
    return descriptor;
}

static struct server_inherited inherit(int descriptor, const struct files *files)
{
    return (struct server_inherited){
        .descriptor = descriptor, .options = {.tls = files->certificate != NULL}};
}

static void add_certificate(struct server_options *options, const struct files *files)
{
    options->tls_certificate = files->certificate;
    options->tls_key = files->key;
}

static void run_central(int descriptor, const struct files *files)
{
    struct server_inherited inherited = inherit(descriptor, files);
    struct server_options options = serving_options(FILE_NAME, &inherited);
    struct serving central;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    add_certificate(&options, files);
    serving_start(&central, &options);
    for (;;)
        (void)pause();
}

/* Starts the central server, before this process has a second thread. */
static void start_central(struct rig *rig, const struct files *files)
{
    struct error error;
    char address[100];
    const int descriptor = listen_anywhere(files->certificate != NULL, address);

    rig->central = fork();
    FAILING_REQUIRE(rig->central >= 0);
    if (rig->central == 0)
        run_central(descriptor, files);
    (void)close(descriptor);
    FAILING_REQUIRE(address_parse(&rig->upstream, address, &error) == 0);
}

static void start_relay(struct rig *rig, const struct files *files)
{
    const int descriptor = listen_anywhere(files->certificate != NULL, rig->address);

    rig->inherited = inherit(descriptor, files);
    rig->options = serving_options(NULL, &rig->inherited);
    rig->options.forward = &rig->upstream;
    rig->options.annotations = "x-build-host: farm-7\n";
    rig->options.patience_ms = PATIENCE_MS;
    rig->options.tls_ca = files->ca;
    add_certificate(&rig->options, files);
    serving_start(&rig->relay, &rig->options);
}

/* ---- a run ---- */

/* Waits until the relay has its central server again. */
static void wait_for_central(const struct rig *rig)
{
    const uint64_t end = clock_ms() + TIMEOUT_MS;
    struct prserv_error error;
    struct prserv *server;
    bool known;
    bool answered = false;

    while (!answered) {
        FAILING_REQUIRE(clock_ms() < end);
        FAILING_REQUIRE(prserv_connect(&server, rig->address, TIMEOUT_MS, &error) == 0);
        answered = prserv_test_package(
                       server, prserv_text("any"), prserv_text("all"), &known, &error) == 0;
        prserv_close(server);
    }
}

static enum failing_outcome run(void *context)
{
    struct rig *rig = context;
    struct asked asked = {0};
    struct prserv_error error;
    struct prserv *server;
    bool all = !is_error(prserv_connect(&server, rig->address, TIMEOUT_MS, &error), &error);

    /* Clients with annotations have a connection to the central server of their own. */
    if (server)
        all = !is_error(prserv_annotate(server, "build-name", "nightly", &error), &error);
    if (server)
        all = ask_all(server, ++rig->n_runs, &asked) && all;
    prserv_close(server);
    (void)failing_disarm();
    check_database(FILE_NAME, &asked);
    wait_for_central(rig);
    return all ? FAILING_RIGHT : FAILING_ERROR;
}

static void try_relay(const char *name, const struct files *files, unsigned long every)
{
    struct rig rig = {.n_runs = 0};
    const struct failing_case library = {"libprserv, TLS", run, &rig, true, false};
    const struct failing_case relay = {name, run, &rig, false, true};

    remove_database(FILE_NAME);
    start_central(&rig, files);
    start_relay(&rig, files);
    wait_for_central(&rig);
    if (files->certificate)
        failing_try(&library, every > 3 ? every / 3 : 1);
    failing_exempt_thread(true);
    failing_try(&relay, every);
    failing_exempt_thread(false);
    serving_stop(&rig.relay);
    FAILING_REQUIRE(kill(rig.central, SIGKILL) == 0);
    FAILING_REQUIRE(waitpid(rig.central, NULL, 0) == rig.central);
    remove_database(FILE_NAME);
}

/* Arguments after the options, for TLS: CERTIFICATE KEY CA. */
int main(int n_arguments, char **arguments)
{
    const unsigned long every = failing_read_options(n_arguments, arguments);
    struct files files = {.certificate = NULL};

    (void)signal(SIGPIPE, SIG_IGN);
    failing_adopt_libraries();
    if (optind + 3 == n_arguments) {
        files = (struct files){arguments[optind], arguments[optind + 1], arguments[optind + 2]};
        FAILING_REQUIRE(setenv("PRSERV_TLS_CA", files.ca, 1) == 0);
    }
    try_relay(files.certificate ? "relay with TLS" : "relay", &files, every);
    return 0;
}
