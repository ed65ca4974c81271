#include "client/splitter.h"

#define KEEP_BYTES ((size_t)64 * 1024)

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

static int hand_on(struct splitter *splitter, enum splitter_part part)
{
    int result;

    if (buffer_failed(&splitter->value) || buffer_failed(&splitter->key))
        return SPLITTER_NO_MEMORY;
    if (splitter->value.length == 0)
        return SPLITTER_NONSENSE;
    result = splitter->found(
        splitter->context, part, buffer_text(&splitter->key), buffer_text(&splitter->value));
    buffer_reset(&splitter->value, KEEP_BYTES);
    return result;
}

/* Keeps a byte of the value, and follows strings and brackets in it. */
static void keep(struct splitter *splitter, char byte)
{
    buffer_append(&splitter->value, &byte, 1);
    if (splitter->in_string) {
        if (splitter->escaped)
            splitter->escaped = false;
        else if (byte == '\\')
            splitter->escaped = true;
        else if (byte == '"')
            splitter->in_string = false;
    } else if (byte == '"') {
        splitter->in_string = true;
    } else if (byte == '{' || byte == '[') {
        splitter->depth++;
    } else if (byte == '}' || byte == ']') {
        splitter->depth--;
    }
}

static int end_list(struct splitter *splitter)
{
    splitter->state = SPLITTER_AFTER_LIST;
    if (buffer_failed(&splitter->key))
        return SPLITTER_NO_MEMORY;
    return splitter->found(splitter->context, SPLITTER_LIST_END, buffer_text(&splitter->key),
        (struct text){.bytes = NULL});
}

/* A byte inside a value or an element; those that end it are not part of it. */
static int take_inside(struct splitter *splitter, char byte)
{
    bool element = splitter->state == SPLITTER_IN_ELEMENT;
    char end = element ? ']' : '}';
    int result;

    if (splitter->in_string || splitter->depth > 0 || (byte != ',' && byte != end)) {
        if (!splitter->in_string && splitter->depth == 0 && (byte == '}' || byte == ']'))
            return SPLITTER_NONSENSE;
        keep(splitter, byte);
        return splitter->value.length > SPLITTER_VALUE_BYTES ? SPLITTER_TOO_LONG : 0;
    }
    if (byte == ',')
        splitter->state = element ? SPLITTER_NEXT_ELEMENT : SPLITTER_NEXT_KEY;
    else if (!element)
        splitter->state = SPLITTER_END;
    result = hand_on(splitter, element ? SPLITTER_ONE : SPLITTER_MEMBER);
    return result == 0 && byte == ']' ? end_list(splitter) : result;
}

static int begin_inside(struct splitter *splitter, enum splitter_state state, char byte)
{
    splitter->state = state;
    return take_inside(splitter, byte);
}

static int expect(struct splitter *splitter, char byte, char expected, enum splitter_state next)
{
    if (byte != expected)
        return SPLITTER_NONSENSE;
    splitter->state = next;
    return 0;
}

static int take_in_key(struct splitter *splitter, char byte)
{
    if (byte == '"')
        splitter->state = SPLITTER_COLON;
    else
        buffer_append(&splitter->key, &byte, 1);
    if (splitter->key.length > SPLITTER_KEY_BYTES)
        return SPLITTER_TOO_LONG;
    return byte == '\\' ? SPLITTER_NONSENSE : 0; /* no answer has such a name */
}

static int take(struct splitter *splitter, char byte)
{
    if (splitter->state == SPLITTER_IN_KEY)
        return take_in_key(splitter, byte);
    if (splitter->state == SPLITTER_IN_VALUE || splitter->state == SPLITTER_IN_ELEMENT)
        return take_inside(splitter, byte);
    if (is_blank(byte))
        return 0;
    switch (splitter->state) {
    case SPLITTER_START:
        return expect(splitter, byte, '{', SPLITTER_KEY);
    case SPLITTER_KEY:
    case SPLITTER_NEXT_KEY:
        buffer_reset(&splitter->key, KEEP_BYTES);
        if (byte == '}' && splitter->state == SPLITTER_KEY)
            return expect(splitter, byte, '}', SPLITTER_END);
        return expect(splitter, byte, '"', SPLITTER_IN_KEY);
    case SPLITTER_COLON:
        return expect(splitter, byte, ':', SPLITTER_VALUE);
    case SPLITTER_VALUE:
        if (byte == '[')
            return expect(splitter, byte, '[', SPLITTER_ELEMENT);
        return begin_inside(splitter, SPLITTER_IN_VALUE, byte);
    case SPLITTER_ELEMENT:
    case SPLITTER_NEXT_ELEMENT:
        if (byte == ']')
            return splitter->state == SPLITTER_ELEMENT ? end_list(splitter) : SPLITTER_NONSENSE;
        return begin_inside(splitter, SPLITTER_IN_ELEMENT, byte);
    case SPLITTER_AFTER_LIST:
        if (byte == ',')
            return expect(splitter, byte, ',', SPLITTER_NEXT_KEY);
        return expect(splitter, byte, '}', SPLITTER_END);
    default:
        return SPLITTER_NONSENSE;
    }
}

/* How many bytes from here on only belong to the value: they change nothing else. */
static size_t count_plain(const struct splitter *splitter, const char *bytes, size_t length)
{
    size_t n = 0;

    if ((splitter->state != SPLITTER_IN_VALUE && splitter->state != SPLITTER_IN_ELEMENT) ||
        splitter->escaped)
        return 0;
    if (splitter->in_string) {
        while (n < length && bytes[n] != '"' && bytes[n] != '\\')
            n++;
    } else {
        while (n < length && bytes[n] != '"' && bytes[n] != ',' && bytes[n] != '{' &&
               bytes[n] != '}' && bytes[n] != '[' && bytes[n] != ']')
            n++;
    }
    return n;
}

int splitter_feed(struct splitter *splitter, struct text piece)
{
    size_t at = 0;
    int result = 0;

    while (at < piece.length && result == 0) {
        size_t plain = count_plain(splitter, piece.bytes + at, piece.length - at);

        buffer_append(&splitter->value, piece.bytes + at, plain);
        at += plain;
        if (splitter->value.length > SPLITTER_VALUE_BYTES)
            return SPLITTER_TOO_LONG;
        if (at < piece.length)
            result = take(splitter, piece.bytes[at++]);
    }
    return result;
}

void splitter_free(struct splitter *splitter)
{
    buffer_free(&splitter->key);
    buffer_free(&splitter->value);
}
