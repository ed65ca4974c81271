/* SPDX-License-Identifier: MIT */
/* A state machine over lines: the protocol line, header lines, an empty line. */
#include "wire/handshake.h"

#include "wire/codec.h"
#include "wire/xml_rpc.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define PROTOCOL "PRSERVICE"
#define PROTOCOL_VERSION "1.0"
#define TLS_RECORD 0x16 /* the first byte of a client that speaks TLS */
#define ANNOTATION_PREFIX "x-"
#define RELAY_HEADER "x-prserv-relay"
#define MOST_RELAY_BYTES 1024

const char *const handshake_annotation_names[HANDSHAKE_ANNOTATIONS] = {
    "build-host", "build-name", "machine", "distro", "layers"};

bool handshake_is_annotation(struct text name)
{
    bool is_known = false;

    for (int i = 0; i < HANDSHAKE_ANNOTATIONS; i++)
        is_known = is_known || text_is(name, handshake_annotation_names[i]);
    return is_known;
}

static bool handshake_header_is(struct text name, const char *expected)
{
    return name.length == strlen(expected) && strncasecmp(name.bytes, expected, name.length) == 0;
}

/* Returns whether a line is PRSERVICE 1.0, with any white space between the two. */
static bool handshake_is_protocol(struct text line)
{
    struct text version;

    line = text_strip(line);
    if (!text_starts_with(line, PROTOCOL))
        return false;
    version = text_from(line, strlen(PROTOCOL));
    return text_strip(version).length < version.length &&
           text_is(text_strip(version), PROTOCOL_VERSION);
}

/* Cuts a text, in valid UTF-8, to this length at a character. */
static struct text handshake_cut(struct text text, size_t length)
{
    if (text.length <= length)
        return text;
    while (length > 0 && ((unsigned char)text.bytes[length] & 0xc0) == 0x80)
        length--;
    return (struct text){.bytes = text.bytes, .length = length};
}

/* Keeps an annotation; of several with one name, the last. Without memory it is lost: nothing
 * depends on it. */
static void handshake_take_annotation(
    struct handshake *handshake, struct text name, struct text value)
{
    value = handshake_cut(value, HANDSHAKE_ANNOTATION_BYTES);
    for (int i = 0; i < HANDSHAKE_ANNOTATIONS; i++) {
        char header[32];

        (void)snprintf(
            header, sizeof header, "%s%s", ANNOTATION_PREFIX, handshake_annotation_names[i]);
        if (!handshake_header_is(name, header))
            continue;
        free(handshake->annotations[i]);
        handshake->annotations[i] = value.length > 0 ? strndup(value.bytes, value.length) : NULL;
        handshake->annotation_bytes += value.length;
    }
}

void handshake_release(struct handshake *handshake)
{
    for (int i = 0; i < HANDSHAKE_ANNOTATIONS; i++) {
        free(handshake->annotations[i]);
        handshake->annotations[i] = NULL;
    }
    free(handshake->relays);
    handshake->relays = NULL;
}

void handshake_write_annotations(const struct handshake *handshake, struct buffer *out)
{
    const char *separator = "{";

    for (int i = 0; i < HANDSHAKE_ANNOTATIONS; i++) {
        if (!handshake->annotations[i])
            continue;
        buffer_append_format(out, "%s\"%s\":", separator, handshake_annotation_names[i]);
        codec_write_string(out, text_of(handshake->annotations[i]));
        separator = ",";
    }
    if (separator[0] == ',')
        buffer_append_string(out, "}");
}

/* Adds to the relays on the way. A name that does not fit is dropped: the way is too long anyway.
 */
static void handshake_take_relay(struct handshake *handshake, struct text name)
{
    const size_t length = handshake->relays ? strlen(handshake->relays) : 0;
    char *relays = NULL;

    if (name.length == 0 || length + name.length > MOST_RELAY_BYTES ||
        asprintf(&relays, "%s%s%.*s", length > 0 ? handshake->relays : "", length > 0 ? "," : "",
            (int)name.length, name.bytes) < 0)
        return;
    free(handshake->relays);
    handshake->relays = relays;
    handshake->annotation_bytes += name.length + 1;
}

