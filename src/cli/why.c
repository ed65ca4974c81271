/* SPDX-License-Identifier: MIT */
/* why: prints a package's revisions, and what they mean. */
#include "cli/answer.h"
#include "cli/audit.h"
#include "cli/commands.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define ROW "%-10s  %-12s  %-19s  %-24s  %-19s  %s\n"
#define MAX_RECIPE 128

static void why_cmd_print_row(const json_t *row)
{
    char value[AUDIT_TEXT_BYTES];
    char checksum[AUDIT_TEXT_BYTES];
    char time[AUDIT_TEXT_BYTES];
    char peer[AUDIT_TEXT_BYTES];
    char asked[AUDIT_TEXT_BYTES];
    char annotations[AUDIT_TEXT_BYTES];
    char count[32];

    (void)snprintf(
        count, sizeof count, "%lld", (long long)json_integer_value(json_object_get(row, "count")));
    (void)audit_text(row, "checksum", checksum);
    (void)audit_text(row, "peer", peer);
    if (audit_annotations(row, annotations)[0]) {
        const size_t length = strlen(peer);

        (void)snprintf(peer + length, sizeof peer - length, " %.400s", annotations);
    }
    (void)printf(ROW, audit_text(row, "value", value), audit_short(checksum),
        audit_time(row, "time", time), peer[0] ? peer : "-", audit_time(row, "asked", asked),
        count);
}

/* Returns whether a text can stand in a command line as it is. */
static bool why_cmd_is_plain(const char *text)
{
    if (text[0] == '-' || text[0] == '\0')
        return false;
    for (; *text; text++) {
        if (!isalnum((unsigned char)*text) && !strchr("+._-", *text))
            return false;
    }
    return true;
}

/* Finds the recipe's name in a version: m4-1.4.19-r0 without the last two parts. */
static bool why_cmd_find_recipe(const char *version, char recipe[MAX_RECIPE])
{
    const size_t length = strlen(version);

    if (length >= MAX_RECIPE || strncmp(version, "AUTOINC-", 8) == 0)
        return false;
    memcpy(recipe, version, length + 1);
    for (int i = 0; i < 2; i++) {
        char *dash = strrchr(recipe, '-');

        if (!dash)
            return false;
        *dash = '\0';
    }
    return why_cmd_is_plain(recipe);
}

/* Prints the command that compares the two contents, if they are signatures of tasks. */
static void why_cmd_print_comparison(const json_t *answer, const char *version)
{
    const json_t *compare = json_object_get(answer, "compare");
    const char *first = json_string_value(json_array_get(compare, 0));
    const char *second = json_string_value(json_array_get(compare, 1));
    char recipe[MAX_RECIPE];

    if (!first || !second || strlen(first) != 64 || strlen(second) != 64 ||
        strspn(first, "0123456789abcdef") != 64 || strspn(second, "0123456789abcdef") != 64 ||
        !why_cmd_find_recipe(version, recipe))
        return;
    (void)printf("To compare the two contents, in a build folder that has both signatures:\n"
                 "    bitbake-diffsigs -t %s do_package -s %s %s\n",
        recipe, first, second);
}

static void why_cmd_print(const json_t *answer, const char *version)
{
    const json_t *rows = json_object_get(answer, "revisions");
    char verdict[AUDIT_TEXT_BYTES];

    if (json_array_size(rows) > 0)
        (void)printf(ROW, "revision", "checksum", "assigned", "to", "last asked for", "times");
    for (size_t i = 0; i < json_array_size(rows); i++)
        why_cmd_print_row(json_array_get(rows, i));
    if (json_is_false(json_object_get(answer, "complete")))
        (void)printf("(smaller revisions were left out)\n");
    (void)printf(
        "%s%s\n", json_array_size(rows) > 0 ? "\n" : "", audit_text(answer, "verdict", verdict));
    why_cmd_print_comparison(answer, version);
}

static int why_cmd_ask(
    struct prserv *server, const void *context, char **json, struct prserv_error *error)
{
    const struct cli_arguments *package = context;

    return prserv_get_why(
        server, prserv_text(package->items[0]), prserv_text(package->items[1]), json, error);
}

static int why_cmd_run(struct cli *cli, int argc, char **argv)
{
    const struct cli_syntax syntax = {.min_arguments = 2, .max_arguments = 2};
    struct cli_arguments arguments;
    json_t *answer;
    int status;

    if (!cli_parse(cli, argc, argv, &syntax, &arguments))
        return arguments.status;
    status = answer_ask(cli, why_cmd_ask, &arguments, &answer);
    if (status != CLI_OK)
        return status;
    if (json_array_size(json_object_get(answer, "revisions")) == 0)
        status = CLI_FAILED;
    if (!answer_print_json(cli, answer))
        why_cmd_print(answer, arguments.items[0]);
    json_decref(answer);
    return status;
}

const struct cli_command command_why = {
    .name = "why",
    .arguments = "VERSION PKGARCH",
    .summary = "print a package's revisions, who got them, and why it bumped",
    .run = why_cmd_run,
};
