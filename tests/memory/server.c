/* SPDX-License-Identifier: MIT */
/* Failing allocations in a whole server, including libuv's, and in libprserv as its client. The
 * server has its own thread; the client runs on this one. Only the allocations of one side fail
 * at a time, so that the other can check the answers. */
#include "failing.h"
#include "requests.h"

#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FILE_NAME "memory_server.sqlite3"
#define SOCKET_NAME "memory_server.socket"
#define TIMEOUT_MS 20000

struct rig {
    struct serving serving;
    unsigned long n_runs;
    struct prserv *kept; /* NULL if each run connects */
    char address[4200];
};

static int listen_to(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    (void)unlink(path);
    (void)snprintf(name.sun_path, sizeof name.sun_path, "%s", path);
    FAILING_REQUIRE(bind(descriptor, (struct sockaddr *)&name, sizeof name) == 0);
    FAILING_REQUIRE(listen(descriptor, 64) == 0);
    return descriptor;
}

static void start_server(struct rig *rig)
{
    static struct server_inherited inherited;
    static struct server_options options;

    inherited = (struct server_inherited){.descriptor = listen_to(SOCKET_NAME)};
    options = serving_options(FILE_NAME, &inherited);
    serving_start(&rig->serving, &options);
}

static enum failing_outcome run(void *context)
{
    struct rig *rig = context;
    struct asked asked = {0};
    struct prserv_error error;
    struct prserv *server = rig->kept;
    bool all =
        server || !is_error(prserv_connect(&server, rig->address, TIMEOUT_MS, &error), &error);

    if (server)
        all = ask_all(server, ++rig->n_runs, &asked) && all;
    if (!rig->kept)
        prserv_close(server);
    (void)failing_disarm();
    check_database(FILE_NAME, &asked);
    return all ? FAILING_RIGHT : FAILING_ERROR;
}

static void remove_files(void)
{
    remove_database(FILE_NAME);
    (void)unlink(SOCKET_NAME);
}

int main(int n_arguments, char **arguments)
{
    static struct rig rig;
    const struct failing_case library = {"libprserv", run, &rig, true, false};
    const struct failing_case kept = {"libprserv, kept", run, &rig, true, true};
    const struct failing_case server = {"server", run, &rig, false, true};
    unsigned long every = failing_read_options(n_arguments, arguments);
    struct prserv_error error;
    char folder[4000];
    long live;

    FAILING_REQUIRE(getcwd(folder, sizeof folder) != NULL);
    (void)snprintf(rig.address, sizeof rig.address, "unix://%s/" SOCKET_NAME, folder);
    (void)signal(SIGPIPE, SIG_IGN);
    failing_adopt_libraries();
    remove_files();
    start_server(&rig);
    serving_stop(&rig.serving); /* what the process keeps has been created */
    live = failing_live();
    start_server(&rig);
    failing_try(&library, every > 3 ? every / 3 : 1);
    FAILING_REQUIRE(prserv_connect(&rig.kept, rig.address, TIMEOUT_MS, &error) == 0);
    failing_try(&kept, every > 3 ? every / 3 : 1);
    prserv_close(rig.kept);
    rig.kept = NULL;
    failing_exempt_thread(true);
    failing_try(&server, every);
    serving_stop(&rig.serving);
    FAILING_REQUIRE(failing_live() == live);
    remove_files();
    return 0;
}
