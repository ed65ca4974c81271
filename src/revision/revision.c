/* Without leading zeros the longer of two numbers is the greater, and numbers of
 * one length compare like text: so strings of digits are all that is needed. */
#include "revision/revision.h"

#include <stdlib.h>
#include <string.h>

static size_t number_length(const char *text)
{
    return strspn(text, "0123456789");
}

bool revision_is_valid(const char *text, size_t length)
{
    size_t at = 0;

    for (;;) {
        size_t start = at;

        while (at < length && text[at] >= '0' && text[at] <= '9')
            at++;
        if (at == start || (text[start] == '0' && at - start > 1))
            return false;
        if (at == length)
            return true;
        if (text[at++] != '.')
            return false;
    }
}

int revision_compare(const char *a, const char *b)
{
    for (;;) {
        size_t a_length = number_length(a);
        size_t b_length = number_length(b);
        int order;

        if (a_length != b_length)
            return a_length < b_length ? -1 : 1;
        order = memcmp(a, b, a_length);
        if (order != 0)
            return order;
        a += a_length;
        b += b_length;
        if (*a == '\0' || *b == '\0')
            return (*a != '\0') - (*b != '\0');
        a++;
        b++;
    }
}

char *revision_increase(const char *revision)
{
    size_t length = strlen(revision);
    char *result = malloc(length + 2); /* one more digit, and the end */
    size_t at = length;

    if (!result)
        return NULL;
    memcpy(result, revision, length + 1);
    while (at > 0 && result[at - 1] == '9')
        result[--at] = '0';
    if (at > 0 && result[at - 1] != '.') {
        result[at - 1]++;
        return result;
    }
    /* The number was all nines: a one goes in front of it. */
    memmove(result + at + 1, result + at, length - at + 1);
    result[at] = '1';
    return result;
}

char *revision_child(const char *revision)
{
    char *result = malloc(strlen(revision) + sizeof ".0");

    if (!result)
        return NULL;
    (void)stpcpy(stpcpy(result, revision), ".0");
    return result;
}
