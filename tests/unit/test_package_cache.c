/* SPDX-License-Identifier: MIT */
/* The package cache: which packages it reads, which it keeps, and which it evicts. */
#include "exec/package_cache.h"

#include "unit.h"

#include <stdio.h>

#define LARGE 20000 /* rows; a package with one row takes less than a kilobyte */

static struct {
    struct store base;
    unsigned n_rows; /* of each package */
    unsigned n_loads;
    enum store_changes changes;
    int result; /* of loading */
} store;

static int load(struct store *base, struct text version, struct text pkgarch, store_row_fn fn,
    void *context, struct error *error)
{
    (void)base;
    store.n_loads++;
    for (unsigned i = 0; i < store.n_rows; i++) {
        char checksum[16];
        struct row row = {.version = version, .pkgarch = pkgarch, .value = text_of("1")};

        (void)snprintf(checksum, sizeof checksum, "%u", i);
        row.checksum = text_of(checksum);
        if (fn(context, &row) != 0)
            break;
    }
    return store.result ? error_set(error, store.result, "the disk is broken") : 0;
}

static int load_after(struct store *base, struct text version, struct text pkgarch,
    const struct store_place *place, bool *can_stop, store_row_fn fn, void *context,
    struct error *error)
{
    (void)place;
    *can_stop = false;
    return load(base, version, pkgarch, fn, context, error);
}

static int find_changes(struct store *base, enum store_changes *changes, struct error *error)
{
    (void)base;
    (void)error;
    *changes = store.changes;
    return 0;
}

static struct package_cache *start(size_t limit_bytes)
{
    static const struct store_ops ops = {
        .load = load, .load_after = load_after, .find_changes = find_changes};
    struct package_cache *cache;

    store.base.ops = &ops;
    store.n_rows = 1;
    store.n_loads = 0;
    store.changes = STORE_UNCHANGED;
    store.result = 0;
    cache = package_cache_create(&store.base, limit_bytes, NULL);
    assert_non_null(cache);
    return cache;
}

static struct package *get(struct package_cache *cache, const char *version)
{
    struct package *package = NULL;
    struct error error;

    assert_int_equal(
        package_cache_get(cache, text_of(version), text_of("all"), &package, &error), 0);
    assert_non_null(package);
    return package;
}

static void refresh(struct package_cache *cache, enum store_changes changes)
{
    struct error error;

    store.changes = changes;
    assert_int_equal(package_cache_refresh(cache, STORE_BLOCK, &error), 0);
}

static bool has(struct package_cache *cache, const char *version)
{
    return package_cache_peek(cache, text_of(version), text_of("all")) != NULL;
}

/* Returns the greatest value of a package. */
static const char *greatest(struct package_cache *cache, const char *version)
{
    const struct package_question question = {
        .version = text_of(version), .pkgarch = text_of("all"), .wants_greatest = true};
    struct package_facts facts;
    struct error error;

    assert_int_equal(package_cache_ask(cache, &question, &facts, &error), 0);
    return facts.greatest;
}

static bool is_wanted(struct package_cache *cache, const char *version)
{
    return package_cache_is_wanted(cache, text_of(version), text_of("all"));
}

static void a_package_is_read_once(void **state)
{
    struct package_cache *cache = start(1000000);
    struct package *package = get(cache, "a");

    (void)state;
    assert_string_equal(package_greatest(package), "1");
    assert_ptr_equal(get(cache, "a"), package);
    assert_true(get(cache, "b") != package);
    refresh(cache, STORE_UNCHANGED);
    package_cache_evict(cache);
    assert_ptr_equal(get(cache, "a"), package);
    assert_int_equal(store.n_loads, 2);
    package_cache_free(cache);
}

static void peeking_reads_nothing(void **state)
{
    struct package_cache *cache = start(1000000);

    (void)state;
    assert_false(has(cache, "a"));
    (void)get(cache, "a");
    assert_true(has(cache, "a"));
    assert_null(package_cache_peek(cache, text_of("a"), text_of("x86_64")));
    assert_int_equal(store.n_loads, 1);
    package_cache_free(cache);
}

static void a_package_that_can_not_be_read_is_not_kept(void **state)
{
    struct package_cache *cache = start(1000000);
    struct package *package;
    struct error error;

    (void)state;
    store.result = ERROR_STORE;
    assert_int_equal(
        package_cache_get(cache, text_of("a"), text_of("all"), &package, &error), ERROR_STORE);
    assert_false(has(cache, "a"));
    store.result = 0;
    (void)get(cache, "a");
    package_cache_free(cache);
}

static void changes_by_others_clear_the_cache(void **state)
{
    struct package_cache *cache = start(1000000);

    (void)state;
    (void)get(cache, "a");
    refresh(cache, STORE_CHANGED);
    assert_false(has(cache, "a"));
    (void)get(cache, "a");
    refresh(cache, STORE_CHANGES_UNKNOWN);
    assert_false(has(cache, "a"));
    (void)get(cache, "a");
    package_cache_evict(cache); /* others may have written since */
    assert_false(has(cache, "a"));
    package_cache_free(cache);
}

