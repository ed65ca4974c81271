/* SPDX-License-Identifier: MIT */
/* Files with certificates and keys. */
#ifndef PRSERVD_TLS_PEM_FILE_H
#define PRSERVD_TLS_PEM_FILE_H

#include "base/error.h"

#include <openssl/evp.h>

/* Checks that a file can be read, is a regular one, and not larger than such files are. Fails with
 * ERROR_INPUT. */
ERROR_MUST_CHECK int pem_file_check(const char *file, struct error *error);

/* Reads a private key from a file that only its owner may read, or root's from one that a group may
 * read, too. *key is the caller's. Fails with ERROR_INPUT. */
ERROR_MUST_CHECK int pem_file_read_key(EVP_PKEY **key, const char *file, struct error *error);

#endif
