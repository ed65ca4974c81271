/* Texts of the public header and of the inside; both borrow. */
#ifndef PRSERV_FIELD_H
#define PRSERV_FIELD_H

#include "base/text.h"
#include "client/prserv.h"

static inline struct text field_text(struct prserv_text field)
{
    return (struct text){.bytes = field.bytes, .length = field.length};
}

static inline struct prserv_text field_of(struct text text)
{
    return (struct prserv_text){.bytes = text.bytes, .length = text.length};
}

#endif
