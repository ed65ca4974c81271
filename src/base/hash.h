/* SPDX-License-Identifier: MIT */
/* SipHash-1-3: a hash whose collisions cannot be found without its key.
 *
 * Clients choose the names that the server keeps in hash tables. With a hash that anybody can
 * compute, names could be crafted that all collide, and each look-up would compare them all. */
#ifndef PRSERVD_HASH_H
#define PRSERVD_HASH_H

#include "base/text.h"

#include <stdint.h>

/* Returns the hash under this process's key, which is random and new at each start. Any
 * thread. */
uint64_t hash_text(struct text text);

/* Returns the hash under a given key. */
uint64_t hash_text_with_key(const uint64_t key[2], struct text text);

#endif
