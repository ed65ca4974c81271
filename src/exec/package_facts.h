/* SPDX-License-Identifier: MIT */
/* A decision's question about a package, and the answer. */
#ifndef PRSERVD_PACKAGE_FACTS_H
#define PRSERVD_PACKAGE_FACTS_H

#include "base/text.h"

#include <stdbool.h>

/* The texts are borrowed as long as the question is asked. */
struct package_question {
    struct text version;
    struct text pkgarch;
    struct text checksum;    /* bytes NULL: no values of a checksum are wanted */
    struct text value;       /* whether it is held is wanted; bytes NULL: no. Ends with a NUL */
    bool wants_greatest;     /* the greatest value of the package */
    bool smallest_is_enough; /* if the checksum has values, its own are all that is wanted */
};

/* Revisions are borrowed from the package until a row is added to it or something else is asked
 * about it; NULL: none. What was not asked for may be missing. */
struct package_facts {
    const char *greatest;
    const char *smallest; /* of the checksum */
    const char *largest;
    bool is_held; /* a checksum holds the value, or a floor holds it or a greater one */
};

/* Returned beside 0 and errors: a scan of the package has to find the facts, and the same is to be
 * asked again later. */
#define PACKAGE_IS_SCANNED 1

#endif
