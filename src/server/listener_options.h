/* SPDX-License-Identifier: MIT */
/* What the clients of one listener may do, and how they are answered: the words after an address,
 * ',ro,history,log' (doc/security.md). A listener hands it to each of its connections. */
#ifndef PRSERVD_LISTENER_OPTIONS_H
#define PRSERVD_LISTENER_OPTIONS_H

#include <stdbool.h>

enum listener_rights {
    LISTENER_FULL,      /* ',full', the default */
    LISTENER_ASSIGN,    /* ',assign': import-one is refused */
    LISTENER_READ_ONLY, /* ',ro': its clients may not store */
};

struct listener_options {
    enum listener_rights rights;
    bool has_rights; /* they were given, and are not the default */
    bool history;    /* ',history': get-pr and test-pr are answered in history mode */
    bool log; /* ',log': read-only clients, too, see peers and annotations in the audit log */
    bool tls; /* ',tls' */
    unsigned max_connections_per_address; /* 0: any number */
    /* From which addresses its clients come; NULL: from any. Owned by whoever has set the options,
     * as long as the server lives. */
    struct access *access;
};

/* Writes the words that the log and get-stats have: "read-only, history"; "" for the defaults. */
#define LISTENER_WORDS_BYTES 160
void listener_options_describe(
    const struct listener_options *options, char words[LISTENER_WORDS_BYTES]);

#endif
