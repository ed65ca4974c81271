/* Takes a JSON object apart while it comes, in constant memory: hands on each member's
 * value, or of a member that is a list each element, as JSON text, and where the list
 * ends. It does not check that text: whoever reads it does. After it
 * returned something else than 0 it can only be freed. */
#ifndef PRSERV_SPLITTER_H
#define PRSERV_SPLITTER_H

#include "base/buffer.h"
#include "base/text.h"

#include <stdbool.h>

enum splitter_state {
    SPLITTER_START,
    SPLITTER_KEY, /* or the end of the object */
    SPLITTER_NEXT_KEY,
    SPLITTER_IN_KEY,
    SPLITTER_COLON,
    SPLITTER_VALUE, /* is about to begin */
    SPLITTER_IN_VALUE,
    SPLITTER_ELEMENT, /* of a list: is about to begin, or the list's end */
    SPLITTER_NEXT_ELEMENT,
    SPLITTER_IN_ELEMENT,
    SPLITTER_AFTER_LIST,
    SPLITTER_END,
};

enum splitter_part {
    SPLITTER_MEMBER,  /* a member's value, no list */
    SPLITTER_ONE,     /* an element of the list that a member has */
    SPLITTER_LIST_END /* that list has ended; value is empty */
};

struct splitter {
    /* Both texts are borrowed; 0 to go on, anything else stops splitter_feed. */
    int (*found)(void *context, enum splitter_part part, struct text key, struct text value);
    void *context;
    enum splitter_state state;
    bool in_string;
    bool escaped;   /* after a backslash */
    unsigned depth; /* of brackets inside the value */
    struct buffer key;
    struct buffer value;
};

#define SPLITTER_NONSENSE 1
#define SPLITTER_NO_MEMORY 2
#define SPLITTER_TOO_LONG 3

#define SPLITTER_KEY_BYTES ((size_t)1024)
#define SPLITTER_VALUE_BYTES ((size_t)256 * 1024 * 1024)

/* Returns 0, SPLITTER_NONSENSE if this is no JSON object, SPLITTER_NO_MEMORY,
 * SPLITTER_TOO_LONG if a key or a value is longer than these, or what found returned. */
int splitter_feed(struct splitter *splitter, struct text piece);

/* Has the object come to its end? */
static inline bool splitter_is_complete(const struct splitter *splitter)
{
    return splitter->state == SPLITTER_END;
}

void splitter_free(struct splitter *splitter);

#endif
