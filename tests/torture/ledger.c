/* SPDX-License-Identifier: MIT */
#include "ledger.h"

#include "base/map.h"
#include "revision/revision.h"

#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

/* A row (package, checksum, value), the owner of a value (package, value), a checksum (package,
 * checksum), or a package. The key begins with the kind; its parts are joined with '|'. */
struct entry {
    struct map_entry key;
    SLIST_ENTRY(entry) next;
    char *text;       /* of an owner: the checksum; of a checksum: its first answer with history */
    char *greatest;   /* of a package */
    char *no_history; /* of a package: the greatest answer without history */
    uint64_t seen;    /* of a row: the number of the last check that found it */
    bool answered;
};

struct ledger {
    struct map entries;
    SLIST_HEAD(, entry) list; /* the same */
    uint64_t n_rows;
    uint64_t n_answers;
    uint64_t n_checks;
};

static void *must_have(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

struct ledger *ledger_create(void)
{
    return must_have(calloc(1, sizeof(struct ledger)));
}

static void release(void *item)
{
    struct entry *entry = item;

    free(entry->text);
    free(entry->greatest);
    free(entry->no_history);
    free(entry);
}

void ledger_free(struct ledger *ledger)
{
    map_clear(&ledger->entries, release);
    free(ledger);
}

static struct entry *find(struct ledger *ledger, char kind, const struct text parts[3])
{
    const size_t n_entries = ledger->entries.n_items;
    struct entry *entry;
    char key[512];

    (void)snprintf(key, sizeof key, "%c|%.*s|%.*s|%.*s", kind, (int)parts[0].length, parts[0].bytes,
        (int)parts[1].length, parts[1].bytes, (int)parts[2].length, parts[2].bytes);
    entry = must_have(map_find_or_add(&ledger->entries, text_of(key), sizeof *entry));
    if (ledger->entries.n_items > n_entries)
        SLIST_INSERT_HEAD(&ledger->list, entry, next);
    return entry;
}

static const struct text nothing = {.bytes = "", .length = 0};

static struct entry *find_row(
    struct ledger *ledger, struct text package, struct text checksum, const char *value)
{
    return find(ledger, 'r', (struct text[]){package, checksum, text_of(value)});
}

static struct entry *find_owner(struct ledger *ledger, struct text package, const char *value)
{
    return find(ledger, 'v', (struct text[]){package, text_of(value), nothing});
}

static struct entry *find_checksum(struct ledger *ledger, struct text package, struct text checksum)
{
    return find(ledger, 'c', (struct text[]){package, checksum, nothing});
}

static struct entry *find_package(struct ledger *ledger, struct text package)
{
    return find(ledger, 'p', (struct text[]){package, nothing, nothing});
}

/* ---- answers ---- */

static char *copy(const char *text)
{
    return text ? must_have(strdup(text)) : NULL;
}

static void keep_greatest(char **greatest, const char *value)
{
    if (*greatest && revision_compare(*greatest, value) >= 0)
        return;
    free(*greatest);
    *greatest = copy(value);
}

void ledger_ask(struct ledger *ledger, const struct request *request, struct ledger_note *note)
{
    struct entry *package = find_package(ledger, request->version);
    struct entry *checksum = find_checksum(ledger, request->version, request->checksum);

    *note = (struct ledger_note){
        .greatest = copy(package->greatest),
        .greatest_no_hist = copy(package->no_history),
        .asked = checksum->answered,
    };
    checksum->answered = true;
}

static bool complain(char reason[512], const struct request *request, const char *value,
    const char *what, const char *of)
{
    (void)snprintf(reason, 512, "%s of %.*s, checksum %.*s%s, was answered with %s: %s %s",
        request_name(request->kind), (int)request->version.length, request->version.bytes,
        (int)request->checksum.length, request->checksum.bytes,
        request->history ? " with history" : "", value, what, of);
    return false;
}

static bool check_revision(struct ledger *ledger, const struct request *request,
    const struct ledger_note *note, const char *value, char reason[512])
{
    struct entry *row = find_row(ledger, request->version, request->checksum, value);
    struct entry *checksum = find_checksum(ledger, request->version, request->checksum);
    bool is_no_hist = !request->history;

    if (!revision_is_valid(value, strlen(value)))
        return complain(reason, request, value, "not a revision", "");
    if (!note->asked && note->greatest && revision_compare(value, note->greatest) <= 0)
        return complain(reason, request, value, "not above", note->greatest);
    if (is_no_hist && note->greatest_no_hist && revision_compare(value, note->greatest_no_hist) < 0)
        return complain(reason, request, value, "it goes down from", note->greatest_no_hist);
    if (is_no_hist && !row->answered && note->greatest &&
        revision_compare(value, note->greatest) <= 0)
        return complain(reason, request, value, "another number, not above", note->greatest);
    if (!is_no_hist && checksum->text && strcmp(checksum->text, value) != 0)
        return complain(reason, request, value, "with history it was", checksum->text);
    return true;
}

static bool note_row(
    struct ledger *ledger, const struct request *request, const char *value, char reason[512])
{
    struct entry *owner = find_owner(ledger, request->version, value);
    char *checksum = must_have(strndup(request->checksum.bytes, request->checksum.length));
    struct entry *row = find_row(ledger, request->version, request->checksum, value);

    if (owner->text && strcmp(owner->text, checksum) != 0) {
        free(checksum);
        return complain(reason, request, value, "this value belongs to checksum", owner->text);
    }
    free(owner->text);
    owner->text = checksum;
    ledger->n_answers++;
    if (!row->answered)
        ledger->n_rows++;
    row->answered = true;
    return true;
}

bool ledger_answer(struct ledger *ledger, const struct request *request, struct ledger_note *note,
    const char *value, char reason[512])
{
    struct entry *package = find_package(ledger, request->version);
    bool is_good = true;

    if (value && request->kind == REQUEST_GET_PR)
        is_good = check_revision(ledger, request, note, value, reason);
    if (value && is_good)
        is_good = note_row(ledger, request, value, reason);
    if (value && is_good)
        keep_greatest(&package->greatest, value);
    if (value && is_good && request->kind == REQUEST_GET_PR && !request->history)
        keep_greatest(&package->no_history, value);
    if (value && is_good && request->kind == REQUEST_GET_PR && request->history) {
        struct entry *checksum = find_checksum(ledger, request->version, request->checksum);

        if (!checksum->text)
            checksum->text = copy(value);
    }
    free(note->greatest);
    free(note->greatest_no_hist);
    return is_good;
}

/* ---- the database ---- */

static bool check_row(struct ledger *ledger, sqlite3_stmt *row, char reason[512])
{
    struct text package = text_of((const char *)sqlite3_column_text(row, 0));
    struct text checksum = text_of((const char *)sqlite3_column_text(row, 1));
    const char *value = (const char *)sqlite3_column_text(row, 2);
    struct entry *owner = find_owner(ledger, package, value);

    if (!find_checksum(ledger, package, checksum)->answered) {
        (void)snprintf(reason, 512, "a row that was never asked for: %s %s %s", package.bytes,
            checksum.bytes, value);
        return false;
    }
    if (owner->text && strcmp(owner->text, checksum.bytes) != 0) {
        (void)snprintf(reason, 512, "%s of %s was given to %s, but is stored for %s", value,
            package.bytes, owner->text, checksum.bytes);
        return false;
    }
    if (!owner->text)
        owner->text = copy(checksum.bytes);
    find_row(ledger, package, checksum, value)->seen = ledger->n_checks;
    return true;
}

static bool find_losses(struct ledger *ledger, char reason[512])
{
    const struct entry *entry;
    uint64_t n_lost = 0;

    SLIST_FOREACH(entry, &ledger->list, next)
    {
        if (entry->key.key.bytes[0] != 'r' || !entry->answered || entry->seen == ledger->n_checks)
            continue;
        if (n_lost++ == 0)
            (void)snprintf(reason, 512, "answered and lost: %.200s", entry->key.key.bytes + 2);
    }
    if (n_lost > 1)
        (void)snprintf(
            reason + strlen(reason), 512 - strlen(reason), " and %" PRIu64 " more", n_lost - 1);
    return n_lost == 0;
}

static bool check_integrity(sqlite3 *database, char reason[512])
{
    sqlite3_stmt *statement = NULL;
    bool whole = false;

    if (sqlite3_prepare_v2(database, "PRAGMA integrity_check(1)", -1, &statement, NULL) ==
            SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        whole = strcmp((const char *)sqlite3_column_text(statement, 0), "ok") == 0;
    if (!whole)
        (void)snprintf(reason, 512, "the database is damaged: %s", sqlite3_errmsg(database));
    (void)sqlite3_finalize(statement);
    return whole;
}

static bool check_rows(struct ledger *ledger, sqlite3 *database, char reason[512])
{
    static const char sql[] = "SELECT version, checksum, value FROM PRMAIN";
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(database, sql, -1, &statement, NULL);
    bool is_good = true;

    while (is_good && code == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW)
        is_good = check_row(ledger, statement, reason);
    (void)sqlite3_finalize(statement);
    return is_good;
}

bool ledger_check(struct ledger *ledger, const char *file, char reason[512])
{
    sqlite3 *database = NULL;
    bool is_good = false;

    ledger->n_checks++;
    if (sqlite3_open(file, &database) != SQLITE_OK)
        (void)snprintf(reason, 512, "the database can't be opened: %s", sqlite3_errmsg(database));
    else
        is_good = check_integrity(database, reason) && check_rows(ledger, database, reason) &&
                  find_losses(ledger, reason);
    (void)sqlite3_close(database);
    return is_good;
}

uint64_t ledger_answers(const struct ledger *ledger)
{
    return ledger->n_answers;
}
