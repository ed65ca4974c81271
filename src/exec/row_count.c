/* SPDX-License-Identifier: MIT */
/* A row that is stored while a count begins may be counted twice, until the next count. */
#include "exec/row_count.h"

#include "base/clock.h"
#include "exec/writer.h"

#define REFRESH_MS 60000

void row_count_init(struct row_count *count)
{
    *count = (struct row_count){.writer = NULL};
    (void)pthread_mutex_init(&count->mutex, NULL);
}

void row_count_deinit(struct row_count *count)
{
    (void)pthread_mutex_destroy(&count->mutex);
}

uint64_t row_count_added(const struct row_count *count)
{
    return count->writer ? metric_get(&writer_readiness(count->writer)->metrics.rows) : 0;
}

int row_count_make(
    struct row_count *count, struct store *store, uint64_t n_added, struct error *error)
{
    uint64_t rows;
    bool is_estimate;
    int result = store_count(store, &rows, &is_estimate, error);

    if (result != 0)
        return result;
    (void)pthread_mutex_lock(&count->mutex);
    count->rows = rows;
    count->is_estimate = is_estimate;
    count->n_added = n_added;
    count->is_known = true;
    count->is_wanted = false;
    count->next_ms = clock_ms() + REFRESH_MS;
    (void)pthread_mutex_unlock(&count->mutex);
    return 0;
}

bool row_count_find(struct row_count *count, uint64_t *rows, bool *is_estimate)
{
    bool is_known;

    (void)pthread_mutex_lock(&count->mutex);
    is_known = count->is_known;
    if (is_known) {
        count->is_wanted = count->is_wanted || clock_ms() >= count->next_ms;
        *rows = count->rows + row_count_added(count) - count->n_added;
        *is_estimate = count->is_estimate;
    }
    (void)pthread_mutex_unlock(&count->mutex);
    return is_known;
}

bool row_count_take_turn(struct row_count *count)
{
    bool is_due;

    (void)pthread_mutex_lock(&count->mutex);
    is_due = count->is_wanted;
    count->is_wanted = false;
    if (is_due)
        count->next_ms = clock_ms() + REFRESH_MS;
    (void)pthread_mutex_unlock(&count->mutex);
    return is_due;
}
