/* SPDX-License-Identifier: MIT */
/* The codec: it reads what a JSON library reads, a request or a row that was read is the same
 * after writing and reading it, and whatever is written is JSON in ASCII.
 *
 * Input: a message, which is read as a request, as an answer and as text. */
#include "wire/codec.h"

#include "fuzz.h"
#include "revision/revision.h"

#include <jansson.h>

static bool is_same_request(const struct request *a, const struct request *b)
{
    return a->kind == b->kind && text_equal(a->version, b->version) &&
           text_equal(a->pkgarch, b->pkgarch) && text_equal(a->checksum, b->checksum) &&
           text_equal(a->value, b->value) && a->history == b->history && a->colinfo == b->colinfo;
}

/* An error is one line. It may be empty, where a server gives an empty reason. */
static void check_error(const struct error *error)
{
    for (const char *at = error->text; *at; at++)
        REQUIRE((unsigned char)*at >= 0x20 && *at != 0x7f);
}

/* ---- requests ---- */

static json_t *load(struct text json, size_t flags, json_error_t *reason)
{
    return json_loadb(json.length ? json.bytes : "", json.length,
        flags | JSON_DECODE_ANY | JSON_ALLOW_NUL, reason);
}

static bool is_field(const json_t *object, const char *name, struct text field)
{
    const json_t *value = json_object_get(object, name);

    return text_equal(field,
        (struct text){.bytes = json_string_value(value), .length = json_string_length(value)});
}

/* Does the library say that this is not JSON? It also refuses what is: numbers that are too large
 * for C, and a NUL in a name. */
static bool is_invalid(const json_t *root, const json_error_t *reason)
{
    return !root && json_error_code(reason) != json_error_numeric_overflow &&
           json_error_code(reason) != json_error_null_byte_in_key;
}

static void check_with_library(
    struct text message, const struct request *request, enum codec_result result)
{
    json_error_t reason;
    const json_t *arguments;
    json_t *root;

    if (message.length > 0 && memchr(message.bytes, '\0', message.length))
        return; /* the library passes over one behind a number */
    root = load(message, 0, &reason);
    REQUIRE(!root || result != CODEC_LOST);
    REQUIRE(!is_invalid(root, &reason) || result == CODEC_LOST);
    if (root && result == CODEC_REQUEST) {
        arguments = json_object_get(root, request_name(request->kind));
        REQUIRE(json_is_object(arguments));
        REQUIRE(request->version.length == 0 || is_field(arguments, "version", request->version));
        REQUIRE(request->pkgarch.length == 0 || is_field(arguments, "pkgarch", request->pkgarch));
        REQUIRE(
            request->checksum.length == 0 || is_field(arguments, "checksum", request->checksum));
        REQUIRE(request->value.length == 0 || request->value_is_integer ||
                is_field(arguments, "value", request->value));
    }
    json_decref(root);
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
    enum codec_result result = codec_read_request(message, &request, &error);

    check_with_library(message, &request, result);
    switch (result) {
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

static bool is_same_row(const struct row *a, const struct row *b)
{
    return text_equal(a->version, b->version) && text_equal(a->pkgarch, b->pkgarch) &&
           text_equal(a->checksum, b->checksum) && text_equal(a->value, b->value) &&
           (a->value.bytes == NULL) == (b->value.bytes == NULL);
}

/* A row of strings that a library reads, each member once. */
static bool is_row(const json_t *root)
{
    const json_t *value = json_object_get(root, "value");

    return json_is_string(json_object_get(root, "version")) &&
           json_is_string(json_object_get(root, "pkgarch")) &&
           json_is_string(json_object_get(root, "checksum")) &&
           (json_is_string(value) || json_is_null(value));
}

static void check_row_with_library(struct text json)
{
    json_error_t reason;
    json_t *root = load(json, JSON_REJECT_DUPLICATES, &reason);
    struct row row;
    char *owned;
    struct error error;

    if (!memchr(json.length ? json.bytes : "", '\0', json.length) && is_row(root)) {
        REQUIRE(codec_read_row(json, &row, &owned, &error) == 0);
        REQUIRE(is_field(root, "version", row.version));
        REQUIRE(is_field(root, "pkgarch", row.pkgarch));
        REQUIRE(is_field(root, "checksum", row.checksum));
        REQUIRE(is_field(root, "value", row.value));
        free(owned);
    }
    json_decref(root);
}

static void check_row(struct text message)
{
    struct row row;
    struct row again;
    char *owned;
    char *owned_again;
    struct buffer written = BUFFER_EMPTY;
    struct error error;

    if (codec_read_row(message, &row, &owned, &error) != 0) {
        check_error(&error);
        return;
    }
    codec_write_export_row(&written, true, &row);
    REQUIRE(codec_read_row(buffer_text(&written), &again, &owned_again, &error) == 0);
    REQUIRE(is_same_row(&row, &again));
    free(owned);
    free(owned_again);
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

    check_row_with_library(message);
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

    check_request(message);
    check_answer(message);
    check_string(message);
    return 0;
}
