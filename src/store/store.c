/* Which backend a database's name means, and what people may see of the name. */
#include "store/store.h"

#include "store/sqlite.h"
#include "store/store_module.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static bool begins_with(const char *text, const char *beginning)
{
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

/* keyword = value: a connection string. A file of such a name is ./keyword=value. */
static bool is_connection_string(const char *file)
{
    size_t length = strspn(file, "abcdefghijklmnopqrstuvwxyz_");

    return length > 0 && file[length + strspn(file + length, " ")] == '=';
}

enum store_kind store_kind_of(const char *file)
{
    if (begins_with(file, "postgresql://") || begins_with(file, "postgres://") ||
        is_connection_string(file))
        return STORE_POSTGRESQL;
    return STORE_SQLITE;
}

#ifdef PRSERVD_POSTGRESQL
/* It stays loaded. NULL: it can't be. */
static const struct store_module *load_postgresql(void)
{
    void *library = dlopen(PRSERVD_POSTGRESQL, RTLD_NOW | RTLD_LOCAL);

    return library ? dlsym(library, STORE_MODULE_NAME) : NULL;
}

static int open_postgresql(struct store **store, const struct store_options *options,
    enum store_role role, struct error *error)
{
    const struct store_module *module = load_postgresql();

    if (module)
        return module->open(store, options, role, error);
    return error_set(error, ERROR_STORE, "the part for PostgreSQL can't be loaded: %s", dlerror());
}
#endif

void store_name(const char *file, char *name, size_t size)
{
#ifdef PRSERVD_POSTGRESQL
    const struct store_module *module =
        store_kind_of(file) == STORE_POSTGRESQL ? load_postgresql() : NULL;

    if (module) {
        module->name(file, name, size);
        return;
    }
#endif
    (void)snprintf(name, size, "%s", store_kind_of(file) == STORE_SQLITE ? file : "postgresql://");
}

int store_open(struct store **store, const struct store_options *options, enum store_role role,
    struct error *error)
{
    if (store_kind_of(options->file) == STORE_SQLITE)
        return sqlite_open(store, options, role, error);
#ifdef PRSERVD_POSTGRESQL
    *store = NULL;
    return open_postgresql(store, options, role, error);
#else
    *store = NULL;
    return error_set(error, ERROR_STORE,
        "this prservd was built without PostgreSQL (-Dpostgresql=disabled): name the file of an "
        "SQLite database");
#endif
}
