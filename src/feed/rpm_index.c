/* SPDX-License-Identifier: MIT */
#include "feed/rpm_index.h"

#include "feed/feed_digest.h"

#include <endian.h>
#include <fcntl.h>
#include <solv/dataiterator.h>
#include <solv/knownid.h>
#include <solv/pool.h>
#include <solv/repo.h>
#include <solv/repo_repomdxml.h>
#include <solv/repo_rpmdb.h>
#include <solv/repo_rpmmd.h>
#include <solv/solvable.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- packages ---- */

/* Returns the recipe: the name of the source package, whose file is NAME-VERSION-RELEASE.src.rpm.
 * Empty if the package names none. */
static struct text rpm_recipe(const char *source, const struct feed_package *package)
{
    struct text name = text_of(source ? source : "");
    size_t tail = package->version.length + package->release.length + 2;

    for (int i = 0; i < 2 && name.length > 0; i++) { /* .src.rpm */
        const char *dot = memrchr(name.bytes, '.', name.length);

        name.length = dot ? (size_t)(dot - name.bytes) : 0;
    }
    if (name.length > tail) {
        const struct text end = text_from(name, name.length - tail);

        if (end.bytes[0] == '-' && end.bytes[1 + package->version.length] == '-' &&
            memcmp(end.bytes + 1, package->version.bytes, package->version.length) == 0 &&
            memcmp(end.bytes + 2 + package->version.length, package->release.bytes,
                package->release.length) == 0)
            return (struct text){.bytes = name.bytes, .length = name.length - tail};
    }
    for (int i = 0; i < 2 && name.length > 0; i++) {
        const char *dash = memrchr(name.bytes, '-', name.length);

        name.length = dash ? (size_t)(dash - name.bytes) : 0;
    }
    return name;
}

/* Splits [epoch:]version-release. A release may hold dashes, a version none. */
static void rpm_split_version(struct feed_package *package, const char *evr)
{
    const char *colon = strchr(evr, ':');
    const char *dash;

    package->epoch = (struct text){.bytes = evr, .length = colon ? (size_t)(colon - evr) : 0};
    if (colon)
        evr = colon + 1;
    dash = strchr(evr, '-');
    package->version = text_of(evr);
    package->release = (struct text){.bytes = ""};
    if (dash) {
        package->version.length = (size_t)(dash - evr);
        package->release = text_of(dash + 1);
    }
}

/* Makes a package from its entry in libsolv. Returns NULL, or what is wrong with it. */
static const char *rpm_read(Pool *pool, Solvable *solvable, struct feed_package *package)
{
    const char *source = solvable_lookup_sourcepkg(solvable);

    *package = (struct feed_package){.format = FEED_RPM,
        .name = text_of(pool_id2str(pool, solvable->name)),
        .arch = text_of(pool_id2str(pool, solvable->arch))};
    rpm_split_version(package, pool_id2str(pool, solvable->evr));
    package->recipe = rpm_recipe(source, package);
    package->source = package->recipe;
    if (package->name.length == 0 || package->version.length == 0 || package->arch.length == 0)
        return "the package has no name, no version or no architecture";
    return NULL;
}

/* Returns whether it is a source package, which devices do not install. */
static bool rpm_is_source(const struct feed_package *package)
{
    return text_is(package->arch, "src") || text_is(package->arch, "nosrc");
}

/* ---- primary.xml ---- */

/* Returns the folder that locations are relative to: the one above that of the index. */
static struct text rpm_index_folder(const struct feed_path *path)
{
    struct text folder = text_of(path->relative);

    for (int i = 0; i < 2; i++) {
        const char *slash = memrchr(folder.bytes, '/', folder.length);

        folder.length = slash ? (size_t)(slash - folder.bytes) : 0;
    }
    return folder;
}

/* Adds a package of an index. */
static int rpm_index_take(
    struct feed_reader *reader, const struct feed_path *path, Pool *pool, Solvable *solvable)
{
    const char *location = solvable_lookup_location(solvable, NULL);
    struct feed_place place = {.file = path->shown, .package = text_of(location ? location : "")};
    char digest[FEED_DIGEST_BYTES] = "";
    struct feed_package package;
    const char *reason = rpm_read(pool, solvable, &package);
    const char *checksum;
    char *entry = NULL;
    Id type = 0;
    int result;

