/* SPDX-License-Identifier: MIT */
/* The file is text, and holds two records of the same size. A write replaces the older one, so a
 * write that is cut short leaves the newer one:
 *
 *     prservd-mark 1 SEQUENCE IDENTITY COUNTER TIME MACHINE BOOT CHECK
 *
 * CHECK is the CRC-32 of what comes before it. The valid record with the greater SEQUENCE counts. A
 * writer locks the file, reads it, and never makes the counter smaller. */
#include "store/mark_file.h"

#include "base/clock.h"
#include "base/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define RECORD_BYTES 256
#define RECORDS 2
#define FORMAT "prservd-mark 1 "
#define NO_OWNER "-"
#define INTERVAL_MS 1000
#define LOCK_TRIES 100
#define LOCK_PAUSE_NS 2000000

/* The words of a record. */
enum {
    WORD_FORMAT,
    WORD_VERSION,
    WORD_SEQUENCE,
    WORD_IDENTITY,
    WORD_COUNTER,
    WORD_TIME,
    WORD_MACHINE,
    WORD_BOOT,
    WORD_CHECK,
    WORDS
};

struct mark_file {
    char *path;
    struct log *log;
    atomic_llong durable;   /* the greatest counter that was noted */
    atomic_llong written;   /* the counter that the file has */
    atomic_ullong write_ms; /* when the file was last written */
    pthread_mutex_t mutex;  /* guards what follows; held while the file is written */
    char identity[MARK_IDENTITY_BYTES];
    struct mark_owner owner;
    bool has_warned;
};

/* What a whole file holds. */
struct contents {
    struct mark_record record; /* the newest one */
    uint64_t sequence;         /* 0: there is no valid record */
    int at;                    /* its place */
    bool is_empty;
};

int mark_file_create(
    struct mark_file **created, const char *path, struct log *log, struct error *error)
{
    struct mark_file *file = calloc(1, sizeof *file);

    *created = NULL;
    if (file)
        file->path = strdup(path);
    if (!file || !file->path) {
        free(file);
        return error_set_memory(error);
    }
    file->log = log;
    (void)pthread_mutex_init(&file->mutex, NULL);
    *created = file;
    return 0;
}

const char *mark_file_path(const struct mark_file *file)
{
    return file->path;
}

/* ---- records ---- */

static uint32_t mark_file_check(const char *bytes, size_t length)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < length; i++) {
        crc ^= (unsigned char)bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0xEDB88320) : 0);
    }
    return ~crc;
}

static void mark_file_make_record(
    char bytes[RECORD_BYTES], const struct mark_record *record, uint64_t sequence)
{
    const struct mark_owner *owner = &record->owner;
    int length =
        snprintf(bytes, RECORD_BYTES, FORMAT "%" PRIu64 " %s %" PRId64 " %" PRId64 " %s %s ",
            sequence, record->mark.identity, record->mark.counter, record->time_s,
            owner->machine[0] ? owner->machine : NO_OWNER, owner->boot[0] ? owner->boot : NO_OWNER);

    length += snprintf(bytes + length, RECORD_BYTES - (size_t)length, "%08" PRIx32,
        mark_file_check(bytes, (size_t)length));
    memset(bytes + length, ' ', RECORD_BYTES - 1 - (size_t)length);
    bytes[RECORD_BYTES - 1] = '\n';
}

/* Splits a line at its blanks. Returns false if it has too few words. */
static bool mark_file_split(char *line, char *words[WORDS])
{
    for (int i = 0; i < WORDS; i++) {
        words[i] = strsep(&line, " ");
        if (!words[i])
            return false;
    }
    return true;
}

