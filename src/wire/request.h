/* SPDX-License-Identifier: MIT */
/* A request, independent of its form on the wire. */
#ifndef PRSERVD_REQUEST_H
#define PRSERVD_REQUEST_H

#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

/* In the order of precedence: of several in one message, the first counts. */
enum request_kind {
    REQUEST_PING,
    REQUEST_GET_PR,
    REQUEST_TEST_PR,
    REQUEST_TEST_PACKAGE,
    REQUEST_MAX_PACKAGE_PR,
    REQUEST_IMPORT_ONE,
    REQUEST_EXPORT,
    REQUEST_IS_READONLY,
    REQUEST_GET_STATS,
    REQUEST_GET_LOG,
    REQUEST_GET_WHY,
    REQUEST_GET_CHURN,
    REQUEST_KINDS
};

struct request {
    enum request_kind kind;
    struct text version;   /* in an export and a get-log a filter, where empty means all */
    struct text pkgarch;   /* likewise */
    struct text checksum;  /* likewise */
    struct text value;     /* import-one: a revision */
    bool value_is_integer; /* import-one: value came as a JSON integer, and is answered as one */
    bool history;
    bool colinfo;  /* export: with column info */
    int64_t since; /* get-log, get-churn: seconds since 1970; -1: not given */
    int64_t after; /* get-log: an id; -1: not given */
    int64_t limit; /* get-log, get-churn: the number of results; -1: not given */
    char *owned;   /* the bytes of the texts, if the codec read the request (codec_release) */
};

/* The names on the wire, by kind. */
extern const char *const request_names[REQUEST_KINDS];

/* Returns the name on the wire, such as get-pr. */
static inline const char *request_name(enum request_kind kind)
{
    return request_names[kind];
}

/* Returns whether a request is answered from the audit log, in pieces. */
static inline bool request_is_report(enum request_kind kind)
{
    return kind == REQUEST_GET_LOG || kind == REQUEST_GET_WHY || kind == REQUEST_GET_CHURN;
}

#endif
