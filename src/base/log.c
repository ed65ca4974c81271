/* A line is put together in memory and written with one write(2), so that lines
 * of several threads and of several processes on one file don't mix. A line that
 * can't be written (disk full, a pipe that nobody reads) is lost: the log never stops
 * the server. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct log {
    pthread_mutex_t mutex; /* guards descriptor */
    int descriptor;
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
        log->descriptor = log->file ? open_file(file) : -1;
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

void log_close(struct log *log)
{
    if (!log)
        return;
    if (log->file)
        (void)close(log->descriptor);
    (void)pthread_mutex_destroy(&log->mutex);
    free(log->file);
    free(log);
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

void log_write(struct log *log, enum log_level level, const char *format, ...)
{
    char message[1024];
    char line[2048];
    size_t length;
    va_list arguments;

    if (!log || level < log->level)
        return;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    length = stamp(line, sizeof line, level);
    length += escape(line + length, sizeof line - length - 1, message);
    line[length++] = '\n';
    (void)pthread_mutex_lock(&log->mutex);
    if (has_room(log->descriptor) && write(log->descriptor, line, length) < 0) {
        /* Nobody to tell. */
    }
    (void)pthread_mutex_unlock(&log->mutex);
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
