/* SPDX-License-Identifier: MIT */
#include "feed/feed_digest.h"

#include "feed/beneath.h"

#include <errno.h>
#include <solv/chksum.h>
#include <solv/knownid.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Writes the bytes as hexadecimal digits behind the name of their kind. */
static void feed_digest_write(char digest[FEED_DIGEST_BYTES], Id type, Chksum *sum)
{
    int length;
    const unsigned char *bytes = solv_chksum_get(sum, &length);
    const char *name = solv_chksum_type2str(type);
    size_t at = (size_t)snprintf(digest, FEED_DIGEST_BYTES, "%s:", name);

    for (int i = 0; i < length && at + 2 < FEED_DIGEST_BYTES; i++)
        at += (size_t)snprintf(digest + at, FEED_DIGEST_BYTES - at, "%02x", bytes[i]);
}

/* Returns libsolv's number of a kind: of "md5:…" that of MD5. */
static Id feed_digest_type(const char *kind)
{
    char name[16];
    const size_t length = kind ? strcspn(kind, ":") : 0;

    if (length == 0 || length >= sizeof name)
        return REPOKEY_TYPE_SHA256;
    memcpy(name, kind, length);
    name[length] = '\0';
    return solv_chksum_str2type(name);
}

/* Opens a regular file. Returns -1, with errno, if it is none. */
static int feed_digest_open(int root, const char *name)
{
    const int file = beneath_open(root, name);
    struct stat status;

    if (file < 0 || (fstat(file, &status) == 0 && S_ISREG(status.st_mode)))
        return file;
    (void)close(file);
    errno = EINVAL;
    return -1;
}

int feed_digest_file(char digest[FEED_DIGEST_BYTES], int root, const char *name, const char *kind,
    struct error *error)
{
    const Id type = feed_digest_type(kind);
    const int file = feed_digest_open(root, name);
    Chksum *sum = solv_chksum_create(type);
    char bytes[65536];
    ssize_t n = file < 0 ? -1 : 1;

    while (sum && n > 0) {
        n = read(file, bytes, sizeof bytes);
        if (n > 0)
            solv_chksum_add(sum, bytes, (int)n);
    }
    if (n < 0)
        (void)error_set(error, ERROR_SYSTEM, "%s: can't be read: %s", name, strerror(errno));
    if (file >= 0)
        (void)close(file);
    digest[0] = '\0';
    if (sum && n == 0)
        feed_digest_write(digest, type, sum);
    if (sum)
        solv_chksum_free(sum, NULL);
    if (!sum)
        return error_set(error, ERROR_SYSTEM, "%s: unknown kind of digest: %s", name, kind);
    return n < 0 ? ERROR_SYSTEM : 0;
}

bool feed_digest_is_same_kind(const char *a, const char *b)
{
    const size_t length = strcspn(a, ":");

    return length > 0 && strncmp(a, b, length + 1) == 0;
}
