/* SPDX-License-Identifier: MIT */
#include "feed/reader.h"

#include "feed/beneath.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_REPORTS 100
#define MAX_TEXT 255 /* bytes of a name, a version or an architecture */
#define MAX_RELEASE 1024

/* Prints what is wrong with a file. */
static void feed_reader_report(struct feed_reader *reader, const struct feed_path *path,
    unsigned long line, const char *reason)
{
    struct error text; /* makes it printable */

    if (++reader->n_reported > MAX_REPORTS)
        return;
    progress_clear(&reader->progress);
    if (line > 0)
        (void)error_set(&text, 0, "%s:%lu: %s", path->shown, line, reason);
    else
        (void)error_set(&text, 0, "%s: %s", path->shown, reason);
    (void)cli_fail(reader->cli, 0, "%s", text.text);
    if (reader->n_reported == MAX_REPORTS)
        (void)cli_fail(reader->cli, 0, "what else is damaged is only counted");
}

int feed_reader_skip_entry(struct feed_reader *reader, const struct feed_path *path,
    unsigned long line, const char *reason)
{
    feed_reader_report(reader, path, line, reason);
    if (++reader->n_damaged <= FEED_MAX_PACKAGES)
        return 0;
    return error_set(&reader->error, ERROR_FRAMING, "%s: more than %d entries can't be read",
        path->shown, FEED_MAX_PACKAGES);
}

int feed_reader_skip_file(
    struct feed_reader *reader, const struct feed_path *path, const char *reason)
{
    feed_reader_report(reader, path, 0, reason ? reason : "it is damaged");
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

/* Returns whether a text can be shown and sent, and is not too long. */
static bool feed_reader_is_usable(struct text text, size_t max_bytes)
{
    char copy[MAX_RELEASE + 1];

    if (text.length > max_bytes)
        return false;
    if (text.length > 0)
        memcpy(copy, text.bytes, text.length);
    copy[text.length] = '\0';
    if (memchr(copy, '\0', text.length))
        return false;
    text_make_printable(copy);
    return text_is(text, copy);
}

/* Returns what is wrong with a package, or NULL. Folders, too, may have any name. */
static const char *feed_reader_check(const struct feed_package *package)
{
    const struct text texts[] = {package->name, package->recipe, package->source, package->epoch,
        package->version, package->arch, package->pkgarch, package->folder, package->pe,
        package->pv, package->pr};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (!feed_reader_is_usable(texts[i], MAX_TEXT))
            return "the package has a name, version or architecture that is too long or can't be "
                   "shown";
    }
    if (!feed_reader_is_usable(package->release, MAX_RELEASE))
        return "the release of the package is too long or can't be shown";
    return NULL;
}

int feed_reader_add(
    struct feed_reader *reader, const struct feed_package *package, const struct feed_place *place)
{
    const struct feed_path path = {.shown = place->file};
    struct feed_package known = *package;
    const char *reason;
    int result;

    progress_row(&reader->progress, 0, 0);
    if (reader->pkgarch && package->format == FEED_PKGDATA)
        known.arch = text_of(reader->pkgarch);
    reason = feed_reader_check(&known);
    if (reason)
        return feed_reader_skip_entry(reader, &path, place->line, reason);
    result = feed_add(reader->feed, &known, place, &reader->error);
    if (result == ERROR_INPUT)
        return feed_reader_skip_entry(reader, &path, place->line, reader->error.text);
    return result;
}

int feed_reader_note_listed(struct feed_reader *reader, struct text folder, struct text file)
{
    while (text_starts_with(file, "./"))
        file = text_from(file, 2);
    buffer_reset(&reader->name, BUFFER_KEEP_BYTES);
    if (folder.length > 0 && !text_is(folder, ".")) {
        buffer_append_text(&reader->name, folder);
        buffer_append_string(&reader->name, "/");
    }
    buffer_append_text(&reader->name, file);
    if (buffer_failed(&reader->name) ||
        !map_find_or_add(
            &reader->listed, text_not_null(buffer_text(&reader->name)), sizeof(struct map_entry)))
        return error_set_memory(&reader->error);
    return 0;
}
