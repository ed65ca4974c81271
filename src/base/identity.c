/* SPDX-License-Identifier: MIT */
/* The name is a hash, because the facts are nobody else's business (machine-id(5)). */
#include "base/identity.h"

#include "base/hash.h"

#include <inttypes.h>
#include <stdio.h>

enum { UNKNOWN, BEING_SET, KNOWN };

void identity_set(struct identity *identity, struct text facts)
{
    static const uint64_t keys[2][2] = {{0x70727365, 1}, {0x70727365, 2}};
    int state = UNKNOWN;

    if (!identity || !atomic_compare_exchange_strong(&identity->state, &state, BEING_SET))
        return;
    (void)snprintf(identity->instance, sizeof identity->instance, "%016" PRIx64 "%016" PRIx64,
        hash_text_with_key(keys[0], facts), hash_text_with_key(keys[1], facts));
    atomic_store(&identity->state, KNOWN);
}

const char *identity_instance(const struct identity *identity)
{
    return atomic_load(&identity->state) == KNOWN ? identity->instance : "";
}

void identity_set_standby(struct identity *identity, bool is_standby)
{
    if (identity)
        atomic_store(&identity->is_standby, is_standby);
}

void identity_add_rollback(struct identity *identity)
{
    if (identity)
        (void)atomic_fetch_add(&identity->rollbacks, 1);
}

unsigned identity_rollbacks(const struct identity *identity)
{
    return identity ? atomic_load(&identity->rollbacks) : 0;
}
