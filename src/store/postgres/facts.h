/* SPDX-License-Identifier: MIT */
/* The facts that a batch wants: question.c asks for them, facts.c takes the answer.
 *
 *     item ──→ package ──→ rows of the reply (a list through next)
 *        │        └──────→ checksums
 *        └───→ checksum ─→ its smallest and largest row */
#ifndef PRSERVD_POSTGRES_FACTS_H
#define PRSERVD_POSTGRES_FACTS_H

#include "base/map.h"
#include "store/postgres/postgres.h"

#define FACTS_NO_ROW (-1)

/* The parameters of the question, an array each; an element of the question is in all of them. */
enum {
    ASKS_KEY,      /* the package */
    ASKS_DIGEST,   /* the checksum, or NULL */
    ASKS_SMALLEST, /* whether the smallest value of the checksum is wanted */
    ASKS_LARGEST,  /* likewise the largest */
    ASKS_SORT_KEY, /* the value whose rows are wanted, or NULL */
    ASKS_OVERFLOW,
    ASKS_FIRST, /* whether this is the first element of its package */
    N_QUESTION
};
enum { NAMES_KEY, NAMES_VERSION, NAMES_PKGARCH, N_NAMES };

struct facts_checksum {
    struct map_entry entry;
    struct facts_checksum *next; /* of the package */
    bool asks_smallest;
    bool asks_largest;
    int smallest; /* row of the reply */
    int largest;
    unsigned char digest[DIGEST_BYTES];
};

struct facts_package {
    struct map_entry entry;
    struct map checksums;
    struct facts_checksum *first_checksum; /* the same, as a list */
    int64_t id;
    bool is_named; /* to be made and locked */
    bool is_held;  /* locked by this transaction */
    int rows;      /* its first row in the reply */
    unsigned char digest[DIGEST_BYTES];
};

/* An element of the question. */
struct facts_element {
    struct facts_package *package;
    struct facts_checksum *checksum; /* or NULL */
};

struct postgres_facts {
    struct map packages;
    struct facts_element *elements; /* at least one for each package */
    size_t n_elements;
    PGresult *reply;
    int backend_pid; /* the process that has sent it */
    int *next;       /* for each row of the reply, the next of the same package */
    struct buffer key;
    struct buffer order_key;
    struct digest *digest; /* borrowed */
    struct postgres_array question[N_QUESTION];
    struct postgres_array names[N_NAMES]; /* each package once */
};

/* Returns NULL if the package is not in the question, or if memory ran out (buffer_failed of key).
 * The key stays for adding it. */
struct facts_package *postgres_facts_find(
    struct postgres_facts *facts, struct text version, struct text pkgarch);

#endif