bool handshake_has_relay(const struct handshake *handshake, const char *name)
{
    const size_t length = strlen(name);
    const char *at = handshake->relays;

    while (at && strncmp(at, name, length) != 0) {
        at = strchr(at, ',');
        at = at ? at + 1 : NULL;
    }
    return at && (at[length] == ',' || at[length] == '\0');
}

void handshake_write_headers(const struct handshake *handshake, struct buffer *out)
{
    if (handshake->is_from_server)
        buffer_append_string(out, "x-prserv-upstream: 1\n");
    if (handshake->relays) {
        buffer_append_string(out, RELAY_HEADER ": ");
        buffer_append_string(out, handshake->relays);
        buffer_append_string(out, "\n");
    }
    for (int i = 0; i < HANDSHAKE_ANNOTATIONS; i++) {
        if (!handshake->annotations[i])
            continue;
        buffer_append_format(out, "%s%s: ", ANNOTATION_PREFIX, handshake_annotation_names[i]);
        buffer_append_string(out, handshake->annotations[i]);
        buffer_append_string(out, "\n");
    }
}

static enum framer_result handshake_take_header(
    struct handshake *handshake, struct text line, struct error *error)
{
    const char *colon = memchr(line.bytes, ':', line.length);
    struct text name;
    struct text value;

    if (++handshake->n_headers > HANDSHAKE_HEADER_LINES)
        return error_set(error, FRAMER_LOST, "the handshake has more than 100 header lines");
    if (!colon)
        return error_set(error, FRAMER_LOST, "a header line without a colon; write 'name: value'");
    if (!text_is_utf8(line))
        return error_set(error, FRAMER_LOST, "a header line is not UTF-8");
    name = (struct text){.bytes = line.bytes, .length = (size_t)(colon - line.bytes)};
    value = text_from(line, name.length + 1);
    if (handshake_header_is(text_strip(name), "needs-headers"))
        handshake->needs_headers = text_is(text_strip(value), "true");
    else if (handshake_header_is(text_strip(name), "x-prserv-upstream"))
        handshake->is_from_server = text_is(text_strip(value), "1");
    else if (handshake_header_is(text_strip(name), RELAY_HEADER))
        handshake_take_relay(handshake, text_strip(value));
    else if (text_starts_with(text_strip(name), ANNOTATION_PREFIX) ||
             text_starts_with(text_strip(name), "X-"))
        handshake_take_annotation(handshake, text_strip(name), text_strip(value));
    return FRAMER_MORE;
}

static bool handshake_is_tls(const struct framer *framer)
{
    return framer_pending(framer) > 0 && framer->input.bytes[framer->start] == TLS_RECORD;
}

enum framer_result handshake_read(
    struct handshake *handshake, struct framer *framer, struct error *error)
{
    handshake->is_tls = !handshake->has_protocol && handshake_is_tls(framer);
    if (handshake->is_tls)
        return error_set(error, FRAMER_LOST,
            "the client speaks TLS, but this port does not: use the address without tls://, or the "
            "port that has ',tls'");
    for (;;) {
        struct text line;
        enum framer_result result = framer_next_line(framer, HANDSHAKE_HEADER_BYTES, &line, error);

        if (result != FRAMER_READY)
            return result;
        if (!handshake->has_protocol) {
            handshake->is_xml_rpc = xml_rpc_is_request(line);
            if (!handshake_is_protocol(line))
                return error_set(error, FRAMER_LOST,
                    "this server speaks PRSERVICE 1.0; a connection begins with the "
                    "line 'PRSERVICE 1.0', headers and an empty line");
            handshake->has_protocol = true;
        } else if (text_strip(line).length == 0) {
            return FRAMER_READY;
        } else if (handshake_take_header(handshake, line, error) == FRAMER_LOST) {
            return FRAMER_LOST;
        }
    }
}
