/* SPDX-License-Identifier: MIT */
#include "cli/audit_greatest.h"

#include "revision/revision.h"
#include "store/audit_store.h"

#include <stdlib.h>
#include <string.h>

#define PAGE_RECORDS 10000
#define WAIT_MS 30000

/* A reading of an audit log. */
struct audit_loading {
    struct audit_greatest *greatest;
    int64_t last_id;
    size_t n;
    bool failed;
};

static void audit_greatest_release(void *item)
{
    struct audit_package_entry *package = item;

    free(package->texts);
    free(package->value);
    free(package);
}

void audit_greatest_free(struct audit_greatest *greatest)
{
    map_clear(&greatest->packages, audit_greatest_release);
    buffer_free(&greatest->key);
}

static struct audit_package_entry *audit_greatest_find(
    struct audit_greatest *greatest, struct text version, struct text pkgarch, bool adds)
{
    struct text key;

    buffer_set_pair(&greatest->key, version, pkgarch);
    if (buffer_failed(&greatest->key))
        return NULL;
    key = buffer_text(&greatest->key);
    return adds ? map_find_or_add(&greatest->packages, key, sizeof(struct audit_package_entry))
                : map_find(&greatest->packages, key);
}

/* Sets the texts of a new package. */
static bool audit_greatest_name(struct audit_greatest *greatest,
    struct audit_package_entry *package, const struct audit_revision *record)
{
    package->texts = malloc(record->version.length + record->pkgarch.length + 1);
    if (!package->texts)
        return false;
    memcpy(package->texts, record->version.bytes, record->version.length);
    memcpy(package->texts + record->version.length, record->pkgarch.bytes, record->pkgarch.length);
    package->version_bytes = record->version.length;
    package->pkgarch_bytes = record->pkgarch.length;
    STAILQ_INSERT_TAIL(&greatest->list, package, next);
    return true;
}

/* Keeps the value of a record if it is the greatest of its package. */
static bool audit_greatest_take(
    struct audit_greatest *greatest, const struct audit_revision *record)
{
    struct audit_package_entry *package =
        audit_greatest_find(greatest, record->version, record->pkgarch, true);
    char *value = package ? strndup(record->value.bytes, record->value.length) : NULL;

    if (!value || (!package->texts && !audit_greatest_name(greatest, package, record))) {
        free(value);
        return false;
    }
    if (package->value && revision_compare(value, package->value) <= 0) {
        free(value);
        return true;
    }
    free(package->value);
    package->value = value;
    return true;
}

static int audit_greatest_on_record(void *context, const struct audit_revision *record)
{
    struct audit_loading *loading = context;

    loading->last_id = record->id;
    loading->n++;
    if (record->request != AUDIT_TAKEOVER &&
        revision_is_valid(record->value.bytes, record->value.length))
        loading->failed = !audit_greatest_take(loading->greatest, record);
    return loading->failed;
}

static int audit_greatest_read(
    struct audit_loading *loading, struct audit_store *store, struct error *error)
{
    struct audit_query query = {.limit = PAGE_RECORDS};
    size_t before;
    int result;

    do {
        before = loading->n;
        query.after = loading->last_id;
        result = audit_store_read_log(store, &query, audit_greatest_on_record, loading, error);
    } while (result == 0 && !loading->failed && loading->n > before);
    return result == 0 && loading->failed ? error_set_memory(error) : result;
}

int audit_greatest_load(struct audit_greatest *greatest, const char *file, struct error *error)
{
    const struct audit_store_options options = {
        .file = file, .is_audit_log = true, .wait_ms = WAIT_MS};
    struct audit_loading loading = {.greatest = greatest};
    struct audit_store *store = NULL;
    int result;

    *greatest = (struct audit_greatest){.packages = MAP_EMPTY};
    STAILQ_INIT(&greatest->list);
    result = audit_store_open(&store, &options, error);
    if (result == 0)
        result = audit_greatest_read(&loading, store, error);
    audit_store_close(store);
    if (result == 0 && loading.n == 0)
        return error_set(error, ERROR_STORE,
            "%s is not an audit log, or has no records; name the file FILE-audit", file);
    return result;
}

void audit_greatest_cover(struct audit_greatest *greatest, const struct row *row)
{
    struct audit_package_entry *package =
        audit_greatest_find(greatest, row->version, row->pkgarch, false);
    char *value = package ? strndup(row->value.bytes, row->value.length) : NULL;

    if (value && revision_compare(value, package->value) >= 0)
        package->is_covered = true;
    free(value);
}
