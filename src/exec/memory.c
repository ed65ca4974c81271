/* A hash table in the order of use: a package that is recalled moves to the end,
 * trimming takes from the front. */
#include "exec/memory.h"

#include <stdlib.h>

/* An allocation that fails inside uthash is reported, not fatal. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct remembered {
    UT_hash_handle hh;
    struct package *package;
    size_t counted_bytes; /* its part of memory->bytes */
    size_t key_length;
    char key[];
};

struct memory {
    struct store *store;
    struct odd_rows *odd_rows;
    struct remembered *packages;
    struct buffer key; /* of the package that is looked for */
    size_t bytes;
    size_t limit_bytes;
};

struct memory *memory_create(struct store *store, size_t limit_bytes, struct odd_rows *odd_rows)
{
    struct memory *memory = calloc(1, sizeof *memory);

    if (memory)
        *memory = (struct memory){.store = store, .limit_bytes = limit_bytes, .odd_rows = odd_rows};
    return memory;
}

static void forget(struct memory *memory, struct remembered *remembered)
{
    HASH_DEL(memory->packages, remembered);
    memory->bytes -= remembered->counted_bytes;
    package_free(remembered->package);
    free(remembered);
}

void memory_forget(struct memory *memory)
{
    struct remembered *remembered, *next;

    HASH_ITER (hh, memory->packages, remembered, next)
        forget(memory, remembered);
}

void memory_free(struct memory *memory)
{
    if (!memory)
        return;
    memory_forget(memory);
    buffer_free(&memory->key);
    free(memory);
}

int memory_refresh(struct memory *memory, struct error *error)
{
    bool unchanged = false;
    int result = store_is_unchanged(memory->store, &unchanged, error);

    if (!unchanged)
        memory_forget(memory);
    return result;
}

void memory_trim(struct memory *memory)
{
    struct remembered *remembered, *next;

    if (memory->store->far) {
        memory_forget(memory); /* not the whole packages */
        return;
    }
    HASH_ITER (hh, memory->packages, remembered, next) {
        if (memory->bytes <= memory->limit_bytes || !next)
            return; /* the last is the one in use: a large package stays */
        forget(memory, remembered);
    }
}

/* ---- recalling ---- */

struct loading {
    struct memory *memory;
    struct package *package;
    int result;
};

static int load_row(void *context, const struct row *row)
{
    struct loading *loading = context;

    if (odd_rows_check(loading->memory->odd_rows, row))
        loading->result = package_add(loading->package, row->checksum, row->value);
    return loading->result;
}

static struct package *load(struct memory *memory, struct text version, struct text pkgarch,
    int *result, struct error *error)
{
    struct loading loading = {.memory = memory, .package = package_create()};

    *result = loading.package ? 0 : error_set_memory(error);
    if (*result == 0)
        *result = store_load(memory->store, version, pkgarch, load_row, &loading, error);
    if (*result == 0 && loading.result != 0)
        *result = error_set_memory(error);
    if (*result == 0)
        return loading.package;
    package_free(loading.package);
    return NULL;
}

/* Keeps a package under the key at hand. Takes it over, also when memory runs out. */
static struct remembered *remember(struct memory *memory, struct package *package)
{
    struct remembered *remembered = calloc(1, sizeof *remembered + memory->key.length);

    if (!remembered) {
        package_free(package);
        return NULL;
    }
    remembered->package = package;
    remembered->key_length = memory->key.length;
    memcpy(remembered->key, memory->key.bytes, memory->key.length);
    return remembered;
}

/* Puts it at the end of the table. */
static bool touch(struct memory *memory, struct remembered *remembered, unsigned hash)
{
    HASH_ADD_KEYPTR_BYHASHVALUE(
        hh, memory->packages, remembered->key, remembered->key_length, hash, remembered);
    if (!remembered->hh.tbl) {
        package_free(remembered->package);
        free(remembered);
        return false;
    }
    remembered->counted_bytes =
        sizeof *remembered + remembered->key_length + package_bytes(remembered->package);
    memory->bytes += remembered->counted_bytes;
    return true;
}

/* NULL: it is not there; the key at hand is the package's then. */
static struct remembered *find(
    struct memory *memory, struct text version, struct text pkgarch, unsigned *hash)
{
    struct remembered *remembered = NULL;

    *hash = 0;
    buffer_set_pair(&memory->key, version, pkgarch);
    if (buffer_failed(&memory->key))
        return NULL;
    HASH_VALUE(memory->key.bytes, memory->key.length, *hash);
    HASH_FIND_BYHASHVALUE(
        hh, memory->packages, memory->key.bytes, memory->key.length, *hash, remembered);
    return remembered;
}

bool memory_lacks(
    struct memory *memory, struct text version, struct text pkgarch, struct text checksum)
{
    unsigned hash;
    const struct remembered *remembered = find(memory, version, pkgarch, &hash);
    const char *smallest;
    const char *largest;

    return remembered && !package_find(remembered->package, checksum, &smallest, &largest);
}

int memory_recall(struct memory *memory, struct text version, struct text pkgarch,
    struct package **package, struct error *error)
{
    unsigned hash;
    struct remembered *remembered = find(memory, version, pkgarch, &hash);
    int result = 0;

    if (buffer_failed(&memory->key))
        return error_set_memory(error);
    if (remembered) {
        HASH_DEL(memory->packages, remembered);
        memory->bytes -= remembered->counted_bytes;
    } else {
        struct package *loaded = load(memory, version, pkgarch, &result, error);

        if (result != 0)
            return result;
        remembered = remember(memory, loaded);
    }
    if (!remembered || !touch(memory, remembered, hash))
        return error_set_memory(error);
    *package = remembered->package;
    return 0;
}
