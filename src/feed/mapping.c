/* SPDX-License-Identifier: MIT */
#include "feed/mapping.h"

#include "revision/revision.h"

#include <ctype.h>
#include <stdlib.h>

#define AUTOINC "AUTOINC"
#define MIN_SOURCE_DIGITS 7 /* of a source revision */
#define MAX_DASHES 2        /* underscores of an rpm's architecture that are tried each */

const char *feed_format_name(enum feed_format format)
{
    static const char *const names[] = {"ipk", "deb", "rpm", "pkgdata", "buildhistory"};

    return names[format];
}

static struct text mapping_first(struct text text, size_t length)
{
    return (struct text){.bytes = text.bytes, .length = length};
}

static bool mapping_is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

/* ---- splitting ---- */

/* Returns the length of the dotted numbers at the beginning: of ".3.12+x" it is 5. */
static size_t mapping_count_dotted(struct text text)
{
    size_t at = 0;

    while (at + 1 < text.length && text.bytes[at] == '.' && mapping_is_digit(text.bytes[at + 1])) {
        at += 2;
        while (at < text.length && mapping_is_digit(text.bytes[at]))
            at++;
    }
    return at;
}

bool mapping_split_release(
    struct text release, struct text *pr, struct text *revision, bool *is_certain)
{
    size_t at = 0;
    size_t begin = 0;
    size_t length = 0;

    while (at < release.length) {
        const size_t run = mapping_count_dotted(text_from(release, at));

        if (run > 0) {
            begin = at;
            length = run;
        }
        at += run > 0 ? run : 1;
    }
    if (length == 0 || begin == 0 || release.bytes[begin - 1] == '.')
        return false;
    *pr = mapping_first(release, begin);
    *revision = mapping_first(text_from(release, begin + 1), length - 1);
    if (begin + length < release.length)
        *is_certain = false;
    return revision_is_valid(revision->bytes, revision->length);
}

/* Returns whether a text can be the source revisions of a version: letters, digits and signs that
 * OE-core puts between them, with one run of hexadecimal digits at least. */
static bool mapping_is_source(struct text text)
{
    size_t run = 0;
    bool found = false;

    for (size_t i = 0; i < text.length; i++) {
        const unsigned char byte = (unsigned char)text.bytes[i];

        if (!isalnum(byte) && !strchr("_-.", byte))
            return false;
        run = isxdigit(byte) ? run + 1 : 0;
        found = found || run >= MIN_SOURCE_DIGITS;
    }
    return found;
}

bool mapping_split_autoinc(
    struct text version, struct text *before, struct text *number, struct text *source)
{
    size_t plus = version.length;
    size_t begin;

    do {
        while (plus > 0 && version.bytes[plus - 1] != '+')
            plus--;
        if (plus < 3)
            return false;
        plus--;
    } while (!mapping_is_digit(version.bytes[plus - 1]));
    begin = plus;
    while (begin > 0 && mapping_is_digit(version.bytes[begin - 1]))
        begin--;
    if (begin == 0)
        return false;
    *before = mapping_first(version, begin);
    *number = mapping_first(text_from(version, begin), plus - begin);
    *source = text_from(version, plus + 1);
    return revision_is_valid(number->bytes, number->length) && mapping_is_source(*source);
}

/* ---- lists of candidates ---- */

static void mapping_reset(struct mapping_keys *keys)
{
    keys->n_versions = 0;
    keys->n_autoinc = 0;
    keys->n_pkgarchs = 0;
    keys->is_certain = true;
    keys->revision = (struct text){.bytes = ""};
}

/* Adds an empty text to a list. */
static struct buffer *mapping_add(struct buffer *list, size_t *n)
{
    struct buffer *added = &list[(*n)++];

    buffer_reset(added, BUFFER_KEEP_BYTES);
    return added;
}

/* Forgets the text that was added last if the list has it already. */
static void mapping_keep_new(struct buffer *list, size_t *n)
{
    for (size_t i = 0; i + 1 < *n; i++) {
        if (text_equal(buffer_text(&list[i]), buffer_text(&list[*n - 1]))) {
            --*n;
            return;
        }
    }
}

static void mapping_add_pkgarch(struct mapping_keys *keys, struct text pkgarch)
{
    buffer_append_text(mapping_add(keys->pkgarchs, &keys->n_pkgarchs), pkgarch);
    mapping_keep_new(keys->pkgarchs, &keys->n_pkgarchs);
}

