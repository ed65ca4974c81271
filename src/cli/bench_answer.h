/* Recognises answers in a stream of bytes without reading their JSON: what it costs must
 * not be noticed beside a server. One thread at a time. */
#ifndef PRSERV_BENCH_ANSWER_H
#define PRSERV_BENCH_ANSWER_H

#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>

#define BENCH_HEAD_BYTES 240

/* Zeroed it is ready for a connection's first answer. */
struct bench_answer_reader {
    char head[BENCH_HEAD_BYTES]; /* how the answer begins, if it came in several pieces */
    size_t head_length;
    size_t line_length; /* of the line under way */
    bool in_stream;     /* in a chunk stream; the head is of its text */
};

struct bench_answer {
    bool right;       /* {"value": something} or {"alive": …} */
    struct text head; /* how it begins; borrowed until the next call */
};

/* Takes bytes up to the end of the next answer, and returns how many that were. Returns
 * length with *complete false if the answer goes on after them. */
size_t bench_answer_read(struct bench_answer_reader *reader, struct text bytes, bool *complete,
    struct bench_answer *answer);

#endif
