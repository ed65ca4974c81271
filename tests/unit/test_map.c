/* SPDX-License-Identifier: MIT */
/* The hash map: an item is found under its key, until it is removed. */
#include "base/map.h"

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

struct item {
    struct map_entry entry;
    unsigned number;
};

static unsigned n_released;

static void release(void *item)
{
    n_released++;
    free(item);
}

static struct item *add(struct map *map, struct text key, unsigned number)
{
    struct item *item = map_find_or_add(map, key, sizeof *item);

    assert_non_null(item);
    assert_int_equal(item->number, 0);
    item->number = number;
    return item;
}

/* The key of a number; borrowed until the next call. */
static struct text key_of(unsigned number)
{
    static char key[16];

    (void)snprintf(key, sizeof key, "key %u", number);
    return text_of(key);
}

static void check_numbers(const struct map *map, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        const struct item *item = map_find(map, key_of(i));

        assert_non_null(item);
        assert_int_equal(item->number, i);
    }
}

static void an_empty_map_finds_nothing(void **state)
{
    struct map map = MAP_EMPTY;

    (void)state;
    assert_null(map_find(&map, TEXT("key")));
    assert_null(map_find(&map, TEXT("")));
    assert_int_equal(map_bytes(&map), 0);
    map_clear(&map, release);
}

static void an_item_is_found_by_all_bytes_of_its_key(void **state)
{
    struct map map = MAP_EMPTY;
    struct item *nul = add(&map, TEXT("a\0b"), 1);
    struct item *empty = add(&map, TEXT(""), 2);

    (void)state;
    assert_ptr_equal(map_find(&map, TEXT("a\0b")), nul);
    assert_ptr_equal(map_find(&map, TEXT("")), empty);
    assert_ptr_equal(map_find(&map, (struct text){.bytes = NULL}), empty);
    assert_null(map_find(&map, TEXT("a")));
    assert_null(map_find(&map, TEXT("a\0c")));
    assert_null(map_find(&map, TEXT("a\0b\0")));
    map_clear(&map, release);
}

static void an_item_is_added_once_with_a_terminated_copy_of_its_key(void **state)
{
    struct map map = MAP_EMPTY;
    char key[] = "key and more";
    struct item *item = add(&map, (struct text){key, 3}, 1);

    (void)state;
    memset(key, 'x', sizeof key);
    assert_string_equal(item->entry.key.bytes, "key");
    assert_text_is(item->entry.key, "key");
    assert_ptr_equal(map_find_or_add(&map, TEXT("key"), sizeof *item), item);
    assert_int_equal(item->number, 1);
    assert_int_equal(map.n_items, 1);
    map_clear(&map, release);
}

static void a_map_grows_with_its_items(void **state)
{
    struct map map = MAP_EMPTY;

    (void)state;
    for (unsigned i = 0; i < 10000; i++)
        (void)add(&map, key_of(i), i);
    assert_int_equal(map.n_items, 10000);
    assert_true(map.n_buckets >= 10000);
    assert_true(map_bytes(&map) >= 10000 * sizeof(void *));
    check_numbers(&map, 0, 10000);
    assert_null(map_find(&map, key_of(10000)));
    map_clear(&map, release);
}

static void a_removed_item_is_not_found_and_the_others_are(void **state)
{
    struct map map = MAP_EMPTY;

    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        (void)add(&map, key_of(i), i);
    for (unsigned i = 0; i < 500; i++) {
        struct item *item = map_find(&map, key_of(i));

        map_remove(&map, &item->entry);
        free(item);
    }
    assert_int_equal(map.n_items, 500);
    for (unsigned i = 0; i < 500; i++)
        assert_null(map_find(&map, key_of(i)));
    check_numbers(&map, 500, 1000);
    (void)add(&map, key_of(7), 7);
    check_numbers(&map, 7, 8);
    map_clear(&map, release);
}

static void a_removed_item_can_be_put_back(void **state)
{
    struct map map = MAP_EMPTY;
    struct item *first = add(&map, TEXT("key"), 1);
    struct item *second;
    struct item *found;

    (void)state;
    map_remove(&map, &first->entry);
    second = add(&map, TEXT("key"), 2);
    map_put_back(&map, &first->entry);
    assert_int_equal(map.n_items, 2);
    found = map_find(&map, TEXT("key"));
    assert_true(found == first || found == second);
    map_remove(&map, &second->entry);
    free(second);
    assert_ptr_equal(map_find(&map, TEXT("key")), first);
    map_clear(&map, release);
}

static void a_map_grows_with_items_that_are_put_back(void **state)
{
    struct map map = MAP_EMPTY;
    struct item *items[100];

    (void)state;
    for (unsigned i = 0; i < COUNT(items); i++) {
        items[i] = add(&map, key_of(i), i);
        map_remove(&map, &items[i]->entry);
    }
    for (unsigned i = 0; i < COUNT(items); i++)
        map_put_back(&map, &items[i]->entry);
    assert_true(map.n_buckets >= COUNT(items));
    check_numbers(&map, 0, COUNT(items));
    map_clear(&map, release);
}

/* All in one bucket: the order of removal doesn't matter. */
static void items_that_collide_are_told_apart(void **state)
{
    struct item *items[3];
    static const struct text keys[] = {{"one", 3}, {"two", 3}, {"three", 5}};

    (void)state;
    for (size_t removed = 0; removed < COUNT(items); removed++) {
        struct map map = {.n_buckets = 1, .n_items = 0};

        map.buckets = calloc(1, sizeof *map.buckets);
        assert_non_null(map.buckets);
        for (unsigned i = 0; i < COUNT(items); i++) {
            map.n_items = 0; /* the table does not grow */
            items[i] = add(&map, keys[i], i);
        }
        map.n_items = COUNT(items);
        for (size_t i = 0; i < COUNT(items); i++)
            assert_ptr_equal(map_find(&map, keys[i]), items[i]);
        map_remove(&map, &items[removed]->entry);
        free(items[removed]);
        for (size_t i = 0; i < COUNT(items); i++)
            assert_ptr_equal(map_find(&map, keys[i]), i == removed ? NULL : items[i]);
        map_clear(&map, release);
    }
}

static void a_cleared_map_has_released_each_item_and_is_usable(void **state)
{
    struct map map = MAP_EMPTY;

    (void)state;
    for (unsigned i = 0; i < 100; i++)
        (void)add(&map, key_of(i), i);
    n_released = 0;
    map_clear(&map, release);
    assert_int_equal(n_released, 100);
    assert_int_equal(map_bytes(&map), 0);
    assert_null(map_find(&map, key_of(1)));
    (void)add(&map, key_of(1), 1);
    check_numbers(&map, 1, 2);
    map_clear(&map, release);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_map_finds_nothing),
        cmocka_unit_test(an_item_is_found_by_all_bytes_of_its_key),
        cmocka_unit_test(an_item_is_added_once_with_a_terminated_copy_of_its_key),
        cmocka_unit_test(a_map_grows_with_its_items),
        cmocka_unit_test(a_removed_item_is_not_found_and_the_others_are),
        cmocka_unit_test(a_removed_item_can_be_put_back),
        cmocka_unit_test(a_map_grows_with_items_that_are_put_back),
        cmocka_unit_test(items_that_collide_are_told_apart),
        cmocka_unit_test(a_cleared_map_has_released_each_item_and_is_usable),
    };

    return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}
