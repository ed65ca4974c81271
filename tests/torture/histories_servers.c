/* SPDX-License-Identifier: MIT */
/* Real servers: each has a socket in the folder of the run, so that clients find it again after a
 * kill. They end with this program, even if that is killed. */
#include "histories.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

uint64_t dice(uint64_t *state, uint64_t limit)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15U; /* splitmix64 */

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return (z ^ (z >> 31)) % limit;
}

int servers_connect(const struct server *server, int flags)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", server->address);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

void servers_file(const struct servers *servers, unsigned database, char path[512])
{
    if (servers->file)
        (void)snprintf(path, 512, "%s", servers->file);
    else
        (void)snprintf(path, 512, "%s/pr-%u.sqlite3", servers->folder, database);
}

void servers_add(struct servers *servers, unsigned database, bool read_only)
{
    struct server *server = &servers->list[servers->n];

    *server = (struct server){.database = database, .read_only = read_only};
    (void)snprintf(
        server->address, sizeof server->address, "%s/server-%u", servers->folder, servers->n);
    servers->n++;
}

static _Noreturn void become(const struct servers *servers, const struct server *server)
{
    char program[512], bind[128], file[512], upstream[32], log[512];
    char *words[16] = {program, "--file", file, "--bind", bind, "--loglevel", "WARNING"};
    size_t n_words = 7;
    int fd;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)snprintf(program, sizeof program, "%s", servers->program);
    (void)snprintf(bind, sizeof bind, "unix://%s", server->address);
    (void)snprintf(log, sizeof log, "%s/log", servers->folder);
    servers_file(servers, server->database, file);
    if (servers->ports[server->database]) {
        (void)snprintf(upstream, sizeof upstream, "127.0.0.1:%u", servers->ports[server->database]);
        words[n_words++] = "--upstream";
        words[n_words++] = upstream;
        /* A network that drops a question keeps it waiting that long; the check gives up later. */
        words[n_words++] = "--patience";
        words[n_words++] = "10";
    }
    if (server->read_only)
        words[n_words++] = "--read-only";
    fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd >= 0)
        (void)dup2(fd, STDERR_FILENO);
    (void)execv(program, words);
    _exit(127);
}

static void start(struct servers *servers, struct server *server)
{
    server->pid = fork();
    if (server->pid < 0)
        abort();
    if (server->pid == 0)
        become(servers, server);
}

/* A server that finds no database at its start exits with status 1 after some time. */
static bool gave_up(const struct servers *servers, int status)
{
    return servers->may_give_up && WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

static void note_end(struct servers *servers, unsigned number, int status)
{
    if (gave_up(servers, status))
        return;
    servers->died++;
    fprintf(stderr, "server %u ended by itself, status %d\n", number, status);
}

void servers_look_after(struct servers *servers, uint64_t now_ms)
{
    for (unsigned i = 0; i < servers->n; i++) {
        struct server *server = &servers->list[i];
        int status;

        if (server->pid > 0 && waitpid(server->pid, &status, WNOHANG) == server->pid) {
            note_end(servers, i, status);
            server->pid = 0;
            server->start_at_ms = now_ms + 200;
        }
        if (server->pid == 0 && now_ms >= server->start_at_ms) {
            server->started_ms = now_ms;
            start(servers, server);
        }
    }
}

void servers_kill(struct servers *servers, struct server *server, uint64_t start_at_ms)
{
    if (server->pid == 0)
        return;
    (void)kill(server->pid, SIGKILL);
    (void)waitpid(server->pid, NULL, 0);
    server->pid = 0;
    server->start_at_ms = start_at_ms;
    servers->kills++;
}

/* A server that has just been started does not handle signals yet. */
static bool ended_well(const struct servers *servers, int status)
{
    return status == 0 || gave_up(servers, status) ||
           (WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

void servers_stop(struct servers *servers)
{
    for (unsigned i = 0; i < servers->n; i++) {
        if (servers->list[i].pid > 0)
            (void)kill(servers->list[i].pid, SIGTERM);
    }
    for (unsigned i = 0; i < servers->n; i++) {
        int status = 0;

        if (servers->list[i].pid > 0 && waitpid(servers->list[i].pid, &status, 0) > 0 &&
            !ended_well(servers, status)) {
            servers->died++;
            fprintf(stderr, "server %u ended with an error, status %d\n", i, status);
        }
        servers->list[i].pid = 0;
    }
}
