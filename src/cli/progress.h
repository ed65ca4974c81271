/* How far a long work is: a line on standard error that is written over and over. Only if
 * that is a terminal, and only once the work has taken a second. One thread. */
#ifndef PRSERV_PROGRESS_H
#define PRSERV_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *what; /* "exported"; borrowed */
    bool wanted;      /* standard error is a terminal */
    bool shown;
    uint64_t next_ms; /* not before */
    uint64_t rows;
};

void progress_begin(struct progress *progress, const char *what);

/* One row more. at of most is done; most 0: nobody knows how much there is. */
void progress_row(struct progress *progress, uint64_t at, uint64_t most);

/* Takes the line away. */
void progress_end(struct progress *progress);

#endif
