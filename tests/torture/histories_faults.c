/* SPDX-License-Identifier: MIT */
/* Faults while clients ask: one server or all of them are killed. Beside some kills a command of
 * the user runs, which may kill the database. It is not waited for, but never runs twice at the
 * same time. */
#include "histories.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define COMMAND_EVERY \
    8 /* mean number of kills between commands: the database has to recover, too */

static void look_after_command(struct faults *faults, int flags)
{
    int status;

    if (faults->pid == 0 || waitpid(faults->pid, &status, flags) != faults->pid)
        return;
    faults->pid = 0;
    if (status == 0)
        return;
    faults->failures++;
    fprintf(stderr, "'%s' failed, status %d\n", faults->command, status);
}

static void run_command(struct faults *faults)
{
    faults->command_in = dice(&faults->dice, 2 * COMMAND_EVERY);
    faults->pid = fork();
    if (faults->pid < 0)
        abort();
    if (faults->pid == 0) {
        (void)execl("/bin/sh", "sh", "-c", faults->command, (char *)NULL);
        _exit(127);
    }
    faults->commands++;
}

static void kill_some(struct faults *faults, uint64_t now_ms)
{
    struct servers *servers = faults->servers;
    bool all = dice(&faults->dice, 5) == 0;
    unsigned one = (unsigned)dice(&faults->dice, servers->n);

    for (unsigned i = 0; i < servers->n; i++) {
        if (all || i == one)
            servers_kill(servers, &servers->list[i], now_ms + dice(&faults->dice, 60));
    }
}

void faults_turn(struct faults *faults)
{
    uint64_t now_ms = clock_ms();

    look_after_command(faults, WNOHANG);
    if (faults->every_ms == 0 || now_ms < faults->at_ms)
        return;
    faults->at_ms = now_ms + 1 + dice(&faults->dice, faults->every_ms * 2);
    if (faults->command_in > 0)
        faults->command_in--;
    else if (faults->command && faults->pid == 0)
        run_command(faults);
    kill_some(faults, now_ms);
}

void faults_finish(struct faults *faults)
{
    look_after_command(faults, 0);
}