/* What is known of a version key. */
struct key_parts {
    struct text recipe;
    struct text epoch; /* PE; empty: none */
    struct text pr;
};

/* Appends PN-[PE_] to a text. */
static void mapping_append_recipe(struct buffer *text, const struct key_parts *parts)
{
    buffer_append_text(text, parts->recipe);
    buffer_append_string(text, "-");
    if (parts->epoch.length > 0 && !text_is(parts->epoch, "0")) {
        buffer_append_text(text, parts->epoch);
        buffer_append_string(text, "_");
    }
}

/* Adds the key PN-[PE_]PV-PR, where PV is made of up to three parts. */
static void mapping_add_version(struct mapping_keys *keys, const struct key_parts *parts,
    struct text first, const char *second, struct text third)
{
    struct buffer *key = mapping_add(keys->versions, &keys->n_versions);

    mapping_append_recipe(key, parts);
    buffer_append_text(key, first);
    buffer_append_string(key, second);
    buffer_append_text(key, third);
    buffer_append_string(key, "-");
    buffer_append_text(key, parts->pr);
    mapping_keep_new(keys->versions, &keys->n_versions);
}

/* ---- the pkgarch ---- */

/* Adds each way to write dashes for the underscores of an rpm's architecture: all of them first, as
 * in core2-64. Machines keep theirs, as in qemux86_64. */
static void mapping_add_rpm_pkgarchs(struct mapping_keys *keys, struct text arch)
{
    size_t n = 0;
    unsigned combinations;

    for (size_t i = 0; i < arch.length; i++)
        n += arch.bytes[i] == '_';
    combinations = n <= MAX_DASHES ? 1u << n : 2;
    for (unsigned choice = 0; choice < combinations; choice++) {
        struct buffer *added = mapping_add(keys->pkgarchs, &keys->n_pkgarchs);
        unsigned underscore = 0;

        for (size_t i = 0; i < arch.length; i++) {
            const bool dash =
                arch.bytes[i] == '_' && (choice >> (n <= MAX_DASHES ? underscore++ : 0) & 1) == 0;

            buffer_append(added, dash ? "-" : &arch.bytes[i], 1);
        }
    }
    if (keys->n_pkgarchs > 1)
        keys->is_certain = false;
}

static void mapping_find_rpm_pkgarch(struct mapping_keys *keys, struct text arch)
{
    if (text_is(arch, "noarch"))
        mapping_add_pkgarch(keys, text_of("all"));
    else if (text_is(arch, "x86_64"))
        mapping_add_pkgarch(keys, arch);
    else
        mapping_add_rpm_pkgarchs(keys, arch);
}

/* Names that Debian has for architectures of OE-core. */
static void mapping_find_deb_pkgarch(
    struct mapping_keys *keys, struct text arch, struct text folder)
{
    static const struct {
        const char *debian;
        const char *pkgarch;
    } names[] = {{"amd64", "x86_64"}, {"arm64", "aarch64"}, {"i386", "i586"}, {"i386", "i686"}};

    if (text_is(arch, "all")) {
        mapping_add_pkgarch(keys, arch);
        return;
    }
    keys->is_certain = false;
    if (folder.length > 0)
        mapping_add_pkgarch(keys, folder);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (text_is(arch, names[i].debian))
            mapping_add_pkgarch(keys, text_of(names[i].pkgarch));
    }
    mapping_add_pkgarch(keys, arch);
}

/* The folder's name is PACKAGE_ARCH, a vendor with a dash that may be missing, and the operating
 * system: core2-64-poky-linux, all-poky-linux-gnueabi. */
static void mapping_find_history_pkgarch(struct mapping_keys *keys, struct text folder)
{
    static const char linux_name[] = "-linux";
    const char *end = memmem(folder.bytes, folder.length, linux_name, sizeof linux_name - 1);
    struct text arch;
    const char *dash;

    if (!end)
        end = memrchr(folder.bytes, '-', folder.length);
    arch = end ? mapping_first(folder, (size_t)(end - folder.bytes)) : folder;
    dash = memrchr(arch.bytes, '-', arch.length);
    if (dash)
        mapping_add_pkgarch(keys, mapping_first(arch, (size_t)(dash - arch.bytes)));
    mapping_add_pkgarch(keys, arch);
    if (keys->n_pkgarchs > 1)
        keys->is_certain = false;
}

