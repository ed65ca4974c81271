/* SPDX-License-Identifier: MIT */
/* The files of the page, embedded in the module: as they are, and compressed by gzip. meson makes
 * the table from the files in src/http/page (embed.sh). */
#ifndef PRSERVD_PAGE_H
#define PRSERVD_PAGE_H

#include "base/text.h"

#include <stddef.h>

/* What a page may load: only what this server has, and no script in the HTML itself. */
#define PAGE_POLICY                                                                         \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src " \
    "'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

struct page_file {
    const char *path; /* "/app.js"; "/" is index.html */
    const char *content_type;
    const char *tag; /* for If-None-Match: in quotes */
    const unsigned char *bytes;
    size_t length;
    const unsigned char *gzip;
    size_t gzip_length;
};

/* Returns the file of a path, or NULL. */
const struct page_file *page_find(struct text path);

#endif
