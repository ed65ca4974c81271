/* SPDX-License-Identifier: MIT */
/* The number of rows, for get-stats and the metrics. Counting walks all rows, so it is done once;
 * then the rows that this server stores are added. Others may write, too: so the rows are counted
 * again, at most once a minute, and only if somebody asks. Whoever counts does so on a connection
 * and a thread of its own. Any thread. */
#ifndef PRSERVD_ROW_COUNT_H
#define PRSERVD_ROW_COUNT_H

#include "base/error.h"
#include "store/store.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct writer;

struct row_count {
    struct writer *writer; /* NULL: read-only */
    pthread_mutex_t mutex; /* guards what follows; not held while rows are counted */
    bool is_known;
    bool is_wanted; /* since the last count somebody was told an old number */
    bool is_estimate;
    uint64_t rows;
    uint64_t n_added; /* by the writer before that count */
    uint64_t next_ms; /* the earliest time (clock_ms) for the next count */
};

void row_count_init(struct row_count *count);
void row_count_deinit(struct row_count *count);

/* Returns the number of rows that this server has stored. To be asked before a count begins. */
uint64_t row_count_added(const struct row_count *count);

/* Counts the rows, inside a reading transaction. n_added: row_count_added before it. */
ERROR_MUST_CHECK int row_count_make(
    struct row_count *count, struct store *store, uint64_t n_added, struct error *error);

/* Sets the number of rows. Returns false if it is not known yet. */
bool row_count_find(struct row_count *count, uint64_t *rows, bool *is_estimate);

/* Returns whether to count again now. If so, others are told not to. */
bool row_count_take_turn(struct row_count *count);

#endif
