/* SPDX-License-Identifier: MIT */
/* A package of a feed, as its index, its file or the build's data describe it. */
#ifndef PRSERV_FEED_PACKAGE_H
#define PRSERV_FEED_PACKAGE_H

#include "base/text.h"

enum feed_format {
    FEED_IPK,
    FEED_DEB,
    FEED_RPM,
    FEED_PKGDATA,
    FEED_BUILDHISTORY,
};

/* All texts are borrowed; one that is not known is empty. */
struct feed_package {
    enum feed_format format;
    struct text name;    /* of the package */
    struct text recipe;  /* PN */
    struct text source;  /* ipk and deb without a recipe: the field Source */
    struct text epoch;   /* PKGE */
    struct text version; /* PKGV */
    struct text release; /* PKGR */
    struct text arch;    /* as the format writes it; buildhistory: the folder of the architecture;
                            pkgdata: the pkgarchs it may have, separated by commas, or empty */
    struct text pkgarch; /* PACKAGE_ARCH */
    struct text folder;  /* the folder of the package's file */
    /* Only in the build's data: what the recipe says. */
    struct text pe;
    struct text pv;
    struct text pr;
};

/* Returns the format's name: "ipk". */
const char *feed_format_name(enum feed_format format);

#endif
