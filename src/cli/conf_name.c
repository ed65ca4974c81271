/* As BitBake's ConfHandler reads a line and data_smart sets a variable. A name holds letters,
 * digits and - _ + . $ { } / ~ : in ASCII. An operator may follow without a blank (+=, .=,
 * :=), so a name that ends with + . or : needs one before its equals sign: the writer always
 * puts one there. Further
 *
 *  - ${name} would be expanded, in names too,
 *  - :append, :prepend and :remove at the end, or before a last override without capitals,
 *    would change another variable,
 *  - _append, _prepend and _remove anywhere are the syntax of old: BitBake ends there. */
#include "cli/conf_name.h"

bool conf_is_one_of(char byte, const char *characters)
{
    return byte != '\0' && strchr(characters, byte);
}

static bool is_alphanumeric(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9');
}

bool conf_name_has(char byte)
{
    return is_alphanumeric(byte) || conf_is_one_of(byte, "-_+.${}/~:");
}

bool conf_stands_at(struct text text, size_t at, const char *word)
{
    size_t length = strlen(word);

    return at + length <= text.length && memcmp(text.bytes + at, word, length) == 0;
}

/* Does ${name} stand here? */
static bool is_expansion(struct text text, size_t at)
{
    size_t end = at + 2;

    if (!conf_stands_at(text, at, "${"))
        return false;
    while (end < text.length &&
           (is_alphanumeric(text.bytes[end]) || conf_is_one_of(text.bytes[end], "-_+./~:")))
        end++;
    return end > at + 2 && end < text.length && text.bytes[end] == '}';
}

/* Does an override like :append stand here, at the end or before a last one? */
static bool is_override(struct text text, size_t at)
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
            return "a character that no name of a BitBake variable can hold";
        if (is_expansion(name, i))
            return "BitBake would expand ${...}";
        if (is_override(name, i))
            return "BitBake would take :append, :prepend or :remove for an override";
        if (conf_stands_at(name, i, "_append") || conf_stands_at(name, i, "_prepend") ||
            conf_stands_at(name, i, "_remove"))
            return "BitBake would take _append, _prepend or _remove for an override";
    }
    return NULL;
}