/* Adds the names of a list, which are separated by commas; there may be none. */
static void mapping_find_pkgdata_pkgarch(struct mapping_keys *keys, struct text list)
{
    while (list.length > 0 && keys->n_pkgarchs < MAPPING_MAX_PKGARCHS) {
        const char *comma = memchr(list.bytes, ',', list.length);
        const size_t length = comma ? (size_t)(comma - list.bytes) : list.length;

        if (length > 0)
            mapping_add_pkgarch(keys, mapping_first(list, length));
        list = text_from(list, length + (comma != NULL));
    }
    if (keys->n_pkgarchs != 1)
        keys->is_certain = false;
}

static void mapping_find_pkgarch(struct mapping_keys *keys, const struct feed_package *package)
{
    if (package->pkgarch.length > 0)
        mapping_add_pkgarch(keys, package->pkgarch);
    else if (package->format == FEED_IPK)
        mapping_add_pkgarch(keys, package->arch);
    else if (package->format == FEED_DEB)
        mapping_find_deb_pkgarch(keys, package->arch, package->folder);
    else if (package->format == FEED_RPM)
        mapping_find_rpm_pkgarch(keys, package->arch);
    else if (package->format == FEED_BUILDHISTORY)
        mapping_find_history_pkgarch(keys, package->arch);
    else
        mapping_find_pkgdata_pkgarch(keys, package->arch);
}

/* ---- the recipe and PR ---- */

/* Returns the recipe's name in the field Source: m4 of "m4_1.4.19.bb", or of "m4 (1.4)". */
static struct text mapping_source_recipe(struct text source)
{
    size_t length = 0;

    while (length < source.length && source.bytes[length] != '_' && source.bytes[length] != ' ')
        length++;
    if (length == source.length && length > 3 && text_is(text_from(source, length - 3), ".bb"))
        length -= 3;
    return mapping_first(source, length);
}

/* Returns the recipe. Of a package that names none it is the most likely one. */
static struct text mapping_find_recipe(
    struct mapping_keys *keys, const struct feed_package *package)
{
    if (package->recipe.length > 0)
        return package->recipe;
    keys->is_certain = false;
    return package->source.length > 0 ? mapping_source_recipe(package->source) : package->name;
}

/* Finds PR and the revision. Returns false if PKGR has no revision. */
static bool mapping_find_pr(
    struct mapping_keys *keys, const struct feed_package *package, struct text *pr)
{
    struct text rest;
    size_t length;

    if (package->pr.length == 0)
        return mapping_split_release(package->release, pr, &keys->revision, &keys->is_certain);
    *pr = package->pr;
    if (package->release.length <= pr->length ||
        memcmp(package->release.bytes, pr->bytes, pr->length) != 0)
        return false;
    rest = text_from(package->release, pr->length);
    length = mapping_count_dotted(rest);
    if (length == 0)
        return false;
    keys->revision = mapping_first(text_from(rest, 1), length - 1);
    return revision_is_valid(keys->revision.bytes, keys->revision.length);
}

/* ---- the version ---- */

/* Adds the keys of the counter. Releases of OE-core differ: AUTOINC-PN-[PE_]BEFORE, with "-", or
 * with "-" and PR without its last character. */
static void mapping_add_counter(
    struct mapping *mapping, const struct key_parts *parts, struct text before, struct text number)
{
    struct mapping_keys *counter = &mapping->counter;
    const struct text pr = mapping_first(parts->pr, parts->pr.length - 1);

    mapping->has_counter = true;
    counter->revision = number;
    counter->is_certain = false;
    for (int form = 0; form < 3; form++) {
        struct buffer *key = mapping_add(counter->versions, &counter->n_versions);

        buffer_append_string(key, AUTOINC "-");
        mapping_append_recipe(key, parts);
        buffer_append_text(key, before);
        if (form > 0)
            buffer_append_string(key, "-");
        if (form == 2)
            buffer_append_text(key, pr);
        mapping_keep_new(counter->versions, &counter->n_versions);
    }
    counter->n_autoinc = counter->n_versions;
}

/* Adds the keys for which a build's data names PV. */
static void mapping_add_known_version(
    struct mapping *mapping, const struct feed_package *package, const struct key_parts *parts)
{
    static const struct text none = {.bytes = ""};
    const struct text pv = package->pv;
    const char *autoinc = memmem(pv.bytes, pv.length, AUTOINC, sizeof AUTOINC - 1);
    struct text before;
    struct text number;
    struct text source;

