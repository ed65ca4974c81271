/* SPDX-License-Identifier: MIT */
/* Stanzas of opkg and Debian: an index has one for each package, a package one for itself. */
#ifndef PRSERV_FEED_PACKAGES_INDEX_H
#define PRSERV_FEED_PACKAGES_INDEX_H

#include "feed/reader.h"
#include "feed/stanza.h"
#include "feed/stream.h"

#define CONTROL_FIELDS 11

/* Names the fields for stanza_read. */
void control_init(struct stanza_field fields[CONTROL_FIELDS]);

/* Makes a package of a stanza, whose texts it borrows. format is the one of a package of which
 * Filename does not tell it; shown is the path of the file that has the stanza. Returns NULL, or
 * what is wrong with it. */
const char *control_read(const struct stanza_field *fields, enum feed_format format,
    const char *shown, struct feed_package *package);

/* Reads an index. */
ERROR_MUST_CHECK int packages_index_read(
    struct feed_reader *reader, const struct feed_path *path, struct stream *stream);

#endif
