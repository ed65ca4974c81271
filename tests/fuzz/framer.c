/* SPDX-License-Identifier: MIT */
/* The framer: the split of the input into pieces does not change the result, messages and pieces of
 * messages agree, and all output can be read again.
 *
 * Input: a byte that sets the length limit of messages, a byte that seeds the pieces, and the
 * received bytes, with runs (fuzz_expand). */
#include "wire/framer.h"

#include "fuzz.h"

#define RUN_BYTES 512
#define MOST_BYTES ((size_t)192 * 1024)
#define ANY_LENGTH ((size_t)1 << 40)

/* ---- reading ---- */

/* Records the end and the content of a message. */
static void note(struct buffer *notes, const char *what, struct text text)
{
    char head[32];

    (void)snprintf(head, sizeof head, "%s %zu ", what, text.length);
    buffer_append_string(notes, head);
    buffer_append_text(notes, text);
}

/* Returns false once the framing is lost. */
static bool read_messages(struct framer *framer, struct buffer *notes)
{
    struct text message;
    struct error error;
    enum framer_result result;

    while ((result = framer_next_message(framer, &message, &error)) == FRAMER_READY)
        note(notes, "message", message);
    if (result == FRAMER_LOST)
        note(notes, "lost", text_of(error.text));
    return result != FRAMER_LOST;
}

/* The same for pieces; part holds those of the current message. */
static bool read_pieces(struct framer *framer, struct buffer *part, struct buffer *notes)
{
    struct text piece;
    struct error error;
    enum framer_result result;
    bool last;

    while ((result = framer_next_piece(framer, &piece, &last, &error)) == FRAMER_READY) {
        buffer_append_text(part, piece);
        if (!last)
            continue;
        note(notes, "message", buffer_text(part));
        buffer_reset(part, 4096);
    }
    if (result == FRAMER_LOST)
        note(notes, "lost", text_of(error.text));
    return result != FRAMER_LOST;
}

/* Reads the bytes in these pieces, or in one piece if pieces is NULL. */
static struct buffer read_all(
    struct text bytes, size_t max_bytes, struct fuzz_pieces *pieces, bool by_piece)
{
    struct framer framer;
    struct buffer part = BUFFER_EMPTY;
    struct buffer notes = BUFFER_EMPTY;
    struct error error;
    bool goes_on = true;

    framer_init(&framer, max_bytes);
    while (goes_on && bytes.length > 0) {
        size_t length = pieces ? fuzz_piece_length(pieces, bytes.length) : bytes.length;

        REQUIRE(framer_feed(&framer, bytes.bytes, length, &error) == 0);
        goes_on = by_piece ? read_pieces(&framer, &part, &notes) : read_messages(&framer, &notes);
        bytes.bytes += length;
        bytes.length -= length;
    }
    framer_free(&framer);
    buffer_free(&part);
    return notes;
}

static void check_reading(struct text bytes, size_t max_bytes, uint8_t cut)
{
    struct fuzz_pieces pieces = {.state = cut};
    struct buffer whole = read_all(bytes, max_bytes, NULL, false);
    struct buffer cut_up = read_all(bytes, max_bytes, &pieces, false);
    struct buffer unlimited = read_all(bytes, ANY_LENGTH, NULL, false);
    struct buffer by_piece = read_all(bytes, ANY_LENGTH, &pieces, true);

    REQUIRE(text_equal(buffer_text(&whole), buffer_text(&cut_up)));
    REQUIRE(text_equal(buffer_text(&unlimited), buffer_text(&by_piece)));
    buffer_free(&whole);
    buffer_free(&cut_up);
    buffer_free(&unlimited);
    buffer_free(&by_piece);
}

/* ---- writing ---- */

