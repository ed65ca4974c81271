/* Rows that hold no revision: another program's work. They count as if they were
 * not there, and each is named once in the log. Thread-safe. */
#ifndef PRSERVD_ODD_ROWS_H
#define PRSERVD_ODD_ROWS_H

#include "base/log.h"
#include "store/store.h"

#include <stdbool.h>

struct odd_rows;

/* NULL when memory ran out. The log is borrowed. */
struct odd_rows *odd_rows_create(struct log *log);
void odd_rows_free(struct odd_rows *odd_rows);

/* Does the row hold a revision? If not, and it was not seen before, the log says so. */
bool odd_rows_check(struct odd_rows *odd_rows, const struct row *row);

#endif
