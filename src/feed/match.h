/* SPDX-License-Identifier: MIT */
/* Asks the server which keys it has, and for their greatest revisions: of the keys that a package
 * may have, the server's own tell which one its build has used. */
#ifndef PRSERV_FEED_MATCH_H
#define PRSERV_FEED_MATCH_H

#include "cli/cli.h"
#include "client/prserv.h"
#include "feed/feed.h"

/* Sets match of each entry. keys are those that the server has then, unless feed->keeps_keys is
 * set; of an entry without a match they stay as they were. *n_refused: keys that the server did not
 * accept. Returns CLI_OK, or another exit status after reporting why. */
int feed_match_server(
    struct feed *feed, const struct cli *cli, struct prserv *server, size_t *n_refused);

/* Returns how the key was found, as a part of a sentence for people. NULL: nothing was in doubt. */
const char *feed_match_remark(const struct feed_entry *entry);

#endif
