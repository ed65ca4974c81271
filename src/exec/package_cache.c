/* SPDX-License-Identifier: MIT */
/* A hash map, and a list in the order of use: a package that is used moves to the end, and the
 * first ones are evicted. */
#include "exec/package_cache.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/map.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/queue.h>

/* A package up to this size is read at once, in some milliseconds. meson_options.txt describes
 * PRSERVD_WHOLE_PACKAGE_ROWS. */
#define WHOLE_PACKAGE_BYTES ((size_t)256 * 1024)
#define SMALL_BYTES ((size_t)4096) /* of the facts about a large package, which took a scan */
#define ASKED_SLOTS 4096

struct cached_package {
    struct map_entry entry;
    TAILQ_ENTRY(cached_package) use;
    struct package *package;     /* NULL: it is large */
    struct large_package *large; /* NULL: it is whole */
    bool is_scanning;            /* counted in the cache's n_scanning */
    size_t counted_bytes;        /* its part of the cache's bytes */
};

TAILQ_HEAD(cached_packages, cached_package);

struct package_cache {
    struct store *store;
    struct invalid_rows *invalid_rows;
    struct map packages;
    struct cached_packages uses; /* the same, in the order of use */
    struct buffer key;           /* of the package that was last looked for */
    size_t bytes;                /* of the packages, without the map's table */
    size_t limit_bytes;
    size_t n_scanning; /* large packages about which questions wait for a scan */
    size_t n_large;
    enum store_changes changes;   /* as the store last said */
    enum store_blocking blocking; /* of this transaction */
    bool has_scanned;             /* this transaction */
    uint64_t n_clears;
    uint64_t asked[ASKED_SLOTS]; /* hashes of packages that were not kept, each plus n_clears */
};

const struct large_package_limits package_cache_whole = {
    .rows = PRSERVD_WHOLE_PACKAGE_ROWS, .bytes = WHOLE_PACKAGE_BYTES};

struct package_cache *package_cache_create(
    struct store *store, size_t limit_bytes, struct invalid_rows *invalid_rows)
{
    struct package_cache *cache = calloc(1, sizeof *cache);

    if (!cache)
        return NULL;
    cache->store = store;
    cache->limit_bytes = limit_bytes;
    cache->invalid_rows = invalid_rows;
    TAILQ_INIT(&cache->uses);
    return cache;
}

static void package_cache_release(void *item)
{
    struct cached_package *cached = item;

    package_free(cached->package);
    large_package_free(cached->large);
    free(cached);
}

static void package_cache_remove(struct package_cache *cache, struct cached_package *cached)
{
    TAILQ_REMOVE(&cache->uses, cached, use);
    map_remove(&cache->packages, &cached->entry);
    cache->bytes -= cached->counted_bytes;
    cache->n_scanning -= cached->is_scanning;
    cache->n_large -= cached->large != NULL;
    package_cache_release(cached);
}

static void package_cache_clear_all(struct package_cache *cache)
{
    map_clear(&cache->packages, package_cache_release);
    TAILQ_INIT(&cache->uses);
    cache->bytes = cache->n_scanning = cache->n_large = 0;
}

/* Notes whether questions about a large package wait for a scan, after something has changed. */
static void package_cache_note_scan(struct package_cache *cache, struct cached_package *cached)
{
    const bool is_scanning = cached->large && large_package_is_scanning(cached->large);

    cache->n_scanning += (size_t)is_scanning - (size_t)cached->is_scanning;
    cached->is_scanning = is_scanning;
}

/* That a package is large is worth remembering: finding it out takes reading many rows. */
void package_cache_clear(struct package_cache *cache)
{
    struct cached_package *cached, *next;

    cache->n_clears++;
    if (cache->n_large == 0) {
        package_cache_clear_all(cache);
        return;
    }
    for (cached = TAILQ_FIRST(&cache->uses); cached; cached = next) {
        next = TAILQ_NEXT(cached, use);
        if (cached->large) {
            large_package_reset(cached->large);
            package_cache_note_scan(cache, cached);
        } else {
            package_cache_remove(cache, cached);
        }
    }
}

void package_cache_free(struct package_cache *cache)
{
    if (!cache)
        return;
    package_cache_clear_all(cache);
    buffer_free(&cache->key);
    free(cache);
}

int package_cache_refresh(
    struct package_cache *cache, enum store_blocking blocking, struct error *error)
{
    int result;

    cache->blocking = blocking;
    cache->has_scanned = false;
    cache->changes = STORE_CHANGED;
    result = store_find_changes(cache->store, &cache->changes, error);
    if (cache->changes != STORE_UNCHANGED)
        package_cache_clear(cache);
    return result;
}

static bool package_cache_is_full(const struct package_cache *cache)
{
    return cache->bytes + map_bytes(&cache->packages) > cache->limit_bytes;
}

