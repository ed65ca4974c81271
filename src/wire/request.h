/* A request, as it stands on the wire, in C. */
#ifndef PRSERVD_REQUEST_H
#define PRSERVD_REQUEST_H

#include "base/text.h"

#include <stdbool.h>

/* In the order of precedence, for a message that names several. */
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
    REQUEST_KINDS
};

struct request {
    enum request_kind kind;
    struct text version;   /* in an export a filter: empty means all */
    struct text pkgarch;   /* likewise */
    struct text checksum;  /* likewise */
    struct text value;     /* import-one: a valid revision */
    bool value_is_integer; /* import-one: it came as a JSON integer, and is answered as one */
    bool history;
    bool colinfo; /* export: with column info */
    void *owner;  /* what the texts are borrowed from, or */
    char *copy;   /* this is; see codec_release */
    char number[24];
};

/* The name on the wire: "get-pr". */
const char *request_name(enum request_kind kind);

#endif
