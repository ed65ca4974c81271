/* SPDX-License-Identifier: MIT */
#include "cli/progress.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define FIRST_AFTER_MS 1000
#define INTERVAL_MS 100
#define ROWS_BETWEEN_CLOCKS 64 /* rows between two looks at the clock */
#define BAR_WIDTH 40
#define BAR_BYTES (BAR_WIDTH + 16)
#define LINE_BYTES (BAR_BYTES + 64)

void progress_begin(struct progress *progress, const char *verb)
{
    *progress = (struct progress){.verb = verb,
        .is_terminal = isatty(STDERR_FILENO) == 1,
        .next_ms = clock_ms() + FIRST_AFTER_MS};
}

static void progress_write_bar(char bar[BAR_BYTES], uint64_t done, uint64_t total)
{
    const int full = done >= total ? BAR_WIDTH : (int)(done * BAR_WIDTH / total);
    char marks[BAR_WIDTH + 1];

    for (int i = 0; i < BAR_WIDTH; i++)
        marks[i] = i < full ? '#' : '.';
    marks[BAR_WIDTH] = '\0';
    (void)snprintf(
        bar, BAR_BYTES, "[%s] %3d%%  ", marks, done >= total ? 100 : (int)(done * 100 / total));
}

/* Writes the line in one piece, so that a terminal never shows half of it, and returns the cursor
 * to the left, where other messages begin. */
static void progress_show(const struct progress *progress, uint64_t done, uint64_t total)
{
    char bar[BAR_BYTES] = "";
    char line[LINE_BYTES];

    if (total > 0)
        progress_write_bar(bar, done, total);
    (void)snprintf(
        line, sizeof line, "%s%" PRIu64 " rows %s\x1b[K\r", bar, progress->rows, progress->verb);
    (void)fputs(line, stderr);
}

void progress_row(struct progress *progress, uint64_t done, uint64_t total)
{
    uint64_t now_ms;

    if (!progress->is_terminal || ++progress->rows % ROWS_BETWEEN_CLOCKS != 0)
        return;
    now_ms = clock_ms();
    if (now_ms < progress->next_ms)
        return;
    progress->next_ms = now_ms + INTERVAL_MS;
    progress->shown = true;
    progress_show(progress, done, total);
}

void progress_clear(struct progress *progress)
{
    if (progress->shown)
        (void)fputs("\r\x1b[K", stderr);
    progress->shown = false;
}