/* Removes packages until the cache is not full, but not the one that was used last. */
static void package_cache_shrink(struct package_cache *cache, bool keeps_large)
{
    struct cached_package *cached, *next;

    for (cached = TAILQ_FIRST(&cache->uses); cached && package_cache_is_full(cache);
         cached = next) {
        next = TAILQ_NEXT(cached, use);
        if (next && !(keeps_large && cached->large && cached->counted_bytes <= SMALL_BYTES))
            package_cache_remove(cache, cached);
    }
}

void package_cache_evict(struct package_cache *cache)
{
    if (cache->changes == STORE_CHANGES_UNKNOWN)
        package_cache_clear_all(cache);
    if (!package_cache_is_full(cache))
        return;
    package_cache_shrink(cache, true);
    package_cache_shrink(cache, false);
}

/* ---- loading ---- */

struct package_load {
    struct package_cache *cache;
    struct package *package;
    struct large_package_count count;
    bool has_limits; /* stop when the package turns out to be large */
    bool is_large;
    int result;
};

static int package_cache_load_row(void *context, const struct row *row)
{
    struct package_load *load = context;

    load->is_large =
        load->has_limits && large_package_count_row(&load->count, &package_cache_whole, row);
    if (!load->is_large && invalid_rows_check(load->cache->invalid_rows, row))
        load->result = package_add(load->package, row->checksum, row->value);
    return load->is_large || load->result != 0;
}

/* Reads a package. Returns NULL after an error, and if the package is large. */
static struct package *package_cache_load(struct package_load *load, struct text version,
    struct text pkgarch, int *result, struct error *error)
{
    load->package = package_create();
    *result = load->package ? 0 : error_set_memory(error);
    if (*result == 0)
        *result =
            store_load(load->cache->store, version, pkgarch, package_cache_load_row, load, error);
    if (*result == 0 && load->result != 0)
        *result = error_set_memory(error);
    if (*result == 0 && !load->is_large)
        return load->package;
    package_free(load->package);
    return NULL;
}

/* Returns the entry of a package, or NULL; cache->key is the package's key then. */
static struct cached_package *package_cache_find(
    struct package_cache *cache, struct text version, struct text pkgarch)
{
    buffer_set_pair(&cache->key, version, pkgarch);
    return buffer_failed(&cache->key) ? NULL : map_find(&cache->packages, buffer_text(&cache->key));
}

/* Adds a package, which it takes over, under the key that was last looked for. One of package and
 * large is NULL. Returns NULL, and frees them, when memory ran out. */
static struct cached_package *package_cache_put(
    struct package_cache *cache, struct package *package, struct large_package *large)
{
    struct cached_package *cached = NULL;

    if (package || large)
        cached = map_find_or_add(&cache->packages, buffer_text(&cache->key), sizeof *cached);
    if (!cached) {
        package_free(package);
        large_package_free(large);
        return NULL;
    }
    cached->package = package;
    cached->large = large;
    cache->n_large += large != NULL;
    package_cache_note_scan(cache, cached);
    TAILQ_INSERT_TAIL(&cache->uses, cached, use);
    return cached;
}

/* Moves a package to the end of the order of use, and counts its memory again: rows may have been
 * added to it. */
static void package_cache_use(struct package_cache *cache, struct cached_package *cached)
{
    TAILQ_REMOVE(&cache->uses, cached, use);
    TAILQ_INSERT_TAIL(&cache->uses, cached, use);
    cache->bytes -= cached->counted_bytes;
    cached->counted_bytes =
        sizeof *cached + cached->entry.key.length +
        (cached->large ? large_package_bytes(cached->large) : package_bytes(cached->package));
    cache->bytes += cached->counted_bytes;
}

const struct package *package_cache_peek(
    struct package_cache *cache, struct text version, struct text pkgarch)
{
    const struct cached_package *cached = package_cache_find(cache, version, pkgarch);

    return cached ? cached->package : NULL;
}

bool package_cache_is_wanted(struct package_cache *cache, struct text version, struct text pkgarch)
{
    const struct cached_package *cached = package_cache_find(cache, version, pkgarch);
    uint64_t *slot;
    uint64_t asked;
    bool was_asked;

    if (cached || buffer_failed(&cache->key))
        return cached && cached->package;
    asked = hash_text(buffer_text(&cache->key)) + cache->n_clears;
    slot = &cache->asked[asked % ASKED_SLOTS];
    was_asked = *slot == asked;
    *slot = asked;
    return was_asked;
}

/* Finds or reads a package. must_be_whole: even if it is large. */
static int package_cache_enter(struct package_cache *cache, struct text version,
    struct text pkgarch, bool must_be_whole, struct cached_package **entered, struct error *error)
{
    struct cached_package *cached = package_cache_find(cache, version, pkgarch);
    struct package_load load = {
        .cache = cache, .has_limits = !must_be_whole && store_loads_all(cache->store)};
    int result = 0;

