/* SPDX-License-Identifier: MIT */
/* The rules of BitBake's ConfHandler, which reads a line, and of data_smart, which sets a variable.
 * A name holds ASCII letters, digits and - _ + . $ { } / ~ : and an operator may follow without a
 * blank (+=, .=, :=). A name that ends with + . or : therefore needs a blank before its equals
 * sign; the writer always puts one there. Besides,
 *
 *  - BitBake expands ${name}, also in names,
 *  - :append, :prepend and :remove at the end, or before a last override without capitals,
 *    change another variable,
 *  - _append, _prepend and _remove anywhere are the old syntax: BitBake stops with an error. */
#include "cli/rows/conf_name.h"

bool conf_is_one_of(char byte, const char *characters)
{
    return byte != '\0' && strchr(characters, byte);
}

static bool conf_is_alphanumeric(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9');
}

bool conf_name_has(char byte)
{
    return conf_is_alphanumeric(byte) || conf_is_one_of(byte, "-_+.${}/~:");
}

bool conf_stands_at(struct text text, size_t at, const char *word)
{
    size_t length = strlen(word);

    return at + length <= text.length && memcmp(text.bytes + at, word, length) == 0;
}

/* Returns whether ${name} begins at this position. */
static bool conf_is_expansion(struct text text, size_t at)
{
    size_t end = at + 2;

    if (!conf_stands_at(text, at, "${"))
        return false;
    while (end < text.length &&
           (conf_is_alphanumeric(text.bytes[end]) || conf_is_one_of(text.bytes[end], "-_+./~:")))
        end++;
    return end > at + 2 && end < text.length && text.bytes[end] == '}';
}

/* Returns whether an override like :append begins at this position and takes effect: at the end,
 * or before a last override. */
static bool conf_is_override(struct text text, size_t at)
{
    static const char *const words[] = {":append", ":prepend", ":remove"};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t end = at + strlen(words[i]);

        if (!conf_stands_at(text, at, words[i]))
            continue;
        if (end == text.length)
            return true;
        if (text.bytes[end] != ':')
            continue;
        while (end < text.length && !(text.bytes[end] >= 'A' && text.bytes[end] <= 'Z'))
            end++;
        if (end == text.length)
            return true;
    }
    return false;
}

const char *conf_name_refused(struct text name)
{
    for (size_t i = 0; i < name.length; i++) {
        if (!conf_name_has(name.bytes[i]))
            return "the name of a BitBake variable can't hold one of its characters";
        if (conf_is_expansion(name, i))
            return "BitBake would expand ${...}";
        if (conf_is_override(name, i))
            return "BitBake would read :append, :prepend or :remove as an override";
        if (conf_stands_at(name, i, "_append") || conf_stands_at(name, i, "_prepend") ||
            conf_stands_at(name, i, "_remove"))
            return "BitBake would read _append, _prepend or _remove as an override";
    }
    return NULL;
}
