/* SPDX-License-Identifier: MIT */
/* Files of packages. An .ipk or .deb is an ar archive (an old .ipk a tar archive) that holds
 * control.tar, which is compressed and holds a file control. */
#include "feed/package_file.h"

#include "feed/packages_index.h"
#include "feed/rpm_index.h"
#include "feed/stream.h"

#include <archive.h>
#include <archive_entry.h>
#include <ctype.h>
#include <unistd.h>

#define MAX_ENTRIES 1000 /* of an archive, before what is looked for */
#define MAX_CONTROL_BYTES ((uint64_t)1024 * 1024)
#define MAX_PASSED_BYTES ((int64_t)16 * 1024 * 1024) /* of what comes before it */
#define BLOCK_BYTES 65536

/* ---- the control file ---- */

/* Adds the package that the control file describes. */
static int package_file_take_control(struct feed_reader *reader, const struct feed_path *path,
    enum feed_format format, struct stream *control)
{
    struct stanza_field fields[CONTROL_FIELDS];
    struct stanza_reader stanzas = {.file = control->file, .separator = ':'};
    const struct feed_place place = {
        .file = path->shown, .root = path->root, .relative = path->relative};
    struct feed_package package;
    struct error error;
    enum stanza_result found;
    const char *reason = NULL;
    int result;

    control_init(fields);
    found = stanza_read(&stanzas, fields, CONTROL_FIELDS, &error);
    if (stream_check(control, &error) != 0 || found < 0)
        reason = error.text;
    else if (found == STANZA_END)
        reason = "its control file is empty";
    else
        reason = control_read(fields, format, path->shown, &package);
    package.format = format;
    result = reason ? feed_reader_skip_file(reader, path, reason)
                    : feed_reader_add(reader, &package, &place);
    stanza_free(&stanzas);
    return result;
}

/* Returns whether an entry has this name, or begins with it. */
static bool package_file_is(struct archive_entry *entry, const char *name, bool begins)
{
    const char *path = archive_entry_pathname(entry);

    if (path && strncmp(path, "./", 2) == 0)
        path += 2;
    return path && (begins ? strncmp(path, name, strlen(name)) == 0 : strcmp(path, name) == 0);
}

/* Moves to an entry. Returns ARCHIVE_OK, or ARCHIVE_EOF if there is none behind what may come
 * before it, or another error. */
static int package_file_find(struct archive *archive, const char *name, bool begins)
{
    struct archive_entry *entry;
    int64_t passed_bytes = 0;
    int result = ARCHIVE_OK;

    for (int i = 0; i < MAX_ENTRIES; i++) {
        result = archive_read_next_header(archive, &entry);
        if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
            return result;
        if (package_file_is(entry, name, begins))
            return ARCHIVE_OK;
        passed_bytes += archive_entry_size(entry);
        if (archive_entry_size(entry) < 0 || passed_bytes > MAX_PASSED_BYTES)
            break;
    }
    return ARCHIVE_EOF;
}

static int package_file_read_control(struct feed_reader *reader, const struct feed_path *path,
    enum feed_format format, struct archive *outer)
{
    struct stream control;
    struct error error;
    int result;

    if (stream_open_tar(&control, outer, &error) != 0)
        return feed_reader_skip_file(reader, path, error.text);
    if (package_file_find(control.archive, "control", false) != ARCHIVE_OK)
        result = feed_reader_skip_file(reader, path, "it has no readable control file");
    else if (stream_begin_entry(&control, MAX_CONTROL_BYTES, &reader->error) != 0)
        result = ERROR_MEMORY;
    else
        result = package_file_take_control(reader, path, format, &control);
    stream_close(&control);
    return result;
}

static int package_file_read_archive(struct feed_reader *reader, const struct feed_path *path,
    enum feed_format format, int descriptor)
{
    struct archive *archive = archive_read_new();
    int result = 0;

    if (!archive || archive_read_support_filter_gzip(archive) != ARCHIVE_OK ||
        archive_read_support_format_ar(archive) != ARCHIVE_OK ||
        archive_read_support_format_tar(archive) != ARCHIVE_OK)
        result = error_set_memory(&reader->error);
    else if (archive_read_open_fd(archive, descriptor, BLOCK_BYTES) != ARCHIVE_OK ||
             package_file_find(archive, "control.tar", true) != ARCHIVE_OK)
        result = feed_reader_skip_file(
            reader, path, "it is not a package, or damaged: no control.tar was found");
    else
        result = package_file_read_control(reader, path, format, archive);
    if (archive)
        (void)archive_read_free(archive);
    return result;
}

/* ---- all formats ---- */

bool package_file_has_name(const char *name)
{
    return text_ends_with(text_of(name), ".ipk") || text_ends_with(text_of(name), ".opk") ||
           text_ends_with(text_of(name), ".deb") || text_ends_with(text_of(name), ".rpm");
}

int read_package_file(struct feed_reader *reader, const struct feed_path *path)
{
    const int descriptor = feed_reader_open(reader, path);
    int result;

    if (descriptor < 0)
        return 0;
    if (text_ends_with(text_of(path->relative), ".rpm"))
        result = rpm_file_read(reader, path, descriptor);
    else
        result = package_file_read_archive(reader, path,
            text_ends_with(text_of(path->relative), ".deb") ? FEED_DEB : FEED_IPK, descriptor);
    (void)close(descriptor);
    return result;
}
