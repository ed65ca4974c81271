/* SPDX-License-Identifier: MIT */
/* A line is built in memory and written with one write(2), so that lines of several threads, and of
 * several processes with one file, don't mix. A line that can't be written (the disk is full or
 * does not respond, nobody reads the pipe) is lost: the log never stops the server. Lines that
 * clients can cause at will are counted in a fixed table, so that they can't fill the disk. */
#include "base/log.h"

#include "base/clock.h"
#include "base/log_line.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_BYTES 1024
#define LOCK_MS 500
#define KINDS 48 /* more than there are calls of log_often */

/* The lines with one format since start_ms. */
struct kind {
    const char *format; /* NULL: the place is free */
    enum log_level level;
    uint64_t start_ms;
    unsigned written;
    uint64_t left_out;
    char last[MESSAGE_BYTES]; /* the last line that was left out */
};

struct log {
    pthread_mutex_t mutex; /* guards descriptor and kinds */
    int descriptor;
    struct kind kinds[KINDS];
    char *file; /* NULL: standard error */
    enum log_level level;
    enum log_format format;
    bool is_journal;
};

/* Locks the mutex. Returns false if another thread has waited with it for LOCK_MS: the disk of the
 * log does not respond. */
static bool log_lock(struct log *log)
{
    struct timespec until;

    if (pthread_mutex_trylock(&log->mutex) == 0)
        return true;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += LOCK_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    return pthread_mutex_timedlock(&log->mutex, &until) == 0;
}

static int log_open_file(const char *file)
{
    /* O_NONBLOCK: opening a FIFO must not wait for its reader. */
    return open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);
}

/* Returns whether standard error is systemd's journal: JOURNAL_STREAM is its device and inode. */
static bool log_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char *rest = NULL;
    unsigned long long device;
    struct stat status;

    if (!stream || fstat(STDERR_FILENO, &status) != 0)
        return false;
    device = strtoull(stream, &rest, 10);
    return rest != stream && *rest == ':' && device == status.st_dev &&
           strtoull(rest + 1, NULL, 10) == status.st_ino;
}

int log_open(struct log **result, const char *file, enum log_level level, struct error *error)
{
    struct log *log = calloc(1, sizeof *log);
    char *copy = file ? strdup(file) : NULL;

    *result = NULL;
    if (!log || (file && !copy)) {
        free(copy);
        free(log);
        return error_set_memory(error);
    }
    log->level = level;
    log->is_journal = !file && log_is_journal();
    log->file = copy;
    log->descriptor = file ? log_open_file(file) : STDERR_FILENO;
    if (log->descriptor < 0) {
        (void)error_set(error, ERROR_SYSTEM, "can't open the log %s: %s", file, strerror(errno));
        free(copy);
        free(log);
        return ERROR_SYSTEM;
    }
    (void)pthread_mutex_init(&log->mutex, NULL);
    *result = log;
    return 0;
}

void log_set_format(struct log *log, enum log_format format)
{
    log->format = format;
}

bool log_wants(const struct log *log, enum log_level level)
{
    return log && level >= log->level;
}

size_t log_make_line(
    const struct log *log, char line[LOG_LINE_BYTES], enum log_level level, const char *message)
{
    return log_line_make_timeless(line, log->format, log->is_journal, level, message);
}

int log_descriptor(const struct log *log)
{
    return log->descriptor;
}

bool log_reopen(struct log *log)
{
    int descriptor;

    if (!log->file)
        return true;
    descriptor = log_open_file(log->file);
    if (descriptor < 0) {
        log_write(log, LOG_ERROR, "Can't reopen the log %s: %s; going on with the old file",
            log->file, strerror(errno));
        return false;
    }
    if (!log_lock(log)) {
        (void)close(descriptor);
        return false;
    }
    (void)close(log->descriptor);
    log->descriptor = descriptor;
    (void)pthread_mutex_unlock(&log->mutex);
    return true;
}

/* Returns whether a write does not block. A pipe whose reader sleeps must not stop the server. */
static bool log_has_room(int descriptor)
{
    struct pollfd ready = {.fd = descriptor, .events = POLLOUT};

    return poll(&ready, 1, 0) == 1;
}

/* Writes a line. The mutex is held. */
static void log_write_line(struct log *log, enum log_level level, const char *message,
    const struct log_field *fields, size_t n_fields)
{
    char line[LOG_LINE_BYTES];
    const size_t length =
        log_line_make(line, log->format, log->is_journal, level, message, fields, n_fields);

    if (log_has_room(log->descriptor) && write(log->descriptor, line, length) < 0) {
        /* There is nowhere to report this. */
    }
}

