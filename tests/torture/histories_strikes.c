/* What strikes while clients ask: servers are killed, one or all; now and then a command of the
 * user's is run beside them, which may kill what they stand on. It is not waited for, but there is
 * never a second one. */
#include "histories.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define COMMAND_EVERY 8 /* strikes, on the average: what was struck has to come back, too */

static void look_after_command(struct strikes *strikes, int flags)
{
    int status;

    if (strikes->pid == 0 || waitpid(strikes->pid, &status, flags) != strikes->pid)
        return;
    strikes->pid = 0;
    if (status == 0)
        return;
    strikes->failures++;
    fprintf(stderr, "'%s' failed, status %d\n", strikes->command, status);
}

static void run_command(struct strikes *strikes)
{
    strikes->command_in = dice(&strikes->dice, 2 * COMMAND_EVERY);
    strikes->pid = fork();
    if (strikes->pid < 0)
        abort();
    if (strikes->pid == 0) {
        (void)execl("/bin/sh", "sh", "-c", strikes->command, (char *)NULL);
        _exit(127);
    }
    strikes->commands++;
}

static void kill_some(struct strikes *strikes, uint64_t now_ms)
{
    struct servers *servers = strikes->servers;
    bool all = dice(&strikes->dice, 5) == 0;
    unsigned one = (unsigned)dice(&strikes->dice, servers->n);

    for (unsigned i = 0; i < servers->n; i++) {
        if (all || i == one)
            servers_kill(servers, &servers->list[i], now_ms + dice(&strikes->dice, 60));
    }
}

void strikes_turn(struct strikes *strikes)
{
    uint64_t now_ms = clock_ms();

    look_after_command(strikes, WNOHANG);
    if (strikes->every_ms == 0 || now_ms < strikes->at_ms)
        return;
    strikes->at_ms = now_ms + 1 + dice(&strikes->dice, strikes->every_ms * 2);
    if (strikes->command_in > 0)
        strikes->command_in--;
    else if (strikes->command && strikes->pid == 0)
        run_command(strikes);
    kill_some(strikes, now_ms);
}

void strikes_finish(struct strikes *strikes)
{
    look_after_command(strikes, 0);
}
