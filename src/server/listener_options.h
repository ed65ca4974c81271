/* SPDX-License-Identifier: MIT */
/* What the clients of one listener may do, and how they are answered: the words after an address,
 * ',ro,history,log'. A listener hands it to each of its connections. */
#ifndef PRSERVD_LISTENER_OPTIONS_H
#define PRSERVD_LISTENER_OPTIONS_H

#include <stdbool.h>

struct listener_options {
    bool read_only; /* ',ro': its clients may not store */
    bool history;   /* ',history': get-pr and test-pr are answered in history mode */
    bool log;       /* ',log': read-only clients, too, see peers and annotations in the audit log */
};

#endif
