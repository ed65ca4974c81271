/* SPDX-License-Identifier: MIT */
#include "feed/match.h"

#include "cli/connect.h"
#include "client/field.h"
#include "revision/floor.h"
#include "revision/revision.h"

#include <stdlib.h>

#define BATCH 1000

#define MAX_SEPARATE 200 /* keys whose contents are asked for one by one */
#define EXPORT_MS 600000

/* A version whose pkgarch is searched for. */
struct searched_version {
    struct map_entry map; /* must be first */
    struct feed_entry *first;
};

/* A key of which is asked whether it has contents. */
struct asked_key {
    struct map_entry map; /* must be first */
    bool has_content;
};

struct matching {
    struct feed *feed;
    const struct cli *cli;
    struct prserv *server;
    struct prserv_package *asked; /* BATCH */
    struct feed_key *keys[BATCH]; /* they belong to */
    size_t n_asked;
    size_t n_refused; /* keys that the server did not accept */
    struct map versions;
    struct map contents;
    struct buffer pair;
    struct error error;
};

/* ---- asking for keys ---- */

/* Sends the requests that were collected, and takes their answers. */
static int match_ask(struct matching *matching)
{
    struct prserv_error error;
    int status = CLI_OK;

    if (prserv_max_package_prs(matching->server, matching->asked, matching->n_asked, &error) != 0)
        status = cli_report_error(&error);
    for (size_t i = 0; i < matching->n_asked; i++) {
        const struct prserv_error *refused = &matching->asked[i].error;

        matching->keys[i]->greatest = matching->asked[i].revision;
        if (status == CLI_OK && refused->code != 0 && matching->n_refused++ == 0)
            (void)cli_report_error(refused);
    }
    matching->n_asked = 0;
    return status;
}

/* Asks for the complete keys of the entries that were not asked for yet. */
static int match_ask_all(struct matching *matching)
{
    struct feed_entry *entry;
    int status = CLI_OK;

    STAILQ_FOREACH (entry, &matching->feed->entries, next) {
        for (size_t i = 0; i < entry->n_keys && status == CLI_OK; i++) {
            struct feed_key *key = &entry->keys[i];

            if (entry->match != FEED_NOT_ASKED || !key->pkgarch)
                continue;
            matching->keys[matching->n_asked] = key;
            matching->asked[matching->n_asked++] = (struct prserv_package){
                .version = prserv_text(key->version), .pkgarch = prserv_text(key->pkgarch)};
            if (matching->n_asked == BATCH)
                status = match_ask(matching);
        }
    }
    return status == CLI_OK ? match_ask(matching) : status;
}

/* ---- the keys of an entry ---- */

/* Removes the keys that the server does not have, if it has one. */
static void match_drop_unknown(struct feed_entry *entry)
{
    size_t n_known = 0;

    for (size_t i = 0; i < entry->n_keys; i++) {
        if (entry->keys[i].greatest)
            entry->keys[n_known++] = entry->keys[i];
        else
            feed_free_key(&entry->keys[i]);
    }
    entry->n_keys = n_known;
}

/* Takes over what the server has of the keys of an entry that was not asked for yet. */
static void match_settle(const struct matching *matching, struct feed_entry *entry)
{
    size_t n_known = 0;

    if (entry->match != FEED_NOT_ASKED)
        return;
    for (size_t i = 0; i < entry->n_keys; i++)
        n_known += entry->keys[i].greatest != NULL;
    if (entry->is_certain)
        entry->match = FEED_ONE_KEY;
    else if (n_known == 0)
        entry->match = FEED_NO_MATCH;
    else
        entry->match = n_known == 1 ? FEED_SERVER_KEY : FEED_AMBIGUOUS;
    if (n_known > 0 && !matching->feed->keeps_keys)
        match_drop_unknown(entry);
}

/* ---- several keys ---- */

/* Notes that a key has contents, if the row is not a floor. */
static int match_on_content(void *context, const struct prserv_row *received)
{
    struct matching *matching = context;
    const struct row row = field_row(received);
    struct asked_key *asked;

    if (floor_is_checksum(row.checksum))
        return 0;
    buffer_set_pair(&matching->pair, row.version, row.pkgarch);
    if (buffer_failed(&matching->pair))
        return error_set_memory(&matching->error);
    asked = map_find(&matching->contents, buffer_text(&matching->pair));
    if (asked)
        asked->has_content = true;
    return 0;
}

/* Reads rows of the server. A version of NULL: all rows. */
static int match_export(struct matching *matching, const struct feed_key *key, bool history,
    int (*on_row)(void *context, const struct prserv_row *row))
{
    const struct prserv_export request = {
        .version = prserv_text(key ? key->version : ""),
        .pkgarch = prserv_text(key ? key->pkgarch : ""),
        .history = history,
        .row = on_row,
        .context = matching,
    };
    struct prserv_error error;
    const int result = prserv_export(matching->server, &request, &error);

    if (result == PRSERV_ERROR_STOPPED)
        return cli_fail(matching->cli, CLI_FAILED, "%s", matching->error.text);
    return result == 0 ? CLI_OK : cli_report_error(&error);
}

