/* SHA-256 over pieces of text. One thread at a time. */
#ifndef PRSERVD_DIGEST_H
#define PRSERVD_DIGEST_H

#include "base/text.h"

#include <stdbool.h>

#define DIGEST_BYTES 32

struct digest;

/* NULL when memory ran out, or the library has no SHA-256. */
struct digest *digest_create(void);
void digest_free(struct digest *digest); /* NULL is allowed */

/* Starts anew. */
void digest_begin(struct digest *digest);

/* A text without bytes adds nothing. */
void digest_add(struct digest *digest, struct text text);

/* The digest of what was added since the beginning. False: something of it failed. */
bool digest_end(struct digest *digest, unsigned char result[DIGEST_BYTES]);

#endif
