/* SPDX-License-Identifier: MIT */
/* What all sessions of a server share. */
#ifndef PRSERVD_SERVER_CONTEXT_H
#define PRSERVD_SERVER_CONTEXT_H

#include "audit/audit.h"
#include "base/budget.h"
#include "base/log.h"
#include "exec/executor.h"
#include "relay/relay.h"
#include "server/exports.h"
#include "server/message_reader.h"
#include "server/stats.h"
#include "upstream/upstream.h"

#include <stdbool.h>

/* All pointers are borrowed, as long as the server lives. */
struct server_context {
    struct executor *executor;
    struct upstream *upstream; /* NULL: none */
    struct audit *audit;       /* NULL: none */
    struct relay *relay;       /* NULL: this server is none. Otherwise there is no executor. */
    struct log *log;
    bool read_only;           /* whether the database is */
    bool history;             /* get-pr and test-pr are answered in history mode */
    bool has_replica;         /* whether look-ups are answered from another database, --file-read */
    size_t max_message_bytes; /* as it would be sent on to the upstream */
    struct message_reader *messages;
    struct stats *stats;
    struct budget *budget;   /* memory for requests and answers */
    struct exports *exports; /* in turn */
};

#endif
