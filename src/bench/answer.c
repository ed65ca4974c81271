/* SPDX-License-Identifier: MIT */
#include "bench/answer.h"

#include <string.h>

/* Skips blanks and the word, if it is next. */
static bool bench_answer_skip(struct text *text, const char *word)
{
    size_t length = strlen(word);

    while (text->length > 0 && text->bytes[0] == ' ')
        *text = text_from(*text, 1);
    if (text->length < length || memcmp(text->bytes, word, length) != 0)
        return false;
    *text = text_from(*text, length);
    return true;
}

/* Skips to the value of an object's first member, if that has this name (with quotes). */
static bool bench_answer_skip_to_member(struct text *text, const char *name)
{
    return bench_answer_skip(text, "{") && bench_answer_skip(text, name) &&
           bench_answer_skip(text, ":");
}

/* Returns whether the value is a revision, the boolean of test-package, or an integer, which old
 * servers send. */
static bool bench_answer_is_value(struct text value)
{
    bool quoted = bench_answer_skip(&value, "\"");
    size_t length = 0;

    if (!quoted && (bench_answer_skip(&value, "true") || bench_answer_skip(&value, "false")))
        return bench_answer_skip(&value, "}");
    while (value.length > 0 && ((value.bytes[0] >= '0' && value.bytes[0] <= '9') ||
                                   (quoted && value.bytes[0] == '.' && length > 0))) {
        value = text_from(value, 1);
        length++;
    }
    return length > 0 && (!quoted || bench_answer_skip(&value, "\"")) &&
           bench_answer_skip(&value, "}");
}

bool bench_answer_is_expected(struct text answer)
{
    struct text value = answer;

    if (bench_answer_skip_to_member(&value, "\"value\""))
        return bench_answer_is_value(value);
    value = answer;
    return bench_answer_skip_to_member(&value, "\"alive\"") && bench_answer_skip(&value, "true") &&
           bench_answer_skip(&value, "}");
}
