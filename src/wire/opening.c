#include "wire/opening.h"

#include <strings.h>

#define PROTOCOL "PRSERVICE"
#define PROTOCOL_VERSION "1.0"

static bool named(struct text name, const char *expected)
{
    return name.length == strlen(expected) && strncasecmp(name.bytes, expected, name.length) == 0;
}

static enum framer_result lost(struct error *error, const char *what)
{
    (void)error_set(error, ERROR_FRAMING, "%s", what);
    return FRAMER_LOST;
}

/* "PRSERVICE 1.0", with any white space between the two. */
static bool is_protocol(struct text line)
{
    static const size_t length = sizeof PROTOCOL - 1;
    struct text version;

    line = text_strip(line);
    if (line.length <= length || memcmp(line.bytes, PROTOCOL, length) != 0)
        return false;
    version = (struct text){.bytes = line.bytes + length, .length = line.length - length};
    return text_strip(version).length < version.length &&
           text_is(text_strip(version), PROTOCOL_VERSION);
}

static enum framer_result take_header(
    struct opening *opening, struct text line, struct error *error)
{
    const char *colon = memchr(line.bytes, ':', line.length);
    struct text name;
    struct text value;

    if (++opening->headers > OPENING_HEADER_LINES)
        return lost(error, "the opening has more than 100 header lines");
    if (!colon)
        return lost(error, "a header line without a colon; write 'name: value'");
    if (!text_is_utf8(line))
        return lost(error, "a header line is not UTF-8");
    name = (struct text){.bytes = line.bytes, .length = (size_t)(colon - line.bytes)};
    value = (struct text){.bytes = colon + 1, .length = line.length - name.length - 1};
    if (named(text_strip(name), "needs-headers"))
        opening->needs_headers = text_is(text_strip(value), "true");
    return FRAMER_MORE;
}

enum framer_result opening_read(struct opening *opening, struct framer *framer, struct error *error)
{
    for (;;) {
        struct text line;
        enum framer_result result = framer_next_line(framer, OPENING_HEADER_BYTES, &line, error);

        if (result != FRAMER_READY)
            return result;
        if (!opening->protocol_seen) {
            if (!is_protocol(line))
                return lost(error, "this server speaks PRSERVICE 1.0; a connection opens with the "
                                   "line 'PRSERVICE 1.0', headers and an empty line");
            opening->protocol_seen = true;
        } else if (text_strip(line).length == 0) {
            return FRAMER_READY;
        } else if (take_header(opening, line, error) == FRAMER_LOST) {
            return FRAMER_LOST;
        }
    }
}
