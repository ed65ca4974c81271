/* SPDX-License-Identifier: MIT */
/* Reads rpm indexes and rpm files with libsolv. */
#ifndef PRSERV_FEED_RPM_INDEX_H
#define PRSERV_FEED_RPM_INDEX_H

#include "feed/reader.h"
#include "feed/stream.h"

/* Reads a primary.xml. */
ERROR_MUST_CHECK int rpm_index_read(
    struct feed_reader *reader, const struct feed_path *path, struct stream *stream);

/* Reads an .rpm file, which is open. */
ERROR_MUST_CHECK int rpm_file_read(
    struct feed_reader *reader, const struct feed_path *path, int descriptor);

#endif
