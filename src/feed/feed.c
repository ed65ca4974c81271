/* SPDX-License-Identifier: MIT */
#include "feed/feed.h"

#include "revision/revision.h"

#include <stdlib.h>

void feed_init(struct feed *feed)
{
    *feed = (struct feed){.by_keys = MAP_EMPTY};
    STAILQ_INIT(&feed->entries);
    STAILQ_INIT(&feed->without_revision);
    twice_init(&feed->twice);
}

static void feed_free_files(struct feed_files *files)
{
    while (!STAILQ_EMPTY(files)) {
        struct feed_file *file = STAILQ_FIRST(files);

        STAILQ_REMOVE_HEAD(files, next);
        free(file->name);
        free(file);
    }
}

void feed_free_key(struct feed_key *key)
{
    free(key->version);
    free(key->pkgarch);
    free(key->revision);
    free(key->greatest);
}

static void feed_free_entry(void *item)
{
    struct feed_entry *entry = item;

    feed_free_files(&entry->files);
    for (size_t i = 0; i < entry->n_keys; i++)
        feed_free_key(&entry->keys[i]);
    free(entry->keys);
    free(entry->recipe);
    free(entry->example);
    free(entry);
}

void feed_free(struct feed *feed)
{
    map_clear(&feed->by_keys, feed_free_entry);
    feed_free_files(&feed->without_revision);
    twice_free(&feed->twice);
    mapping_free(&feed->mapping);
    buffer_free(&feed->key);
}

/* ---- adding a package ---- */

static int feed_add_file(
    struct feed_files *files, const struct feed_place *place, struct error *error)
{
    struct feed_file *file = calloc(1, sizeof *file);

    if (!file)
        return error_set_memory(error);
    file->name = feed_place_describe(place);
    STAILQ_INSERT_TAIL(files, file, next);
    return file->name ? 0 : error_set_memory(error);
}

/* Replaces the key by one that identifies the keys of an entry. */
static void feed_set_key(struct buffer *key, const struct mapping_keys *keys)
{
    buffer_reset(key, BUFFER_KEEP_BYTES);
    for (size_t i = 0; i < keys->n_versions; i++) {
        buffer_append_text(key, buffer_text(&keys->versions[i].text));
        buffer_append(key, "", 1);
    }
    for (size_t i = 0; i < keys->n_pkgarchs; i++) {
        buffer_append(key, "", 1);
        buffer_append_text(key, buffer_text(&keys->pkgarchs[i]));
    }
}

static char *feed_copy(const struct buffer *text)
{
    return strndup(text->bytes ? text->bytes : "", text->length);
}

/* Combines each version with each pkgarch. Returns false if memory ran out. */
static bool feed_fill_keys(
    struct feed *feed, struct feed_entry *entry, const struct mapping_keys *keys)
{
    const size_t n_pkgarchs = keys->n_pkgarchs > 0 ? keys->n_pkgarchs : 1;

    entry->keys = calloc(keys->n_versions * n_pkgarchs, sizeof *entry->keys);
    if (!entry->keys)
        return false;
    for (size_t i = 0; i < keys->n_versions * n_pkgarchs; i++) {
        const struct mapping_version *version = &keys->versions[i / n_pkgarchs];
        struct feed_key *key = &entry->keys[entry->n_keys++];

        key->is_autoinc = version->is_autoinc;
        key->version = feed_copy(&version->text);
        if (keys->n_pkgarchs > 0)
            key->pkgarch = feed_copy(&keys->pkgarchs[i % n_pkgarchs]);
        if (!key->version || (keys->n_pkgarchs > 0 && !key->pkgarch))
            return false;
        feed->key_bytes += sizeof *key + 2 * version->text.length;
    }
    entry->is_certain = keys->is_certain && entry->n_keys == 1;
    return true;
}

/* Returns the entry with these keys, a new one if there is none, or NULL. */
static struct feed_entry *feed_find_entry(struct feed *feed, const struct mapping_keys *keys)
{
    struct feed_entry *entry;

