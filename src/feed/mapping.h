/* SPDX-License-Identifier: MIT */
/* From a package to the keys of the PR server's table.
 *
 * OE-core asks the server with the version PN-[PE_]PV-PR and the pkgarch PACKAGE_ARCH, and writes
 * the answer behind PR: PKGR is PR.ANSWER. A package does not always tell all of these. Then there
 * are several keys, and only the server's rows can tell which one the build used.
 *
 * Recipes with AUTOINC in their version ask twice. The second answer is a number in PKGV, which the
 * server gives for a key of its own (doc/operations.md, "The feed").
 *
 * Pure functions: no I/O, any thread. */
#ifndef PRSERV_FEED_MAPPING_H
#define PRSERV_FEED_MAPPING_H

#include "base/buffer.h"
#include "feed/package.h"

#include <stdbool.h>

#define MAPPING_MAX_VERSIONS 8  /* twice as many as any package has */
#define MAPPING_MAX_PKGARCHS 16 /* of a list for pkgdata; others have at most four */

/* A revision, and the keys of which one has given it: each version with each pkgarch. */
struct mapping_keys {
    struct buffer versions[MAPPING_MAX_VERSIONS]; /* the most likely first */
    size_t n_versions;
    size_t n_autoinc; /* the first of them hold AUTOINC, or leave its number out */
    struct buffer pkgarchs[MAPPING_MAX_PKGARCHS];
    size_t n_pkgarchs; /* 0: the package does not tell; any */
    struct text revision;
    bool is_certain; /* there is one key, and nothing in doubt */
};

struct mapping {
    struct buffer recipe; /* PN, or the most likely one */
    struct mapping_keys revision;
    bool has_counter; /* PKGV may hold a number of AUTOINC */
    struct mapping_keys counter;
};

enum mapping_result {
    MAPPING_DONE = 1,
    MAPPING_NO_REVISION = 0, /* the package was made without a PR server */
    MAPPING_NO_MEMORY = -1,
};

/* Finds the keys of a package. The revisions are borrowed from the package. The mapping can be used
 * again and again; it begins as {0}. */
enum mapping_result mapping_find(struct mapping *mapping, const struct feed_package *package);

void mapping_free(struct mapping *mapping);

/* Splits PKGR of a package whose PR is not known: PR ends before the last run of dotted numbers.
 * Returns false if there is none. *is_certain is set to false if text follows the numbers. */
bool mapping_split_release(
    struct text release, struct text *pr, struct text *revision, bool *is_certain);

/* Splits a version that may hold a number of AUTOINC, as in 1.0+git3+0123456789: the text before
 * the number, the number, and the text behind the plus. Returns false if it can't hold one. */
bool mapping_split_autoinc(
    struct text version, struct text *before, struct text *number, struct text *source);

#endif
