/* SPDX-License-Identifier: MIT */
/* Reads the data that builds keep about their packages: tmp/pkgdata and buildhistory. */
#include "feed/reader.h"
#include "feed/stanza.h"

#include <unistd.h>

enum build_field {
    PN,
    PE,
    PV,
    PR,
    PKGE,
    PKGV,
    PKGR,
    PKG,
    PACKAGE_ARCH,
    N_FIELDS,
};

static const struct stanza_field build_fields[N_FIELDS] = {
    [PN] = {.name = "PN"},
    [PE] = {.name = "PE"},
    [PV] = {.name = "PV"},
    [PR] = {.name = "PR"},
    [PKGE] = {.name = "PKGE"},
    [PKGV] = {.name = "PKGV"},
    [PKGR] = {.name = "PKGR"},
    [PKG] = {.name = "PKG"},
    [PACKAGE_ARCH] = {.name = "PACKAGE_ARCH"},
};

/* Reads the variables of a file. Returns false if it can't be read, which has been reported. */
static bool build_data_read(struct feed_reader *reader, const struct feed_path *path,
    struct stanza_reader *stanza, struct stanza_field *fields)
{
    const int descriptor = feed_reader_open(reader, path);
    struct error error;
    enum stanza_result found;
    bool failed;

    if (descriptor < 0)
        return false;
    stanza->file = fdopen(descriptor, "rb");
    if (!stanza->file) {
        (void)close(descriptor);
        (void)feed_reader_skip_file(reader, path, "out of memory");
        return false;
    }
    memcpy(fields, build_fields, sizeof build_fields);
    found = stanza_read(stanza, fields, N_FIELDS, &error);
    failed = ferror(stanza->file);
    (void)fclose(stanza->file);
    if (found == STANZA_DAMAGED || found == STANZA_NO_MEMORY)
        (void)feed_reader_skip_entry(reader, path, stanza->damaged, error.text);
    else if (failed)
        (void)feed_reader_skip_file(reader, path, "it can't be read");
    return !failed && (found == STANZA_READ || found == STANZA_END);
}

static struct text build_data_either(struct text first, struct text second)
{
    return first.length > 0 ? first : second;
}

/* Makes a package of the variables. */
static struct feed_package build_data_package(
    enum feed_format format, const struct stanza_field *fields)
{
    return (struct feed_package){.format = format,
        .name = fields[PKG].value,
        .recipe = fields[PN].value,
        .epoch = build_data_either(fields[PKGE].value, fields[PE].value),
        .version = build_data_either(fields[PKGV].value, fields[PV].value),
        .release = build_data_either(fields[PKGR].value, fields[PR].value),
        .pkgarch = fields[PACKAGE_ARCH].value,
        .pe = fields[PE].value,
        .pv = fields[PV].value,
        .pr = fields[PR].value};
}

int read_pkgdata(struct feed_reader *reader, const struct feed_path *path)
{
    struct stanza_reader stanza = {.separator = ':', .one_stanza = true};
    const struct feed_place place = {.file = path->shown};
    struct stanza_field fields[N_FIELDS];
    int result = 0;

    if (build_data_read(reader, path, &stanza, fields)) {
        const struct feed_package package = build_data_package(FEED_PKGDATA, fields);

        /* The files of a recipe's variants only name another package. */
        if (package.recipe.length > 0 && package.pv.length > 0 && package.pr.length > 0)
            result = feed_reader_add(reader, &package, &place);
    }
    stanza_free(&stanza);
    return result;
}

int read_buildhistory(struct feed_reader *reader, const struct feed_path *path,
    struct text architecture, struct text recipe, struct text package_name)
{
    struct stanza_reader stanza = {.separator = '=', .one_stanza = true};
    const struct feed_place place = {.file = path->shown};
    struct stanza_field fields[N_FIELDS];
    int result = 0;

    if (build_data_read(reader, path, &stanza, fields)) {
        struct feed_package package = build_data_package(FEED_BUILDHISTORY, fields);
        const bool is_recipe = package_name.length == 0;

        package.recipe = recipe;
        package.arch = architecture;
        package.name = is_recipe ? recipe : package_name;
        if (is_recipe && fields[PKGR].value.length == 0)
            package.pr = (struct text){.bytes = ""}; /* PR is what there is of PKGR */
        if (package.pv.length == 0 || package.release.length == 0)
            result = feed_reader_skip_entry(reader, path, 0, "it has no PV or no PR");
        else
            result = feed_reader_add(reader, &package, &place);
    }
    stanza_free(&stanza);
    return result;
}
