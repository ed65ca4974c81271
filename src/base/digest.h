/* SPDX-License-Identifier: MIT */
/* SHA-256 of a sequence of texts. One thread at a time. */
#ifndef PRSERVD_DIGEST_H
#define PRSERVD_DIGEST_H

#include "base/text.h"

#include <stdbool.h>

#define DIGEST_BYTES 32

struct digest;

/* Returns NULL if memory ran out, or the library has no SHA-256. */
struct digest *digest_create(void);
void digest_free(struct digest *digest); /* NULL is allowed */

/* Starts a new digest. */
void digest_begin(struct digest *digest);

/* Adds a text; an empty one changes nothing. */
void digest_add(struct digest *digest, struct text text);

/* Ends the digest of everything that was added since digest_begin. Returns false if the library
 * failed anywhere. */
bool digest_end(struct digest *digest, unsigned char result[DIGEST_BYTES]);

#endif
