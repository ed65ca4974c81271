/* SPDX-License-Identifier: MIT */
/* The form of a line of the log: text for people, JSON for programs, and either of them for
 * systemd's journal. log.h is what writes lines. */
#ifndef PRSERVD_LOG_LINE_H
#define PRSERVD_LOG_LINE_H

#include "base/log.h"

#include <stdbool.h>
#include <stddef.h>

/* Makes a line, with its end. for_journal: with a priority, and as text without time, level and
 * process, which the journal adds itself. A long message or field is cut. Returns the length. */
size_t log_line_make(char line[LOG_LINE_BYTES], enum log_format format, bool for_journal,
    enum log_level level, const char *message, const struct log_field *fields, size_t n_fields);

/* Makes the same line without a time and without fields. */
size_t log_line_make_timeless(char line[LOG_LINE_BYTES], enum log_format format, bool for_journal,
    enum log_level level, const char *message);

/* Returns the name of a level: "WARNING". */
const char *log_line_level_name(enum log_level level);

#endif
