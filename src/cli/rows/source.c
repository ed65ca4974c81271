/* SPDX-License-Identifier: MIT */
#include "cli/rows/source.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* Skips a byte order mark. Fails if only its first bytes are there. */
static int source_skip_bom(struct source *source, struct error *error)
{
    static const char mark[] = "\xef\xbb\xbf";

    for (int i = 0; i < 3 && (i > 0 || source_peek(source) == (unsigned char)mark[0]); i++) {
        if (source_next(source) != (unsigned char)mark[i])
            return error_set(error, ERROR_INPUT, "%s: the file is not UTF-8", source->name);
    }
    return 0;
}

int source_open(struct source *source, const char *name, struct error *error)
{
    bool standard = strcmp(name, "-") == 0;
    struct stat status;
    int result;
    int next;

    *source = (struct source){.name = standard ? "standard input" : name, .line = 1};
    source->file = standard ? stdin : fopen(name, "rbe");
    if (!source->file)
        return error_set(error, ERROR_SYSTEM, "%s: can't be read: %s", name, strerror(errno));
    if (fstat(fileno(source->file), &status) == 0 && S_ISREG(status.st_mode))
        source->size_bytes = (uint64_t)status.st_size;
    result = source_skip_bom(source, error);
    next = result == 0 ? source_peek(source) : EOF;
    while (next == ' ' || next == '\t' || next == '\r' || next == '\n') {
        (void)source_next(source);
        next = source_peek(source);
    }
    if (result == 0)
        result = source_failed(source, error);
    if (result != 0)
        source_close(source);
    return result;
}

void source_close(struct source *source)
{
    if (source->file && source->file != stdin)
        (void)fclose(source->file);
}

int source_peek(struct source *source)
{
    int byte = getc_unlocked(source->file);

    return byte == EOF ? EOF : ungetc(byte, source->file);
}

int source_next_line(struct source *source, struct buffer *line)
{
    int byte = source_next(source);

    buffer_reset(line, BUFFER_KEEP_BYTES);
    if (byte == EOF)
        return 0;
    for (; byte != EOF && byte != '\n' && line->length <= MAX_ROW_BYTES;
         byte = source_next(source)) {
        char one = (char)byte;

        buffer_append(line, &one, 1);
    }
    return 1;
}

int source_failed(const struct source *source, struct error *error)
{
    if (!ferror(source->file))
        return 0;
    return error_set(error, ERROR_SYSTEM, "%s: can't be read: %s", source->name, strerror(errno));
}
