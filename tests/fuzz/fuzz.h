/* SPDX-License-Identifier: MIT */
/* Common header of the fuzz targets. A target is a function of bytes that ends the process if the
 * code breaks a promise. The bytes come from libFuzzer (-Dfuzz=true), or from files (replay.c). */
#ifndef PRSERVD_FUZZ_H
#define PRSERVD_FUZZ_H

#include "base/buffer.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the process with a message if the promise does not hold. */
#define REQUIRE(promise) fuzz_require((promise), #promise, __FILE__, __LINE__)

static inline void fuzz_require(bool holds, const char *promise, const char *file, int line)
{
    if (holds)
        return;
    (void)fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, promise);
    abort();
}

/* The rest of the input. */
struct fuzz_input {
    const uint8_t *at;
    size_t left;
};

/* Returns the next byte, or 0 at the end. */
static inline uint8_t fuzz_take_byte(struct fuzz_input *input)
{
    if (input->left == 0)
        return 0;
    input->left--;
    return *input->at++;
}

static inline struct text fuzz_take_rest(struct fuzz_input *input)
{
    struct text rest = {.bytes = (const char *)input->at, .length = input->left};

    input->at += input->left;
    input->left = 0;
    return rest;
}

/* Appends the rest of the input to bytes, until these are most_bytes long. \xfe BYTE COUNT stands
 * for COUNT * run_bytes times that byte, so that short inputs reach long limits. */
static inline void fuzz_expand(
    struct fuzz_input *input, struct buffer *bytes, size_t run_bytes, size_t most_bytes)
{
    while (input->left > 0 && bytes->length < most_bytes) {
        char byte = (char)fuzz_take_byte(input);
        size_t length = 1;

        if ((uint8_t)byte == 0xfe) {
            byte = (char)fuzz_take_byte(input);
            length = (size_t)fuzz_take_byte(input) * run_bytes;
        }
        for (; length > 0; length--)
            buffer_append(bytes, &byte, 1);
    }
}

/* Random lengths of pieces, from a seed: mostly short, some long. */
struct fuzz_pieces {
    uint32_t state;
};

static inline size_t fuzz_piece_length(struct fuzz_pieces *pieces, size_t left)
{
    size_t length;

    pieces->state = pieces->state * 1664525u + 1013904223u;
    length = (pieces->state >> 28) < 12 ? 1 + (pieces->state >> 16) % 16
                                        : 1 + (pieces->state >> 8) % 65536;
    return length < left ? length : left;
}

#endif
