/* SPDX-License-Identifier: MIT */
#include "feed/twice.h"

#include "feed/feed_digest.h"

#include <stdio.h>
#include <stdlib.h>

/* The first file of a package. */
struct first_file {
    struct map_entry map; /* must be first */
    char *description;
    char *digest;   /* NULL: not known */
    char *relative; /* NULL: it is not to be read */
    int root;
};

static void twice_free_first(void *item)
{
    struct first_file *first = item;

    free(first->description);
    free(first->digest);
    free(first->relative);
    free(first);
}

void twice_init(struct twice_finder *finder)
{
    *finder = (struct twice_finder){.packages = MAP_EMPTY};
    STAILQ_INIT(&finder->found);
}

void twice_free(struct twice_finder *finder)
{
    while (!STAILQ_EMPTY(&finder->found)) {
        struct twice *twice = STAILQ_FIRST(&finder->found);

        STAILQ_REMOVE_HEAD(&finder->found, next);
        free(twice->package);
        free(twice->first);
        free(twice->second);
        free(twice);
    }
    map_clear(&finder->packages, twice_free_first);
    buffer_free(&finder->key);
}

/* Replaces the key by what a package manager identifies a package with. */
static void twice_set_key(struct buffer *key, const struct feed_package *package)
{
    const struct text parts[] = {package->name,
        text_is(package->epoch, "0") ? text_of("") : package->epoch, package->version,
        package->release, package->arch};

    buffer_reset(key, BUFFER_KEEP_BYTES);
    buffer_append_string(key, feed_format_name(package->format));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        buffer_append(key, "", 1);
        buffer_append_text(key, parts[i]);
    }
}

/* Returns "m4 1:1.4.19-r0.3 core2-64", the caller's, or NULL. */
static char *twice_name(const struct feed_package *package)
{
    char *name;

    if (asprintf(&name, "%.*s %.*s%s%.*s-%.*s %.*s", (int)package->name.length, package->name.bytes,
            (int)package->epoch.length, package->epoch.bytes, package->epoch.length > 0 ? ":" : "",
            (int)package->version.length, package->version.bytes, (int)package->release.length,
            package->release.bytes, (int)package->arch.length, package->arch.bytes) < 0)
        return NULL;
    text_make_printable(name);
    return name;
}

/* Keeps the first file of a package. */
static int twice_keep(struct first_file *first, const struct feed_place *place, struct error *error)
{
    first->description = feed_place_describe(place);
    first->root = place->root;
    if (place->digest.length > 0)
        first->digest = strndup(place->digest.bytes, place->digest.length);
    if (place->relative)
        first->relative = strdup(place->relative);
    if (!first->description || (place->digest.length > 0 && !first->digest) ||
        (place->relative && !first->relative))
        return error_set_memory(error);
    return 0;
}

/* Finds the digests of both files, of one kind. An empty text: it is not known. Returns false if a
 * file can't be read. */
static bool twice_find_digests(
    struct first_file *first, const struct feed_place *place, char digests[2][FEED_DIGEST_BYTES])
{
    struct error error;

    (void)snprintf(digests[1], FEED_DIGEST_BYTES, "%.*s", (int)place->digest.length,
        place->digest.bytes ? place->digest.bytes : "");
    (void)snprintf(digests[0], FEED_DIGEST_BYTES, "%s", first->digest ? first->digest : "");
    if (first->relative && (!first->digest || digests[1][0]) &&
        !feed_digest_is_same_kind(digests[0], digests[1])) {
        if (feed_digest_file(digests[0], first->root, first->relative,
                digests[1][0] ? digests[1] : NULL, &error) != 0)
            return false;
        if (!first->digest)
            first->digest = strdup(digests[0]);
    }
    if (place->relative && !feed_digest_is_same_kind(digests[0], digests[1]))
        return feed_digest_file(digests[1], place->root, place->relative,
                   digests[0][0] ? digests[0] : NULL, &error) == 0;
    return true;
}

static int twice_report(struct twice_finder *finder, const struct feed_package *package,
    const struct first_file *first, const struct feed_place *place, struct error *error)
{
    struct twice *twice = calloc(1, sizeof *twice);

    if (!twice)
        return error_set_memory(error);
    STAILQ_INSERT_TAIL(&finder->found, twice, next);
    finder->n_found++;
    twice->package = twice_name(package);
    twice->first = strdup(first->description);
    twice->second = feed_place_describe(place);
    if (!twice->package || !twice->first || !twice->second)
        return error_set_memory(error);
    return 0;
}

int twice_add(struct twice_finder *finder, const struct feed_package *package,
    const struct feed_place *place, struct error *error)
{
    char digests[2][FEED_DIGEST_BYTES];
    struct first_file *first;

    twice_set_key(&finder->key, package);
    if (buffer_failed(&finder->key))
        return error_set_memory(error);
    first = map_find_or_add(&finder->packages, buffer_text(&finder->key), sizeof *first);
    if (!first)
        return error_set_memory(error);
    if (!first->description)
        return twice_keep(first, place, error);
    if (!twice_find_digests(first, place, digests) ||
        !feed_digest_is_same_kind(digests[0], digests[1])) {
        finder->n_not_compared++;
        return 0;
    }
    return strcmp(digests[0], digests[1]) == 0 ? 0
                                               : twice_report(finder, package, first, place, error);
}
