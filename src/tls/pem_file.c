/* SPDX-License-Identifier: MIT */
#include "tls/pem_file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_BYTES (4L * 1024 * 1024) /* the system's list of CAs has 0.2 MB */

/* Opens a file; a pipe that nobody writes to would block. */
static int pem_file_open(
    int *descriptor, struct stat *status, const char *file, struct error *error)
{
    int result = 0;

    *descriptor = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*descriptor < 0 || fstat(*descriptor, status) != 0)
        result = error_set(error, ERROR_INPUT, "%.300s: %s", file, strerror(errno));
    else if (!S_ISREG(status->st_mode))
        result = error_set(error, ERROR_INPUT, "%.300s: not a regular file", file);
    else if (status->st_size > MAX_BYTES)
        result = error_set(error, ERROR_INPUT, "%.300s: too large for a PEM file", file);
    if (result != 0 && *descriptor >= 0)
        (void)close(*descriptor);
    return result;
}

int pem_file_check(const char *file, struct error *error)
{
    struct stat status = {.st_mode = 0};
    int descriptor;
    int result = pem_file_open(&descriptor, &status, file, error);

    if (result == 0)
        (void)close(descriptor);
    return result;
}

static int pem_file_check_mode(const char *file, const struct stat *status, struct error *error)
{
    const mode_t denied = status->st_uid == 0 ? S_IRWXO | S_IWGRP : S_IRWXO | S_IRWXG;

    if ((status->st_mode & denied) == 0)
        return 0;
    return error_set(error, ERROR_INPUT,
        "%.300s: others may read or change this key (mode %03o); make it 600, or 640 if root owns "
        "it",
        file, (unsigned)status->st_mode & 0777);
}

/* Refuses a key that needs a passphrase, which nobody could enter. */
static int pem_file_on_passphrase(char *passphrase, int size, int is_writing, void *was_asked)
{
    (void)passphrase;
    (void)size;
    (void)is_writing;
    *(bool *)was_asked = true;
    return -1;
}

static int pem_file_parse_key(EVP_PKEY **key, const char *file, int descriptor, struct error *error)
{
    BIO *bio = BIO_new_fd(descriptor, BIO_NOCLOSE);
    bool was_asked = false;

    if (!bio)
        return error_set_memory(error);
    *key = PEM_read_bio_PrivateKey(bio, NULL, pem_file_on_passphrase, &was_asked);
    BIO_free(bio);
    ERR_clear_error();
    if (*key)
        return 0;
    return error_set(error, ERROR_INPUT, "%.300s: %s", file,
        was_asked ? "the key has a passphrase; remove it (openssl pkey -in FILE -out NEW)"
                  : "no private key in PEM format (--tls-key names one)");
}

int pem_file_read_key(EVP_PKEY **key, const char *file, struct error *error)
{
    struct stat status = {.st_mode = 0};
    int descriptor;
    int result = pem_file_open(&descriptor, &status, file, error);

    *key = NULL;
    if (result != 0)
        return result;
    result = pem_file_parse_key(key, file, descriptor, error);
    if (result == 0)
        result = pem_file_check_mode(file, &status, error);
    if (result != 0) {
        EVP_PKEY_free(*key);
        *key = NULL;
    }
    (void)close(descriptor);
    return result;
}