    feed_set_key(&feed->key, keys);
    if (buffer_failed(&feed->key))
        return NULL;
    entry = map_find_or_add(&feed->by_keys, buffer_text(&feed->key), sizeof *entry);
    if (!entry || entry->keys)
        return entry;
    STAILQ_INIT(&entry->files);
    STAILQ_INSERT_TAIL(&feed->entries, entry, next);
    feed->n_entries++;
    entry->recipe = feed_copy(&feed->mapping.recipe);
    return feed_fill_keys(feed, entry, keys) && entry->recipe ? entry : NULL;
}

/* Raises the revision of a key. Returns 1 if it was raised, 0 if not, -1 if memory ran out. */
static int feed_raise_key(struct feed_key *key, struct text revision)
{
    char *value = strndup(revision.bytes, revision.length);

    if (!value)
        return -1;
    if (key->revision && revision_compare(value, key->revision) <= 0) {
        free(value);
        return 0;
    }
    free(key->revision);
    key->revision = value;
    return 1;
}

/* Takes over the revisions of a package where they are the greatest. */
static int feed_raise(struct feed_entry *entry, const struct mapping_keys *keys,
    const struct feed_place *place, struct error *error)
{
    const size_t n_pkgarchs = keys->n_pkgarchs > 0 ? keys->n_pkgarchs : 1;
    bool is_raised = false;

    for (size_t i = 0; i < entry->n_keys; i++) {
        const int raised = feed_raise_key(&entry->keys[i], keys->versions[i / n_pkgarchs].revision);

        if (raised < 0)
            return error_set_memory(error);
        is_raised = is_raised || raised > 0;
    }
    if (!is_raised)
        return 0;
    free(entry->example);
    entry->example = feed_place_describe(place);
    return entry->example ? 0 : error_set_memory(error);
}

/* Adds a package to the entry of its keys. */
static int feed_add_keys(struct feed *feed, const struct mapping_keys *keys,
    const struct feed_place *place, struct feed_entry **added, struct error *error)
{
    struct feed_entry *entry = feed_find_entry(feed, keys);
    int result;

    if (!entry)
        return error_set_memory(error);
    *added = entry;
    entry->n_files++;
    entry->is_incomplete = entry->is_incomplete || keys->is_incomplete;
    result = feed_raise(entry, keys, place, error);
    if (result == 0 && feed->keeps_files)
        result = feed_add_file(&entry->files, place, error);
    return result;
}

/* Adds a package whose keys were found. */
static int feed_add_mapped(struct feed *feed, const struct feed_place *place, struct error *error)
{
    struct feed_entry *entry = NULL;
    struct feed_entry *counter = NULL;
    int result = feed_add_keys(feed, &feed->mapping.revision, place, &entry, error);

    if (result == 0 && feed->mapping.has_counter)
        result = feed_add_keys(feed, &feed->mapping.counter, place, &counter, error);
    if (entry && counter) {
        counter->is_counter = true;
        entry->counter = counter;
    }
    if (result == 0 && feed->key_bytes > FEED_MAX_KEY_BYTES)
        return error_set(error, ERROR_FRAMING, "%s: the keys of the feed take more than %zu bytes",
            place->file, FEED_MAX_KEY_BYTES);
    return result;
}

int feed_add(struct feed *feed, const struct feed_package *package, const struct feed_place *place,
    struct error *error)
{
    int result = 0;

    if (++feed->n_packages > FEED_MAX_PACKAGES)
        return error_set(error, ERROR_FRAMING, "%s: the feed has more than %d packages",
            place->file, FEED_MAX_PACKAGES);
    if (feed->finds_twice && package->format <= FEED_RPM)
        result = twice_add(&feed->twice, package, place, error);
    if (result != 0)
        return result;
    switch (mapping_find(&feed->mapping, package)) {
    case MAPPING_DONE:
        return feed_add_mapped(feed, place, error);
    case MAPPING_NO_REVISION:
        feed->n_without_revision++;
        return feed->keeps_files ? feed_add_file(&feed->without_revision, place, error) : 0;
    case MAPPING_INVALID:
        return error_set(error, ERROR_INPUT, "%.*s does not end with a revision",
            (int)package->release.length, package->release.bytes);
    case MAPPING_NO_MEMORY:
        break;
    }
    return error_set_memory(error);
}
