/* SPDX-License-Identifier: MIT */
/* A backend in a module of its own, loaded when a database of its kind is named: the libraries that
 * it needs are large and many, and a server on SQLite does without them. A module is a shared
 * object with one symbol, STORE_MODULE, of this type. */
#ifndef PRSERVD_STORE_MODULE_H
#define PRSERVD_STORE_MODULE_H

#include "store/audit_store.h"
#include "store/store.h"

#define STORE_MODULE prservd_store_module
#define STORE_MODULE_NAME "prservd_store_module"

struct store_module {
    void (*name)(const char *file, char *name, size_t size); /* store_name */
    int (*open)(struct store **store, const struct store_options *options, enum store_role role,
        struct error *error); /* store_open */
    int (*verify)(
        const char *file, store_fault_fn fn, void *context, struct error *error); /* store_verify */
    int (*open_audit)(struct audit_store **store, const struct audit_store_options *options,
        struct error *error); /* audit_store_open */
};

extern const struct store_module STORE_MODULE;

#endif
