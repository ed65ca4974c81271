/* SPDX-License-Identifier: MIT */
/* What all backends share: many rows in one transaction, and the columns of a new table. */
#include "store/store.h"

#include "base/clock.h"

#define MANY_ROWS_MS 60000 /* the time for many rows */

/* ---- many rows ---- */

static const void *store_describe_row(const void *at, struct store_item *item)
{
    const struct row *row = at;

    *item = (struct store_item){
        .version = row->version,
        .pkgarch = row->pkgarch,
        .may_add = true,
    };
    return row + 1;
}

static int store_check_row(struct store *store, const struct row *row, struct error *error)
{
    const struct text texts[] = {row->version, row->pkgarch, row->checksum, row->value};

    return store_check(store, texts, sizeof texts / sizeof *texts, error);
}

static int store_add_if_locked(struct store *store, const struct row *row, struct error *error)
{
    if (store_has_lock(store, row->version, row->pkgarch))
        return store_add(store, row, error);
    return error_set(error, ERROR_LOCKED, "another server holds a package in the database");
}

int store_add_many(struct store *store, const struct row *rows, size_t n, struct error *error)
{
    const struct store_batch batch = {.first = rows,
        .end = rows + n,
        .describe = store_describe_row,
        .until_ms = clock_ms() + MANY_ROWS_MS};
    int result = 0;

    for (size_t i = 0; i < n && result == 0; i++)
        result = store_check_row(store, &rows[i], error);
    if (result == 0)
        result = store_begin_write(store, &batch, STORE_LOCK_WAIT_MS, error);
    for (size_t i = 0; i < n && result == 0; i++)
        result = store_add_if_locked(store, &rows[i], error);
    if (result == 0)
        return store_commit(store, error);
    store_rollback(store);
    return result;
}

/* ---- the table ---- */

void store_describe_new(store_column_fn fn, void *context)
{
    static const char *const names[] = {"version", "pkgarch", "checksum", "value"};

    for (int i = 0; i < 4; i++) {
        const struct store_column described = {
            .name = names[i], .type = "TEXT", .not_null = true, .primary_key = i + 1};

        fn(context, &described);
    }
}

int store_describe(struct store *store, store_column_fn fn, void *context, struct error *error)
{
    if (store->ops->describe)
        return store->ops->describe(store, fn, context, error);
    store_describe_new(fn, context);
    return 0;
}
