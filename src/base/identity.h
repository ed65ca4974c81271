/* SPDX-License-Identifier: MIT */
/* What database a server has, as far as other servers have to know. The stores of an executor share
 * it and fill it in when they connect. Any thread. */
#ifndef PRSERVD_IDENTITY_H
#define PRSERVD_IDENTITY_H

#include "base/text.h"

#include <stdatomic.h>
#include <stdbool.h>

#define IDENTITY_INSTANCE_BYTES 33

struct identity {
    atomic_bool is_standby; /* the reader's database is a standby, whose rows may be old */
    atomic_uint rollbacks;  /* how often it was found to be older than before, or another one */
    atomic_int state;
    char instance[IDENTITY_INSTANCE_BYTES];
};

/* Sets the name of the database to a hash of these facts about it. The first name stays. identity
 * may be NULL. */
void identity_set(struct identity *identity, struct text facts);

/* Returns the name of the database; "" while it is not known. It differs from that of each other
 * database, and is the same for all servers on one. */
const char *identity_instance(const struct identity *identity);

/* Notes whether the database is a standby. identity may be NULL. */
void identity_set_standby(struct identity *identity, bool is_standby);

/* Counts a rollback of the database; and returns how many there were. identity may be NULL. */
void identity_add_rollback(struct identity *identity);
unsigned identity_rollbacks(const struct identity *identity);

#endif
