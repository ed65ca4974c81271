/* An answer's beginning says what it is:
 *
 *     {"value": "3"}  {"alive": true}       right
 *     {"chunk-stream": null}                lines up to an empty one are one text
 *     anything else                         wrong: invoke-error, a value of null, null
 *
 * Everything that is asked is known or made known, so null is never right. */
#include "cli/bench_answer.h"

#include <string.h>

/* What is left after blanks and this word. */
static bool take(struct text *text, const char *word)
{
    size_t length = strlen(word);

    while (text->length > 0 && text->bytes[0] == ' ') {
        text->bytes++;
        text->length--;
    }
    if (text->length < length || memcmp(text->bytes, word, length) != 0)
        return false;
    text->bytes += length;
    text->length -= length;
    return true;
}

/* Is it an object whose first member has this name (with quotes)? Leaves its value. */
static bool has_member(struct text *text, const char *name)
{
    return take(text, "{") && take(text, name) && take(text, ":");
}

/* A revision, or what test-package says; an integer, from servers of old. A revision may
 * be longer than the head. */
static bool is_value(struct text value)
{
    bool quoted = take(&value, "\"");
    size_t length = 0;

    if (!quoted && (take(&value, "true") || take(&value, "false")))
        return take(&value, "}");
    while (value.length > 0 && ((value.bytes[0] >= '0' && value.bytes[0] <= '9') ||
                                   (quoted && value.bytes[0] == '.' && length > 0))) {
        value = (struct text){.bytes = value.bytes + 1, .length = value.length - 1};
        length++;
    }
    return length > 0 &&
           (value.length == 0 || ((!quoted || take(&value, "\"")) && take(&value, "}")));
}

static bool is_right(struct text head)
{
    struct text value = head;

    if (has_member(&value, "\"value\""))
        return is_value(value);
    value = head;
    return has_member(&value, "\"alive\"") && take(&value, "true") && take(&value, "}");
}

static void keep_head(struct bench_answer_reader *reader, struct text piece)
{
    size_t room = sizeof reader->head - reader->head_length;
    size_t length = piece.length < room ? piece.length : room;

    if (length > 0)
        memcpy(reader->head + reader->head_length, piece.bytes, length);
    reader->head_length += length;
}

/* A line has ended. Returns true if an answer has, too. */
static bool end_line(
    struct bench_answer_reader *reader, struct text line, bool empty, struct bench_answer *answer)
{
    struct text start = line;

    if (reader->in_stream && !empty)
        return false;
    if (!reader->in_stream && has_member(&start, "\"chunk-stream\"")) {
        reader->in_stream = true;
        reader->head_length = 0;
        return false;
    }
    reader->in_stream = false;
    answer->right = is_right(line);
    answer->head = line;
    return true;
}

/* Takes one line, or what there is of it. */
static size_t read_line(struct bench_answer_reader *reader, struct text bytes, bool *complete,
    struct bench_answer *answer)
{
    const char *end = memchr(bytes.bytes, '\n', bytes.length);
    struct text piece = {bytes.bytes, end ? (size_t)(end - bytes.bytes) : bytes.length};
    struct text line = piece;
    bool empty;

    if (reader->in_stream || reader->line_length > 0 || !end) {
        if (!reader->in_stream && reader->line_length == 0)
            reader->head_length = 0;
        keep_head(reader, piece);
        line = (struct text){.bytes = reader->head, .length = reader->head_length};
    }
    reader->line_length += piece.length;
    if (!end)
        return piece.length;
    empty = reader->line_length == 0;
    reader->line_length = 0;
    *complete = end_line(reader, line, empty, answer);
    return piece.length + 1;
}

size_t bench_answer_read(struct bench_answer_reader *reader, struct text bytes, bool *complete,
    struct bench_answer *answer)
{
    size_t taken = 0;

    *complete = false;
    while (taken < bytes.length && !*complete) {
        const struct text rest = {bytes.bytes + taken, bytes.length - taken};

        taken += read_line(reader, rest, complete, answer);
    }
    return taken;
}
