/* What the rows of one package boil down to, in memory.
 *
 * The greatest value, each checksum's smallest and largest, and which values are
 * held at all: what a decision needs, found without going through the rows. Made
 * from rows, grown by rows; rows that hold no revision are not for here. One
 * thread at a time. */
#ifndef PRSERVD_PACKAGE_H
#define PRSERVD_PACKAGE_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>

struct package;

/* NULL when memory ran out. */
struct package *package_create(void);
void package_free(struct package *package);

/* Adds a row; value is a valid revision; both are copied. ERROR_MEMORY leaves the
 * package incomplete: it is only good for package_free then. */
ERROR_MUST_CHECK int package_add(struct package *package, struct text checksum, struct text value);

/* The greatest value; NULL if there is none. Borrowed as long as the package lives. */
const char *package_greatest(const struct package *package);

/* The checksum's smallest and largest value; false if it has none. Borrowed until
 * the next row is added. */
bool package_find(const struct package *package, struct text checksum, const char **smallest,
    const char **largest);

/* Does any checksum hold this value? */
bool package_holds(const struct package *package, const char *value);

/* About how much memory it takes. */
size_t package_bytes(const struct package *package);

#endif
