/* JSON text to a tree of jansson's, whole or not at all. For the codec. */
#ifndef PRSERVD_JSON_LOAD_H
#define PRSERVD_JSON_LOAD_H

#include "base/text.h"

#include <jansson.h>
#include <stdbool.h>

/* The tree is the caller's (json_decref). NULL: *no_memory says whether memory ran out;
 * otherwise reason says why this is no JSON. */
json_t *json_load_whole(struct text json, json_error_t *reason, bool *no_memory);

#endif
