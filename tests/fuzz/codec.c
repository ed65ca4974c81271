/* The codec: the short way of reading a request gives what the general way gives, a request
 * or a row that was read is the same after writing and reading it, and whatever is written is
 * JSON in ASCII.
 *
 * Input: a message, read as a request, as an answer and as text. */
#include "wire/codec.h"

#include "fuzz.h"
#include "revision/revision.h"
#include "wire/codec_plain.h"

#include <jansson.h>

/* A member that nobody knows: in front of the others it changes nothing, and what has it is
 * not plain. */
#define ODD_MEMBER "{\"\":0,"

static bool is_same_request(const struct request *a, const struct request *b)
{
    return a->kind == b->kind && text_equal(a->version, b->version) &&
           text_equal(a->pkgarch, b->pkgarch) && text_equal(a->checksum, b->checksum) &&
           text_equal(a->value, b->value) && a->history == b->history && a->colinfo == b->colinfo;
}

/* One line. A server's own words may be none. */
static void check_error(const struct error *error)
{
    for (const char *at = error->text; *at; at++)
        REQUIRE((unsigned char)*at >= 0x20 && *at != 0x7f);
}

/* ---- requests ---- */

static void check_plain(struct text message)
{
    const char *brace = message.length > 0 ? memchr(message.bytes, '{', message.length) : NULL;
    struct buffer odd = BUFFER_EMPTY;
    struct request plain;
    struct request general;
    struct error error;

    if (!codec_plain_read(message, &plain))
        return;
    REQUIRE(brace != NULL);
    buffer_append_string(&odd, ODD_MEMBER);
    buffer_append(&odd, brace + 1, message.length - (size_t)(brace + 1 - message.bytes));
    REQUIRE(!codec_plain_read(buffer_text(&odd), &general));
    REQUIRE(codec_read_request(buffer_text(&odd), &general, &error) == CODEC_REQUEST);
    REQUIRE(is_same_request(&plain, &general));
    codec_release(&plain);
    codec_release(&general);
    buffer_free(&odd);
}

static void check_written_request(const struct request *request)
{
    struct buffer written = BUFFER_EMPTY;
    struct request again;
    struct error error;

    codec_write_request(&written, request);
    REQUIRE(codec_read_request(buffer_text(&written), &again, &error) == CODEC_REQUEST);
    REQUIRE(is_same_request(request, &again));
    REQUIRE(request->kind != REQUEST_IMPORT_ONE ||
            revision_is_valid(request->value.bytes, request->value.length));
    codec_release(&again);
    buffer_free(&written);
}

static void check_request(struct text message)
{
    struct request request;
    struct error error;

    switch (codec_read_request(message, &request, &error)) {
    case CODEC_REQUEST:
        check_written_request(&request);
        codec_release(&request);
        break;
    case CODEC_REFUSED:
    case CODEC_LOST:
        REQUIRE(error.text[0] != '\0');
        check_error(&error);
        break;
    case CODEC_END:
        break;
    }
}

/* ---- answers ---- */

static bool is_same_row(const struct codec_row *a, const struct codec_row *b)
{
    return text_equal(a->version, b->version) && text_equal(a->pkgarch, b->pkgarch) &&
           text_equal(a->checksum, b->checksum) && text_equal(a->value, b->value) &&
           (a->value.bytes == NULL) == (b->value.bytes == NULL);
}

static void check_plain_row(struct text json)
{
    const char *brace = json.length > 0 ? memchr(json.bytes, '{', json.length) : NULL;
    struct buffer odd = BUFFER_EMPTY;
    struct codec_row plain;
    struct codec_row general;
    struct error error;

    if (!codec_plain_read_row(json, &plain))
        return;
    REQUIRE(brace != NULL);
    buffer_append_string(&odd, ODD_MEMBER);
    buffer_append(&odd, brace + 1, json.length - (size_t)(brace + 1 - json.bytes));
    REQUIRE(!codec_plain_read_row(buffer_text(&odd), &general));
    REQUIRE(codec_read_row(buffer_text(&odd), &general, &error) == 0);
    REQUIRE(is_same_row(&plain, &general));
    codec_release_row(&plain);
    codec_release_row(&general);
    buffer_free(&odd);
}

static void check_row(struct text message)
{
    struct codec_row row;
    struct codec_row again;
    struct buffer written = BUFFER_EMPTY;
    struct error error;

    if (codec_read_row(message, &row, &error) != 0) {
        check_error(&error);
        return;
    }
    codec_write_export_row(&written, true, row.version, row.pkgarch, row.checksum, row.value);
    REQUIRE(codec_read_row(buffer_text(&written), &again, &error) == 0);
    REQUIRE(is_same_row(&row, &again));
    codec_release_row(&row);
    codec_release_row(&again);
    buffer_free(&written);
}

static void check_value(struct text message, enum codec_integers integers)
{
    struct buffer written = BUFFER_EMPTY;
    struct error error;
    char *revision;
    char *again;

    if (codec_read_value(message, integers, &revision, &error) != 0) {
        REQUIRE(revision == NULL);
        check_error(&error);
        return;
    }
    REQUIRE(!revision || revision_is_valid(revision, strlen(revision)));
    codec_write_value(&written, revision);
    REQUIRE(codec_read_value(buffer_text(&written), CODEC_INTEGERS_REFUSED, &again, &error) == 0);
    REQUIRE(revision ? again && strcmp(revision, again) == 0 : again == NULL);
    free(revision);
    free(again);
    buffer_free(&written);
}

static void check_answer(struct text message)
{
    struct error error;
    bool flag;

    check_plain_row(message);
    check_row(message);
    check_value(message, CODEC_INTEGERS_REFUSED);
    check_value(message, CODEC_INTEGERS_TAKEN);
    if (codec_read_flag(message, "alive", &flag, &error) == 0)
        REQUIRE(codec_check_answer(message, "alive", &error) == 0);
    else
        check_error(&error);
    REQUIRE(codec_read_refusal(message, &error) == ERROR_INPUT);
}

/* ---- strings ---- */

static void check_string(struct text text)
{
    struct buffer written = BUFFER_EMPTY;
    json_t *read;

    codec_write_string(&written, text);
    for (size_t i = 0; i < written.length; i++)
        REQUIRE(written.bytes[i] >= 0x20);
    read = json_loadb(written.bytes, written.length, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    REQUIRE(json_is_string(read));
    if (text_is_utf8(text))
        REQUIRE(text_equal(text,
            (struct text){.bytes = json_string_value(read), .length = json_string_length(read)}));
    json_decref(read);
    buffer_free(&written);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text message = {.bytes = (const char *)data, .length = size};

    check_plain(message);
    check_request(message);
    check_answer(message);
    check_string(message);
    return 0;
}
