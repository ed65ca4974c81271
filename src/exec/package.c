/* SPDX-License-Identifier: MIT */
/* Two hash maps: values, each kept once, and checksums, which point to their smallest and largest
 * value. */
#include "exec/package.h"

#include "base/map.h"
#include "revision/floor.h"
#include "revision/revision.h"

#include <stdlib.h>

#define ALLOCATION_BYTES 16 /* the allocator's own, for each allocation */

struct checksum {
    struct map_entry entry;
    const char *smallest; /* keys of values */
    const char *largest;
};

struct package {
    struct map values; /* of struct map_entry */
    struct map checksums;
    const char *greatest; /* the key of a value */
    const char *floor;    /* likewise: the greatest value of a floor */
    size_t key_bytes;     /* of both maps */
};

struct package *package_create(void)
{
    return calloc(1, sizeof(struct package));
}

void package_free(struct package *package)
{
    if (!package)
        return;
    map_clear(&package->checksums, free);
    map_clear(&package->values, free);
    free(package);
}

/* Returns the item with this key, new or not; NULL when memory ran out. */
static void *package_keep(
    struct package *package, struct map *map, struct text key, size_t item_bytes)
{
    const size_t n_items = map->n_items;
    void *item = map_find_or_add(map, key, item_bytes);

    if (map->n_items > n_items)
        package->key_bytes += key.length + 1;
    return item;
}

int package_add(struct package *package, struct text checksum_text, struct text value_text)
{
    const struct map_entry *entry =
        package_keep(package, &package->values, value_text, sizeof *entry);
    struct checksum *checksum =
        entry ? package_keep(package, &package->checksums, checksum_text, sizeof *checksum) : NULL;
    const char *value = entry ? entry->key.bytes : NULL;

    if (!checksum)
        return ERROR_MEMORY;
    if (!checksum->smallest || revision_compare(value, checksum->smallest) < 0)
        checksum->smallest = value;
    if (!checksum->largest || revision_compare(value, checksum->largest) > 0)
        checksum->largest = value;
    if (!package->greatest || revision_compare(value, package->greatest) > 0)
        package->greatest = value;
    if (floor_is_checksum(checksum_text) &&
        (!package->floor || revision_compare(value, package->floor) > 0))
        package->floor = value;
    return 0;
}

const char *package_greatest(const struct package *package)
{
    return package->greatest;
}

bool package_find(
    const struct package *package, struct text text, const char **smallest, const char **largest)
{
    const struct checksum *checksum = map_find(&package->checksums, text);

    *smallest = checksum ? checksum->smallest : NULL;
    *largest = checksum ? checksum->largest : NULL;
    return checksum != NULL;
}

bool package_holds(const struct package *package, const char *value)
{
    return map_find(&package->values, text_of(value)) ||
           (package->floor && revision_compare(value, package->floor) <= 0);
}

bool package_has(const struct package *package, struct text value)
{
    return map_find(&package->values, value) != NULL;
}

bool package_is_raised(const struct package *package)
{
    return package->floor && package->floor == package->greatest;
}

static size_t package_map_bytes(const struct map *map, size_t item_bytes)
{
    return map->n_items * (item_bytes + ALLOCATION_BYTES) + map_bytes(map) + ALLOCATION_BYTES;
}

size_t package_bytes(const struct package *package)
{
    return sizeof *package + ALLOCATION_BYTES + package->key_bytes +
           package_map_bytes(&package->values, sizeof(struct map_entry)) +
           package_map_bytes(&package->checksums, sizeof(struct checksum));
}
