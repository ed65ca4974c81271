/* The log: one line an event, to standard error or to a file.
 *
 * Thread-safe: any thread may write. What clients send can't forge lines:
 * control characters and bytes outside ASCII are escaped. */
#ifndef PRSERVD_LOG_H
#define PRSERVD_LOG_H

#include "base/error.h"

#include <stdbool.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR, LOG_CRITICAL };

#define LOG_OFTEN_LINES 20
#define LOG_OFTEN_MS 60000

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

/* The same, for what a client or an upstream can cause again and again: of lines of one
 * kind (one format) LOG_OFTEN_LINES are written in LOG_OFTEN_MS; how many more there
 * were, and the last of them, is said after that time. DEBUG is not limited. format
 * has to be a literal. */
void log_often(struct log *log, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Every second or so: says what was left out, once its time is over. */
void log_catch_up(struct log *log);

/* "warning", "INFO", … → a level; false if there is none of that name. */
bool log_level_parse(const char *name, enum log_level *level);

#endif
