/* SPDX-License-Identifier: MIT */
#include "feed/feed_commands.h"
#include "feed/reader.h"
#include "feed/search.h"

#include <stdlib.h>
#include <unistd.h>

int feed_load(
    const struct cli *cli, struct feed_load *load, char **names, int n_names, const char *pkgarch)
{
    struct feed_reader reader = {.cli = cli, .feed = &load->feed, .pkgarch = pkgarch};
    int *roots = calloc((size_t)n_names, sizeof *roots);
    int n_roots = 0;
    int result = roots ? 0 : error_set_memory(&reader.error);

    progress_begin(&reader.progress, "packages read");
    while (result == 0 && n_roots < n_names) {
        const size_t n_before = reader.n_files + reader.n_unreadable;

        result = feed_search(&reader, names[n_roots], &roots[n_roots]);
        n_roots++;
        if (result == 0 && reader.n_files + reader.n_unreadable == n_before)
            result = error_set(&reader.error, ERROR_INPUT,
                "%s: no index, package or data of a build was found", names[n_roots - 1]);
    }
    progress_clear(&reader.progress);
    for (int i = 0; roots && i < n_roots; i++) {
        if (roots[i] >= 0)
            (void)close(roots[i]);
    }
    free(roots);
    map_clear(&reader.listed, free);
    buffer_free(&reader.name);
    if (result == 0 && load->feed.n_packages == 0)
        (void)cli_fail(cli, 0, "the feed has no packages");
    load->n_damaged = reader.n_damaged;
    load->n_unreadable = reader.n_unreadable;
    if (result == 0)
        return CLI_OK;
    return cli_fail(cli, result == ERROR_MEMORY ? CLI_FAILED : CLI_USAGE, "%s", reader.error.text);
}

void feed_load_free(struct feed_load *load)
{
    feed_free(&load->feed);
}

int feed_load_status(const struct feed_load *load, size_t n_unmapped)
{
    if (load->n_unreadable > 0)
        return CLI_USAGE;
    return load->feed.n_packages == 0 || load->n_damaged > 0 || n_unmapped > 0 ? FEED_INCOMPLETE
                                                                               : CLI_OK;
}

char *feed_shown_revision(const struct feed_entry *entry, const struct feed_key *key)
{
    const char *dash = strrchr(key->version, '-');
    char *shown;

    if (entry->is_counter || !dash)
        return strdup(key->revision);
    return asprintf(&shown, "%s.%s", dash + 1, key->revision) < 0 ? NULL : shown;
}

int feed_read_pkgarchs(const struct cli *cli, const char *list)
{
    size_t n = 1;
    bool is_empty = list && list[0] == '\0';

    for (const char *at = list; at && *at; at++) {
        n += *at == ',';
        is_empty = is_empty || (*at == ',' && (at == list || at[1] == ',' || at[1] == '\0'));
    }
    if (is_empty)
        return cli_usage_error(cli, "--pkgarch has an empty name: '%s'", list);
    if (n > MAPPING_MAX_PKGARCHS)
        return cli_usage_error(cli, "--pkgarch takes at most %d names", MAPPING_MAX_PKGARCHS);
    return CLI_OK;
}

json_t *feed_json_keys(const struct feed_entry *entry)
{
    json_t *keys = json_array();

    for (size_t i = 0; i < entry->n_keys; i++) {
        const struct feed_key *key = &entry->keys[i];
        json_t *one = json_pack("{s:s, s:s?, s:s, s:s?}", "version", key->version, "pkgarch",
            key->pkgarch, "feed", key->revision, "server", key->greatest);

        if (json_array_append_new(keys, one) != 0) {
            json_decref(keys);
            return NULL;
        }
    }
    return keys;
}

int feed_print_json(const struct cli *cli, json_t *json)
{
    const int result = json ? json_dumpf(json, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER) : -1;

    json_decref(json);
    if (result != 0)
        return cli_fail(cli, CLI_FAILED, "out of memory");
    (void)fputs("\n", stdout);
    return CLI_OK;
}