/* Returns what is known of the contents of a key, or NULL if memory ran out. */
static struct asked_key *match_find_asked(struct matching *matching, const struct feed_key *key)
{
    buffer_set_pair(&matching->pair, text_of(key->version), text_of(key->pkgarch));
    if (buffer_failed(&matching->pair))
        return NULL;
    return map_find_or_add(
        &matching->contents, buffer_text(&matching->pair), sizeof(struct asked_key));
}

/* Asks which of several keys have contents: prserv feed rows has given floors to keys that no build
 * uses. Few keys are asked for one by one; for many, all rows are read. */
static int match_ask_contents(struct matching *matching)
{
    const struct feed_entry *entry;
    int status = CLI_OK;

    STAILQ_FOREACH (entry, &matching->feed->entries, next) {
        for (size_t i = 0; entry->match == FEED_AMBIGUOUS && i < entry->n_keys; i++) {
            if (entry->keys[i].greatest && !match_find_asked(matching, &entry->keys[i]))
                return cli_fail(matching->cli, CLI_FAILED, "out of memory");
        }
    }
    if (matching->contents.n_items > MAX_SEPARATE)
        return match_export(matching, NULL, true, match_on_content);
    STAILQ_FOREACH (entry, &matching->feed->entries, next) {
        for (size_t i = 0; entry->match == FEED_AMBIGUOUS && i < entry->n_keys; i++) {
            if (status == CLI_OK && entry->keys[i].greatest)
                status = match_export(matching, &entry->keys[i], true, match_on_content);
        }
    }
    return status;
}

/* Removes the keys that have only floors, if another one has contents. */
static void match_drop_floors(struct matching *matching, struct feed_entry *entry)
{
    size_t n_kept = 0;
    size_t n_content = 0;

    for (size_t i = 0; i < entry->n_keys; i++) {
        struct feed_key *key = &entry->keys[i];
        const struct asked_key *asked = key->greatest ? match_find_asked(matching, key) : NULL;

        key->has_content = asked && asked->has_content;
        n_content += key->has_content;
    }
    if (n_content == 1)
        entry->match = FEED_SERVER_KEY;
    if (n_content == 0 || matching->feed->keeps_keys)
        return;
    for (size_t i = 0; i < entry->n_keys; i++) {
        if (entry->keys[i].has_content)
            entry->keys[n_kept++] = entry->keys[i];
        else
            feed_free_key(&entry->keys[i]);
    }
    entry->n_keys = n_kept;
}

static int match_drop_all_floors(struct matching *matching)
{
    const int status = match_ask_contents(matching);
    struct feed_entry *entry;

    STAILQ_FOREACH (entry, &matching->feed->entries, next) {
        if (status == CLI_OK && entry->match == FEED_AMBIGUOUS)
            match_drop_floors(matching, entry);
    }
    return status;
}

/* ---- searching for a pkgarch ---- */

/* Keeps the key of a row. Several rows may have the same key. */
static bool match_keep(struct feed_entry *entry, const struct row *row)
{
    struct feed_key *key = &entry->searched;

    if (entry->n_searched > 0 && text_is(row->pkgarch, key->pkgarch))
        return true;
    if (++entry->n_searched > 1)
        return true;
    key->version = strndup(row->version.bytes, row->version.length);
    key->pkgarch = strndup(row->pkgarch.bytes, row->pkgarch.length);
    key->greatest = strndup(row->value.bytes, row->value.length);
    return key->version && key->pkgarch && key->greatest;
}

/* Returns whether a row can be compared and shown. Other servers have other rows, too. */
static bool match_is_usable(const struct row *row)
{
    char *pkgarch;
    bool is_plain;

    if (!row->value.bytes || !revision_is_valid(row->value.bytes, row->value.length) ||
        row->pkgarch.length == 0)
        return false;
    pkgarch = strndup(row->pkgarch.bytes, row->pkgarch.length);
    if (!pkgarch)
        return false;
    text_make_printable(pkgarch);
    is_plain = text_is(row->pkgarch, pkgarch);
    free(pkgarch);
    return is_plain;
}

/* Takes a row of the export: the greatest of its key. */
static int match_on_row(void *context, const struct prserv_row *received)
{
    struct matching *matching = context;
    const struct row row = field_row(received);
    const struct searched_version *version = map_find(&matching->versions, row.version);

    if (!version || !match_is_usable(&row))
        return 0;
    for (struct feed_entry *entry = version->first; entry; entry = entry->next_of_version) {
        if (!match_keep(entry, &row))
            return error_set_memory(&matching->error);
    }
    return 0;
}

