/* SPDX-License-Identifier: MIT */
/* list: prints what a feed holds. */
#include "feed/feed_commands.h"

#include <stdlib.h>

static json_t *list_json_files(const struct feed_files *files)
{
    const struct feed_file *file;
    json_t *list = json_array();

    STAILQ_FOREACH (file, files, next) {
        if (json_array_append_new(list, json_string(file->name)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* Returns the whole list, or NULL if memory ran out. */
static json_t *list_json(const struct feed_load *load)
{
    const struct feed_entry *entry;
    json_t *list = json_array();
    int result = 0;

    STAILQ_FOREACH (entry, &load->feed.entries, next) {
        json_t *one = json_pack("{s:s, s:b, s:s, s:o?, s:o?}", "recipe", entry->recipe, "counter",
            entry->is_counter, "revision", entry->keys[0].revision, "keys", feed_json_keys(entry),
            "files", list_json_files(&entry->files));

        result |= json_array_append_new(list, one);
    }
    if (result != 0) {
        json_decref(list);
        return NULL;
    }
    return json_pack("{s:I, s:o, s:o?, s:I, s:I}", "packages", (json_int_t)load->feed.n_packages,
        "entries", list, "without_revision", list_json_files(&load->feed.without_revision),
        "unreadable_entries", (json_int_t)load->n_damaged, "unreadable_files",
        (json_int_t)load->n_unreadable);
}

static void list_print_files(const struct feed_files *files)
{
    const struct feed_file *file;

    STAILQ_FOREACH (file, files, next)
        (void)printf("    %s\n", file->name);
}

/* Prints the keys that the packages of an entry may have, and their revision. */
static void list_print_entry(const struct feed_entry *entry)
{
    (void)printf("%s %s %s %s", entry->recipe, entry->keys[0].version,
        entry->keys[0].pkgarch ? entry->keys[0].pkgarch : "(any pkgarch)", entry->keys[0].revision);
    (void)printf("%s\n", entry->is_counter ? " (AUTOINC)" : "");
    for (size_t i = 1; i < entry->n_keys; i++)
        (void)printf("    or %s %s %s\n", entry->keys[i].version,
            entry->keys[i].pkgarch ? entry->keys[i].pkgarch : "(any pkgarch)",
            entry->keys[i].revision);
    list_print_files(&entry->files);
}

static void list_print(const struct feed_load *load)
{
    const struct feed_entry *entry;

    STAILQ_FOREACH (entry, &load->feed.entries, next)
        list_print_entry(entry);
    if (load->feed.n_without_revision > 0)
        (void)puts("without a revision of a PR server:");
    list_print_files(&load->feed.without_revision);
    (void)printf(
        "packages: %zu, without a revision: %zu, keys: %zu; entries unreadable: %zu, files "
        "unreadable: %zu\n",
        load->feed.n_packages, load->feed.n_without_revision, load->feed.n_entries, load->n_damaged,
        load->n_unreadable);
}

static int list_run(struct cli *cli, int argc, char **argv)
{
    const char *pkgarch = NULL;
    const struct cli_option options[] = {{"pkgarch", NULL, &pkgarch}, {NULL, NULL, NULL}};
    const struct cli_syntax syntax = {
        .options = options, .min_arguments = 1, .max_arguments = INT_MAX};
    struct cli_arguments arguments;
    struct feed_load load = {.n_damaged = 0};
    int status;

    if (!cli_parse(cli, argc, argv, &syntax, &arguments))
        return arguments.status;
    status = feed_read_pkgarchs(cli, pkgarch);
    if (status != CLI_OK)
        return status;
    feed_init(&load.feed);
    load.feed.keeps_files = true;
    status = feed_load(cli, &load, arguments.items, arguments.n, pkgarch);
    if (status == CLI_OK && cli->json)
        status = feed_print_json(cli, list_json(&load));
    else if (status == CLI_OK)
        list_print(&load);
    if (status == CLI_OK)
        status = feed_load_status(&load, 0);
    feed_load_free(&load);
    return status;
}

const struct cli_command command_feed_list = {
    .name = "list",
    .arguments = "FEED... [--pkgarch ARCH]",
    .summary = "print what a feed holds: recipe, version key, pkgarch, revision, files",
    .help =
        "      --pkgarch ARCH  the pkgarch of packages in pkgdata, which does not tell it; "
        "separate\n"
        "                      several ones with commas\n"
        "      --json          print one object\n"
        "\n"
        "No server is asked. Where a package does not tell its key, each key that it may have is\n"
        "printed. A key with AUTOINC is the one of the number in the version.\n"
        "\n"
        "Exit status: 0 success, 2 the command line or a file of the feed can't be used, 4 "
        "entries\n"
        "can't be read, or there are no packages.\n",
    .run = list_run,
};
