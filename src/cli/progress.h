/* SPDX-License-Identifier: MIT */
/* A progress line on standard error, rewritten in place. It is shown only on a terminal, and only
 * after the first second. One thread. */
#ifndef PRSERV_PROGRESS_H
#define PRSERV_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *verb; /* "exported"; borrowed */
    bool is_terminal; /* standard error is one */
    bool shown;       /* the line is on the terminal */
    uint64_t next_ms; /* earliest time of the next update */
    uint64_t rows;
};

void progress_begin(struct progress *progress, const char *verb);

/* Counts a row. done of total bytes or rows are processed; a total of 0 is unknown. */
void progress_row(struct progress *progress, uint64_t done, uint64_t total);

/* Removes the line; it comes back with a later row. */
void progress_clear(struct progress *progress);

#endif
