/* SPDX-License-Identifier: MIT */
/* Buckets of linked entries. The table doubles when it has more items than buckets. Where there
 * is no memory for that, it stays as it is, and only gets slower. */
#include "base/map.h"

#include "base/hash.h"

#include <stdlib.h>

#define FIRST_BUCKETS 4 /* most packages have few checksums */

static struct map_entry **map_bucket(const struct map *map, uint64_t hash)
{
    return &map->buckets[hash & (map->n_buckets - 1)];
}

static void map_link(struct map *map, struct map_entry *item)
{
    struct map_entry **bucket = map_bucket(map, item->hash);

    item->next = *bucket;
    *bucket = item;
}

static struct map_entry *map_find_hash(const struct map *map, struct text key, uint64_t hash)
{
    for (struct map_entry *item = *map_bucket(map, hash); item; item = item->next) {
        if (item->hash == hash && text_equal(item->key, key))
            return item;
    }
    return NULL;
}

void *map_find(const struct map *map, struct text key)
{
    return map->n_items > 0 ? map_find_hash(map, key, hash_text(key)) : NULL;
}

/* Moves all items to a table of twice the size, if the table is full and there is memory. */
static void map_grow_if_full(struct map *map)
{
    struct map grown = {
        .n_buckets = map->n_buckets ? map->n_buckets * 2 : FIRST_BUCKETS, .n_items = map->n_items};

    if (map->n_items < map->n_buckets)
        return;
    grown.buckets = calloc(grown.n_buckets, sizeof *grown.buckets);
    if (!grown.buckets)
        return;
    for (size_t i = 0; i < map->n_buckets; i++) {
        struct map_entry *next;

        for (struct map_entry *item = map->buckets[i]; item; item = next) {
            next = item->next;
            map_link(&grown, item);
        }
    }
    free(map->buckets);
    *map = grown;
}

void *map_find_or_add(struct map *map, struct text key, size_t item_bytes)
{
    const uint64_t hash = hash_text(key);
    struct map_entry *item = map->n_items > 0 ? map_find_hash(map, key, hash) : NULL;
    char *copy;

    if (item)
        return item;
    map_grow_if_full(map);
    item = map->buckets ? calloc(1, item_bytes + key.length + 1) : NULL;
    if (!item)
        return NULL;
    copy = (char *)item + item_bytes;
    if (key.length > 0)
        memcpy(copy, key.bytes, key.length);
    item->hash = hash;
    item->key = (struct text){.bytes = copy, .length = key.length};
    map_link(map, item);
    map->n_items++;
    return item;
}

void map_put_back(struct map *map, struct map_entry *item)
{
    map_grow_if_full(map);
    map_link(map, item);
    map->n_items++;
}

void map_remove(struct map *map, struct map_entry *item)
{
    struct map_entry **at = map_bucket(map, item->hash);

    while (*at != item)
        at = &(*at)->next;
    *at = item->next;
    map->n_items--;
}

void map_clear(struct map *map, void (*release)(void *item))
{
    for (size_t i = 0; i < map->n_buckets; i++) {
        struct map_entry *next;

        for (struct map_entry *item = map->buckets[i]; item; item = next) {
            next = item->next;
            release(item);
        }
    }
    free(map->buckets);
    *map = MAP_EMPTY;
}
