/* SPDX-License-Identifier: MIT */
#include "feed/index.h"

#include "feed/beneath.h"
#include "feed/packages_index.h"
#include "feed/rpm_index.h"
#include "feed/stream.h"

#include <stdlib.h>
#include <unistd.h>

int read_index(struct feed_reader *reader, const struct feed_path *path)
{
    struct stream *stream; /* too large for the stack */
    const int descriptor = feed_reader_open(reader, path);
    struct error error;
    int result;
    int first;

    if (descriptor < 0)
        return 0;
    stream = malloc(sizeof *stream);
    if (!stream) {
        (void)close(descriptor);
        return error_set_memory(&reader->error);
    }
    if (stream_open(stream, descriptor, &error) != 0) {
        free(stream);
        return feed_reader_skip_file(reader, path, error.text);
    }
    first = getc(stream->file);
    if (first != EOF)
        (void)ungetc(first, stream->file);
    if (first == '<')
        result = rpm_index_read(reader, path, stream);
    else
        result = packages_index_read(reader, path, stream);
    stream_close(stream);
    free(stream);
    return result;
}

/* ---- the same index in several compressions ---- */

/* Opens an index. Returns NULL if it can't be opened. */
static struct stream *index_open(int root, const char *name)
{
    struct stream *stream = malloc(sizeof *stream);
    const int descriptor = stream ? beneath_open(root, name) : -1;
    struct error error;

    if (descriptor >= 0 && stream_open(stream, descriptor, &error) == 0)
        return stream;
    free(stream);
    return NULL;
}

bool index_is_same(int root, const char *first, const char *second)
{
    struct stream *streams[2] = {index_open(root, first), index_open(root, second)};
    bool is_same = streams[0] && streams[1];
    int byte = 0;

    while (is_same && byte != EOF) {
        byte = getc_unlocked(streams[0]->file);
        is_same = getc_unlocked(streams[1]->file) == byte;
    }
    for (int i = 0; i < 2; i++) {
        is_same = is_same && !ferror(streams[i]->file);
        if (streams[i])
            stream_close(streams[i]);
        free(streams[i]);
    }
    return is_same;
}
