/* SPDX-License-Identifier: MIT */
/* The log: one line for each event, on standard error or in a file.
 *
 * Any thread may write. Clients can't forge lines: control characters and bytes outside ASCII are
 * escaped. */
#ifndef PRSERVD_LOG_H
#define PRSERVD_LOG_H

#include "base/error.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR, LOG_CRITICAL };

enum log_format { LOG_TEXT, LOG_JSON };

/* A fact beside the message: " name=value" in text, a member in JSON. */
struct log_field {
    const char *name; /* a literal of letters and '_' */
    struct text text; /* borrowed */
    bool is_number;   /* number counts, not text */
    unsigned long long number;
};

#define LOG_LINE_BYTES 4096 /* what a pipe takes at once, if it has room at all (PIPE_BUF) */
#define LOG_OFTEN_LINES 20
#define LOG_OFTEN_MS 60000

struct log;

/* Opens a log of text. file is copied; NULL means standard error: if that is systemd's journal,
 * lines get its priorities. *log is the caller's (log_close). Fails with ERROR_MEMORY or
 * ERROR_SYSTEM. */
ERROR_MUST_CHECK int log_open(
    struct log **log, const char *file, enum log_level level, struct error *error);

/* Sets the form of the lines, before other threads write any. */
void log_set_format(struct log *log, enum log_format format);

/* Returns whether lines of this level are written. log may be NULL. */
bool log_wants(const struct log *log, enum log_level level);

/* Opens the file again under its name, for log rotation. If that fails, the log stays in the old
 * file, says so there, and this returns false. A log on standard error stays there. */
bool log_reopen(struct log *log);

/* Writes what log_often has left out, and closes the log. NULL is allowed. */
void log_close(struct log *log);

/* Writes a line. log may be NULL; then nothing is written. */
void log_write(struct log *log, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Writes a line with fields. */
void log_write_fields(struct log *log, enum log_level level, const char *message,
    const struct log_field *fields, size_t n_fields);

/* Writes a line about something that a client or an upstream can cause again and again. Of the
 * lines with one format, LOG_OFTEN_LINES are written in LOG_OFTEN_MS; afterwards the log says how
 * many more there were, and the last of them. DEBUG is not limited. format must be a literal. */
void log_often(struct log *log, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Writes a line with fields as log_often does. kind, a literal, takes the place of the format: the
 * lines of one kind are counted together. */
void log_often_fields(struct log *log, enum log_level level, const char *kind, const char *message,
    const struct log_field *fields, size_t n_fields);

/* Writes what log_often has left out, where its time is over. To be called every second or so.
 * log may be NULL. */
void log_catch_up(struct log *log);

/* Makes a line for a signal handler, which can't format one: in the form of the log, but without a
 * time. Returns its length. */
size_t log_make_line(
    const struct log *log, char line[LOG_LINE_BYTES], enum log_level level, const char *message);

/* Returns the descriptor to which lines are written now. Signal handlers may call this. */
int log_descriptor(const struct log *log);

/* Finds the level with this name, or with another one that Python's logging has for it (WARN,
 * FATAL, NOTSET), in upper or lower case. Returns false if there is none. */
bool log_level_parse(const char *name, enum log_level *level);

#endif