static void the_packages_not_used_for_longest_are_evicted(void **state)
{
    struct package_cache *cache = start(2000);
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};
    bool had = false;

    (void)state;
    for (size_t i = 0; i < COUNT(names); i++)
        (void)get(cache, names[i]);
    (void)get(cache, "a");
    package_cache_evict(cache);
    assert_true(has(cache, "a"));
    assert_false(has(cache, "b"));
    assert_true(has(cache, "j"));
    for (size_t i = 1; i < COUNT(names); i++) {
        assert_true(has(cache, names[i]) || !had);
        had = has(cache, names[i]);
    }
    package_cache_free(cache);
}

static void the_package_used_last_stays_however_large_it_is(void **state)
{
    struct package_cache *cache = start(1000);

    (void)state;
    (void)get(cache, "a");
    store.n_rows = LARGE;
    (void)get(cache, "b");
    package_cache_evict(cache);
    assert_false(has(cache, "a"));
    assert_true(has(cache, "b"));
    store.n_rows = 1;
    (void)get(cache, "c");
    package_cache_evict(cache);
    assert_false(has(cache, "b"));
    assert_true(has(cache, "c"));
    package_cache_free(cache);
}

static void rows_that_are_added_count(void **state)
{
    struct package_cache *cache = start(LARGE);
    struct package *package;
    char checksum[16];

    (void)state;
    package = get(cache, "a");
    (void)get(cache, "b");
    package_cache_evict(cache);
    assert_true(has(cache, "a"));
    for (unsigned i = 0; i < LARGE; i++) {
        (void)snprintf(checksum, sizeof checksum, "%u", i);
        assert_int_equal(package_add(package, text_of(checksum), text_of("1")), 0);
    }
    assert_ptr_equal(get(cache, "a"), package);
    package_cache_evict(cache);
    assert_true(has(cache, "a"));
    assert_false(has(cache, "b"));
    package_cache_free(cache);
}

static void what_is_known_of_a_large_package_outlives_others(void **state)
{
    struct package_cache *cache = start(4000);
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};

    (void)state;
    refresh(cache, STORE_UNCHANGED);
    store.n_rows = LARGE;
    assert_string_equal(greatest(cache, "large"), "1");
    store.n_rows = 1;
    for (size_t i = 0; i < COUNT(names); i++)
        (void)get(cache, names[i]);
    package_cache_evict(cache);
    assert_false(has(cache, "a"));
    store.n_loads = 0;
    assert_string_equal(greatest(cache, "large"), "1");
    assert_int_equal(store.n_loads, 0);
    package_cache_free(cache);
}

static void many_large_packages_are_evicted_as_well(void **state)
{
    struct package_cache *cache = start(4000);
    char name[16];

    (void)state;
    store.n_rows = LARGE;
    for (unsigned i = 0; i < 20; i++) {
        refresh(cache, STORE_UNCHANGED);
        (void)snprintf(name, sizeof name, "%u", i);
        assert_string_equal(greatest(cache, name), "1");
        package_cache_evict(cache);
    }
    store.n_loads = 0;
    refresh(cache, STORE_UNCHANGED);
    assert_string_equal(greatest(cache, "0"), "1");
    assert_true(store.n_loads > 0);
    package_cache_free(cache);
}

static void a_package_is_wanted_when_it_is_asked_about_again(void **state)
{
    struct package_cache *cache = start(1000000);

    (void)state;
    refresh(cache, STORE_UNCHANGED);
    assert_false(is_wanted(cache, "a"));
    assert_false(is_wanted(cache, "b"));
    assert_true(is_wanted(cache, "a"));
    refresh(cache, STORE_CHANGED);
    assert_false(is_wanted(cache, "a"));
    (void)get(cache, "b");
    assert_true(is_wanted(cache, "b"));
    store.n_rows = LARGE;
    (void)greatest(cache, "large");
    assert_false(is_wanted(cache, "large"));
    package_cache_free(cache);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_package_is_read_once),
        cmocka_unit_test(peeking_reads_nothing),
        cmocka_unit_test(a_package_that_can_not_be_read_is_not_kept),
        cmocka_unit_test(changes_by_others_clear_the_cache),
        cmocka_unit_test(the_packages_not_used_for_longest_are_evicted),
        cmocka_unit_test(the_package_used_last_stays_however_large_it_is),
        cmocka_unit_test(rows_that_are_added_count),
        cmocka_unit_test(what_is_known_of_a_large_package_outlives_others),
        cmocka_unit_test(many_large_packages_are_evicted_as_well),
        cmocka_unit_test(a_package_is_wanted_when_it_is_asked_about_again),
    };

    return cmocka_run_group_tests_name("package_cache", tests, NULL, NULL);
}
