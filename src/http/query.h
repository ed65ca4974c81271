/* SPDX-License-Identifier: MIT */
/* The target of an HTTP request: its path, and the fields of its query. Strict: what is not well
 * formed is refused, never guessed. */
#ifndef PRSERVD_QUERY_H
#define PRSERVD_QUERY_H

#include "base/error.h"
#include "base/text.h"

#include <stddef.h>

#define QUERY_MAX_FIELDS 8

struct query_field {
    struct text name;
    struct text value; /* valid UTF-8 */
};

/* The texts point into the target. */
struct query {
    struct text path; /* decoded, valid UTF-8, begins with '/' */
    struct query_field fields[QUERY_MAX_FIELDS];
    size_t n_fields;
};

/* Parses a target in origin form ("/path?query") or absolute form ("http://host/path"), which is
 * changed. Fails with ERROR_INPUT: broken percent encodings, invalid UTF-8, a field twice, too many
 * fields. The error does not quote the target. */
ERROR_MUST_CHECK int query_parse(struct query *query, char *target, struct error *error);

/* Returns the value of a field; bytes NULL if there is none. */
struct text query_find(const struct query *query, const char *name);

/* Reads a field that is a number from 1 to most; missing: *number stays as it is. Fails with
 * ERROR_INPUT. */
ERROR_MUST_CHECK int query_read_number(const struct query *query, const char *name, unsigned most,
    unsigned *number, struct error *error);

#endif
