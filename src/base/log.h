/* The log: one line an event, to standard error or to a file.
 *
 * Thread-safe: any thread may write. What clients send can't forge lines:
 * control characters and bytes outside ASCII are escaped. */
#ifndef PRSERVD_LOG_H
#define PRSERVD_LOG_H

#include "base/error.h"

#include <stdbool.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR, LOG_CRITICAL };

struct log;

/* Opens a log; file NULL means standard error. The name of the file is copied.
 * *log is owned by the caller. Fails with ERROR_MEMORY or ERROR_SYSTEM. */
ERROR_MUST_CHECK int log_open(
    struct log **log, const char *file, enum log_level level, struct error *error);

/* Opens the file again under its name, for log rotation. If that fails, the old
 * file is written to as before, and the reason goes there. */
void log_reopen(struct log *log);

/* NULL is allowed. */
void log_close(struct log *log);

/* NULL is allowed for log: then nothing is written. */
void log_write(struct log *log, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* "warning", "INFO", … → a level; false if there is none of that name. */
bool log_level_parse(const char *name, enum log_level *level);

#endif