/* Makes text printable ASCII, as in messages. */
static void make_printable(struct buffer *bytes)
{
    for (size_t i = 0; i < bytes->length; i++) {
        uint8_t byte = (uint8_t)bytes->bytes[i];

        if (byte < 0x20 || byte >= 0x7f)
            bytes->bytes[i] = (char)(0x20 + byte % 0x5f);
    }
}

/* A blank may be written as \u0020. */
static void undo_blanks(struct text text, struct buffer *out)
{
    static const char blank[] = "\\u0020";

    while (text.length > 0) {
        const char *found = memmem(text.bytes, text.length, blank, sizeof blank - 1);
        size_t length = found ? (size_t)(found - text.bytes) : text.length;

        buffer_append(out, text.bytes, length);
        if (found) {
            buffer_append(out, " ", 1);
            length += sizeof blank - 1;
        }
        text.bytes += length;
        text.length -= length;
    }
}

static bool is_same(struct text a, struct text b)
{
    struct buffer undone_a = BUFFER_EMPTY;
    struct buffer undone_b = BUFFER_EMPTY;
    bool same;

    undo_blanks(a, &undone_a);
    undo_blanks(b, &undone_b);
    same = text_equal(buffer_text(&undone_a), buffer_text(&undone_b));
    buffer_free(&undone_a);
    buffer_free(&undone_b);
    return same;
}

/* Checks that BitBake can read it: no line is too long, or has blanks that BitBake strips. */
static void check_lines(struct text written, bool is_stream)
{
    while (written.length > 0) {
        const char *end = memchr(written.bytes, '\n', written.length);
        size_t length;

        REQUIRE(end != NULL);
        length = (size_t)(end - written.bytes);
        REQUIRE(length <= FRAMER_CHUNK_CHARACTERS);
        REQUIRE(!is_stream || length == 0 || end[-1] != ' ');
        written.bytes += length + 1;
        written.length -= length + 1;
    }
}

static void check_read_back(struct text message, const struct buffer *written)
{
    struct framer framer;
    struct error error;
    struct text read;

    check_lines(buffer_text(written), message.length >= FRAMER_CHUNK_CHARACTERS);
    framer_init(&framer, ANY_LENGTH);
    REQUIRE(framer_feed(&framer, written->bytes, written->length, &error) == 0);
    REQUIRE(framer_next_message(&framer, &read, &error) == FRAMER_READY);
    REQUIRE(is_same(message, read));
    REQUIRE(framer_next_message(&framer, &read, &error) == FRAMER_MORE);
    framer_free(&framer);
}

static void check_writing(struct text message, uint8_t cut)
{
    struct fuzz_pieces pieces = {.state = cut};
    bool is_streaming = false;
    struct buffer at_once = BUFFER_EMPTY;
    struct buffer by_piece = BUFFER_EMPTY;
    struct text left = message;

    framer_write(&at_once, message);
    while (left.length > 0) {
        size_t length = fuzz_piece_length(&pieces, left.length);

        framer_write_piece(&by_piece, &is_streaming,
            (struct text){.bytes = left.bytes, .length = length}, length == left.length);
        left.bytes += length;
        left.length -= length;
    }
    if (message.length == 0)
        framer_write_piece(&by_piece, &is_streaming, message, true);
    check_read_back(message, &at_once);
    check_read_back(message, &by_piece);
    buffer_free(&at_once);
    buffer_free(&by_piece);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {.at = data, .left = size};
    size_t max_bytes = (size_t)1 << fuzz_take_byte(&input) % 20;
    uint8_t cut = fuzz_take_byte(&input);
    struct buffer bytes = BUFFER_EMPTY;

    fuzz_expand(&input, &bytes, RUN_BYTES, MOST_BYTES);
    check_reading(buffer_text(&bytes), max_bytes, cut);
    make_printable(&bytes);
    if (bytes.length > 0 && bytes.bytes[0] != '{') /* it could begin a chunk stream */
        check_writing(buffer_text(&bytes), cut);
    buffer_free(&bytes);
    return 0;
}