/* Collects the entries whose pkgarch is not known. Counters have that of their packages. */
static int match_collect(struct matching *matching)
{
    struct feed_entry *entry;

    STAILQ_FOREACH (entry, &matching->feed->entries, next) {
        struct searched_version *version;

        if (entry->keys[0].pkgarch || entry->is_counter)
            continue;
        version =
            map_find_or_add(&matching->versions, text_of(entry->keys[0].version), sizeof *version);
        if (!version)
            return cli_fail(matching->cli, CLI_FAILED, "out of memory");
        entry->next_of_version = version->first;
        version->first = entry;
    }
    return CLI_OK;
}

/* Takes over a key that the search has found. */
static void match_take_searched(struct feed_entry *entry)
{
    if (entry->n_searched == 1) {
        entry->searched.revision = entry->keys[0].revision;
        entry->searched.is_autoinc = entry->keys[0].is_autoinc;
        entry->keys[0].revision = NULL;
        for (size_t i = 0; i < entry->n_keys; i++)
            feed_free_key(&entry->keys[i]);
        entry->keys[0] = entry->searched;
        entry->n_keys = 1;
        entry->match = FEED_SEARCHED;
    } else if (entry->n_searched > 1) {
        feed_free_key(&entry->searched);
    }
}

/* Gives a counter the pkgarch of its packages, and has its keys asked for. Returns false if memory
 * ran out. */
static bool match_fill_counter(struct feed_entry *counter, const char *pkgarch)
{
    for (size_t i = 0; i < counter->n_keys; i++) {
        if (!counter->keys[i].pkgarch)
            counter->keys[i].pkgarch = strdup(pkgarch);
        if (!counter->keys[i].pkgarch)
            return false;
    }
    counter->match = FEED_NOT_ASKED;
    return true;
}

/* Searches for the pkgarchs that packages don't tell. */
static int match_search(struct matching *matching)
{
    struct feed_entry *entry;
    int status = match_collect(matching);

    if (status != CLI_OK || matching->versions.n_items == 0)
        return status;
    status = match_export(matching, NULL, false, match_on_row);
    STAILQ_FOREACH (entry, &matching->feed->entries, next) {
        match_take_searched(entry);
        if (entry->counter && entry->match == FEED_SEARCHED && !entry->counter->keys[0].pkgarch &&
            !match_fill_counter(entry->counter, entry->keys[0].pkgarch))
            return cli_fail(matching->cli, CLI_FAILED, "out of memory");
    }
    if (status == CLI_OK)
        status = match_ask_all(matching);
    STAILQ_FOREACH (entry, &matching->feed->entries, next)
        match_settle(matching, entry);
    return status;
}

/* ---- all ---- */

/* Leaves out counters of packages whose version is not one with AUTOINC. */
static void match_check_counters(struct feed *feed)
{
    struct feed_entry *entry;

    STAILQ_FOREACH (entry, &feed->entries, next) {
        bool is_wanted = entry->match == FEED_NO_MATCH;

        for (size_t i = 0; i < entry->n_keys; i++)
            is_wanted = is_wanted || entry->keys[i].is_autoinc;
        if (entry->counter && is_wanted)
            entry->counter->is_counter_wanted = true;
    }
    STAILQ_FOREACH (entry, &feed->entries, next) {
        if (entry->is_counter && !entry->is_counter_wanted && entry->match == FEED_NO_MATCH)
            entry->match = FEED_NO_COUNTER;
    }
}

static int match_run(struct matching *matching)
{
    struct feed_entry *entry;
    int status = match_ask_all(matching);

    STAILQ_FOREACH (entry, &matching->feed->entries, next)
        match_settle(matching, entry);
    if (status == CLI_OK)
        status = match_drop_all_floors(matching);
    if (status == CLI_OK)
        status = match_search(matching);
    match_check_counters(matching->feed);
    return status;
}

int feed_match_server(
    struct feed *feed, const struct cli *cli, struct prserv *server, size_t *n_refused)
{
    struct matching *matching = calloc(1, sizeof *matching); /* too large for the stack */
    int status;

    *n_refused = 0;
    if (!matching)
        return cli_fail(cli, CLI_FAILED, "out of memory");
    *matching = (struct matching){.feed = feed, .cli = cli, .server = server};
    matching->asked = calloc(BATCH, sizeof *matching->asked);
    prserv_set_export_time(server, EXPORT_MS);
    status = matching->asked ? match_run(matching) : cli_fail(cli, CLI_FAILED, "out of memory");
    *n_refused = matching->n_refused;
    map_clear(&matching->versions, free);
    map_clear(&matching->contents, free);
    buffer_free(&matching->pair);
    free(matching->asked);
    free(matching);
    return status;
}

const char *feed_match_remark(const struct feed_entry *entry)
{
    switch (entry->match) {
    case FEED_SERVER_KEY:
        return "of the keys that the packages may have, the server has this one";
    case FEED_SEARCHED:
        return "the server has the version for this pkgarch alone";
    case FEED_AMBIGUOUS:
        return "the server has several keys that the packages may have";
    case FEED_NO_MATCH:
        return entry->n_searched > 1 ? "several of the server's keys fit"
                                     : "the server has none of the keys that the packages may have";
    default:
        return NULL;
    }
}