    if (reason) {
        result = asprintf(&entry, "%s: %s", location ? location : "a package", reason);
        result = feed_reader_skip_entry(reader, path, 0, result < 0 ? reason : entry);
        free(entry);
        return result;
    }
    if (location) {
        result = feed_reader_note_listed(reader, rpm_index_folder(path), text_of(location));
        if (result != 0)
            return result;
    }
    if (rpm_is_source(&package))
        return 0;
    checksum = solvable_lookup_checksum(solvable, SOLVABLE_CHECKSUM, &type);
    if (checksum)
        (void)snprintf(digest, sizeof digest, "%s:%s", solv_chksum_type2str(type), checksum);
    place.digest = text_of(digest);
    return feed_reader_add(reader, &package, &place);
}

int rpm_index_read(struct feed_reader *reader, const struct feed_path *path, struct stream *stream)
{
    Pool *pool = pool_create();
    Repo *repo = repo_create(pool, "feed");
    bool is_complete;
    struct error error;
    Solvable *solvable;
    int result = 0;
    Id id;

    stream->is_xml = true;
    is_complete = repo_add_rpmmd(repo, stream->file, NULL, 0) == 0;
    FOR_REPO_SOLVABLES(repo, id, solvable)
    {
        result = rpm_index_take(reader, path, pool, solvable);
        if (result != 0)
            break;
    }
    if (result == 0 && stream_check(stream, &error) != 0)
        result = feed_reader_skip_file(reader, path, error.text);
    else if (result == 0 && !is_complete)
        result = feed_reader_skip_file(reader, path, pool_errstr(pool));
    pool_free(pool);
    return result;
}

/* ---- repomd.xml ---- */

/* The entry for primary.xml in repomd.xml. */
struct rpm_primary {
    char *location; /* owned; NULL: it is not there */
    char digest[FEED_DIGEST_BYTES];
};

/* Finds the location and the digest of primary.xml. Returns false if memory ran out. */
static bool repomd_find_primary(Pool *pool, Repo *repo, struct rpm_primary *primary)
{
    Dataiterator each;
    const char *location = NULL;
    const char *checksum = NULL;
    Id type = 0;

    (void)dataiterator_init(
        &each, pool, repo, SOLVID_META, REPOSITORY_REPOMD_TYPE, "primary", SEARCH_STRING);
    dataiterator_prepend_keyname(&each, REPOSITORY_REPOMD);
    if (dataiterator_step(&each)) {
        dataiterator_setpos_parent(&each);
        location = pool_lookup_str(pool, SOLVID_POS, REPOSITORY_REPOMD_LOCATION);
        checksum = pool_lookup_checksum(pool, SOLVID_POS, REPOSITORY_REPOMD_CHECKSUM, &type);
    }
    if (location)
        primary->location = strdup(location);
    if (checksum)
        (void)snprintf(
            primary->digest, sizeof primary->digest, "%s:%s", solv_chksum_type2str(type), checksum);
    dataiterator_free(&each);
    return !location || primary->location;
}

/* Reads the list of files. Returns 0 also if it is damaged, without a location then. */
static int repomd_read_list(
    struct feed_reader *reader, const struct feed_path *path, struct rpm_primary *primary)
{
    const int descriptor = feed_reader_open(reader, path);
    FILE *file = descriptor < 0 ? NULL : fdopen(descriptor, "rb");
    Pool *pool;
    Repo *repo;
    int result = 0;

    if (descriptor < 0)
        return 0;
    if (!file) {
        (void)close(descriptor);
        return error_set_memory(&reader->error);
    }
    pool = pool_create();
    repo = repo_create(pool, "feed");
    if (repo_add_repomdxml(repo, file, 0) != 0)
        result = feed_reader_skip_file(reader, path, pool_errstr(pool));
    else if (!repomd_find_primary(pool, repo, primary))
        result = error_set_memory(&reader->error);
    else if (!primary->location)
        result = feed_reader_skip_file(reader, path, "it names no primary.xml");
    pool_free(pool);
    (void)fclose(file);
    return result;
}

/* Returns a path beside the folder of a path, "feed/repodata/repomd.xml" and "repodata/1.xml" →
 * "feed/repodata/1.xml". It is the caller's (free), or NULL. */
static char *repomd_join(const char *path, const char *location)
{
    const char *slash = strrchr(path, '/');
    char *joined;

    while (slash && slash > path && slash[-1] != '/')
        slash--;
    if (asprintf(&joined, "%.*s%s", slash ? (int)(slash - path) : 0, path, location) < 0)
        return NULL;
    return joined;
}

