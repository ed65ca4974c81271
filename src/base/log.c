/* A line is put together in memory and written with one write(2), so that lines
 * of several threads and of several processes on one file don't mix. A line that
 * can't be written (disk full, a pipe that nobody reads) is lost: the log never stops
 * the server. What clients can cause at will is counted in a fixed table, so that they
 * can't fill the disk. */
#include "base/log.h"

#include "base/clock.h"

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
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_BYTES 1024
#define KINDS 32 /* more than there are calls of log_often */

/* Lines of one format since start_ms. */
struct kind {
    const char *format; /* NULL: not used yet */
    enum log_level level;
    uint64_t start_ms;
    unsigned written;
    uint64_t left_out;
    char last[MESSAGE_BYTES]; /* of those that were left out */
};

struct log {
    pthread_mutex_t mutex; /* guards descriptor and kinds */
    int descriptor;
    struct kind kinds[KINDS];
    char *file; /* NULL: standard error */
    enum log_level level;
};

static const char *const level_names[] = {
    [LOG_DEBUG] = "DEBUG",
    [LOG_INFO] = "INFO",
    [LOG_WARNING] = "WARNING",
    [LOG_ERROR] = "ERROR",
    [LOG_CRITICAL] = "CRITICAL",
};

static int open_file(const char *file)
{
    /* Not to wait for the reader of a FIFO. */
    return open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);
}

int log_open(struct log **result, const char *file, enum log_level level, struct error *error)
{
    struct log *log = calloc(1, sizeof *log);

    *result = NULL;
    if (!log)
        return error_set_memory(error);
    log->level = level;
    log->descriptor = STDERR_FILENO;
    if (file) {
        log->file = strdup(file);
        if (!log->file) {
            free(log);
            return error_set_memory(error);
        }
        log->descriptor = open_file(file);
        if (log->descriptor < 0) {
            (void)error_set(
                error, ERROR_SYSTEM, "can't open the log %s: %s", file, strerror(errno));
            free(log->file);
            free(log);
            return ERROR_SYSTEM;
        }
    }
    (void)pthread_mutex_init(&log->mutex, NULL);
    *result = log;
    return 0;
}

void log_reopen(struct log *log)
{
    int descriptor;

    if (!log->file)
        return;
    descriptor = open_file(log->file);
    if (descriptor < 0) {
        log_write(log, LOG_ERROR, "Can't reopen the log %s: %s; going on with the old file",
            log->file, strerror(errno));
        return;
    }
    (void)pthread_mutex_lock(&log->mutex);
    (void)close(log->descriptor);
    log->descriptor = descriptor;
    (void)pthread_mutex_unlock(&log->mutex);
}

static size_t stamp(char *line, size_t size, enum log_level level)
{
    struct timeval now;
    struct tm parts;
    size_t length;

    (void)gettimeofday(&now, NULL);
    (void)localtime_r(&now.tv_sec, &parts);
    length = strftime(line, size, "%Y-%m-%d %H:%M:%S", &parts);
    return length + (size_t)snprintf(line + length, size - length,
                        ",%03ld %s prservd[%ld]: ", (long)now.tv_usec / 1000, level_names[level],
                        (long)getpid());
}

/* Copies the message, with everything but printable ASCII as \xNN. */
static size_t escape(char *line, size_t size, const char *message)
{
    size_t length = 0;

    for (const char *at = message; *at && length + 5 < size; at++) {
        unsigned char byte = (unsigned char)*at;

        if (byte >= 0x20 && byte < 0x7f)
            line[length++] = *at;
        else
            length += (size_t)snprintf(line + length, size - length, "\\x%02x", byte);
    }
    return length;
}

/* A pipe whose reader sleeps must not stop the server: what it can't take is lost. */
static bool has_room(int descriptor)
{
    struct pollfd ready = {.fd = descriptor, .events = POLLOUT};

    return poll(&ready, 1, 0) == 1;
}

/* The mutex is held. */
static void write_line(struct log *log, enum log_level level, const char *message)
{
    char line[2 * MESSAGE_BYTES + 128];
    size_t length = stamp(line, sizeof line, level);

    length += escape(line + length, sizeof line - length - 1, message);
    line[length++] = '\n';
    if (has_room(log->descriptor) && write(log->descriptor, line, length) < 0) {
        /* Nobody to tell. */
    }
}

void log_write(struct log *log, enum log_level level, const char *format, ...)
{
    char message[MESSAGE_BYTES];
    va_list arguments;

    if (!log || level < log->level)
        return;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    (void)pthread_mutex_lock(&log->mutex);
    write_line(log, level, message);
    (void)pthread_mutex_unlock(&log->mutex);
}

/* ---- what comes often ---- */

/* The mutex is held. Says what was left out, and counts from zero. */
static void start_again(struct log *log, struct kind *kind)
{
    char message[MESSAGE_BYTES + 64];

    if (kind->left_out > 0) {
        (void)snprintf(message, sizeof message, "... and %llu more like it, the last: %s",
            (unsigned long long)kind->left_out, kind->last);
        write_line(log, kind->level, message);
    }
    kind->start_ms = clock_ms();
    kind->written = 0;
    kind->left_out = 0;
}

/* The mutex is held. NULL: the table is too small. */
static struct kind *find_kind(struct log *log, const char *format, enum log_level level)
{
    for (struct kind *kind = log->kinds; kind < log->kinds + KINDS; kind++) {
        if (!kind->format)
            *kind = (struct kind){.format = format, .level = level, .start_ms = clock_ms()};
        if (kind->format == format)
            return kind;
    }
    return NULL;
}

void log_often(struct log *log, enum log_level level, const char *format, ...)
{
    char message[MESSAGE_BYTES];
    struct kind *kind;
    va_list arguments;

    if (!log || level < log->level)
        return;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    (void)pthread_mutex_lock(&log->mutex);
    kind = level == LOG_DEBUG ? NULL : find_kind(log, format, level);
    if (kind && clock_ms() - kind->start_ms >= LOG_OFTEN_MS)
        start_again(log, kind);
    if (kind && kind->written >= LOG_OFTEN_LINES) {
        kind->left_out++;
        memcpy(kind->last, message, sizeof message);
    } else {
        if (kind)
            kind->written++;
        write_line(log, level, message);
    }
    (void)pthread_mutex_unlock(&log->mutex);
}

static void say_left_out(struct log *log, uint64_t after_ms)
{
    (void)pthread_mutex_lock(&log->mutex);
    for (struct kind *kind = log->kinds; kind < log->kinds + KINDS && kind->format; kind++) {
        if (kind->left_out > 0 && clock_ms() - kind->start_ms >= after_ms)
            start_again(log, kind);
    }
    (void)pthread_mutex_unlock(&log->mutex);
}

void log_catch_up(struct log *log)
{
    if (log)
        say_left_out(log, LOG_OFTEN_MS);
}

bool log_level_parse(const char *name, enum log_level *level)
{
    for (size_t i = 0; i < sizeof level_names / sizeof *level_names; i++) {
        if (strcasecmp(name, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

void log_close(struct log *log)
{
    if (!log)
        return;
    say_left_out(log, 0);
    if (log->file)
        (void)close(log->descriptor);
    (void)pthread_mutex_destroy(&log->mutex);
    free(log->file);
    free(log);
}
