#include "store/store.h"

#include "store/sqlite.h"

int store_open(struct store **store, const struct store_options *options, enum store_role role,
    struct error *error)
{
    return sqlite_open(store, options, role, error);
}
