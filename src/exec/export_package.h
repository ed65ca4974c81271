/* SPDX-License-Identifier: MIT */
/* Without history: the package of which an export is reading the rows, and those of its rows that
 * hold the greatest revision until now. One thread at a time. */
#ifndef PRSERVD_EXPORT_PACKAGE_H
#define PRSERVD_EXPORT_PACKAGE_H

#include "base/buffer.h"
#include "base/row.h"

#include <stdbool.h>
#include <stddef.h>

/* All zero at first. */
struct export_package {
    bool is_open;     /* there is one; the members below hold only then */
    bool is_first;    /* its first row was the first of the piece */
    bool is_fixed;    /* greatest was found in one transaction, and is kept; no row is */
    bool is_too_long; /* rows were dropped, because they are longer than the limit */
    struct buffer version;
    struct buffer pkgarch;
    struct buffer greatest;  /* ends with a NUL; empty: no row holds a revision */
    struct buffer checksums; /* of the rows that hold it: length, bytes, … */
    size_t n_checksums;
};

/* Begins a package. buffer_failed of version or pkgarch tells if memory ran out. */
void export_package_open(struct export_package *package, const struct row *row, bool is_first);

/* Forgets the rows of the package and its greatest revision. */
void export_package_restart(struct export_package *package);

/* Forgets the package. */
void export_package_close(struct export_package *package);

void export_package_free(struct export_package *package);

/* Returns whether there is a package, and the row belongs to it. */
bool export_package_has(const struct export_package *package, const struct row *row);

/* Takes a row whose value is a revision. is_wanted: the row is to be exported if it holds the
 * greatest one. */
void export_package_add(
    struct export_package *package, const struct row *row, bool is_wanted, size_t most_bytes);

/* Returns whether the row holds the greatest revision. */
bool export_package_is_greatest(const struct export_package *package, const struct row *row);

/* Returns whether memory ran out. */
bool export_package_has_failed(const struct export_package *package);

/* Calls back for each row that is kept. */
void export_package_each(const struct export_package *package,
    void (*fn)(void *context, const struct row *row), void *context);

/* Returns the most bytes that the rows which are kept may take in an answer. */
size_t export_package_written_bytes(const struct export_package *package);

/* Returns the most bytes that a row may take in an answer: each of its bytes may be escaped. */
static inline size_t export_row_most_bytes(const struct row *row)
{
    return 64 + 6 * (row->version.length + row->pkgarch.length + row->checksum.length +
                        (row->value.bytes ? row->value.length : 0));
}

/* Returns the memory that is kept, in bytes. */
static inline size_t export_package_bytes(const struct export_package *package)
{
    return package->version.capacity + package->pkgarch.capacity + package->greatest.capacity +
           package->checksums.capacity;
}

#endif
