/* SPDX-License-Identifier: MIT */
#include "feed/reader.h"

#include "feed/beneath.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

int feed_reader_skip_entry(struct feed_reader *reader, const struct feed_path *path,
    unsigned long line, const char *reason)
{
    struct error text; /* makes it printable */

    progress_clear(&reader->progress);
    if (line > 0)
        (void)error_set(&text, 0, "%s:%lu: %s", path->shown, line, reason);
    else
        (void)error_set(&text, 0, "%s: %s", path->shown, reason);
    (void)cli_fail(reader->cli, 0, "%s", text.text);
    reader->n_damaged++;
    return 0;
}

int feed_reader_skip_file(
    struct feed_reader *reader, const struct feed_path *path, const char *reason)
{
    (void)feed_reader_skip_entry(reader, path, 0, reason);
    reader->n_damaged--;
    reader->n_unreadable++;
    return 0;
}

int feed_reader_open(struct feed_reader *reader, const struct feed_path *path)
{
    const int descriptor = beneath_open(path->root, path->relative);
    struct stat status;

    if (descriptor < 0) {
        const bool leads_out = errno == EXDEV || errno == ELOOP;

        (void)feed_reader_skip_file(reader, path,
            leads_out ? "it is a symbolic link that leads out of the feed" : strerror(errno));
        return -1;
    }
    if (fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode)) {
        reader->n_files++;
        return descriptor;
    }
    (void)feed_reader_skip_file(reader, path, "it is not a regular file");
    (void)close(descriptor);
    return -1;
}

int feed_reader_add(
    struct feed_reader *reader, const struct feed_package *package, const struct feed_place *place)
{
    progress_row(&reader->progress, 0, 0);
    if (reader->pkgarch && package->format == FEED_PKGDATA) {
        struct feed_package known = *package;

        known.arch = text_of(reader->pkgarch);
        return feed_add(reader->feed, &known, place, &reader->error);
    }
    return feed_add(reader->feed, package, place, &reader->error);
}