/* Reads a record. Returns its sequence, or 0 if it is not valid. */
static uint64_t mark_file_read_record(const char bytes[RECORD_BYTES], struct mark_record *record)
{
    char line[RECORD_BYTES];
    char name[2 * MARK_TEXT_BYTES];
    char *words[WORDS];
    struct mark_record read = {.time_s = 0};

    memcpy(line, bytes, sizeof line);
    line[sizeof line - 1] = '\0';
    if (!mark_file_split(line, words) || strcmp(words[WORD_FORMAT], "prservd-mark") != 0 ||
        strcmp(words[WORD_VERSION], "1") != 0 ||
        strtoul(words[WORD_CHECK], NULL, 16) !=
            mark_file_check(bytes, (size_t)(words[WORD_CHECK] - line)))
        return 0;
    (void)snprintf(name, sizeof name, "%s:%s", words[WORD_IDENTITY], words[WORD_COUNTER]);
    if (!mark_parse(&read.mark, text_of(name)))
        return 0;
    read.time_s = strtoll(words[WORD_TIME], NULL, 10);
    if (strcmp(words[WORD_MACHINE], NO_OWNER) != 0) {
        (void)snprintf(read.owner.machine, sizeof read.owner.machine, "%s", words[WORD_MACHINE]);
        (void)snprintf(read.owner.boot, sizeof read.owner.boot, "%s", words[WORD_BOOT]);
    }
    *record = read;
    return strtoull(words[WORD_SEQUENCE], NULL, 10);
}

/* Returns 0, or -1 and sets errno. */
static int mark_file_read_contents(int descriptor, struct contents *contents)
{
    char bytes[RECORDS * RECORD_BYTES];
    const ssize_t length = pread(descriptor, bytes, sizeof bytes, 0);

    *contents = (struct contents){.is_empty = length == 0};
    for (int at = 0; (ssize_t)(at + 1) * RECORD_BYTES <= length; at++) {
        struct mark_record record;
        const uint64_t sequence =
            mark_file_read_record(bytes + (ptrdiff_t)at * RECORD_BYTES, &record);

        if (sequence > contents->sequence)
            *contents = (struct contents){.record = record, .sequence = sequence, .at = at};
    }
    return length < 0 ? -1 : 0;
}

enum mark_file_state mark_file_read(const struct mark_file *file, struct mark_record *record)
{
    const int descriptor = open(file->path, O_RDONLY | O_CLOEXEC);
    struct contents contents;
    int failure;

    if (descriptor < 0)
        return errno == ENOENT || errno == ENOTDIR ? MARK_FILE_MISSING : MARK_FILE_UNUSABLE;
    failure = mark_file_read_contents(descriptor, &contents) == 0 ? 0 : errno;
    (void)close(descriptor);
    errno = failure;
    if (failure != 0)
        return MARK_FILE_UNUSABLE;
    if (contents.sequence == 0)
        return MARK_FILE_INVALID;
    *record = contents.record;
    return MARK_FILE_VALID;
}

/* ---- writing ---- */

/* Locks the file for writers, among processes and threads. Gives up after a moment: another process
 * may have been stopped while it held the lock. */
static int mark_file_lock(int descriptor)
{
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = (off_t)RECORDS * RECORD_BYTES};

    for (int tries = 0; fcntl(descriptor, F_OFD_SETLK, &lock) != 0; tries++) {
        if ((errno != EAGAIN && errno != EACCES) || tries == LOCK_TRIES)
            return -1;
        (void)nanosleep(&pause, NULL);
    }
    return 0;
}

/* Writes a record in place of the older one; all of them if the file has no valid one, or if the
 * record belongs to another database than before. */
static int mark_file_replace(
    int descriptor, const struct contents *contents, const struct mark_record *record)
{
    const bool is_other = contents->sequence == 0 ||
                          !mark_has_identity(&record->mark, contents->record.mark.identity);
    int result = 0;

    for (int i = 0; i < (is_other ? RECORDS : 1) && result == 0; i++) {
        const int at = (contents->at + 1 + i) % RECORDS;
        char bytes[RECORD_BYTES];

        mark_file_make_record(bytes, record, contents->sequence + 1 + (uint64_t)i);
        if (pwrite(descriptor, bytes, sizeof bytes, (off_t)at * RECORD_BYTES) != sizeof bytes)
            result = -1;
    }
    if (is_other && result == 0)
        result = ftruncate(descriptor, (off_t)RECORDS * RECORD_BYTES);
    return result;
}

enum written { MARK_WRITTEN, MARK_NOT_WRITTEN, MARK_FOREIGN };

/* Writes the mark into a file that is open and locked. is_urgent: synced, and whatever the file
 * holds. */
static enum written mark_file_update(struct mark_file *file, int descriptor, bool is_urgent)
{
    struct mark_record record = {.mark.counter = atomic_load(&file->durable),
        .owner = file->owner,
        .time_s = (int64_t)time(NULL)};
    struct contents contents;
    bool is_same;

