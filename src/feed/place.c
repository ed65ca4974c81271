/* SPDX-License-Identifier: MIT */
#include "feed/place.h"

#include <stdio.h>
#include <stdlib.h>

char *feed_place_describe(const struct feed_place *place)
{
    char line[32] = "";
    char *description;
    int length;

    if (place->line > 0)
        (void)snprintf(line, sizeof line, ":%lu", place->line);
    length = asprintf(&description, "%s%s%s%.*s", place->file, line,
        place->package.length > 0 ? ": " : "", (int)place->package.length, place->package.bytes);
    if (length < 0)
        return NULL;
    text_make_printable(description);
    return description;
}
