/* SPDX-License-Identifier: MIT */
/* Revisions: the order is total and that of their numbers, an increase and a child are greater, and
 * no other text is accepted as a revision.
 *
 * Input: three texts, one to a line. If the first byte is odd, their bytes are mapped to digits and
 * dots, so that most are revisions. */
#include "revision/revision.h"

#include "fuzz.h"

#define TEXTS 3
#define TEXT_BYTES 64

static int sign(int order)
{
    return (order > 0) - (order < 0);
}

static void take_text(struct fuzz_input *input, bool digits, char text[TEXT_BYTES])
{
    size_t length = 0;

    while (input->left > 0 && length < TEXT_BYTES - 1) {
        char byte = (char)fuzz_take_byte(input);

        if (byte == '\n' || byte == '\0')
            break;
        text[length++] = digits ? "0123456789.9"[(unsigned char)byte % 12] : byte;
    }
    text[length] = '\0';
}

/* A second definition: numbers joined by single dots. */
static bool is_revision(const char *text)
{
    bool part = false; /* the part has a digit */
    bool zero = false; /* the part begins with 0 */

    for (; *text; text++) {
        if (*text == '.' && !part)
            return false;
        if (*text != '.' && (*text < '0' || *text > '9' || zero))
            return false;
        zero = !part && *text == '0';
        part = *text != '.';
    }
    return part;
}

/* Compares revisions whose numbers fit into machine integers; returns false for others. */
static bool compare_numbers(const char *a, const char *b, int *order)
{
    for (;;) {
        char *a_end;
        char *b_end;
        unsigned long long x = strtoull(a, &a_end, 10);
        unsigned long long y = strtoull(b, &b_end, 10);

        if (a_end - a > 18 || b_end - b > 18)
            return false;
        *order = (x > y) - (x < y);
        if (*order == 0)
            *order = (*a_end == '.') - (*b_end == '.');
        if (*order != 0 || *a_end == '\0')
            return true;
        a = a_end + 1;
        b = b_end + 1;
    }
}

static void check_pair(const char *a, const char *b)
{
    int order = sign(revision_compare(a, b));
    int expected;

    REQUIRE(order == -sign(revision_compare(b, a)));
    REQUIRE((order == 0) == (strcmp(a, b) == 0));
    if (compare_numbers(a, b, &expected))
        REQUIRE(order == expected);
}

static void check_growth(const char *revision)
{
    char *next = revision_increase(revision);
    char *child = revision_child(revision);

    REQUIRE(next && is_revision(next) && revision_is_valid(next, strlen(next)));
    REQUIRE(child && is_revision(child) && revision_is_valid(child, strlen(child)));
    REQUIRE(revision_compare(revision, child) < 0);
    REQUIRE(revision_compare(child, next) < 0);
    free(next);
    free(child);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {.at = data, .left = size};
    bool digits = fuzz_take_byte(&input) & 1;
    char texts[TEXTS][TEXT_BYTES];
    unsigned valid = 0;

    for (int i = 0; i < TEXTS; i++) {
        take_text(&input, digits, texts[i]);
        REQUIRE(is_revision(texts[i]) == revision_is_valid(texts[i], strlen(texts[i])));
        if (!is_revision(texts[i]))
            continue;
        valid++;
        check_growth(texts[i]);
        check_pair(texts[i], texts[i]);
    }
    if (valid < TEXTS)
        return 0;
    check_pair(texts[0], texts[1]);
    check_pair(texts[1], texts[2]);
    check_pair(texts[0], texts[2]);
    if (revision_compare(texts[0], texts[1]) <= 0 && revision_compare(texts[1], texts[2]) <= 0)
        REQUIRE(revision_compare(texts[0], texts[2]) <= 0);
    return 0;
}
