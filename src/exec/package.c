/* Two hash tables: values, each kept once, and checksums, which point to values. */
#include "exec/package.h"

#include "revision/revision.h"

#include <stdlib.h>

/* An allocation that fails inside uthash is reported, not fatal. Most packages are small. */
#define HASH_NONFATAL_OOM 1
#define HASH_INITIAL_NUM_BUCKETS 4U
#define HASH_INITIAL_NUM_BUCKETS_LOG2 2U
#include <uthash.h>

#define ALLOCATION_BYTES 16 /* what the allocator adds to each */

struct value {
    UT_hash_handle hh;
    size_t length;
    char text[];
};

struct checksum {
    UT_hash_handle hh;
    const struct value *smallest;
    const struct value *largest;
    char bytes[];
};

struct package {
    struct value *values;
    struct checksum *checksums;
    const struct value *greatest;
    size_t bytes;
};

struct package *package_create(void)
{
    struct package *package = calloc(1, sizeof *package);

    if (package)
        package->bytes = sizeof *package + ALLOCATION_BYTES;
    return package;
}

void package_free(struct package *package)
{
    struct value *value, *next_value;
    struct checksum *checksum, *next_checksum;

    if (!package)
        return;
    HASH_ITER (hh, package->checksums, checksum, next_checksum) {
        HASH_DEL(package->checksums, checksum);
        free(checksum);
    }
    HASH_ITER (hh, package->values, value, next_value) {
        HASH_DEL(package->values, value);
        free(value);
    }
    free(package);
}

static struct value *find_value(const struct package *package, struct text text)
{
    struct value *value;

    HASH_FIND(hh, package->values, text.bytes, text.length, value);
    return value;
}

static struct checksum *find_checksum(const struct package *package, struct text text)
{
    struct checksum *checksum;

    HASH_FIND(hh, package->checksums, text.bytes ? text.bytes : "", text.length, checksum);
    return checksum;
}

static struct value *keep_value(struct package *package, struct text text)
{
    struct value *value;
    unsigned hash;

    HASH_VALUE(text.bytes, text.length, hash);
    HASH_FIND_BYHASHVALUE(hh, package->values, text.bytes, text.length, hash, value);
    if (value)
        return value;
    value = calloc(1, sizeof *value + text.length + 1);
    if (!value)
        return NULL;
    memcpy(value->text, text.bytes, text.length);
    value->length = text.length;
    HASH_ADD_KEYPTR_BYHASHVALUE(hh, package->values, value->text, value->length, hash, value);
    if (!value->hh.tbl) {
        free(value);
        return NULL;
    }
    package->bytes += sizeof *value - sizeof value->hh + text.length + ALLOCATION_BYTES;
    return value;
}

static struct checksum *keep_checksum(struct package *package, struct text text)
{
    const char *bytes = text.bytes ? text.bytes : "";
    struct checksum *checksum;
    unsigned hash;

    HASH_VALUE(bytes, text.length, hash);
    HASH_FIND_BYHASHVALUE(hh, package->checksums, bytes, text.length, hash, checksum);
    if (checksum)
        return checksum;
    checksum = calloc(1, sizeof *checksum + text.length);
    if (!checksum)
        return NULL;
    if (text.length > 0)
        memcpy(checksum->bytes, bytes, text.length);
    HASH_ADD_KEYPTR_BYHASHVALUE(
        hh, package->checksums, checksum->bytes, text.length, hash, checksum);
    if (!checksum->hh.tbl) {
        free(checksum);
        return NULL;
    }
    package->bytes += sizeof *checksum - sizeof checksum->hh + text.length + ALLOCATION_BYTES;
    return checksum;
}

int package_add(struct package *package, struct text checksum_text, struct text value_text)
{
    const struct value *value = keep_value(package, value_text);
    struct checksum *checksum = value ? keep_checksum(package, checksum_text) : NULL;

    if (!checksum)
        return ERROR_MEMORY;
    if (!checksum->smallest || revision_compare(value->text, checksum->smallest->text) < 0)
        checksum->smallest = value;
    if (!checksum->largest || revision_compare(value->text, checksum->largest->text) > 0)
        checksum->largest = value;
    if (!package->greatest || revision_compare(value->text, package->greatest->text) > 0)
        package->greatest = value;
    return 0;
}

const char *package_greatest(const struct package *package)
{
    return package->greatest ? package->greatest->text : NULL;
}

bool package_find(
    const struct package *package, struct text text, const char **smallest, const char **largest)
{
    const struct checksum *checksum = find_checksum(package, text);

    *smallest = checksum ? checksum->smallest->text : NULL;
    *largest = checksum ? checksum->largest->text : NULL;
    return checksum != NULL;
}

bool package_holds(const struct package *package, const char *value)
{
    return find_value(package, text_of(value)) != NULL;
}

size_t package_bytes(const struct package *package)
{
    return package->bytes + HASH_OVERHEAD(hh, package->values) +
           HASH_OVERHEAD(hh, package->checksums); /* tables, and the handles in the items */
}
