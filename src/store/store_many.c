/* Many rows at once: as the backend does it, or one after the other. */
#include "store/store.h"

struct finding {
    const struct row *row;
    bool found;
    store_row_fn fn; /* NULL: it is enough to know */
    void *context;
    bool stopped;
};

static bool is_same_value(struct text a, struct text b)
{
    return a.bytes && b.bytes ? text_equal(a, b) : !a.bytes && !b.bytes;
}

/* The first that is the same is enough: without a value a table may hold a row many times. */
static int compare(void *context, const struct row *row)
{
    struct finding *finding = context;

    if (!is_same_value(row->value, finding->row->value))
        return 0;
    finding->found = true;
    if (finding->fn)
        finding->stopped = finding->fn(finding->context, row) != 0;
    return 1;
}

static int find(struct store *store, struct finding *finding, struct error *error)
{
    const struct row *row = finding->row;

    return store_look_up(store, row->version, row->pkgarch, row->checksum, compare, finding, error);
}

/* Our own table holds no NULL. One that another program made may hold it already. */
static int add(struct store *store, const struct row *row, struct error *error)
{
    struct finding finding = {.row = row};
    int code = row->value.bytes ? 0 : find(store, &finding, error);

    if (code != 0 || finding.found)
        return code;
    if (!row->value.bytes)
        return error_set(error, ERROR_INPUT, "a row without value can't be held by this database");
    return store_add(store, row, error);
}

int store_add_many(struct store *store, const struct row *rows, size_t n, struct error *error)
{
    int code;

    if (store->ops->add_many)
        return store->ops->add_many(store, rows, n, error);
    code = store_begin_write(store, STORE_ALL, STORE_LOCK_WAIT_MS, error);
    for (size_t i = 0; i < n && code == 0; i++)
        code = add(store, &rows[i], error);
    if (code == 0)
        return store_commit(store, error);
    store_rollback(store);
    return code;
}

int store_find_many(struct store *store, const struct row *rows, size_t n, store_row_fn fn,
    void *context, struct error *error)
{
    struct finding finding = {.fn = fn, .context = context};
    int code;

    if (store->ops->find_many)
        return store->ops->find_many(store, rows, n, fn, context, error);
    code = store_begin_read(store, STORE_WAITS, error);
    for (size_t i = 0; i < n && code == 0 && !finding.stopped; i++) {
        finding.row = &rows[i];
        code = find(store, &finding, error);
    }
    store_rollback(store);
    return code;
}
