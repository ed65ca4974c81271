/* What the parts of facts share: postgres_question.c asks, postgres_facts.c takes the answer.
 *
 *     want ──→ package ──→ rows of the result (a list through next)
 *        │        └──────→ checksums
 *        └───→ checksum ─→ its smallest and largest row */
#ifndef PRSERVD_POSTGRES_FACTS_H
#define PRSERVD_POSTGRES_FACTS_H

#include "store/postgres.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define FACTS_NO_ROW (-1)

/* What a question consists of, an array each. */
enum {
    ASKS_KEY,      /* the package */
    ASKS_DIGEST,   /* the checksum, or NULL */
    ASKS_SMALLEST, /* value of the checksum? */
    ASKS_LARGEST,
    ASKS_PLACE, /* which row holds this value, or NULL */
    ASKS_REST,
    ASKS_FIRST, /* was the package not asked about before? */
    N_QUESTION
};
enum { NAMES_KEY, NAMES_VERSION, NAMES_PKGARCH, N_NAMES };

struct facts_checksum {
    UT_hash_handle hh;
    struct facts_checksum *next; /* of the package */
    struct text text;            /* borrowed from the want */
    bool asks_smallest;
    bool asks_largest;
    int smallest; /* row of the result */
    int largest;
    unsigned char digest[DIGEST_BYTES];
    size_t key_length;
    char key[];
};

struct facts_package {
    UT_hash_handle hh;
    struct facts_checksum *checksums;
    int64_t id;
    bool is_named; /* it is to be made and locked */
    bool is_held;  /* locked by this transaction */
    int rows;      /* the first of them in the result */
    unsigned char digest[DIGEST_BYTES];
    size_t key_length;
    char key[];
};

/* An element of the question. */
struct facts_element {
    struct facts_package *package;
    struct facts_checksum *checksum; /* or NULL */
};

struct postgres_facts {
    struct facts_package *packages;
    struct facts_checksum *checksums;
    struct facts_element *elements;
    size_t n_elements;
    PGresult *result;
    int *next; /* for each row of the result, the next of the same package */
    struct buffer key;
    struct buffer place;
    struct digest *digest; /* borrowed */
    struct postgres_array question[N_QUESTION];
    struct postgres_array names[N_NAMES]; /* each package once */
};

/* NULL: it was not wanted, or memory ran out (buffer_failed of key). The key stays, to add it. */
struct facts_package *facts_find_package(
    struct postgres_facts *facts, struct text version, struct text pkgarch);
struct facts_checksum *facts_find_checksum(
    struct postgres_facts *facts, const struct facts_package *package, struct text text);

#endif
