/* SPDX-License-Identifier: MIT */
/* Reading a file that may be compressed (gzip, bzip2, xz, lzma, zstd, lz4) as a stdio stream, with
 * a limit for what comes out. A stream keeps its address as long as it is open. One thread. */
#ifndef PRSERV_FEED_STREAM_H
#define PRSERV_FEED_STREAM_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct archive;

/* The most bytes of an index without compression, and of a text in XML. */
#define STREAM_MAX_BYTES ((uint64_t)4 * 1024 * 1024 * 1024)
#define STREAM_MAX_TEXT ((uint64_t)1024 * 1024)

struct stream {
    FILE *file; /* for reading; NULL: not begun */
    struct archive *archive;
    struct archive *outer; /* borrowed; NULL: the archive reads a descriptor */
    int descriptor;        /* -1: none */
    uint64_t left_bytes;
    bool is_empty;
    bool is_xml;         /* set by the reader: texts between tags have a limit */
    uint64_t text_bytes; /* since the last tag */
    struct error error;  /* why reading failed */
    char block[16384];
};

/* Opens a stream. The descriptor is the stream's, also on failure. Fails with ERROR_MEMORY and
 * ERROR_INPUT. */
ERROR_MUST_CHECK int stream_open(struct stream *stream, int descriptor, struct error *error);

/* Opens a tar archive, which may be compressed, in the current entry of another archive; its
 * entries are those of stream->archive. Fails with ERROR_MEMORY and ERROR_INPUT. */
ERROR_MUST_CHECK int stream_open_tar(
    struct stream *stream, struct archive *outer, struct error *error);

/* Makes stream->file for the current entry of such an archive. Fails with ERROR_MEMORY. */
ERROR_MUST_CHECK int stream_begin_entry(
    struct stream *stream, uint64_t max_bytes, struct error *error);

/* Returns 0, or ERROR_INPUT if reading has failed (ferror). */
ERROR_MUST_CHECK int stream_check(const struct stream *stream, struct error *error);

void stream_close(struct stream *stream);

#endif