    if (buffer_failed(&cache->key))
        return error_set_memory(error);
    if (cached && cached->large && must_be_whole) {
        package_cache_remove(cache, cached);
        cached = NULL;
    }
    if (!cached) {
        struct package *package = package_cache_load(&load, version, pkgarch, &result, error);

        if (result != 0)
            return result;
        cached = package_cache_put(
            cache, package, load.is_large ? large_package_create(version, pkgarch) : NULL);
    }
    if (!cached)
        return error_set_memory(error);
    package_cache_use(cache, cached);
    *entered = cached;
    return 0;
}

int package_cache_get(struct package_cache *cache, struct text version, struct text pkgarch,
    struct package **package, struct error *error)
{
    struct cached_package *cached = NULL;
    int result = package_cache_enter(cache, version, pkgarch, true, &cached, error);

    if (result != 0)
        return result;
    assert(cached);
    *package = cached->package;
    return 0;
}

/* ---- facts ---- */

static void package_cache_answer(const struct package *package,
    const struct package_question *question, struct package_facts *facts)
{
    *facts = (struct package_facts){.greatest = package_greatest(package)};
    if (question->checksum.bytes)
        (void)package_find(package, question->checksum, &facts->smallest, &facts->largest);
    facts->is_held = question->value.bytes && package_holds(package, question->value.bytes);
}

/* Returns until when a package may be scanned at once: a transaction scans one piece of one
 * package, unless others have kept it from an answer again and again. 0: not at all. */
static uint64_t package_cache_scan_until_ms(
    struct package_cache *cache, const struct large_package *large)
{
    if (cache->blocking == STORE_NONBLOCK)
        return 0;
    if (large_package_is_restless(large))
        return UINT64_MAX;
    if (cache->has_scanned)
        return 0;
    cache->has_scanned = true;
    return clock_ms() + PACKAGE_CACHE_SCAN_MS;
}

static int package_cache_ask_large(struct package_cache *cache, struct cached_package *cached,
    const struct package_question *question, struct package_facts *facts, struct error *error)
{
    struct large_package *large = cached->large;
    uint64_t until_ms;
    int result;

    while ((result = large_package_ask(large, cache->store, cache->invalid_rows,
                &package_cache_whole, question, facts, error)) == PACKAGE_IS_SCANNED &&
           (until_ms = package_cache_scan_until_ms(cache, large)) > 0) {
        result = large_package_scan(large, cache->store, cache->invalid_rows, until_ms, error);
        if (result != 0)
            break;
    }
    package_cache_note_scan(cache, cached);
    if (result == PACKAGE_IS_SCANNED)
        (void)error_set(error, ERROR_LOCKED, "the package has many rows, which are being read");
    return result;
}

int package_cache_ask(struct package_cache *cache, const struct package_question *question,
    struct package_facts *facts, struct error *error)
{
    struct cached_package *cached = NULL;
    int result =
        package_cache_enter(cache, question->version, question->pkgarch, false, &cached, error);

    if (result != 0)
        return result;
    assert(cached);
    if (cached->large)
        return package_cache_ask_large(cache, cached, question, facts, error);
    package_cache_answer(cached->package, question, facts);
    return 0;
}

int package_cache_add(struct package_cache *cache, struct text checksum, struct text value)
{
    struct cached_package *cached = TAILQ_LAST(&cache->uses, cached_packages);

    return cached->large ? large_package_add(cached->large, checksum, value)
                         : package_add(cached->package, checksum, value);
}

/* ---- scans ---- */

bool package_cache_has_scans(const struct package_cache *cache)
{
    return cache->n_scanning > 0;
}

bool package_cache_is_scanning(
    struct package_cache *cache, struct text version, struct text pkgarch)
{
    const struct cached_package *cached =
        cache->n_scanning > 0 ? package_cache_find(cache, version, pkgarch) : NULL;

    return cached && cached->is_scanning;
}

bool package_cache_is_restless(
    struct package_cache *cache, struct text version, struct text pkgarch)
{
    const struct cached_package *cached = package_cache_find(cache, version, pkgarch);

    return cached && cached->large && large_package_is_restless(cached->large);
}

int package_cache_scan(struct package_cache *cache, struct error *error)
{
    struct cached_package *cached;
    int result;

    TAILQ_FOREACH (cached, &cache->uses, use) {
        if (cached->is_scanning)
            break;
    }
    if (!cached)
        return 0;
    result = large_package_scan(cached->large, cache->store, cache->invalid_rows,
        clock_ms() + PACKAGE_CACHE_SCAN_MS, error);
    package_cache_use(cache, cached); /* then the others get their turns */
    package_cache_note_scan(cache, cached);
    return result;
}
