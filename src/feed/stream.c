/* SPDX-License-Identifier: MIT */
#include "feed/stream.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_BYTES 65536

/* Filters that run other programs are left out: the file may be anybody's. */
static bool stream_allow_compression(struct archive *archive)
{
    return archive_read_support_filter_gzip(archive) == ARCHIVE_OK &&
           archive_read_support_filter_bzip2(archive) == ARCHIVE_OK &&
           archive_read_support_filter_xz(archive) == ARCHIVE_OK &&
           archive_read_support_filter_lzma(archive) == ARCHIVE_OK &&
           archive_read_support_filter_lz4(archive) == ARCHIVE_OK &&
           archive_read_support_filter_zstd(archive) == ARCHIVE_OK;
}

/* Returns why the archive can't be read. */
static const char *stream_reason(struct archive *archive)
{
    const char *reason = archive_error_string(archive);

    return reason ? reason : "it is damaged, or cut";
}

/* Counts the bytes behind the last tag. libsolv collects them, however many there are. */
static void stream_count_text(struct stream *stream, const char *bytes, size_t n)
{
    const char *tag = memrchr(bytes, '<', n);

    stream->text_bytes = tag ? (uint64_t)(bytes + n - tag) : stream->text_bytes + n;
    if (stream->text_bytes > STREAM_MAX_TEXT)
        (void)error_set(&stream->error, ERROR_INPUT, "a text in it is too long");
}

/* Passes on data, and keeps the reason of a failure. */
static ssize_t stream_read(void *context, char *bytes, size_t size)
{
    struct stream *stream = context;
    la_ssize_t n;

    if (stream->error.text[0] != '\0') {
        errno = EIO;
        return -1;
    }
    n = stream->is_empty ? 0 : archive_read_data(stream->archive, bytes, size);
    if (n > 0 && stream->is_xml)
        stream_count_text(stream, bytes, (size_t)n);
    if (n < 0)
        (void)error_set(&stream->error, ERROR_INPUT, "%s", stream_reason(stream->archive));
    else if ((uint64_t)n > stream->left_bytes)
        (void)error_set(&stream->error, ERROR_INPUT, "it is too large");
    else
        stream->left_bytes -= (uint64_t)n;
    if (stream->error.text[0] == '\0')
        return n;
    errno = EIO;
    return -1;
}

/* Creates the stdio stream of an archive that is open. */
static int stream_begin(struct stream *stream, struct error *error)
{
    const cookie_io_functions_t functions = {.read = stream_read};

    stream->file = fopencookie(stream, "r", functions);
    if (stream->file)
        return 0;
    stream_close(stream);
    return error_set_memory(error);
}

int stream_open(struct stream *stream, int descriptor, struct error *error)
{
    struct archive_entry *entry;
    int result;

    *stream = (struct stream){.left_bytes = STREAM_MAX_BYTES};
    stream->archive = archive_read_new();
    if (!stream->archive || !stream_allow_compression(stream->archive) ||
        archive_read_support_format_raw(stream->archive) != ARCHIVE_OK ||
        archive_read_support_format_empty(stream->archive) != ARCHIVE_OK) {
        (void)close(descriptor);
        stream_close(stream);
        return error_set_memory(error);
    }
    result = archive_read_open_fd(stream->archive, descriptor, BLOCK_BYTES);
    stream->descriptor = descriptor;
    if (result == ARCHIVE_OK)
        result = archive_read_next_header(stream->archive, &entry);
    stream->is_empty = result == ARCHIVE_EOF;
    if (result == ARCHIVE_OK || stream->is_empty)
        return stream_begin(stream, error);
    (void)error_set(error, ERROR_INPUT, "%s", stream_reason(stream->archive));
    stream_close(stream);
    return ERROR_INPUT;
}

static la_ssize_t stream_read_outer(struct archive *archive, void *context, const void **block)
{
    struct stream *stream = context;
    const la_ssize_t n = archive_read_data(stream->outer, stream->block, sizeof stream->block);

    *block = stream->block;
    if (n < 0)
        archive_set_error(archive, EIO, "%s", stream_reason(stream->outer));
    return n;
}

int stream_open_tar(struct stream *stream, struct archive *outer, struct error *error)
{
    *stream = (struct stream){.outer = outer, .descriptor = -1};
    stream->archive = archive_read_new();
    if (!stream->archive || !stream_allow_compression(stream->archive) ||
        archive_read_support_format_tar(stream->archive) != ARCHIVE_OK) {
        stream_close(stream);
        return error_set_memory(error);
    }
    if (archive_read_open(stream->archive, stream, NULL, stream_read_outer, NULL) == ARCHIVE_OK)
        return 0;
    (void)error_set(error, ERROR_INPUT, "%s", stream_reason(stream->archive));
    stream_close(stream);
    return ERROR_INPUT;
}

int stream_begin_entry(struct stream *stream, uint64_t max_bytes, struct error *error)
{
    stream->left_bytes = max_bytes;
    return stream_begin(stream, error);
}

int stream_check(const struct stream *stream, struct error *error)
{
    if (!ferror(stream->file))
        return 0;
    return error_set(error, ERROR_INPUT, "can't be read: %s",
        stream->error.text[0] ? stream->error.text : "error of the stream");
}

void stream_close(struct stream *stream)
{
    if (stream->file)
        (void)fclose(stream->file);
    if (stream->archive)
        (void)archive_read_free(stream->archive);
    if (stream->descriptor >= 0)
        (void)close(stream->descriptor);
    stream->file = NULL;
    stream->archive = NULL;
    stream->descriptor = -1;
}
