#include "cli/progress.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define PATIENCE_MS 1000
#define EVERY_MS 100
#define LOOK_ROWS 64 /* the clock is looked at that often */
#define BAR 40
#define BAR_BYTES (BAR + 16)
#define LINE_BYTES (BAR_BYTES + 64)

void progress_begin(struct progress *progress, const char *what)
{
    *progress = (struct progress){
        .what = what, .wanted = isatty(STDERR_FILENO) == 1, .next_ms = clock_ms() + PATIENCE_MS};
}

static void write_bar(char bar[BAR_BYTES], uint64_t at, uint64_t most)
{
    const int full = at >= most ? BAR : (int)(at * BAR / most);
    char marks[BAR + 1];

    for (int i = 0; i < BAR; i++)
        marks[i] = i < full ? '#' : '.';
    marks[BAR] = '\0';
    (void)snprintf(
        bar, BAR_BYTES, "[%s] %3d%%  ", marks, at >= most ? 100 : (int)(at * 100 / most));
}

/* In one piece, or a terminal shows half of it; and what else is said there begins at the left. */
static void show(const struct progress *progress, uint64_t at, uint64_t most)
{
    char bar[BAR_BYTES] = "";
    char line[LINE_BYTES];

    if (most > 0)
        write_bar(bar, at, most);
    (void)snprintf(
        line, sizeof line, "%s%" PRIu64 " rows %s\x1b[K\r", bar, progress->rows, progress->what);
    (void)fputs(line, stderr);
}

void progress_row(struct progress *progress, uint64_t at, uint64_t most)
{
    uint64_t now_ms;

    if (!progress->wanted || ++progress->rows % LOOK_ROWS != 0)
        return;
    now_ms = clock_ms();
    if (now_ms < progress->next_ms)
        return;
    progress->next_ms = now_ms + EVERY_MS;
    progress->shown = true;
    show(progress, at, most);
}

void progress_end(struct progress *progress)
{
    if (progress->shown)
        (void)fputs("\r\x1b[K", stderr);
    progress->shown = false;
}
