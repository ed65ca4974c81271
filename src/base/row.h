/* SPDX-License-Identifier: MIT */
/* A row of the table PRMAIN: the revision of a content. */
#ifndef PRSERVD_ROW_H
#define PRSERVD_ROW_H

#include "base/text.h"

struct row {
    struct text version;
    struct text pkgarch;
    struct text checksum;
    struct text value; /* bytes is NULL in a row without a value, which another program wrote */
};

#endif
