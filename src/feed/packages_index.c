/* SPDX-License-Identifier: MIT */
/* Indexes of opkg and Debian, and what packages of these formats say of themselves: stanzas. Of an
 * index, libsolv keeps neither the recipe nor PACKAGE_ARCH, so they are read here, one by one. */
#include "feed/packages_index.h"

#include "feed/stanza.h"
#include "feed/stream.h"

#include <ctype.h>

enum control_field {
    PACKAGE,
    VERSION,
    ARCHITECTURE,
    PACKAGE_ARCH,
    OE,
    SOURCE,
    FILENAME,
    SHA256,
    SHA256SUM,
    SHA1,
    MD5SUM,
    N_FIELDS,
};

static const struct stanza_field control_fields[N_FIELDS] = {
    [PACKAGE] = {.name = "Package"},
    [VERSION] = {.name = "Version"},
    [ARCHITECTURE] = {.name = "Architecture"},
    [PACKAGE_ARCH] = {.name = "PackageArch"},
    [OE] = {.name = "OE"},
    [SOURCE] = {.name = "Source"},
    [FILENAME] = {.name = "Filename"},
    [SHA256] = {.name = "SHA256"},
    [SHA256SUM] = {.name = "SHA256sum"},
    [SHA1] = {.name = "SHA1"},
    [MD5SUM] = {.name = "MD5sum"},
};

/* Splits a version, [epoch:]version[-release]. */
static void control_split_version(struct feed_package *package, struct text text)
{
    const char *colon = memchr(text.bytes, ':', text.length);
    const char *dash;

    if (colon) {
        package->epoch = (struct text){text.bytes, (size_t)(colon - text.bytes)};
        text = text_from(text, package->epoch.length + 1);
    }
    package->version = text;
    dash = memrchr(text.bytes, '-', text.length);
    if (dash) {
        package->version.length = (size_t)(dash - text.bytes);
        package->release = text_from(text, package->version.length + 1);
    }
}

/* Returns whether a name in an index leads out of the folder of the index. */
static bool control_leads_out(struct text name)
{
    if (name.length > 0 && name.bytes[0] == '/')
        return true;
    while (name.length >= 2) {
        const char *slash = memchr(name.bytes, '/', name.length);
        const size_t length = slash ? (size_t)(slash - name.bytes) : name.length;

        if (length == 2 && memcmp(name.bytes, "..", 2) == 0)
            return true;
        name = text_from(name, length + (slash != NULL));
    }
    return false;
}

/* Returns the name of the folder that a path ends in, without its last component. */
static struct text control_folder(struct text path)
{
    const char *slash = memrchr(path.bytes, '/', path.length);
    const char *begin;

    if (!slash)
        return (struct text){.bytes = ""};
    path.length = (size_t)(slash - path.bytes);
    begin = memrchr(path.bytes, '/', path.length);
    path = begin ? text_from(path, (size_t)(begin - path.bytes) + 1) : path;
    return text_is(path, ".") ? text_from(path, 1) : path;
}

const char *control_read(const struct stanza_field *fields, enum feed_format format,
    const char *shown, struct feed_package *package)
{
    const struct text file = fields[FILENAME].value;

    *package = (struct feed_package){.format = format,
        .name = fields[PACKAGE].value,
        .recipe = fields[OE].value,
        .source = fields[SOURCE].value,
        .arch = fields[ARCHITECTURE].value,
        .pkgarch = fields[PACKAGE_ARCH].value};
    if (package->name.length == 0)
        return "the package has no name";
    if (fields[VERSION].value.length == 0)
        return "the package has no Version";
    if (package->arch.length == 0)
        return "the package has no Architecture";
    if (control_leads_out(file))
        return "Filename leads out of the feed";
    if (text_ends_with(file, ".deb") || (file.length == 0 && package->pkgarch.length > 0))
        package->format = FEED_DEB;
    control_split_version(package, fields[VERSION].value);
    package->folder = control_folder(file);
    if (package->folder.length == 0)
        package->folder = control_folder(text_of(shown));
    return NULL;
}

void control_init(struct stanza_field fields[CONTROL_FIELDS])
{
    _Static_assert(CONTROL_FIELDS == N_FIELDS, "the size of a caller's array");
    memcpy(fields, control_fields, sizeof control_fields);
}

/* Appends the digest that the index has, the strongest if it has several. */
static void packages_index_set_digest(struct buffer *digest, const struct stanza_field *fields)
{
    static const struct {
        enum control_field field;
        const char *kind;
    } kinds[] = {{SHA256, "sha256:"}, {SHA256SUM, "sha256:"}, {SHA1, "sha1:"}, {MD5SUM, "md5:"}};

    buffer_reset(digest, BUFFER_KEEP_BYTES);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const struct text value = fields[kinds[i].field].value;

        if (value.length == 0)
            continue;
        buffer_append_string(digest, kinds[i].kind);
        for (size_t j = 0; j < value.length; j++) {
            const char lower = (char)tolower((unsigned char)value.bytes[j]);

            buffer_append(digest, &lower, 1);
        }
        return;
    }
}

/* Returns the folder of an index, below the one that the user named. */
static struct text packages_index_folder(const struct feed_path *path)
{
    const char *slash = strrchr(path->relative, '/');

    return (struct text){
        .bytes = path->relative, .length = slash ? (size_t)(slash - path->relative) : 0};
}

/* Adds the package of a stanza. */
static int packages_index_take(struct feed_reader *reader, const struct feed_path *path,
    const struct stanza_reader *stanzas, const struct stanza_field *fields, struct buffer *digest)
{
    struct feed_package package;
    const char *reason = control_read(fields, FEED_IPK, path->shown, &package);
    struct feed_place place = {
        .file = path->shown, .line = stanzas->first, .package = fields[FILENAME].value};

    int result;

    if (reason)
        return feed_reader_skip_entry(reader, path, stanzas->first, reason);
    if (place.package.length > 0) {
        result = feed_reader_note_listed(reader, packages_index_folder(path), place.package);
        if (result != 0)
            return result;
    }
    packages_index_set_digest(digest, fields);
    if (buffer_failed(digest))
        return error_set_memory(&reader->error);
    place.digest = text_not_null(buffer_text(digest));
    return feed_reader_add(reader, &package, &place);
}

int packages_index_read(
    struct feed_reader *reader, const struct feed_path *path, struct stream *stream)
{
    struct stanza_field fields[N_FIELDS];
    struct stanza_reader stanzas = {.file = stream->file, .separator = ':'};
    struct buffer digest = BUFFER_EMPTY;
    enum stanza_result found = STANZA_READ;
    struct error error;
    int result = 0;

    control_init(fields);
    while (result == 0 && found != STANZA_END && found != STANZA_NO_MEMORY) {
        found = stanza_read(&stanzas, fields, N_FIELDS, &error);
        if (found == STANZA_READ && !ferror(stream->file))
            result = packages_index_take(reader, path, &stanzas, fields, &digest);
        else if (found == STANZA_DAMAGED)
            result = feed_reader_skip_entry(reader, path, stanzas.damaged, error.text);
    }
    if (result == 0 && found == STANZA_NO_MEMORY)
        result = error_set_memory(&reader->error);
    else if (result == 0 && stream_check(stream, &error) != 0)
        result = feed_reader_skip_file(reader, path, error.text);
    buffer_free(&digest);
    stanza_free(&stanzas);
    return result;
}
