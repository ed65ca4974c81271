/* SPDX-License-Identifier: MIT */
/* Maps packages to the keys of the PR server's table.
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

/* A package of rpm has up to 3 choices for PR, 3 forms of its version, and 8 for dashes. */
#define MAPPING_MAX_VERSIONS 72
#define MAPPING_MAX_PKGARCHS 16 /* of a list for pkgdata; others have at most eight */

/* A version, and the revision that the packages have if this is the one. */
struct mapping_version {
    struct buffer text;
    struct text revision;
    bool is_autoinc; /* it holds AUTOINC, or leaves its number out */
};

/* The keys of which one has given a revision: each version with each pkgarch. */
struct mapping_keys {
    struct mapping_version versions[MAPPING_MAX_VERSIONS]; /* the most likely first */
    size_t n_versions;
    struct buffer pkgarchs[MAPPING_MAX_PKGARCHS];
    size_t n_pkgarchs;  /* 0: the package does not tell; any */
    bool is_certain;    /* there is one key, and nothing in doubt */
    bool is_incomplete; /* there may be others, or the recipe is a guess */
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
    MAPPING_INVALID = -2,    /* PKGR ends with numbers that are no revision */
    MAPPING_NO_MEMORY = -1,
};

/* Finds the keys of a package. The revisions are borrowed from the package. The mapping can be used
 * again and again; it begins as {0}. */
enum mapping_result mapping_find(struct mapping *mapping, const struct feed_package *package);

void mapping_free(struct mapping *mapping);

#endif
