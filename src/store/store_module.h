/* A backend that is loaded when a database of its kind is named: the libraries that it stands on
 * are large, and many, and a server on SQLite is spared them. A module is a shared object that has
 * one symbol, STORE_MODULE, of this type. */
#ifndef PRSERVD_STORE_MODULE_H
#define PRSERVD_STORE_MODULE_H

#include "store/store.h"

#define STORE_MODULE prservd_store_module
#define STORE_MODULE_NAME "prservd_store_module"

struct store_module {
    void (*name)(const char *file, char *name, size_t size); /* store_name */
    int (*open)(struct store **store, const struct store_options *options, enum store_role role,
        struct error *error); /* store_open */
};

extern const struct store_module STORE_MODULE;

#endif
