/* SPDX-License-Identifier: MIT */
/* The commands of prserv feed, and what they share. */
#ifndef PRSERV_FEED_COMMANDS_H
#define PRSERV_FEED_COMMANDS_H

#include "cli/cli.h"
#include "feed/feed.h"

#include <jansson.h>
#include <limits.h>
#include <stdio.h>

/* An exit status beside those of enum cli_status: some packages could not be mapped to keys, some
 * entries could not be read, or there are no packages. */
#define FEED_INCOMPLETE 4

extern const struct cli_command command_feed_check;
extern const struct cli_command command_feed_rows;
extern const struct cli_command command_feed_list;

/* A feed that a command has read. */
struct feed_load {
    struct feed feed;    /* keeps_files and finds_twice are set by the caller */
    size_t n_damaged;    /* entries that could not be read */
    size_t n_unreadable; /* files that could not be read to their end */
};

/* Reads feeds. pkgarch: those that packages of pkgdata may have, separated by commas; NULL: not
 * given. Returns CLI_OK, or another exit status after reporting why. feed_load_free has to follow
 * in each case. */
int feed_load(
    const struct cli *cli, struct feed_load *load, char **names, int n_names, const char *pkgarch);
void feed_load_free(struct feed_load *load);

/* Returns the exit status for what could not be read or mapped; CLI_OK: there is nothing. */
int feed_load_status(const struct feed_load *load, size_t n_unmapped);

/* Returns how the packages write the revision: "r0.12", or of a counter "3". The caller's (free),
 * or NULL if memory ran out. */
char *feed_shown_revision(const struct feed_entry *entry, const struct feed_key *key);

/* Checks the value of --pkgarch, which may be NULL. Returns CLI_OK, or CLI_USAGE after reporting
 * what is wrong with it. */
int feed_read_pkgarchs(const struct cli *cli, const char *list);

/* Returns {"version", "pkgarch", "feed", "server"} for each key, or NULL if memory ran out. */
json_t *feed_json_keys(const struct feed_entry *entry);

/* Prints a JSON value as one line, and frees it. Returns CLI_OK, or CLI_FAILED after reporting that
 * json is NULL: memory ran out. */
int feed_print_json(const struct cli *cli, json_t *json);

#endif
