/* SPDX-License-Identifier: MIT */
#include "feed/mapping.h"

#include "feed/split.h"
#include "revision/revision.h"

#include <stdlib.h>

#define AUTOINC "AUTOINC"
#define MAX_SIGNS 3 /* that may have been a dash, in a text of rpm */
#define MAX_PRS 3   /* of one PKGR */

const char *feed_format_name(enum feed_format format)
{
    static const char *const names[] = {"ipk", "deb", "rpm", "pkgdata", "buildhistory"};

    return names[format];
}

/* ---- lists of candidates ---- */

static void mapping_reset(struct mapping_keys *keys)
{
    keys->n_versions = 0;
    keys->n_pkgarchs = 0;
    keys->is_certain = true;
    keys->is_incomplete = false;
}

static void mapping_add_pkgarch(struct mapping_keys *keys, struct text pkgarch)
{
    struct buffer *added = &keys->pkgarchs[keys->n_pkgarchs];

    for (size_t i = 0; i < keys->n_pkgarchs; i++) {
        if (text_equal(buffer_text(&keys->pkgarchs[i]), pkgarch))
            return;
    }
    buffer_reset(added, BUFFER_KEEP_BYTES);
    buffer_append_text(added, pkgarch);
    keys->n_pkgarchs++;
}

/* Begins another version. mapping_end_version has to follow. */
static struct buffer *mapping_begin_version(
    struct mapping_keys *keys, struct text revision, bool is_autoinc)
{
    struct mapping_version *version = &keys->versions[keys->n_versions];

    version->revision = revision;
    version->is_autoinc = is_autoinc;
    buffer_reset(&version->text, BUFFER_KEEP_BYTES);
    return &version->text;
}

/* Keeps the version, unless the list has it already. */
static void mapping_end_version(struct mapping_keys *keys)
{
    const struct text added = buffer_text(&keys->versions[keys->n_versions].text);

    for (size_t i = 0; i < keys->n_versions; i++) {
        if (text_equal(buffer_text(&keys->versions[i].text), added))
            return;
    }
    keys->n_versions++;
}

/* The known parts of a version key. */
struct key_parts {
    struct text recipe;
    struct text epoch; /* PE; empty: none */
    struct text pr;
    struct text revision; /* that belongs to this PR */
    char sign;            /* that may have been a dash; NUL: none */
    unsigned choice;      /* a bit for each sign: it stays */
};

/* Appends a text of an rpm with dashes for some of its signs. */
static void mapping_append_dashed(
    struct buffer *text, struct text part, const struct key_parts *parts)
{
    unsigned n = 0;

    for (size_t i = 0; i < part.length; i++) {
        const bool may_be_dash = parts->sign != '\0' && part.bytes[i] == parts->sign;
        const bool stays = !may_be_dash || (parts->choice >> (n < MAX_SIGNS ? n : 0) & 1) != 0;

        n += may_be_dash;
        buffer_append(text, stays ? &part.bytes[i] : "-", 1);
    }
}

/* Returns the number of choices for a text. Of more than MAX_SIGNS signs, the last ones are as the
 * first: then there are choices that are not tried. */
static unsigned mapping_count_choices(struct text text, char sign, bool *is_incomplete)
{
    unsigned n = 0;

    for (size_t i = 0; i < text.length; i++)
        n += text.bytes[i] == sign;
    if (n > MAX_SIGNS)
        *is_incomplete = true;
    return 1u << (n <= MAX_SIGNS ? n : MAX_SIGNS);
}

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
    const bool is_autoinc = second != NULL;
    struct buffer *key = mapping_begin_version(keys, parts->revision, is_autoinc);

    mapping_append_recipe(key, parts);
    mapping_append_dashed(key, first, parts);
    buffer_append_string(key, is_autoinc ? second : "");
    buffer_append_text(key, third);
    buffer_append_string(key, "-");
    buffer_append_text(key, parts->pr);
    mapping_end_version(keys);
}

/* ---- the pkgarch ---- */

/* Adds each way to write dashes for the underscores of an rpm's architecture: all of them first, as
 * in core2-64. Machines keep theirs, as in qemux86_64. */