    memcpy(record.mark.identity, file->identity, sizeof file->identity);
    if (mark_file_read_contents(descriptor, &contents) != 0)
        return MARK_NOT_WRITTEN;
    is_same =
        contents.sequence > 0 && mark_has_identity(&record.mark, contents.record.mark.identity);
    if (contents.sequence > 0 && !is_same && !is_urgent)
        return MARK_FOREIGN;
    if (is_same && contents.record.mark.counter > record.mark.counter)
        record.mark.counter = contents.record.mark.counter;
    if (mark_file_replace(descriptor, &contents, &record) != 0)
        return MARK_NOT_WRITTEN;
    if ((is_urgent || contents.is_empty) && fsync(descriptor) != 0)
        return MARK_NOT_WRITTEN;
    if (contents.is_empty && folder_sync_above(file->path) != 0 && errno == EIO)
        return MARK_NOT_WRITTEN;
    return MARK_WRITTEN;
}

static bool mark_file_report(struct mark_file *file, enum written written, const char *reason)
{
    if (written == MARK_WRITTEN || file->has_warned)
        return written == MARK_WRITTEN;
    file->has_warned = true;
    if (written == MARK_FOREIGN)
        log_write(file->log, LOG_WARNING,
            "%s belongs to another database by now; it was left as it is", file->path);
    else
        log_write(file->log, LOG_WARNING,
            "can't write %s: %s; a restored copy of the database will not be noticed after a "
            "restart",
            file->path, reason);
    return false;
}

/* Writes the file. With the mutex held. */
static bool mark_file_save(struct mark_file *file, bool is_urgent)
{
    const long long counter = atomic_load(&file->durable);
    const int descriptor = open(file->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    enum written written = MARK_NOT_WRITTEN;
    int failure;

    if (descriptor >= 0 && mark_file_lock(descriptor) == 0)
        written = mark_file_update(file, descriptor, is_urgent);
    failure = errno;
    if (descriptor >= 0)
        (void)close(descriptor);
    atomic_store(&file->written, counter); /* or not: the next counter is another chance */
    atomic_store(&file->write_ms, clock_ms());
    return mark_file_report(file, written, strerror(failure));
}

void mark_file_adopt(struct mark_file *file, const struct mark *mark)
{
    (void)pthread_mutex_lock(&file->mutex);
    memcpy(file->identity, mark->identity, sizeof file->identity);
    atomic_store(&file->durable, mark->counter);
    atomic_store(&file->written, mark->counter);
    (void)pthread_mutex_unlock(&file->mutex);
}

bool mark_file_put(struct mark_file *file, const struct mark *mark)
{
    bool is_written;

    (void)pthread_mutex_lock(&file->mutex);
    if (!mark_has_identity(mark, file->identity)) {
        memcpy(file->identity, mark->identity, sizeof file->identity);
        atomic_store(&file->durable, 0);
    }
    mark_file_advance(file, mark->counter);
    is_written = mark_file_save(file, true);
    (void)pthread_mutex_unlock(&file->mutex);
    return is_written;
}

void mark_file_set_owner(struct mark_file *file, const struct mark_owner *owner)
{
    (void)pthread_mutex_lock(&file->mutex);
    file->owner = *owner;
    (void)pthread_mutex_unlock(&file->mutex);
}

void mark_file_advance(struct mark_file *file, int64_t counter)
{
    if (counter > atomic_load(&file->durable))
        atomic_store(&file->durable, counter);
}

bool mark_file_is_due(struct mark_file *file)
{
    return atomic_load(&file->durable) > atomic_load(&file->written) &&
           clock_ms() >= atomic_load(&file->write_ms) + INTERVAL_MS;
}

void mark_file_write(struct mark_file *file)
{
    (void)pthread_mutex_lock(&file->mutex);
    if (atomic_load(&file->durable) > atomic_load(&file->written))
        (void)mark_file_save(file, false);
    (void)pthread_mutex_unlock(&file->mutex);
}

void mark_file_free(struct mark_file *file)
{
    if (!file)
        return;
    mark_file_write(file);
    (void)pthread_mutex_destroy(&file->mutex);
    free(file->path);
    free(file);
}
