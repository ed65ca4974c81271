/* SPDX-License-Identifier: MIT */
#include "exec/export_package.h"

#include "revision/revision.h"

#include <string.h>

#define KEEP_BYTES ((size_t)1024) /* of a buffer's memory, for the next package */

static void export_package_drop_rows(struct export_package *package)
{
    buffer_reset(&package->checksums, KEEP_BYTES);
    package->n_checksums = 0;
}

void export_package_open(struct export_package *package, const struct row *row, bool is_first)
{
    export_package_close(package);
    buffer_append_text(&package->version, row->version);
    buffer_append_text(&package->pkgarch, row->pkgarch);
    package->is_open = true;
    package->is_first = is_first;
}

void export_package_restart(struct export_package *package)
{
    buffer_reset(&package->greatest, KEEP_BYTES);
    export_package_drop_rows(package);
    package->is_fixed = package->is_too_long = false;
}

void export_package_close(struct export_package *package)
{
    buffer_reset(&package->version, KEEP_BYTES);
    buffer_reset(&package->pkgarch, KEEP_BYTES);
    export_package_restart(package);
    package->is_open = false;
}

void export_package_free(struct export_package *package)
{
    buffer_free(&package->version);
    buffer_free(&package->pkgarch);
    buffer_free(&package->greatest);
    buffer_free(&package->checksums);
}

bool export_package_has(const struct export_package *package, const struct row *row)
{
    return package->is_open && text_equal(buffer_text(&package->version), row->version) &&
           text_equal(buffer_text(&package->pkgarch), row->pkgarch);
}

/* Compares a row's value with the greatest. */
static int export_package_compare(const struct export_package *package, const struct row *row)
{
    return package->greatest.length > 0
               ? revision_compare(row->value.bytes, package->greatest.bytes)
               : 1;
}

void export_package_add(
    struct export_package *package, const struct row *row, bool is_wanted, size_t most_bytes)
{
    const int order = export_package_compare(package, row);

    if (order > 0) {
        buffer_reset(&package->greatest, KEEP_BYTES);
        buffer_append_text(&package->greatest, row->value);
        buffer_append(&package->greatest, "", 1);
        export_package_drop_rows(package);
        package->is_too_long = false;
    }
    if (order < 0 || !is_wanted || package->is_too_long)
        return;
    buffer_append(
        &package->checksums, (const char *)&row->checksum.length, sizeof row->checksum.length);
    buffer_append_text(&package->checksums, row->checksum);
    package->n_checksums++;
    if (export_package_written_bytes(package) <= most_bytes)
        return;
    export_package_drop_rows(package);
    package->is_too_long = true;
}

bool export_package_is_greatest(const struct export_package *package, const struct row *row)
{
    return package->greatest.length > 0 && row->value.bytes &&
           row->value.length == package->greatest.length - 1 &&
           memcmp(row->value.bytes, package->greatest.bytes, row->value.length) == 0;
}

bool export_package_has_failed(const struct export_package *package)
{
    return buffer_failed(&package->version) || buffer_failed(&package->pkgarch) ||
           buffer_failed(&package->greatest) || buffer_failed(&package->checksums);
}

void export_package_each(const struct export_package *package,
    void (*fn)(void *context, const struct row *row), void *context)
{
    const char *at = package->checksums.bytes;
    struct row row = {
        .version = buffer_text(&package->version),
        .pkgarch = buffer_text(&package->pkgarch),
        .value = buffer_text(&package->greatest),
    };

    row.value.length -= row.value.length > 0;
    for (size_t i = 0; i < package->n_checksums; i++) {
        memcpy(&row.checksum.length, at, sizeof row.checksum.length);
        row.checksum.bytes = at + sizeof row.checksum.length;
        fn(context, &row);
        at = row.checksum.bytes + row.checksum.length;
    }
}

size_t export_package_written_bytes(const struct export_package *package)
{
    const struct row row = {
        .version = buffer_text(&package->version),
        .pkgarch = buffer_text(&package->pkgarch),
        .value = buffer_text(&package->greatest),
    };

    return package->n_checksums * export_row_most_bytes(&row) + 6 * package->checksums.length;
}
