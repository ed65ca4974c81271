/* SPDX-License-Identifier: MIT */
/* The mark of a database: an identity, and a counter that grows with each transaction that stores
 * rows. A server remembers the last counter that it knows, in memory and in a file. If the database
 * has a smaller one, it went back to an older state: rows that were acknowledged are missing, and
 * their revisions must not be given a second time. */
#ifndef PRSERVD_MARK_H
#define PRSERVD_MARK_H

#include "base/error.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

#define MARK_IDENTITY_BYTES 17 /* 16 digits, 0 to 9 and a to f */
#define MARK_TEXT_BYTES 40

struct mark {
    char identity[MARK_IDENTITY_BYTES]; /* empty: none */
    int64_t counter;                    /* not negative */
};

/* Writes a mark as IDENTITY:COUNTER. */
void mark_format(const struct mark *mark, char text[MARK_TEXT_BYTES]);

/* Reads IDENTITY:COUNTER. Returns false if the text is something else. */
bool mark_parse(struct mark *mark, struct text text);

/* Sets a mark with a new identity, which no other database has, and the counter 0. Fails with
 * ERROR_SYSTEM. */
ERROR_MUST_CHECK int mark_make(struct mark *mark, struct error *error);

static inline bool mark_has_identity(const struct mark *mark, const char *identity)
{
    return strcmp(mark->identity, identity) == 0;
}

/* A database that went back to an older state. New revisions must not be given from it. */
struct store_rollback {
    bool is_rolled_back;
    struct mark mark;   /* the last one that is remembered; it names the rollback */
    int64_t counter;    /* the counter that the database went back to; -1: it is another database */
    int64_t lost_after; /* this server's rows with a greater counter are missing */
};

#endif
