/* SPDX-License-Identifier: MIT */
/* check: compares the greatest revisions of a feed with those of the server. */
#include "cli/connect.h"
#include "feed/feed_commands.h"
#include "feed/match.h"
#include "revision/revision.h"

#include <stdlib.h>

enum check_kind {
    BEHIND,
    TWICE,
    UNKNOWN,
    UNMAPPED,
    AHEAD,
    EVEN,
    N_KINDS,
};

static const char *const kind_names[N_KINDS] = {
    "BEHIND", "TWICE", "UNKNOWN", "UNMAPPED", "AHEAD", "EVEN"};
static const char *const json_names[N_KINDS] = {
    "behind", "twice", "unknown", "unmapped", "ahead", "even"};

struct check {
    const struct cli *cli;
    struct feed_load load;
    bool verbose;
    bool strict;
    size_t counts[N_KINDS];
    json_t *lists[N_KINDS]; /* only with --json */
    bool has_memory;
};

/* ---- what an entry is ---- */

/* Returns the key that the next build would lower, if there is one. */
static const struct feed_key *check_choose_key(const struct feed_entry *entry)
{
    for (size_t i = 0; i < entry->n_keys; i++) {
        const struct feed_key *key = &entry->keys[i];

        if (key->greatest && revision_compare(key->greatest, key->revision) < 0)
            return key;
    }
    return &entry->keys[0];
}

static bool check_is_known(const struct feed_entry *entry)
{
    return entry->keys[0].greatest != NULL;
}

/* Notes which counters have packages that the server knows. */
static void check_mark_counters(const struct check *check)
{
    struct feed_entry *entry;

    STAILQ_FOREACH (entry, &check->load.feed.entries, next) {
        if (entry->counter && check_is_known(entry))
            entry->counter->has_known_packages = true;
    }
}

/* Returns whether an entry is a counter that need not be reported: its number does not come from
 * AUTOINC, or its packages are reported already. */
static bool check_is_left_out(const struct feed_entry *entry)
{
    return entry->match == FEED_NO_COUNTER ||
           (entry->is_counter && !check_is_known(entry) && !entry->has_known_packages);
}

static enum check_kind check_find_kind(const struct feed_entry *entry, const struct feed_key *key)
{
    int order;

    if (entry->match == FEED_NO_MATCH)
        return UNMAPPED;
    if (!key->greatest)
        return UNKNOWN;
    order = revision_compare(key->greatest, key->revision);
    if (order < 0)
        return BEHIND;
    return order > 0 ? AHEAD : EVEN;
}

/* ---- the output ---- */

static void check_print_entry(const struct check *check, const struct feed_entry *entry,
    const struct feed_key *key, enum check_kind kind, const char *shown)
{
    const char *remark = feed_match_remark(entry);

    (void)check;
    (void)printf("%-8s %s %s: the feed has %s", kind_names[kind], key->version,
        key->pkgarch ? key->pkgarch : "(any pkgarch)", shown);
    if (kind == BEHIND)
        (void)printf(", the server's greatest is %s: the next build goes backwards", key->greatest);
    else if (kind == UNKNOWN)
        (void)fputs(", the server has never heard of it", stdout);
    else if (kind != UNMAPPED)
        (void)printf(", the server's greatest is %s", key->greatest);
    if (kind == UNMAPPED)
        (void)printf("; %s (%s)", remark, entry->example);
    else if (remark)
        (void)printf(" (%s)", remark);
    (void)fputs("\n", stdout);
}

static void check_add_json(struct check *check, const struct feed_entry *entry,
    const struct feed_key *key, enum check_kind kind, const char *shown)
{
    json_t *one = json_pack("{s:s, s:s?, s:s, s:s, s:s?, s:s, s:s?}", "version", key->version,
        "pkgarch", key->pkgarch, "feed", key->revision, "release", shown, "server", key->greatest,
        "file", entry->example, "remark", feed_match_remark(entry));

    if (kind == UNMAPPED && one)
        (void)json_object_set_new(one, "keys", feed_json_keys(entry));
    if (json_array_append_new(check->lists[kind], one) != 0)
        check->has_memory = false;
}

static void check_entry(struct check *check, const struct feed_entry *entry)
{
    const struct feed_key *key = check_choose_key(entry);
    const enum check_kind kind = check_find_kind(entry, key);
    char *shown = feed_shown_revision(entry, key);

    check->counts[kind]++;
    if (!shown)
        check->has_memory = false;
    else if (check->cli->json && (kind < AHEAD || check->verbose))
        check_add_json(check, entry, key, kind, shown);
    else if (!check->cli->json && (kind < AHEAD || check->verbose))
        check_print_entry(check, entry, key, kind, shown);
    free(shown);
}

static void check_twice(struct check *check)
{
    const struct twice *twice;

    check->counts[TWICE] = check->load.feed.twice.n_found;
    STAILQ_FOREACH (twice, &check->load.feed.twice.found, next) {
        if (!check->cli->json) {
            (void)printf("%-8s %s: %s and %s have different contents\n", kind_names[TWICE],
                twice->package, twice->first, twice->second);
        } else if (json_array_append_new(
                       check->lists[TWICE], json_pack("{s:s, s:[s, s]}", "package", twice->package,
                                                "files", twice->first, twice->second)) != 0) {
            check->has_memory = false;
        }
    }
}

