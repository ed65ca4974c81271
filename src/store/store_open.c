/* SPDX-License-Identifier: MIT */
/* Opens a database with the backend that its name asks for. */
#include "store/audit_store.h"
#include "store/sqlite/audit.h"
#include "store/sqlite/sqlite.h"
#include "store/sqlite/sync_watch.h"
#include "store/store.h"
#include "store/store_module.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static bool store_begins_with(const char *text, const char *beginning)
{
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

/* Returns whether a name looks like keyword = value. A file of such a name is ./keyword=value. */
static bool store_is_connection_string(const char *file)
{
    size_t length = strspn(file, "abcdefghijklmnopqrstuvwxyz_");

    return length > 0 && file[length + strspn(file + length, " ")] == '=';
}

enum store_kind store_kind_of(const char *file)
{
    if (store_begins_with(file, "postgresql://") || store_begins_with(file, "postgres://") ||
        store_is_connection_string(file))
        return STORE_POSTGRESQL;
    return STORE_SQLITE;
}

/* Loads the module, which then stays loaded. Returns NULL, and describes the error, if that fails.
 */
static const struct store_module *store_load_postgresql(struct error *error)
{
#ifdef PRSERVD_POSTGRESQL
    void *library = dlopen(PRSERVD_POSTGRESQL, RTLD_NOW | RTLD_LOCAL);
    const struct store_module *module = library ? dlsym(library, STORE_MODULE_NAME) : NULL;

    if (!module)
        (void)error_set(
            error, ERROR_STORE, "the module for PostgreSQL can't be loaded: %s", dlerror());
    return module;
#else
    (void)error_set(error, ERROR_STORE,
        "this prservd was built without PostgreSQL (-Dpostgresql=disabled): name the file of an "
        "SQLite database");
    return NULL;
#endif
}

void store_name(const char *file, char *name, size_t size)
{
    const bool is_file = store_kind_of(file) == STORE_SQLITE;
    struct error ignored;
    const struct store_module *module = is_file ? NULL : store_load_postgresql(&ignored);

    if (module)
        module->name(file, name, size);
    else
        (void)snprintf(name, size, "%s", is_file ? file : "postgresql://");
}

int store_open(struct store **store, const struct store_options *options, enum store_role role,
    struct error *error)
{
    const struct store_module *module;

    if (store_kind_of(options->file) == STORE_SQLITE)
        return sqlite_open(store, options, role, error);
    *store = NULL;
    module = store_load_postgresql(error);
    return module ? module->open(store, options, role, error) : ERROR_STORE;
}

void store_each_sync(void (*fn)(void *context, const char *file, uint64_t since_ms), void *context)
{
    sqlite_sync_watch_each(fn, context);
}

int store_verify(const char *file, store_fault_fn fn, void *context, struct error *error)
{
    const struct store_module *module = store_load_postgresql(error);

    return module ? module->verify(file, fn, context, error) : ERROR_STORE;
}

int audit_store_open(
    struct audit_store **store, const struct audit_store_options *options, struct error *error)
{
    const struct store_module *module;

    *store = NULL;
    if (store_kind_of(options->file) == STORE_SQLITE)
        return sqlite_audit_create(store, options, error);
    module = store_load_postgresql(error);
    return module ? module->open_audit(store, options, error) : ERROR_STORE;
}
