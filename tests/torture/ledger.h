/* What clients were told, and whether the server keeps its word (doc/semantics.md, "What is
 * promised"): each answer as it comes, and the database against all of them.
 *
 * Requests that the ledger can judge: get-pr for any checksum; import-one of a checksum that
 * is new, with a value that no get-pr can give ("<any>.<a number used once>.0"); test-pr. */
#ifndef PRSERVD_TEST_LEDGER_H
#define PRSERVD_TEST_LEDGER_H

#include "wire/request.h"

#include <stdbool.h>
#include <stdint.h>

struct ledger;

/* What was known when a request was made. */
struct ledger_note {
    char *greatest;         /* of the package; NULL: none */
    char *greatest_no_hist; /* of the answers without history */
    bool asked;             /* somebody has asked for this checksum, answered or not */
};

struct ledger *ledger_create(void);
void ledger_free(struct ledger *ledger);

/* Before the request is handed over. The note's strings are freed by ledger_answer. */
void ledger_ask(struct ledger *ledger, const struct request *request, struct ledger_note *note);

/* The answer; NULL: none, or an error. False: it breaks a promise; says is then why. */
bool ledger_answer(struct ledger *ledger, const struct request *request, struct ledger_note *note,
    const char *value, char says[512]);

/* Opens the database with SQLite's default VFS: is it whole, and is every row there that
 * was answered? After a false the ledger is of no further use. */
bool ledger_check(struct ledger *ledger, const char *file, char says[512]);

uint64_t ledger_answers(const struct ledger *ledger);

#endif
