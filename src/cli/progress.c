#include "cli/progress.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define PATIENCE_MS 1000
#define EVERY_MS 100
#define LOOK_ROWS 64 /* the clock is looked at that often */
#define BAR 40

void progress_begin(struct progress *progress, const char *what)
{
    *progress = (struct progress){
        .what = what, .wanted = isatty(STDERR_FILENO) == 1, .next_ms = clock_ms() + PATIENCE_MS};
}

static void show_bar(uint64_t at, uint64_t most)
{
    int full = at >= most ? BAR : (int)(at * BAR / most);

    (void)fputc('[', stderr);
    for (int i = 0; i < BAR; i++)
        (void)fputc(i < full ? '#' : '.', stderr);
    (void)fprintf(stderr, "] %3d%%  ", at >= most ? 100 : (int)(at * 100 / most));
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
    (void)fputc('\r', stderr);
    if (most > 0)
        show_bar(at, most);
    (void)fprintf(stderr, "%" PRIu64 " rows %s\x1b[K", progress->rows, progress->what);
    (void)fflush(stderr);
}

void progress_end(struct progress *progress)
{
    if (progress->shown)
        (void)fputs("\r\x1b[K", stderr);
    progress->shown = false;
}
