/* SPDX-License-Identifier: MIT */
/* One table lists the words. A word that ends in = takes a value. */
#include "daemon/listener_words.h"

#include "base/text.h"
#include "server/access.h"

#include <stdlib.h>
#include <string.h>

#define MOST_CONNECTIONS 1000000

/* ---- the words ---- */

static int listener_words_set_rights(
    struct listener_options *options, enum listener_rights rights, struct error *error)
{
    if (options->has_rights && options->rights != rights)
        return error_set(error, ERROR_INPUT, "',ro', ',assign' and ',full' exclude each other");
    options->has_rights = true;
    options->rights = rights;
    return 0;
}

static int listener_words_set_ro(
    struct listener_options *options, struct text value, struct error *error)
{
    (void)value;
    return listener_words_set_rights(options, LISTENER_READ_ONLY, error);
}

static int listener_words_set_assign(
    struct listener_options *options, struct text value, struct error *error)
{
    (void)value;
    return listener_words_set_rights(options, LISTENER_ASSIGN, error);
}

static int listener_words_set_full(
    struct listener_options *options, struct text value, struct error *error)
{
    (void)value;
    return listener_words_set_rights(options, LISTENER_FULL, error);
}

static int listener_words_set_history(
    struct listener_options *options, struct text value, struct error *error)
{
    (void)value;
    (void)error;
    options->history = true;
    return 0;
}

static int listener_words_set_tls(
    struct listener_options *options, struct text value, struct error *error)
{
    (void)value;
    (void)error;
    options->tls = true;
    return 0;
}

static int listener_words_set_log(
    struct listener_options *options, struct text value, struct error *error)
{
    (void)value;
    (void)error;
    options->log = true;
    return 0;
}

/* Adds to one of the lists of the listener. */
static int listener_words_add(struct listener_options *options, size_t list_at, struct text value,
    const char *word, struct error *error)
{
    struct error reason;
    int result;

    if (!options->access)
        options->access = calloc(1, sizeof *options->access);
    if (!options->access)
        return error_set_memory(error);
    result =
        access_list_add((struct access_list *)((char *)options->access + list_at), value, &reason);
    return result == 0 ? 0 : error_set(error, result, "',%s': %.400s", word, reason.text);
}

static int listener_words_allow(
    struct listener_options *options, struct text value, struct error *error)
{
    return listener_words_add(options, offsetof(struct access, allowed), value, "allow", error);
}

static int listener_words_set_writers(
    struct listener_options *options, struct text value, struct error *error)
{
    return listener_words_add(options, offsetof(struct access, writers), value, "writers", error);
}

static int listener_words_trust(
    struct listener_options *options, struct text value, struct error *error)
{
    return listener_words_add(
        options, offsetof(struct access, relays), value, "trusted-relay", error);
}

static int listener_words_set_most(
    struct listener_options *options, struct text value, struct error *error)
{
    unsigned most = 0;

    for (size_t i = 0; i < value.length; i++) {
        if (value.bytes[i] < '0' || value.bytes[i] > '9' || most > MOST_CONNECTIONS)
            most = MOST_CONNECTIONS + 1;
        else
            most = most * 10 + (unsigned)(value.bytes[i] - '0');
    }
    if (most < 1 || most > MOST_CONNECTIONS)
        return error_set(error, ERROR_INPUT,
            "',max-connections-per-address' takes a number from 1 to %d", MOST_CONNECTIONS);
    options->max_connections_per_address = most;
    return 0;
}

static const struct {
    const char *name;
    int (*set)(struct listener_options *options, struct text value, struct error *error);
} listener_words[] = {
    {"ro", listener_words_set_ro},
    {"assign", listener_words_set_assign},
    {"full", listener_words_set_full},
    {"history", listener_words_set_history},
    {"log", listener_words_set_log},
    {"tls", listener_words_set_tls},
    {"allow=", listener_words_allow},
    {"writers=", listener_words_set_writers},
    {"trusted-relay=", listener_words_trust},
    {"max-connections-per-address=", listener_words_set_most},
};

#define N_WORDS (sizeof listener_words / sizeof *listener_words)

/* ---- lists of words ---- */

/* Returns the word from start to the next comma. */
static struct text listener_words_first(const char *start)
{
    return (struct text){.bytes = start, .length = strcspn(start, ",")};
}

/* Returns the index of a word, or N_WORDS. */
static size_t listener_words_index(struct text word)
{
    size_t i = 0;

    while (i < N_WORDS) {
        const char *name = listener_words[i].name;
        const bool has_value = name[strlen(name) - 1] == '=';

        if (has_value ? text_starts_with(word, name) : text_is(word, name))
            break;
        i++;
    }
    return i;
}

bool listener_words_are(const char *text)
{
    return listener_words_index(listener_words_first(text)) < N_WORDS;
}

const char *listener_words_find(const char *address)
{
    const char *comma = strchr(address, ',');

    while (comma && !listener_words_are(comma + 1))
        comma = strchr(comma + 1, ',');
    return comma;
}

static int listener_words_refuse(struct text word, const char *listener, struct error *error)
{
    return error_set(error, ERROR_INPUT,
        "',%.*s' is unknown after %s; known are ',ro' (read-only), ',assign' (no import-one), "
        "',full', ',history' (history mode), ',log' (read-only clients see build hosts), ',tls', "
        "',allow=NETWORK', ',writers=NETWORK', ',trusted-relay=NETWORK' and "
        "',max-connections-per-address=N'",
        (int)(word.length < 100 ? word.length : 100), word.bytes, listener);
}

static int listener_words_check(
    const struct listener_options *options, const char *listener, struct error *error)
{
    const struct access *access = options->access;

    if (access && !access_list_is_empty(&access->writers) && options->rights == LISTENER_READ_ONLY)
        return error_set(error, ERROR_INPUT,
            "%s: nobody may write to a listener with ',ro', so ',writers' can't be used with it",
            listener);
    return 0;
}

int listener_words_read(
    struct listener_options *options, const char *words, const char *listener, struct error *error)
{
    const char *at = words[0] != '\0' ? words : NULL;
    int result;

    while (at) {
        const struct text word = listener_words_first(at);
        const size_t i = listener_words_index(word);
        struct error reason;

        if (i == N_WORDS)
            return listener_words_refuse(word, listener, error);
        result = listener_words[i].set(
            options, text_from(word, strlen(listener_words[i].name)), &reason);
        if (result != 0)
            return error_set(error, result, "%s: %.400s", listener, reason.text);
        at = at[word.length] == ',' ? at + word.length + 1 : NULL;
    }
    if (options->access)
        access_finish(options->access);
    return listener_words_check(options, listener, error);
}

void listener_words_release(struct listener_options *options)
{
    if (options->access)
        access_release(options->access);
    free(options->access);
    options->access = NULL;
}