    mapping_add_version(&mapping->revision, parts, pv, "", none);
    if (!mapping_split_autoinc(package->version, &before, &number, &source))
        return;
    if (autoinc ? text_equal(before, mapping_first(pv, (size_t)(autoinc - pv.bytes)))
                : text_equal(before, pv)) {
        mapping->revision.n_autoinc = mapping->revision.n_versions;
        mapping_add_counter(mapping, parts, before, number);
    }
}

/* Adds the keys for which only PKGV is known. */
static void mapping_add_versions(
    struct mapping *mapping, const struct feed_package *package, const struct key_parts *parts)
{
    static const struct text none = {.bytes = ""};
    struct mapping_keys *keys = &mapping->revision;
    struct text before;
    struct text number;
    struct text source;

    if (mapping_split_autoinc(package->version, &before, &number, &source)) {
        keys->is_certain = false;
        mapping_add_version(keys, parts, before, AUTOINC "+", source);
        mapping_add_version(keys, parts, before, "", none);
        keys->n_autoinc = keys->n_versions;
        mapping_add_counter(mapping, parts, before, number);
    }
    mapping_add_version(keys, parts, package->version, "", none);
}

/* Adds, for an rpm, the keys of a version in which a dash became a plus. */
static void mapping_add_dashed(
    struct mapping *mapping, const struct feed_package *package, const struct key_parts *parts)
{
    struct buffer dashed = BUFFER_EMPTY;

    if (package->format != FEED_RPM || package->pv.length > 0 || package->version.length == 0 ||
        !memchr(package->version.bytes, '+', package->version.length))
        return;
    mapping->revision.is_certain = false;
    buffer_append_text(&dashed, package->version);
    for (size_t i = 0; !buffer_failed(&dashed) && i < dashed.length; i++) {
        if (dashed.bytes[i] == '+')
            dashed.bytes[i] = '-';
    }
    mapping_add_version(
        &mapping->revision, parts, text_not_null(buffer_text(&dashed)), "", text_of(""));
    buffer_free(&dashed);
}

/* ---- all ---- */

static bool mapping_has_failed(const struct mapping_keys *keys)
{
    bool failed = false;

    for (size_t i = 0; i < keys->n_versions; i++)
        failed = failed || buffer_failed(&keys->versions[i]);
    for (size_t i = 0; i < keys->n_pkgarchs; i++)
        failed = failed || buffer_failed(&keys->pkgarchs[i]);
    return failed;
}

enum mapping_result mapping_find(struct mapping *mapping, const struct feed_package *package)
{
    struct mapping_keys *keys = &mapping->revision;
    struct key_parts parts = {.epoch = package->pv.length > 0 ? package->pe : package->epoch};

    mapping_reset(keys);
    mapping_reset(&mapping->counter);
    mapping->has_counter = false;
    parts.recipe = mapping_find_recipe(keys, package);
    buffer_reset(&mapping->recipe, BUFFER_KEEP_BYTES);
    buffer_append_text(&mapping->recipe, parts.recipe);
    if (!mapping_find_pr(keys, package, &parts.pr))
        return buffer_failed(&mapping->recipe) ? MAPPING_NO_MEMORY : MAPPING_NO_REVISION;
    mapping_find_pkgarch(keys, package);
    if (package->pv.length > 0)
        mapping_add_known_version(mapping, package, &parts);
    else
        mapping_add_versions(mapping, package, &parts);
    mapping_add_dashed(mapping, package, &parts);
    for (size_t i = 0; mapping->has_counter && i < keys->n_pkgarchs; i++)
        mapping_add_pkgarch(&mapping->counter, text_not_null(buffer_text(&keys->pkgarchs[i])));
    if (buffer_failed(&mapping->recipe) || mapping_has_failed(keys) ||
        mapping_has_failed(&mapping->counter))
        return MAPPING_NO_MEMORY;
    return MAPPING_DONE;
}

static void mapping_free_keys(struct mapping_keys *keys)
{
    for (size_t i = 0; i < MAPPING_MAX_VERSIONS; i++)
        buffer_free(&keys->versions[i]);
    for (size_t i = 0; i < MAPPING_MAX_PKGARCHS; i++)
        buffer_free(&keys->pkgarchs[i]);
}

void mapping_free(struct mapping *mapping)
{
    buffer_free(&mapping->recipe);
    mapping_free_keys(&mapping->revision);
    mapping_free_keys(&mapping->counter);
}
