/* SPDX-License-Identifier: MIT */
/* From a package to the keys of the server: whatever a package says, there are few keys, each is
 * made of what the package says, and the revision is one. Input: the format (a digit), and stanzas
 * with the names of struct feed_package. */
#include "feed/mapping.h"
#include "feed/stanza.h"
#include "revision/revision.h"

#include "fuzz.h"

#include <string.h>

enum field {
    NAME,
    RECIPE,
    SOURCE,
    EPOCH,
    VERSION,
    RELEASE,
    ARCH,
    PKGARCH,
    FOLDER,
    PE,
    PV,
    PR,
    ALL
};

static bool begins_with(const struct buffer *text, const char *prefix, struct text recipe)
{
    const size_t n = strlen(prefix);

    return text->length > n + recipe.length && memcmp(text->bytes, prefix, n) == 0 &&
           (recipe.length == 0 || memcmp(text->bytes + n, recipe.bytes, recipe.length) == 0) &&
           text->bytes[n + recipe.length] == '-';
}

static void check_keys(
    const struct mapping_keys *keys, const char *prefix, const struct mapping *mapping)
{
    const struct text recipe = text_not_null(buffer_text(&mapping->recipe));

    REQUIRE(keys->n_versions >= 1 && keys->n_versions <= MAPPING_MAX_VERSIONS);
    REQUIRE(keys->n_pkgarchs <= MAPPING_MAX_PKGARCHS);
    REQUIRE(!keys->is_certain || (keys->n_versions == 1 && keys->n_pkgarchs == 1));
    for (size_t i = 0; i < keys->n_versions; i++) {
        const struct text revision = keys->versions[i].revision;

        REQUIRE(begins_with(&keys->versions[i].text, prefix, recipe));
        REQUIRE(revision_is_valid(revision.bytes, revision.length));
    }
}

static void check_package(const struct feed_package *package, struct mapping *mapping)
{
    if (mapping_find(mapping, package) != MAPPING_DONE)
        return;
    check_keys(&mapping->revision, "", mapping);
    if (mapping->has_counter)
        check_keys(&mapping->counter, "AUTOINC-", mapping);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct stanza_field fields[ALL] = {{.name = "name"}, {.name = "recipe"}, {.name = "source"},
        {.name = "epoch"}, {.name = "version"}, {.name = "release"}, {.name = "arch"},
        {.name = "pkgarch"}, {.name = "folder"}, {.name = "pe"}, {.name = "pv"}, {.name = "pr"}};
    struct stanza_reader stanzas = {.separator = ':'};
    struct mapping mapping = {.has_counter = false};
    struct error error = {.text = ""};
    enum stanza_result result = STANZA_READ;

    if (size < 2)
        return 0;
    stanzas.file = fmemopen((void *)(uintptr_t)(data + 1), size - 1, "rb");
    REQUIRE(stanzas.file != NULL);
    stanzas.one_stanza = (data[0] & 8) != 0;
    while (result == STANZA_READ || result == STANZA_DAMAGED) {
        result = stanza_read(&stanzas, fields, ALL, &error);
        REQUIRE(result != STANZA_DAMAGED || error.text[0] != '\0');
        if (result == STANZA_READ) {
            const struct feed_package package = {.format = (enum feed_format)((data[0] & 7) % 5),
                .name = fields[NAME].value,
                .recipe = fields[RECIPE].value,
                .source = fields[SOURCE].value,
                .epoch = fields[EPOCH].value,
                .version = fields[VERSION].value,
                .release = fields[RELEASE].value,
                .arch = fields[ARCH].value,
                .pkgarch = fields[PKGARCH].value,
                .folder = fields[FOLDER].value,
                .pe = fields[PE].value,
                .pv = fields[PV].value,
                .pr = fields[PR].value};

            check_package(&package, &mapping);
        }
    }
    (void)fclose(stanzas.file);
    stanza_free(&stanzas);
    mapping_free(&mapping);
    return 0;
}
