/* SPDX-License-Identifier: MIT */
/* J.-P. Aumasson and D. J. Bernstein, "SipHash: a fast short-input PRF", with one round for each
 * word and three at the end, as in the tables of Python and Rust. */
#include "base/hash.h"

#include <endian.h>
#include <pthread.h>
#include <sys/random.h>

static uint64_t hash_rotate(uint64_t word, unsigned bits)
{
    return word << bits | word >> (64 - bits);
}

static void hash_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = hash_rotate(v[1], 13) ^ v[0];
    v[0] = hash_rotate(v[0], 32);
    v[2] += v[3];
    v[3] = hash_rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = hash_rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = hash_rotate(v[1], 17) ^ v[2];
    v[2] = hash_rotate(v[2], 32);
}

static void hash_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    hash_round(v);
    v[0] ^= word;
}

uint64_t hash_text_with_key(const uint64_t key[2], struct text text)
{
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
        key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573};
    uint64_t last = 0;
    size_t at = 0;

    for (; text.length - at >= sizeof(uint64_t); at += sizeof(uint64_t)) {
        uint64_t word;

        memcpy(&word, text.bytes + at, sizeof word);
        hash_word(v, le64toh(word));
    }
    if (at < text.length)
        memcpy(&last, text.bytes + at, text.length - at);
    hash_word(v, le64toh(last) | (uint64_t)text.length << 56);
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        hash_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static uint64_t process_key[2]; /* written once, by hash_make_key */

/* getrandom fails only before Linux 3.17; then the key is zero, as if there were none. */
static void hash_make_key(void)
{
    if (getrandom(process_key, sizeof process_key, 0) != sizeof process_key)
        memset(process_key, 0, sizeof process_key);
}

uint64_t hash_text(struct text text)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, hash_make_key);
    return hash_text_with_key(process_key, text);
}
