/* SPDX-License-Identifier: MIT */
#include "http/page.h"

/* Defines page_files, whose last element has no path. */
#include "page_files.inc"

const struct page_file *page_find(struct text path)
{
    for (const struct page_file *file = page_files; file->path; file++) {
        if (text_is(path, file->path))
            return file;
    }
    return NULL;
}
