/* SPDX-License-Identifier: MIT */
/* Asks the server which keys it has, and for their greatest revisions.
 *
 * Of the keys that a package may have, the server's own tell which one its build has used. If the
 * server has none of them, PKGV may differ from PV: then its keys of the recipe are searched. */
#ifndef PRSERV_FEED_MATCH_H
#define PRSERV_FEED_MATCH_H

#include "cli/cli.h"
#include "client/prserv.h"
#include "feed/feed.h"

/* Sets match of each entry. keys are those that the server has then; of an entry without a match
 * they stay as they were. Returns CLI_OK, or another exit status after reporting why. */
int feed_match_server(struct feed *feed, const struct cli *cli, struct prserv *server);

/* Returns whether a key of the server fits a package: PN-V-PR, where V and PKGV differ by what
 * follows a plus. key is one that the package may have. */
bool feed_key_fits(struct text server_version, struct text recipe, struct text key);

/* Returns how the key was found, for people: "found among the server's keys"; NULL: nothing was in
 * doubt. */
const char *feed_match_remark(const struct feed_entry *entry);

#endif