void log_write_fields(struct log *log, enum log_level level, const char *message,
    const struct log_field *fields, size_t n_fields)
{
    if (!log_wants(log, level) || !log_lock(log))
        return;
    log_write_line(log, level, message, fields, n_fields);
    (void)pthread_mutex_unlock(&log->mutex);
}

/* kind: as for log_often_fields; NULL: the line is not limited. */
__attribute__((format(printf, 4, 0))) static void log_write_arguments(
    struct log *log, enum log_level level, const char *kind, const char *format, va_list arguments)
{
    char message[MESSAGE_BYTES];

    if (!log_wants(log, level))
        return;
    (void)vsnprintf(message, sizeof message, format, arguments);
    if (kind)
        log_often_fields(log, level, kind, message, NULL, 0);
    else
        log_write_fields(log, level, message, NULL, 0);
}

void log_write(struct log *log, enum log_level level, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    log_write_arguments(log, level, NULL, format, arguments);
    va_end(arguments);
}

/* ---- limited lines ---- */

/* Writes what was left out, and starts to count again. The mutex is held. */
static void log_start_again(struct log *log, struct kind *kind)
{
    char message[MESSAGE_BYTES + 64];

    if (kind->left_out > 0) {
        (void)snprintf(message, sizeof message, "... and %llu more like it, the last: %s",
            (unsigned long long)kind->left_out, kind->last);
        log_write_line(log, kind->level, message, NULL, 0);
    }
    kind->start_ms = clock_ms();
    kind->written = 0;
    kind->left_out = 0;
}

/* Returns the kind of this format, or NULL if the table is full. The mutex is held. */
static struct kind *log_find_kind(struct log *log, const char *format, enum log_level level)
{
    for (struct kind *kind = log->kinds; kind < log->kinds + KINDS; kind++) {
        if (!kind->format)
            *kind = (struct kind){.format = format, .level = level, .start_ms = clock_ms()};
        if (kind->format == format)
            return kind;
    }
    return NULL;
}

void log_often_fields(struct log *log, enum log_level level, const char *format,
    const char *message, const struct log_field *fields, size_t n_fields)
{
    struct kind *kind;

    if (!log_wants(log, level) || !log_lock(log))
        return;
    kind = level == LOG_DEBUG ? NULL : log_find_kind(log, format, level);
    if (kind && clock_ms() - kind->start_ms >= LOG_OFTEN_MS)
        log_start_again(log, kind);
    if (kind && kind->written >= LOG_OFTEN_LINES) {
        kind->left_out++;
        (void)snprintf(kind->last, sizeof kind->last, "%s", message);
    } else {
        if (kind)
            kind->written++;
        log_write_line(log, level, message, fields, n_fields);
    }
    (void)pthread_mutex_unlock(&log->mutex);
}

void log_often(struct log *log, enum log_level level, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    log_write_arguments(log, level, format, format, arguments);
    va_end(arguments);
}

static void log_say_left_out(struct log *log, uint64_t after_ms)
{
    if (!log_lock(log))
        return;
    for (struct kind *kind = log->kinds; kind < log->kinds + KINDS && kind->format; kind++) {
        if (kind->left_out > 0 && clock_ms() - kind->start_ms >= after_ms)
            log_start_again(log, kind);
    }
    (void)pthread_mutex_unlock(&log->mutex);
}

void log_catch_up(struct log *log)
{
    if (log)
        log_say_left_out(log, LOG_OFTEN_MS);
}

bool log_level_parse(const char *name, enum log_level *level)
{
    /* Other names that BitBake's server takes, because Python's logging has them. */
    static const struct {
        const char *name;
        enum log_level level;
    } others[] = {{"WARN", LOG_WARNING}, {"FATAL", LOG_CRITICAL}, {"NOTSET", LOG_DEBUG}};

    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (strcasecmp(name, others[i].name) == 0) {
            *level = others[i].level;
            return true;
        }
    }
    for (enum log_level i = LOG_DEBUG; i <= LOG_CRITICAL; i++) {
        if (strcasecmp(name, log_line_level_name(i)) == 0) {
            *level = i;
            return true;
        }
    }
    return false;
}

void log_close(struct log *log)
{
    if (!log)
        return;
    log_say_left_out(log, 0);
    if (log->file)
        (void)close(log->descriptor);
    (void)pthread_mutex_destroy(&log->mutex);
    free(log->file);
    free(log);
}
