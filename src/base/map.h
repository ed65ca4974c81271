/* SPDX-License-Identifier: MIT */
/* A hash map from texts to items.
 *
 * An item is a struct that begins with a struct map_entry. It is allocated on its own, so its
 * address never changes. One thread at a time. */
#ifndef PRSERVD_MAP_H
#define PRSERVD_MAP_H

#include "base/text.h"

#include <stddef.h>
#include <stdint.h>

struct map_entry {
    struct map_entry *next; /* the next entry of the same bucket */
    uint64_t hash;          /* the key's */
    struct text key;        /* lives as long as the item is in the map */
};

struct map {
    struct map_entry **buckets; /* owned; NULL while nothing was added */
    size_t n_buckets;           /* a power of two, or 0 */
    size_t n_items;
};

#define MAP_EMPTY ((struct map){.buckets = NULL})

/* Returns the item with this key, or NULL. */
void *map_find(const struct map *map, struct text key);

/* Returns the item with this key. Adds one of item_bytes if there is none: its own fields are zero,
 * a copy of the key with a NUL at its end lies behind them, and free() frees both. Returns NULL
 * when memory ran out. */
void *map_find_or_add(struct map *map, struct text key, size_t item_bytes);

/* Removes an item that is in the map. The item is the caller's then. */
void map_remove(struct map *map, struct map_entry *item);

/* Adds an item again that was removed from the map, which has not been cleared since. If the map
 * has a new item with the same key, map_find returns either of them. */
void map_put_back(struct map *map, struct map_entry *item);

/* Removes all items, passes each to release (free, for one), and frees the table. The map can be
 * used again. */
void map_clear(struct map *map, void (*release)(void *item));

/* Returns the memory of the table, in bytes, without the items. */
static inline size_t map_bytes(const struct map *map)
{
    return map->n_buckets * sizeof *map->buckets;
}

#endif
