/* SPDX-License-Identifier: MIT */
#include "feed/match.h"

#include "cli/connect.h"
#include "client/field.h"
#include "revision/floor.h"

#include <stdlib.h>

#define BATCH 1000

struct recipe {
    struct map_entry map; /* must be first */
    struct feed_entry *first;
};

struct matching {
    struct feed *feed;
    const struct cli *cli;
    struct prserv *server;
    struct prserv_package *asked; /* BATCH */
    struct feed_key *keys[BATCH]; /* they belong to */
    size_t n_asked;
    struct map recipes; /* whose entries are searched for */
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
        if (status == CLI_OK && refused->code == PRSERV_ERROR_REFUSED)
            status = cli_report_error(refused);
    }
    matching->n_asked = 0;
    return status;
}

/* Asks for all keys that are complete. */
static int match_ask_all(struct matching *matching)
{
    struct feed_entry *entry;
    int status = CLI_OK;

    STAILQ_FOREACH (entry, &matching->feed->entries, next) {
        for (size_t i = 0; i < entry->n_keys && status == CLI_OK; i++) {
            struct feed_key *key = &entry->keys[i];

            if (!key->pkgarch)
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

static void match_free_key(struct feed_key *key)
{
    free(key->version);
    free(key->pkgarch);
    free(key->greatest);
}

/* Removes the keys that the server does not have, if it has one. */
static void match_settle(struct feed_entry *entry)
{
    size_t n_known = 0;
    size_t n_autoinc = 0;

    for (size_t i = 0; i < entry->n_keys; i++)
        n_known += entry->keys[i].greatest != NULL;
    if (entry->is_certain)
        entry->match = FEED_ONE_KEY;
    else if (n_known == 0)
        entry->match = FEED_NO_MATCH;
    else
        entry->match = n_known == 1 ? FEED_SERVER_KEY : FEED_AMBIGUOUS;
    if (n_known == 0)
        return;
    n_known = 0;
    for (size_t i = 0; i < entry->n_keys; i++) {
        if (entry->keys[i].greatest) {
            n_autoinc += i < entry->n_autoinc;
            entry->keys[n_known++] = entry->keys[i];
        } else {
            match_free_key(&entry->keys[i]);
        }
    }
    entry->n_keys = n_known;
    entry->n_autoinc = n_autoinc;
}

/* ---- several keys ---- */

/* Notices a row that is no floor. */
static int match_on_content(void *context, const struct prserv_row *row)
{
    bool *has_content = context;

    if (!floor_is_checksum(field_text(row->checksum)))
        *has_content = true;
    return 0;
}

/* Asks whether a key has contents. prserv feed rows has given floors to keys that no build uses. */
static int match_ask_content(struct matching *matching, const struct feed_key *key, bool *found)
{
    const struct prserv_export request = {.version = prserv_text(key->version),
        .pkgarch = prserv_text(key->pkgarch),
        .history = true,
        .row = match_on_content,
        .context = found};
    struct prserv_error error;

    *found = false;
    return prserv_export(matching->server, &request, &error) == 0 ? CLI_OK
                                                                  : cli_report_error(&error);
}

/* Removes the keys that have only floors, if another one has contents. */
static int match_drop_floors(struct matching *matching, struct feed_entry *entry)
{
    bool *has_content = calloc(entry->n_keys, sizeof *has_content);
    size_t n_kept = 0;
    size_t n_content = 0;
    int status = has_content ? CLI_OK : cli_fail(matching->cli, CLI_FAILED, "out of memory");

    for (size_t i = 0; i < entry->n_keys && status == CLI_OK; i++) {
        status = match_ask_content(matching, &entry->keys[i], &has_content[i]);
        n_content += has_content[i];
    }
    for (size_t i = 0; status == CLI_OK && n_content > 0 && i < entry->n_keys; i++) {
        if (has_content[i])
            entry->keys[n_kept++] = entry->keys[i];
        else
            match_free_key(&entry->keys[i]);
    }
    if (n_kept > 0)
        entry->n_keys = n_kept;
    if (n_kept == 1)
        entry->match = FEED_SERVER_KEY;
    free(has_content);
    return status;
}

static int match_drop_all_floors(struct matching *matching)
{
    struct feed_entry *entry;
    int status = CLI_OK;

    STAILQ_FOREACH (entry, &matching->feed->entries, next) {
        if (status == CLI_OK && entry->match == FEED_AMBIGUOUS)
            status = match_drop_floors(matching, entry);
    }
    return status;
}

/* ---- searching ---- */

/* Returns whether a version begins with another one, and what follows is behind a plus. */
static bool match_extends(struct text longer, struct text shorter)
{
    if (longer.length <= shorter.length || shorter.length == 0 ||
        memcmp(longer.bytes, shorter.bytes, shorter.length) != 0)
        return false;
    return longer.bytes[shorter.length] == '+' ||
           memchr(shorter.bytes, '+', shorter.length) != NULL;
}

/* Cuts PN- and -PR off. Returns false if the version does not have them. */
static bool match_cut(struct text *version, struct text recipe, struct text pr)
{
    const size_t n = recipe.length + 1;

    if (version->length <= n + pr.length ||
        memcmp(version->bytes, recipe.bytes, recipe.length) != 0 ||
        version->bytes[recipe.length] != '-')
        return false;
    *version = text_from(*version, n);
    version->length -= pr.length;
    return memcmp(version->bytes + version->length, pr.bytes, pr.length) == 0;
}

bool feed_key_fits(struct text server_version, struct text recipe, struct text key)
{
    const char *dash = memrchr(key.bytes, '-', key.length);
    const struct text pr =
        dash ? text_from(key, (size_t)(dash - key.bytes)) : (struct text){.bytes = ""};

    if (!match_cut(&server_version, recipe, pr) || !match_cut(&key, recipe, pr))
        return false;
    return match_extends(server_version, key) || match_extends(key, server_version);
}

/* Returns whether a row of the server has a key that the entry may have. */
static bool match_row_fits(const struct feed_entry *entry, const struct row *row)
{
    const struct text recipe = text_of(entry->recipe);

    for (size_t i = 0; i < entry->n_keys; i++) {
        const struct feed_key *key = &entry->keys[i];
        const struct text version = text_of(key->version);

        if (!key->pkgarch && text_equal(row->version, version))
            return true;
        if (key->pkgarch && !entry->of && text_is(row->pkgarch, key->pkgarch) &&
            feed_key_fits(row->version, recipe, version))
            return true;
    }
    return false;
}

/* Keeps the key of a row that fits. Several rows may have the same key. */
static bool match_keep(struct feed_entry *entry, const struct row *row)
{
    struct feed_key *key = &entry->searched;

    if (entry->n_searched > 0 && text_is(row->version, key->version) &&
        text_is(row->pkgarch, key->pkgarch))
        return true;
    if (++entry->n_searched > 1)
        return true;
    key->version = strndup(row->version.bytes, row->version.length);
    key->pkgarch = strndup(row->pkgarch.bytes, row->pkgarch.length);
    key->greatest = strndup(row->value.bytes, row->value.length);
    return key->version && key->pkgarch && key->greatest;
}

/* Takes a row of the export: the greatest of its key. */
static int match_on_row(void *context, const struct prserv_row *received)
{
    static const char autoinc[] = "AUTOINC-";
    struct matching *matching = context;
    const struct row row = field_row(received);
    struct text version = row.version;

    if (!row.value.bytes)
        return 0;
    if (text_starts_with(version, autoinc))
        version = text_from(version, sizeof autoinc - 1);
    for (size_t i = 0; i < version.length; i++) {
        const struct text name = {.bytes = version.bytes, .length = i};
        const struct recipe *recipe =
            version.bytes[i] == '-' ? map_find(&matching->recipes, name) : NULL;

        for (struct feed_entry *entry = recipe ? recipe->first : NULL; entry;
             entry = entry->next_of_recipe) {
            if (match_row_fits(entry, &row) && !match_keep(entry, &row))
                return error_set_memory(&matching->error);
        }
    }
    return 0;
}

/* Collects the entries of which the server has no key, by their recipes. */
static int match_collect(struct matching *matching)
{
    struct feed_entry *entry;

    STAILQ_FOREACH (entry, &matching->feed->entries, next) {
        struct recipe *recipe;

        if (entry->keys[0].greatest)
            continue;
        recipe = map_find_or_add(&matching->recipes, text_of(entry->recipe), sizeof *recipe);
        if (!recipe)
            return cli_fail(matching->cli, CLI_FAILED, "out of memory");
        entry->next_of_recipe = recipe->first;
        recipe->first = entry;
    }
    return CLI_OK;
}

/* Searches the server's rows for the keys of these entries. */
static int match_search(struct matching *matching)
{
    const struct prserv_export request = {.row = match_on_row, .context = matching};
    struct prserv_error error;
    const int result = prserv_export(matching->server, &request, &error);

    if (result == PRSERV_ERROR_STOPPED)
        return cli_fail(matching->cli, CLI_FAILED, "%s", matching->error.text);
    return result == 0 ? CLI_OK : cli_report_error(&error);
}

/* Takes over a key that the search has found. */
static void match_take_searched(struct feed_entry *entry)
{
    if (entry->n_searched == 1) {
        for (size_t i = 0; i < entry->n_keys; i++)
            match_free_key(&entry->keys[i]);
        entry->keys[0] = entry->searched;
        entry->n_keys = 1;
        entry->n_autoinc = 0;
        entry->match = FEED_SEARCHED;
    } else if (entry->n_searched > 1) {
        match_free_key(&entry->searched);
    }
}

/* ---- all ---- */

/* Leaves out counters of packages whose version is not one with AUTOINC. */
static void match_check_counter(struct feed_entry *entry)
{
    if (entry->of && entry->match == FEED_NO_MATCH && entry->of->match != FEED_NO_MATCH &&
        entry->of->n_autoinc == 0)
        entry->match = FEED_NO_COUNTER;
}

int feed_match_server(struct feed *feed, const struct cli *cli, struct prserv *server)
{
    struct matching *matching = calloc(1, sizeof *matching); /* too large for the stack */
    struct feed_entry *entry;
    int status = CLI_OK;

    if (matching) {
        *matching = (struct matching){.feed = feed, .cli = cli, .server = server};
        matching->asked = calloc(BATCH, sizeof *matching->asked);
    }
    if (!matching || !matching->asked)
        status = cli_fail(cli, CLI_FAILED, "out of memory");
    if (status == CLI_OK)
        status = match_ask_all(matching);
    STAILQ_FOREACH (entry, &feed->entries, next)
        match_settle(entry);
    if (status == CLI_OK)
        status = match_drop_all_floors(matching);
    if (status == CLI_OK)
        status = match_collect(matching);
    if (status == CLI_OK && matching->recipes.n_items > 0)
        status = match_search(matching);
    STAILQ_FOREACH (entry, &feed->entries, next)
        match_take_searched(entry);
    STAILQ_FOREACH (entry, &feed->entries, next)
        match_check_counter(entry);
    if (matching) {
        map_clear(&matching->recipes, free);
        free(matching->asked);
    }
    free(matching);
    return status;
}

const char *feed_match_remark(const struct feed_entry *entry)
{
    switch (entry->match) {
    case FEED_SERVER_KEY:
        return "of the keys that the packages may have, the server has this one";
    case FEED_SEARCHED:
        return "found among the server's keys of the recipe";
    case FEED_AMBIGUOUS:
        return "the server has several keys that the packages may have";
    case FEED_NO_MATCH:
        return entry->n_searched > 1 ? "several of the server's keys fit"
                                     : "the server has none of the keys that the packages may have";
    default:
        return NULL;
    }
}
