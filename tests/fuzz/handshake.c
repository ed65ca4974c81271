/* SPDX-License-Identifier: MIT */
/* The opening of a connection and its annotations: the split of the input into pieces does not
 * change the result, annotations are short and in UTF-8, and their JSON holds the same texts.
 *
 * Input: a byte that seeds the pieces, and the received bytes, with runs (fuzz_expand). */
#include "wire/handshake.h"

#include "fuzz.h"

#include <jansson.h>
#include <string.h>

#define RUN_BYTES 32
#define MOST_BYTES ((size_t)64 * 1024)

/* Reads the bytes in these pieces, or in one if pieces is NULL. */
static enum framer_result read_all(
    struct handshake *handshake, struct text bytes, struct fuzz_pieces *pieces)
{
    enum framer_result result = FRAMER_MORE;
    struct framer framer;
    struct error error;

    framer_init(&framer, 4096);
    while (result == FRAMER_MORE && bytes.length > 0) {
        size_t length = pieces ? fuzz_piece_length(pieces, bytes.length) : bytes.length;

        REQUIRE(framer_feed(&framer, bytes.bytes, length, &error) == 0);
        result = handshake_read(handshake, &framer, &error);
        REQUIRE(result != FRAMER_LOST || error.text[0] != '\0');
        bytes = text_from(bytes, length);
    }
    framer_free(&framer);
    return result;
}

static void check_annotations(const struct handshake *handshake)
{
    size_t n = 0;
    struct buffer out = BUFFER_EMPTY;
    json_t *object;

    handshake_write_annotations(handshake, &out);
    object = out.length > 0 ? json_loadb(out.bytes, out.length, 0, NULL) : json_object();
    REQUIRE(json_is_object(object));
    for (int i = 0; i < HANDSHAKE_ANNOTATIONS; i++) {
        const char *text = handshake->annotations[i];
        const json_t *value = json_object_get(object, handshake_annotation_names[i]);

        REQUIRE((text == NULL) == (value == NULL));
        if (!text)
            continue;
        n++;
        REQUIRE(strlen(text) <= HANDSHAKE_ANNOTATION_BYTES && text_is_utf8(text_of(text)));
        REQUIRE(strcmp(json_string_value(value), text) == 0);
    }
    REQUIRE(json_object_size(object) == n);
    json_decref(object);
    buffer_free(&out);
}

static bool is_same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static void check_same(const struct handshake *a, const struct handshake *b)
{
    REQUIRE(a->n_headers == b->n_headers && a->needs_headers == b->needs_headers);
    REQUIRE(a->is_from_server == b->is_from_server && a->is_xml_rpc == b->is_xml_rpc);
    for (int i = 0; i < HANDSHAKE_ANNOTATIONS; i++)
        REQUIRE(is_same_text(a->annotations[i], b->annotations[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {.at = data, .left = size};
    struct fuzz_pieces pieces = {.state = fuzz_take_byte(&input)};
    struct handshake whole = {.n_headers = 0};
    struct handshake cut_up = {.n_headers = 0};
    struct buffer bytes = BUFFER_EMPTY;

    fuzz_expand(&input, &bytes, RUN_BYTES, MOST_BYTES);
    REQUIRE(read_all(&whole, buffer_text(&bytes), NULL) ==
            read_all(&cut_up, buffer_text(&bytes), &pieces));
    check_same(&whole, &cut_up);
    check_annotations(&whole);
    handshake_release(&whole);
    handshake_release(&cut_up);
    buffer_free(&bytes);
    return 0;
}
