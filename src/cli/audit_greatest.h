/* SPDX-License-Identifier: MIT */
/* The greatest revision of each package that an audit log knows. */
#ifndef PRSERV_AUDIT_GREATEST_H
#define PRSERV_AUDIT_GREATEST_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/map.h"
#include "base/row.h"

#include <stdbool.h>
#include <sys/queue.h>

struct audit_package_entry {
    struct map_entry entry;
    STAILQ_ENTRY(audit_package_entry) next;
    size_t version_bytes; /* of the package's texts, which lie behind each other in texts */
    char *texts;          /* owned */
    size_t pkgarch_bytes;
    char *value;     /* owned; the greatest */
    bool is_covered; /* by a server: it has this value or a greater one */
};

struct audit_greatest {
    struct map packages;
    STAILQ_HEAD(audit_package_entries, audit_package_entry) list; /* the same */
    struct buffer key;
};

/* Reads an audit log: a file, or the one beside a database, or that of a PostgreSQL database. Fails
 * with ERROR_STORE, also if there is none, ERROR_LOCKED, ERROR_MEMORY. To be freed in any case. */
ERROR_MUST_CHECK int audit_greatest_load(
    struct audit_greatest *greatest, const char *file, struct error *error);
void audit_greatest_free(struct audit_greatest *greatest);

/* Notes that a server has a row. */
void audit_greatest_cover(struct audit_greatest *greatest, const struct row *row);

#endif