static int check_print_summary(struct check *check)
{
    const struct feed *feed = &check->load.feed;
    json_t *json;

    if (!check->cli->json) {
        (void)printf(
            "packages: %zu, without a revision: %zu, keys: %zu; behind: %zu, twice: %zu, "
            "unknown: %zu, unmapped: %zu, entries unreadable: %zu, files unreadable: %zu\n",
            feed->n_packages, feed->n_without_revision, feed->n_entries, check->counts[BEHIND],
            check->counts[TWICE], check->counts[UNKNOWN], check->counts[UNMAPPED],
            check->load.n_damaged, check->load.n_unreadable);
        return CLI_OK;
    }
    json = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "packages", (json_int_t)feed->n_packages,
        "keys", (json_int_t)feed->n_entries, "without_revision",
        (json_int_t)feed->n_without_revision, "not_compared",
        (json_int_t)feed->twice.n_not_compared, "unreadable_entries",
        (json_int_t)check->load.n_damaged, "unreadable_files",
        (json_int_t)check->load.n_unreadable);
    for (int kind = 0; json && kind < (check->verbose ? N_KINDS : AHEAD); kind++)
        (void)json_object_set(json, json_names[kind], check->lists[kind]);
    return feed_print_json(check->cli, json);
}

/* Says on standard error what the counts alone don't tell. */
static void check_warn(const struct check *check)
{
    const size_t n_unknown = check->counts[UNKNOWN] + check->counts[UNMAPPED];
    const size_t n_not_compared = check->load.feed.twice.n_not_compared;

    if (n_unknown > 0 && check->counts[BEHIND] + check->counts[AHEAD] + check->counts[EVEN] == 0)
        (void)cli_fail(check->cli, 0,
            "the server has no revision of any package of the feed: is it the server that numbered "
            "it, and is its database complete?");
    if (n_not_compared > 0)
        (void)cli_fail(check->cli, 0,
            "%zu files could not be compared with others of the same package: they can't be read, "
            "or "
            "the indexes have digests of different kinds",
            n_not_compared);
}

static int check_report(struct check *check)
{
    const struct feed_entry *entry;
    int status;

    check_mark_counters(check);
    STAILQ_FOREACH (entry, &check->load.feed.entries, next) {
        if (!check_is_left_out(entry))
            check_entry(check, entry);
    }
    check_twice(check);
    status = check->has_memory ? check_print_summary(check)
                               : cli_fail(check->cli, CLI_FAILED, "out of memory");
    check_warn(check);
    if (status != CLI_OK)
        return status;
    if (check->counts[BEHIND] + check->counts[TWICE] > 0 ||
        (check->strict && check->counts[UNKNOWN] + check->load.feed.twice.n_not_compared > 0))
        return CLI_FAILED;
    return feed_load_status(&check->load, check->counts[UNMAPPED]);
}

/* ---- the command ---- */

static int check_run_with(
    struct check *check, const struct cli_arguments *arguments, const char *pkgarch)
{
    struct prserv *server;
    size_t n_refused = 0;
    int status = feed_read_pkgarchs(check->cli, pkgarch);

    if (status != CLI_OK)
        return status;
    status = feed_load(check->cli, &check->load, arguments->items, arguments->n, pkgarch);
    if (status != CLI_OK)
        return status;
    status = cli_connect(check->cli, &server);
    if (status != CLI_OK)
        return status;
    status = feed_match_server(&check->load.feed, check->cli, server, &n_refused);
    check->load.n_damaged += n_refused;
    prserv_close(server);
    return status == CLI_OK ? check_report(check) : status;
}

static int check_run(struct cli *cli, int argc, char **argv)
{
    struct check check = {.cli = cli, .has_memory = true};
    const char *pkgarch = NULL;
    const struct cli_option options[] = {
        {"verbose", &check.verbose, NULL},
        {"strict", &check.strict, NULL},
        {"pkgarch", NULL, &pkgarch},
        {NULL, NULL, NULL},
    };
    const struct cli_syntax syntax = {
        .options = options, .min_arguments = 1, .max_arguments = INT_MAX};
    struct cli_arguments arguments;
    int status;

    if (!cli_parse(cli, argc, argv, &syntax, &arguments))
        return arguments.status;
    feed_init(&check.load.feed);
    check.load.feed.finds_twice = true;
    for (int kind = 0; kind < N_KINDS; kind++)
        check.lists[kind] = cli->json ? json_array() : NULL;
    status = check_run_with(&check, &arguments, pkgarch);
    for (int kind = 0; kind < N_KINDS; kind++)
        json_decref(check.lists[kind]);
    feed_load_free(&check.load);
    return status;
}

const struct cli_command command_feed_check = {
    .name = "check",
    .arguments = "FEED... [--verbose] [--strict] [--pkgarch ARCH]",
    .summary = "compare the greatest revisions of a feed with those of the server",
    .help =
        "      --verbose       also print AHEAD: the server has given more than the feed shows,\n"
        "                      and EVEN: it has the feed's greatest\n"
        "      --strict        exit with status 1 also for UNKNOWN, and for files that can't be\n"
        "                      compared\n"
        "      --pkgarch ARCH  the pkgarch of packages in pkgdata, which does not tell it; "
        "separate\n"
        "                      several ones with commas\n"
        "      --json          print one object, with a list for each kind\n"
        "\n"
        "Prints a line for each key whose packages need attention, and a summary:\n"
        "\n"
        "  BEHIND    the feed has a greater revision than the server: the next build goes\n"
        "            backwards, and devices don't upgrade\n"
        "  TWICE     two files of one package, version and architecture have different contents\n"
        "  UNKNOWN   the server has never heard of it\n"
        "  UNMAPPED  it is not certain for which key the server gave the revision\n"
        "\n"
        "Exit status: 0 none is BEHIND or TWICE, 1 one is, 2 the command line or a file of the\n"
        "feed can't be used, 3 no connection, 4 packages are UNMAPPED, entries can't be read, or\n"
        "there are no packages.\n",
    .run = check_run,
};