static void mapping_add_rpm_pkgarchs(struct mapping_keys *keys, struct text arch)
{
    const unsigned n = mapping_count_choices(arch, '_', &keys->is_incomplete);
    struct key_parts parts = {.sign = '_'};

    for (parts.choice = 0; parts.choice < n; parts.choice++) {
        struct buffer pkgarch = BUFFER_EMPTY;

        mapping_append_dashed(&pkgarch, arch, &parts);
        if (buffer_failed(&pkgarch))
            keys->pkgarchs[keys->n_pkgarchs].failed = true;
        else
            mapping_add_pkgarch(keys, text_not_null(buffer_text(&pkgarch)));
        buffer_free(&pkgarch);
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
    arch = end ? text_first(folder, (size_t)(end - folder.bytes)) : folder;
    dash = memrchr(arch.bytes, '-', arch.length);
    if (dash)
        mapping_add_pkgarch(keys, text_first(arch, (size_t)(dash - arch.bytes)));
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
            mapping_add_pkgarch(keys, text_first(list, length));
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

/* Returns the recipe. Of a package that names none it is the most likely one. */
static struct text mapping_find_recipe(
    struct mapping_keys *keys, const struct feed_package *package)
{
    struct text recipe = package->recipe;

    if (recipe.length > 0)
        return recipe;
    keys->is_certain = false;
    recipe = split_source_recipe(text_not_null(package->source));
    if (recipe.length > 0)
        return recipe;
    keys->is_incomplete = true;
    return package->name;
}

/* ---- PR ---- */

/* A PR that the package may have, and the revision that it has then. */
struct pr_choice {
    struct text pr;
    struct text revision;
};

/* Finds the revision behind PR, which is known. */
static enum mapping_result mapping_find_behind_pr(
    const struct feed_package *package, struct pr_choice *choice)
{
    struct text rest;
    size_t length;

    if (package->release.length <= package->pr.length ||
        memcmp(package->release.bytes, package->pr.bytes, package->pr.length) != 0)
        return MAPPING_NO_REVISION;
    rest = text_from(package->release, package->pr.length);
    length = split_count_dotted(rest);
    if (length == 0)
        return MAPPING_NO_REVISION;
    choice->pr = package->pr;
    choice->revision = text_first(text_from(rest, 1), length - 1);
    return revision_is_valid(choice->revision.bytes, choice->revision.length) ? MAPPING_DONE
                                                                              : MAPPING_INVALID;
}

/* Finds the choices for PR, the most likely first: of r0.1.3 it is r0, with the revision 1.3 that a
 * server below another one has given, or r0.1 with 3. */
static enum mapping_result mapping_find_prs(struct mapping_keys *keys,
    const struct feed_package *package, struct pr_choice choices[MAX_PRS], size_t *n)
{
    struct text pr;
    struct text revision;

    *n = 0;
    if (package->pr.length > 0) {
        *n = 1;
        return mapping_find_behind_pr(package, &choices[0]);
    }
    if (!split_release(package->release, &pr, &revision, &keys->is_certain))
        return MAPPING_NO_REVISION;
    while (*n < MAX_PRS) {
        const char *dot = memchr(revision.bytes, '.', revision.length);

        if (!revision_is_valid(revision.bytes, revision.length))
            return MAPPING_INVALID;
        choices[(*n)++] = (struct pr_choice){.pr = pr, .revision = revision};
        if (!dot)
            break;
        keys->is_certain = false;
        pr.length += 1 + (size_t)(dot - revision.bytes);
        revision = text_from(revision, (size_t)(dot - revision.bytes) + 1);
    }
    return MAPPING_DONE;
}

/* ---- the version ---- */

/* Adds the keys of the counter. Releases of OE-core differ: AUTOINC-PN-[PE_]BEFORE, with "-", or
 * with "-" and PR without its last character. */
static void mapping_add_counter(
    struct mapping *mapping, const struct key_parts *parts, struct text before, struct text number)
{
    struct mapping_keys *counter = &mapping->counter;

    mapping->has_counter = true;
    counter->is_certain = false;
    for (int form = 0; form < 3; form++) {
        struct buffer *key = mapping_begin_version(counter, number, true);

        buffer_append_string(key, AUTOINC "-");
        mapping_append_recipe(key, parts);
        mapping_append_dashed(key, before, parts);
        if (form > 0)
            buffer_append_string(key, "-");
        if (form == 2)
            buffer_append(key, parts->pr.bytes, parts->pr.length - 1);
        mapping_end_version(counter);
    }
}

/* Adds the keys for which a build's data names PV. */
static void mapping_add_known_version(
    struct mapping *mapping, const struct feed_package *package, const struct key_parts *parts)
{
    static const struct text none = {.bytes = ""};
    const struct text pv = package->pv;
    const char *autoinc = memmem(pv.bytes, pv.length, AUTOINC, sizeof AUTOINC - 1);
    const struct text known = autoinc ? text_first(pv, (size_t)(autoinc - pv.bytes)) : pv;
    struct text before;
    struct text number;
    struct text source;
    const bool has_counter =
        split_autoinc(package->version, &before, &number, &source) && text_equal(before, known);

    mapping_add_version(&mapping->revision, parts, pv, has_counter ? "" : NULL, none);
    if (has_counter)
        mapping_add_counter(mapping, parts, before, number);
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

    if (split_autoinc(package->version, &before, &number, &source)) {
        keys->is_certain = false;
        mapping_add_version(keys, parts, before, AUTOINC "+", source);
        mapping_add_version(keys, parts, before, "", none);
        mapping_add_counter(mapping, parts, before, number);
    }
    mapping_add_version(keys, parts, package->version, NULL, none);
}

/* Adds the keys of one PR. In a version of rpm, each plus may have been a dash. */
static void mapping_add_pr(
    struct mapping *mapping, const struct feed_package *package, struct key_parts *parts)
{
    struct mapping_keys *keys = &mapping->revision;
    unsigned n;

    if (package->pv.length > 0) {
        mapping_add_known_version(mapping, package, parts);
        return;
    }
    if (package->format != FEED_RPM) {
        mapping_add_versions(mapping, package, parts);
        return;
    }
    n = mapping_count_choices(package->version, '+', &keys->is_incomplete);
    if (n > 1)
        keys->is_certain = false;
    parts->sign = '+';
    for (unsigned i = 0; i < n; i++) {
        parts->choice = n - 1 - i; /* all stay first */
        mapping_add_versions(mapping, package, parts);
    }
}

/* ---- all ---- */

static bool mapping_has_failed(const struct mapping_keys *keys)
{
    bool failed = false;

    for (size_t i = 0; i < keys->n_versions; i++)
        failed = failed || buffer_failed(&keys->versions[i].text);
    for (size_t i = 0; i < keys->n_pkgarchs; i++)
        failed = failed || buffer_failed(&keys->pkgarchs[i]);
    return failed;
}

enum mapping_result mapping_find(struct mapping *mapping, const struct feed_package *package)
{
    struct mapping_keys *keys = &mapping->revision;
    struct key_parts parts = {.epoch = package->pv.length > 0 ? package->pe : package->epoch};
    struct pr_choice prs[MAX_PRS];
    enum mapping_result result;
    size_t n_prs;

    mapping_reset(keys);
    mapping_reset(&mapping->counter);
    mapping->has_counter = false;
    parts.recipe = mapping_find_recipe(keys, package);
    buffer_reset(&mapping->recipe, BUFFER_KEEP_BYTES);
    buffer_append_text(&mapping->recipe, parts.recipe);
    result = mapping_find_prs(keys, package, prs, &n_prs);
    if (result != MAPPING_DONE)
        return result;
    mapping_find_pkgarch(keys, package);
    for (size_t i = 0; i < n_prs; i++) {
        parts.pr = prs[i].pr;
        parts.revision = prs[i].revision;
        mapping_add_pr(mapping, package, &parts);
    }
    for (size_t i = 0; mapping->has_counter && i < keys->n_pkgarchs; i++)
        mapping_add_pkgarch(&mapping->counter, text_not_null(buffer_text(&keys->pkgarchs[i])));
    mapping->counter.is_incomplete = keys->is_incomplete;
    if (buffer_failed(&mapping->recipe) || mapping_has_failed(keys) ||
        mapping_has_failed(&mapping->counter))
        return MAPPING_NO_MEMORY;
    return MAPPING_DONE;
}

static void mapping_free_keys(struct mapping_keys *keys)
{
    for (size_t i = 0; i < MAPPING_MAX_VERSIONS; i++)
        buffer_free(&keys->versions[i].text);
    for (size_t i = 0; i < MAPPING_MAX_PKGARCHS; i++)
        buffer_free(&keys->pkgarchs[i]);
}

void mapping_free(struct mapping *mapping)
{
    buffer_free(&mapping->recipe);
    mapping_free_keys(&mapping->revision);
    mapping_free_keys(&mapping->counter);
}
