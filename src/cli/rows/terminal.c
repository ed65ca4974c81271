/* SPDX-License-Identifier: MIT */
#include "cli/rows/terminal.h"

#include "base/text.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/types.h>

#define CHARACTER_BYTES 4 /* of UTF-8, at most */

struct terminal {
    char begun[CHARACTER_BYTES]; /* a character that the last write has cut */
    size_t n_begun;
};

/* Writes a byte that is safe, or a question mark. */
static void terminal_write_ascii(char byte)
{
    char string[2] = {byte, '\0'};

    if (byte == '\0')
        string[0] = '?';
    else if (byte != '\n' && byte != '\t')
        text_make_printable(string);
    (void)putchar(string[0]);
}

/* Writes the first character of bytes. Returns its length, or 0 if more bytes are needed. */
static size_t terminal_write_character(const char *bytes, size_t length, bool is_last)
{
    char string[CHARACTER_BYTES + 1] = "";
    uint32_t code;
    size_t used = text_decode(bytes, length, &code);

    if (*bytes == '\r' && length == 1 && !is_last)
        return 0;
    if (*bytes == '\r' && length > 1 && bytes[1] == '\n') { /* only together */
        (void)fputs("\r\n", stdout);
        return 2;
    }
    if (used == 0 && !is_last && length < CHARACTER_BYTES)
        return 0;
    if (used <= 1) {
        terminal_write_ascii(*bytes);
        return 1;
    }
    memcpy(string, bytes, used);
    text_make_printable(string);
    (void)fputs(string, stdout);
    return used;
}

static void terminal_flush(struct terminal *terminal, bool is_last)
{
    size_t used;

    while (terminal->n_begun > 0 &&
           (used = terminal_write_character(terminal->begun, terminal->n_begun, is_last)) > 0) {
        terminal->n_begun -= used;
        memmove(terminal->begun, terminal->begun + used, terminal->n_begun);
    }
}

static ssize_t terminal_write(void *cookie, const char *bytes, size_t length)
{
    struct terminal *terminal = cookie;

    for (size_t i = 0; i < length; i++) {
        terminal->begun[terminal->n_begun++] = bytes[i];
        if ((unsigned char)terminal->begun[0] < 0x80 || terminal->n_begun == CHARACTER_BYTES)
            terminal_flush(terminal, false);
    }
    return fflush(stdout) == 0 ? (ssize_t)length : 0;
}

static int terminal_close(void *cookie)
{
    struct terminal *terminal = cookie;

    terminal_flush(terminal, true);
    free(terminal);
    return fflush(stdout);
}

FILE *terminal_open(void)
{
    const cookie_io_functions_t functions = {.write = terminal_write, .close = terminal_close};
    struct terminal *terminal = calloc(1, sizeof *terminal);
    FILE *file = terminal ? fopencookie(terminal, "w", functions) : NULL;

    if (!file)
        free(terminal);
    return file;
}
