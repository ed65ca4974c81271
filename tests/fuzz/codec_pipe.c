/* SPDX-License-Identifier: MIT */
/* Prints the codec's result for each message. Standard input has, for each message, its length as a
 * decimal number, a newline, and its bytes. Standard output has a line of JSON for each:
 *
 *     {"result":"request","kind":"get-pr","version":…,"pkgarch":…,"checksum":…,"value":…,
 *      "value_is_integer":…,"history":…,"colinfo":…}
 *     {"result":"end"}, {"result":"refused","reason":…}, {"result":"lost","reason":…} */
#include "wire/codec.h"

#include <stdio.h>
#include <stdlib.h>

static void say_text(struct buffer *out, const char *name, struct text text)
{
    buffer_append_string(out, ",\"");
    buffer_append_string(out, name);
    buffer_append_string(out, "\":");
    codec_write_string(out, text);
}

static void say_flag(struct buffer *out, const char *name, bool flag)
{
    buffer_append_string(out, ",\"");
    buffer_append_string(out, name);
    buffer_append_string(out, flag ? "\":true" : "\":false");
}

static void say_request(struct buffer *out, const struct request *request)
{
    say_text(out, "kind", text_of(request_name(request->kind)));
    say_text(out, "version", request->version);
    say_text(out, "pkgarch", request->pkgarch);
    say_text(out, "checksum", request->checksum);
    say_text(out, "value", request->value);
    say_flag(out, "value_is_integer", request->value_is_integer);
    say_flag(out, "history", request->history);
    say_flag(out, "colinfo", request->colinfo);
}

static const char *name_of(enum codec_result result)
{
    switch (result) {
    case CODEC_REQUEST:
        return "request";
    case CODEC_END:
        return "end";
    case CODEC_REFUSED:
        return "refused";
    case CODEC_LOST:
        return "lost";
    }
    return "?";
}

static void say(struct buffer *out, struct text message)
{
    struct request request;
    struct error error;
    enum codec_result result = codec_read_request(message, &request, &error);

    buffer_append_string(out, "{\"result\":\"");
    buffer_append_string(out, name_of(result));
    buffer_append_string(out, "\"");
    if (result == CODEC_REQUEST)
        say_request(out, &request);
    else if (result != CODEC_END)
        say_text(out, "reason", text_of(error.text));
    buffer_append_string(out, "}\n");
    codec_release(&request);
}

/* Returns false at the end of the input. The caller owns *bytes. */
static bool read_message(char **bytes, size_t *length)
{
    *bytes = NULL;
    if (scanf("%zu", length) != 1 || getchar() != '\n')
        return false;
    *bytes = malloc(
        *length + (*length == 0)); /* the exact size, so that a sanitizer sees reads beyond it */
    return *bytes && fread(*bytes, 1, *length, stdin) == *length;
}

int main(void)
{
    struct buffer out = BUFFER_EMPTY;
    char *bytes;
    size_t length;

    while (read_message(&bytes, &length)) {
        buffer_reset(&out, 4096);
        say(&out, (struct text){.bytes = bytes, .length = length});
        free(bytes);
        (void)fwrite(out.bytes, 1, out.length, stdout);
        if (fflush(stdout) != 0)
            break;
    }
    free(bytes);
    buffer_free(&out);
    return 0;
}
