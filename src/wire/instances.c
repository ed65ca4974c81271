/* SPDX-License-Identifier: MIT */
/* A short list: it is searched from its beginning. */
#include "wire/instances.h"

#include <string.h>

static bool instances_is_name(struct text name)
{
    if (name.length == 0 || name.length >= INSTANCE_BYTES)
        return false;
    for (size_t i = 0; i < name.length; i++) {
        if (name.bytes[i] <= ' ' || name.bytes[i] > '~')
            return false;
    }
    return true;
}

bool instances_contain(const struct instances *instances, struct text name)
{
    for (unsigned i = 0; i < instances->n; i++) {
        if (name.length > 0 && text_is(name, instances->names[i]))
            return true;
    }
    return false;
}

void instances_add(struct instances *instances, struct text name)
{
    if (instances->n == INSTANCES_MAX || !instances_is_name(name) ||
        instances_contain(instances, name))
        return;
    memcpy(instances->names[instances->n], name.bytes, name.length);
    instances->names[instances->n][name.length] = '\0';
    instances->n++;
}

void instances_add_all(struct instances *instances, const struct instances *more)
{
    for (unsigned i = 0; i < more->n; i++)
        instances_add(instances, text_of(more->names[i]));
}
