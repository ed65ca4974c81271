/* SPDX-License-Identifier: MIT */
/* A ledger of all answers. It checks whether they keep the promises (doc/semantics.md, "What is
 * promised"): each answer as it arrives, and the database against all of them.
 *
 * It can check get-pr of any checksum; import-one of a new checksum, with a value that get-pr
 * never gives ("<any>.<a number used once>.0"); and test-pr. */
#ifndef PRSERVD_LEDGER_H
#define PRSERVD_LEDGER_H

#include "wire/request.h"

#include <stdbool.h>
#include <stdint.h>

struct ledger;

/* What was known when a request was sent. */
struct ledger_note {
    char *greatest;         /* revision of the package, or NULL */
    char *greatest_no_hist; /* among the answers without history */
    bool asked;             /* the checksum was asked for before, with or without an answer */
};

struct ledger *ledger_create(void);
void ledger_free(struct ledger *ledger);

/* Called before the request is sent. ledger_answer frees the note's strings. */
void ledger_ask(struct ledger *ledger, const struct request *request, struct ledger_note *note);

/* Takes the answer, NULL for an error or none. Returns false, with the reason, if it breaks a
 * promise. */
bool ledger_answer(struct ledger *ledger, const struct request *request, struct ledger_note *note,
    const char *value, char reason[512]);

/* Checks, with SQLite's default VFS, that the database is intact and has every answered row. After
 * it returns false, the ledger can't be used any more. */
bool ledger_check(struct ledger *ledger, const char *file, char reason[512]);

uint64_t ledger_answers(const struct ledger *ledger);

#endif
