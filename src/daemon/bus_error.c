/* SPDX-License-Identifier: MIT */
/* SQLite maps one file, -shm, and prservd itself none. What was acknowledged is in the database and
 * its -wal, so the next start continues with it. The handler runs in the middle of anything, so it
 * formats nothing and takes no lock: its line is made beforehand, and has no time. */
#include "daemon/bus_error.h"

#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

static struct {
    const struct log *log;
    char line[LOG_LINE_BYTES];
    size_t length;
    atomic_flag is_ending; /* several threads may fail at once */
} bus_error = {.is_ending = ATOMIC_FLAG_INIT};

static void bus_error_end(int number)
{
    ssize_t written;

    (void)number;
    while (atomic_flag_test_and_set(&bus_error.is_ending))
        (void)pause(); /* another thread writes the line */
    written = write(log_descriptor(bus_error.log), bus_error.line, bus_error.length);
    (void)written; /* there is nowhere to report this */
    _exit(1);
}

void bus_error_watch(const struct log *log)
{
    struct sigaction action = {.sa_handler = bus_error_end};

    bus_error.log = log;
    bus_error.length = log_make_line(log, bus_error.line, LOG_CRITICAL,
        "Memory of a file can't be read (SIGBUS): the database's -shm was cut, or its disk failed. "
        "The server ends; no answer that was sent is lost");
    (void)sigaction(SIGBUS, &action, NULL);
}
