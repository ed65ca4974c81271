/* SPDX-License-Identifier: MIT */
/* Converts between the public struct prserv_text and struct text, and between the rows that consist
 * of them. They are the same, but the public header includes no other; all borrow. */
#ifndef PRSERV_FIELD_H
#define PRSERV_FIELD_H

#include "base/row.h"
#include "client/prserv.h"

/* From the public types. */
static inline struct text field_text(struct prserv_text field)
{
    return (struct text){.bytes = field.bytes, .length = field.length};
}

static inline struct row field_row(const struct prserv_row *row)
{
    return (struct row){
        .version = field_text(row->version),
        .pkgarch = field_text(row->pkgarch),
        .checksum = field_text(row->checksum),
        .value = field_text(row->value),
    };
}

/* To the public types. */
static inline struct prserv_text field_of(struct text text)
{
    return (struct prserv_text){.bytes = text.bytes, .length = text.length};
}

static inline struct prserv_row field_of_row(const struct row *row)
{
    return (struct prserv_row){
        .version = field_of(row->version),
        .pkgarch = field_of(row->pkgarch),
        .checksum = field_of(row->checksum),
        .value = field_of(row->value),
    };
}

#endif