/* Reads primary.xml if it has the digest that repomd.xml names. */
static int repomd_read_primary(
    struct feed_reader *reader, const struct feed_path *path, const char *digest)
{
    char found[FEED_DIGEST_BYTES];
    struct error error;

    if (feed_digest_file(found, path->root, path->relative, digest[0] ? digest : NULL, &error) != 0)
        return feed_reader_skip_file(reader, path, error.text);
    if (digest[0] && strcmp(found, digest) != 0)
        return feed_reader_skip_file(
            reader, path, "its digest is not the one that repomd.xml names");
    return read_index(reader, path);
}

int read_repomd(struct feed_reader *reader, const struct feed_path *path)
{
    struct rpm_primary primary = {.location = NULL};
    struct feed_path joined = {.root = path->root};
    char *relative = NULL;
    char *shown = NULL;
    int result = repomd_read_list(reader, path, &primary);

    if (result == 0 && primary.location) {
        relative = repomd_join(path->relative, primary.location);
        shown = repomd_join(path->shown, primary.location);
        joined.relative = relative;
        joined.shown = shown;
        if (!relative || !shown)
            result = error_set_memory(&reader->error);
        else if (primary.location[0] == '/' || strstr(primary.location, ".."))
            result = feed_reader_skip_file(reader, path, "primary.xml lies outside of the feed");
        else
            result = repomd_read_primary(reader, &joined, primary.digest);
    }
    free(primary.location);
    free(relative);
    free(shown);
    return result;
}

/* ---- rpm files ---- */

#define LEAD_BYTES 96
#define HEADER_BYTES 16 /* before the entries of a header */
#define ENTRY_BYTES 16
#define MAX_ENTRIES 65536
#define MAX_HEADER_BYTES ((uint64_t)16 * 1024 * 1024)

/* Checks the size of the header at an offset, and moves the offset behind it. libsolv allocates
 * what a header says. */
static bool rpm_file_pass_header(int descriptor, uint64_t *at, uint64_t file_bytes)
{
    static const unsigned char magic[] = {0x8e, 0xad, 0xe8, 0x01};
    uint32_t header[HEADER_BYTES / sizeof(uint32_t)];
    uint64_t n_entries;
    uint64_t data_bytes;

    if (pread(descriptor, header, sizeof header, (off_t)*at) != (ssize_t)sizeof header ||
        memcmp(header, magic, sizeof magic) != 0)
        return false;
    n_entries = be32toh(header[2]);
    data_bytes = be32toh(header[3]);
    *at += HEADER_BYTES + n_entries * ENTRY_BYTES + data_bytes;
    return n_entries <= MAX_ENTRIES && data_bytes <= MAX_HEADER_BYTES && *at <= file_bytes;
}

/* Returns whether a file has two headers as an rpm package has, with sizes that may be true. */
static bool rpm_file_is_plausible(int descriptor)
{
    uint64_t at = LEAD_BYTES;
    struct stat status;
    uint64_t file_bytes;

    if (fstat(descriptor, &status) != 0)
        return false;
    file_bytes = (uint64_t)status.st_size;
    if (!rpm_file_pass_header(descriptor, &at, file_bytes))
        return false;
    at = (at + 7) / 8 * 8;
    return rpm_file_pass_header(descriptor, &at, file_bytes);
}

int rpm_file_read(struct feed_reader *reader, const struct feed_path *path, int descriptor)
{
    Pool *pool = pool_create();
    Repo *repo = repo_create(pool, "feed");
    const struct feed_place place = {
        .file = path->shown, .root = path->root, .relative = path->relative};
    struct feed_package package;
    char name[32];
    const char *reason;
    int result = 0;
    Id id;

    (void)snprintf(name, sizeof name, "/proc/self/fd/%d", descriptor);
    id = rpm_file_is_plausible(descriptor)
             ? repo_add_rpm(repo, name, RPM_ADD_NO_FILELIST | RPM_ADD_NO_RPMLIBREQS)
             : 0;
    if (id == 0) {
        result = feed_reader_skip_file(reader, path, "it is not an rpm package, or damaged");
    } else {
        reason = rpm_read(pool, pool_id2solvable(pool, id), &package);
        if (reason)
            result = feed_reader_skip_file(reader, path, reason);
        else if (!rpm_is_source(&package))
            result = feed_reader_add(reader, &package, &place);
    }
    pool_free(pool);
    return result;
}
