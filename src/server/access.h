/* SPDX-License-Identifier: MIT */
/* From which addresses clients of a listener come, and which of them have its rights
 * (doc/security.md). A look-up takes less than a microsecond with 1,000 networks. */
#ifndef PRSERVD_ACCESS_H
#define PRSERVD_ACCESS_H

#include "base/error.h"
#include "base/networks.h"
#include "base/text.h"
#include "server/peer.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Networks; for unix sockets users and groups. */
struct access_list {
    struct networks networks;
    uid_t *users; /* owned, like groups */
    size_t n_users;
    gid_t *groups;
    size_t n_groups;
};

struct access {
    struct access_list allowed; /* empty: everybody */
    struct access_list writers; /* have the listener's rights, all others read only; empty: all */
    struct access_list relays;  /* are exempt from limits for an address */
};

/* Adds "10.0.0.0/8", "uid:builder", "uid:1000", "gid:builders". Names are looked up now. Fails with
 * ERROR_INPUT or ERROR_MEMORY. */
ERROR_MUST_CHECK int access_list_add(
    struct access_list *list, struct text text, struct error *error);

bool access_list_is_empty(const struct access_list *list);

/* Prepares look-ups, after the last access_list_add. */
void access_finish(struct access *access);

/* Checks that the lists are for the kind of the socket: networks for TCP, users and groups for a
 * unix socket. Fails with ERROR_INPUT. NULL is allowed. */
ERROR_MUST_CHECK int access_check(
    const struct access *access, bool is_unix, const char *listener, struct error *error);

/* access: NULL allows all, and has no relays. descriptor: the peer's. */
bool access_allows(const struct access *access, int descriptor, const struct peer *peer);
bool access_is_writer(const struct access *access, int descriptor, const struct peer *peer);
bool access_is_relay(const struct access *access, int descriptor, const struct peer *peer);

/* Frees the lists. */
void access_release(struct access *access);

#endif
