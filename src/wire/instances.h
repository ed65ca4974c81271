/* SPDX-License-Identifier: MIT */
/* The databases of a server and of all its upstreams, as is-readonly's answer lists them: a server
 * that finds its own database there is its own upstream (doc/protocol.md, is-readonly). */
#ifndef PRSERVD_INSTANCES_H
#define PRSERVD_INSTANCES_H

#include "base/text.h"

#include <stdbool.h>

#define INSTANCE_BYTES 65 /* of the longest name, with its NUL */
#define INSTANCES_MAX 32  /* more are not kept: chains are short */

struct instances {
    unsigned n;
    char names[INSTANCES_MAX][INSTANCE_BYTES];
};

/* Adds a name, unless the list has it already or is full. Ignores an empty or long name, and one
 * that is not printable ASCII. */
void instances_add(struct instances *instances, struct text name);

/* Adds the names of another list. */
void instances_add_all(struct instances *instances, const struct instances *more);

/* Returns whether the list has this name; false for an empty one. */
bool instances_contain(const struct instances *instances, struct text name);

#endif
