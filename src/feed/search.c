/* SPDX-License-Identifier: MIT */
#include "feed/search.h"

#include "feed/beneath.h"
#include "feed/index.h"
#include "feed/package_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_DEPTH 64 /* of folders */

/* The names that an index of packages can have, the quickest to read first. */
static const char *const packages_names[] = {"Packages", "Packages.zst", "Packages.lz4",
    "Packages.gz", "Packages.xz", "Packages.lzma", "Packages.bz2"};

#define N_PACKAGES_NAMES (sizeof packages_names / sizeof *packages_names)

/* A folder of the feed. */
struct search_folder {
    const struct search_folder *parent; /* NULL: the one that the user named */
    const char *name;
    char *relative; /* below the folder that the user named; owned, as is shown */
    char *shown;
    char **names; /* in it, sorted; owned */
    size_t n_names;
    int depth;
};

struct search {
    struct feed_reader *reader;
    int root;
};

static int search_folder_read(struct search *search, struct search_folder *folder);

/* ---- one file ---- */

static int search_file(struct feed_reader *reader, const struct feed_path *path)
{
    return package_file_has_name(path->relative) ? read_package_file(reader, path)
                                                 : read_index(reader, path);
}

/* ---- the names in a folder ---- */

static int search_compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Returns whether the folder has a file of this name. */
static bool search_has(const struct search_folder *folder, const char *name)
{
    return folder->n_names > 0 && bsearch(&name, folder->names, folder->n_names,
                                      sizeof *folder->names, search_compare_names);
}

/* Adds a name to the folder. Returns false if memory ran out. */
static bool search_add_name(struct search_folder *folder, const char *name)
{
    if ((folder->n_names & (folder->n_names + 1)) == 0) { /* room for 1, 3, 7, … more */
        char **names = realloc(folder->names, (2 * folder->n_names + 2) * sizeof *folder->names);

        if (!names)
            return false;
        folder->names = names;
    }
    folder->names[folder->n_names] = strdup(name);
    return folder->names[folder->n_names] && ++folder->n_names > 0;
}

/* Lists the folder. Returns 0 also if it can't be read, which has been reported. */
static int search_list(struct search *search, struct search_folder *folder)
{
    const struct feed_path path = {search->root, folder->relative, folder->shown};
    const int descriptor = beneath_open(search->root, folder->relative);
    DIR *list = descriptor < 0 ? NULL : fdopendir(descriptor);
    const struct dirent *entry;
    bool has_memory = true;

    if (!list) {
        (void)feed_reader_skip_file(search->reader, &path, strerror(errno));
        if (descriptor >= 0)
            (void)close(descriptor);
        return 0;
    }
    while (has_memory && (entry = readdir(list))) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            has_memory = search_add_name(folder, entry->d_name);
    }
    (void)closedir(list);
    if (!has_memory)
        return error_set_memory(&search->reader->error);
    if (folder->n_names > 0)
        qsort(folder->names, folder->n_names, sizeof *folder->names, search_compare_names);
    return 0;
}

static void search_free(struct search_folder *folder)
{
    for (size_t i = 0; i < folder->n_names; i++)
        free(folder->names[i]);
    free(folder->names);
    free(folder->relative);
    free(folder->shown);
}

/* Makes the paths of a name in a folder. Returns false if memory ran out. */
static bool search_join(
    const struct search_folder *folder, const char *name, char **relative, char **shown)
{
    const bool is_root = strcmp(folder->relative, ".") == 0;
    const bool has_slash = text_ends_with(text_of(folder->shown), "/");

    if (asprintf(relative, "%s%s%s", is_root ? "" : folder->relative, is_root ? "" : "/", name) < 0)
        *relative = NULL;
    if (asprintf(shown, "%s%s%s", folder->shown, has_slash ? "" : "/", name) < 0)
        *shown = NULL;
    return *relative && *shown;
}

/* Returns whether two indexes have the same content, and both can be read. */
static bool search_is_same(const struct search *search, const struct search_folder *folder,
    const char *first, const char *second)
{
    char *paths[2] = {NULL, NULL};
    char *shown[2] = {NULL, NULL};
    bool is_same = search_join(folder, first, &paths[0], &shown[0]);

    is_same = search_join(folder, second, &paths[1], &shown[1]) && is_same &&
              index_is_same(search->root, paths[0], paths[1]);
    for (int i = 0; i < 2; i++) {
        free(paths[i]);
        free(shown[i]);
    }
    return is_same;
}

/* ---- what a folder holds ---- */

typedef int (*search_read_fn)(struct feed_reader *reader, const struct feed_path *path);

/* Reads a file in a folder. */
static int search_read(struct search *search, const struct search_folder *folder, const char *name,
    search_read_fn read_file)
{
    char *relative;
    char *shown;
    int result;

    if (search_join(folder, name, &relative, &shown)) {
        const struct feed_path path = {search->root, relative, shown};

        result = read_file(search->reader, &path);
    } else {
        result = error_set_memory(&search->reader->error);
    }
    free(relative);
    free(shown);
    return result;
}

/* Returns the type of a name, without following a symbolic link; 0: it can't be told. */
static mode_t search_type(
    const struct search *search, const struct search_folder *folder, const char *name)
{
    char *relative;
    char *shown;
    struct stat status = {.st_mode = 0};

    if (search_join(folder, name, &relative, &shown) &&
        fstatat(search->root, relative, &status, AT_SYMLINK_NOFOLLOW) != 0)
        status.st_mode = 0;
    free(relative);
    free(shown);
    return status.st_mode & S_IFMT;
}

static bool search_has_folders(const struct search *search, const struct search_folder *folder)
{
    for (size_t i = 0; i < folder->n_names; i++) {
        if (search_type(search, folder, folder->names[i]) == S_IFDIR)
            return true;
    }
    return false;
}

/* Reads "latest" in packages/<architecture>/<recipe>, or a folder deeper. That of the recipe counts
 * only if there are none of packages. */
static int search_read_latest(struct search *search, const struct search_folder *folder)
{
    const struct search_folder *recipe = folder;
    const char *package = "";
    char *relative;
    char *shown;
    int result = 0;

    if (!folder->parent || !folder->parent->parent)
        return 0;
    if (strcmp(folder->parent->parent->name, "packages") != 0) {
        recipe = folder->parent;
        package = folder->name;
    } else if (search_has_folders(search, folder)) {
        return 0;
    }
    if (!recipe->parent->parent || strcmp(recipe->parent->parent->name, "packages") != 0)
        return 0;
    if (search_join(folder, "latest", &relative, &shown)) {
        const struct feed_path path = {search->root, relative, shown};

        result = read_buildhistory(search->reader, &path, text_of(recipe->parent->name),
            text_of(recipe->name), text_of(package));
    } else {
        result = error_set_memory(&search->reader->error);
    }
    free(relative);
    free(shown);
    return result;
}

/* Reads a folder in a folder. */
static int search_descend(
    struct search *search, const struct search_folder *parent, const char *name)
{
    struct search_folder folder = {.parent = parent, .name = name, .depth = parent->depth + 1};
    int result;

    if (!search_join(parent, name, &folder.relative, &folder.shown))
        result = error_set_memory(&search->reader->error);
    else
        result = search_folder_read(search, &folder);
    search_free(&folder);
    return result;
}

/* Returns whether the folder is one of tmp/pkgdata/<machine> that has a file for each package.
 * runtime-reverse has links to those of runtime. */
static bool search_is_pkgdata(const struct search_folder *folder)
{
    if (strcmp(folder->name, "runtime") == 0)
        return folder->parent->n_names == 0 || search_has(folder->parent, "runtime-reverse");
    return strcmp(folder->name, "runtime-reverse") == 0 && !search_has(folder->parent, "runtime");
}

/* Reads all files in such a folder. */
static int search_read_pkgdata(struct search *search, const struct search_folder *folder)
{
    int result = 0;

    for (size_t i = 0; i < folder->n_names && result == 0; i++) {
        const char *name = folder->names[i];

        if (!text_ends_with(text_of(name), ".packaged") &&
            search_type(search, folder, name) != S_IFDIR)
            result = search_read(search, folder, name, read_pkgdata);
    }
    return result;
}

/* Reads a package that no index names: it may have been built after the index. */
static int search_read_package(struct feed_reader *reader, const struct feed_path *path)
{
    return map_find(&reader->listed, text_of(path->relative)) ? 0 : read_package_file(reader, path);
}

/* Reads the indexes in a folder. One that is there in several compressions is read once, unless
 * they have different contents: then some are out of date, and devices may see any of them. */
static int search_read_indexes(struct search *search, const struct search_folder *folder)
{
    const char *first = NULL;
    int result = 0;

    for (size_t i = 0; i < N_PACKAGES_NAMES && result == 0; i++) {
        if (!search_has(folder, packages_names[i]) ||
            (first && search_is_same(search, folder, first, packages_names[i])))
            continue;
        first = first ? first : packages_names[i];
        result = search_read(search, folder, packages_names[i], read_index);
    }
    if (result == 0 && search_has(folder, "repodata") &&
        search_type(search, folder, "repodata") == S_IFDIR)
        result = search_read(search, folder, "repodata/repomd.xml", read_repomd);
    return result;
}

/* Reports a symbolic link to a folder outside of the feed. One inside is read where it is. */
static void search_report_link(
    struct search *search, const struct search_folder *folder, const char *name)
{
    char *relative;
    char *shown;
    struct stat status;

    if (search_join(folder, name, &relative, &shown) &&
        fstatat(search->root, relative, &status, 0) == 0 && S_ISDIR(status.st_mode)) {
        const struct feed_path path = {search->root, relative, shown};
        const int descriptor = beneath_open(search->root, relative);

        if (descriptor >= 0)
            (void)close(descriptor);
        else
            (void)feed_reader_skip_file(search->reader, &path,
                "it is a symbolic link that leads out of the feed; name that folder, too");
    }
    free(relative);
    free(shown);
}

/* Reads a file or folder that is not an index. */
static int search_read_name(
    struct search *search, const struct search_folder *folder, const char *name)
{
    const mode_t type = search_type(search, folder, name);

    if (type == S_IFDIR)
        return strcmp(name, "repodata") == 0 ? 0 : search_descend(search, folder, name);
    if (type == S_IFLNK)
        search_report_link(search, folder, name);
    if (type != S_IFREG && type != S_IFLNK)
        return 0;
    if (strcmp(name, "latest") == 0)
        return type == S_IFREG ? search_read_latest(search, folder) : 0;
    return package_file_has_name(name) ? search_read(search, folder, name, search_read_package) : 0;
}

/* Reads a folder, of which the paths are known. */
static int search_folder_read(struct search *search, struct search_folder *folder)
{
    const struct feed_path path = {search->root, folder->relative, folder->shown};
    int result;

    if (folder->depth > MAX_DEPTH)
        return feed_reader_skip_file(search->reader, &path, "the folder is too deep in others");
    result = search_list(search, folder);
    if (result != 0)
        return result;
    if (search_is_pkgdata(folder))
        return search_read_pkgdata(search, folder);
    result = search_read_indexes(search, folder);
    for (size_t i = 0; i < folder->n_names && result == 0; i++) {
        if (strcmp(folder->names[i], "runtime-reverse") != 0 || !search_has(folder, "runtime"))
            result = search_read_name(search, folder, folder->names[i]);
    }
    return result;
}

/* ---- what the user names ---- */

static int search_root(struct feed_reader *reader, const char *name, int root)
{
    struct search search = {.reader = reader, .root = root};
    /* The folders above are known by name only: buildhistory's is told by them. */
    char *whole = realpath(name, NULL);
    char *parts[3] = {NULL, NULL, NULL};
    struct search_folder above[2] = {{.name = ""}, {.name = "", .parent = &above[0]}};
    struct search_folder folder = {.parent = &above[1], .name = ""};
    int result;

    for (int i = 0; whole && i < 3; i++) {
        parts[i] = strrchr(whole, '/');
        if (!parts[i])
            break;
        *parts[i] = '\0';
        if (i == 0)
            folder.name = parts[i] + 1;
        else
            above[2 - i].name = parts[i] + 1;
    }
    folder.relative = strdup(".");
    folder.shown = strdup(name);
    if (!folder.relative || !folder.shown)
        result = error_set_memory(&reader->error);
    else
        result = search_folder_read(&search, &folder);
    search_free(&folder);
    free(whole);
    return result;
}

/* Reads a repomd.xml that the user named. The files that it names must be in the folder above. */
static int search_repomd(struct feed_reader *reader, const char *name, int *root)
{
    char *whole = realpath(name, NULL);
    char *slash = whole ? strrchr(whole, '/') : NULL;
    struct feed_path path = {.relative = name, .shown = name};
    int result = 0;

    if (slash) {
        *slash = '\0';
        slash = strrchr(whole, '/');
    }
    if (!slash || strcmp(slash, "/repodata") != 0) {
        result = feed_reader_skip_file(reader, &path, "repomd.xml has to be in a folder repodata");
    } else {
        *slash = '\0';
        *root = open(whole[0] ? whole : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        path.root = *root;
        path.relative = "repodata/repomd.xml";
        path.shown = strchr(name, '/') ? name : path.relative;
        result = *root < 0 ? feed_reader_skip_file(reader, &path, strerror(errno))
                           : read_repomd(reader, &path);
    }
    free(whole);
    return result;
}

/* Returns whether the folder has a file of this name. */
static bool search_folder_has(const char *folder, const char *name)
{
    char *path;
    bool has;

    if (asprintf(&path, "%s/%s", folder, name) < 0)
        return false;
    has = access(path, F_OK) == 0;
    free(path);
    return has;
}

/* Reads the feed to which a file or folder belongs that is only a part of one. Returns 1 if it is
 * not such a part. */
static int search_part(struct feed_reader *reader, const char *name, bool is_folder, int *root)
{
    const char *part = NULL;
    char *path;
    int result;

    if (!is_folder && text_ends_with(text_of(name), "repomd.xml"))
        return search_repomd(reader, name, root);
    if (is_folder && search_folder_has(name, "repomd.xml"))
        part = "repomd.xml";
    else if (is_folder && text_ends_with(text_of(name), "runtime-reverse") &&
             search_folder_has(name, "../runtime"))
        part = "../runtime";
    if (!part)
        return 1;
    if (asprintf(&path, "%s/%s", name, part) < 0)
        return error_set_memory(&reader->error);
    result = feed_search(reader, path, root);
    free(path);
    return result;
}

int feed_search(struct feed_reader *reader, const char *name, int *root)
{
    const struct feed_path path = {.root = AT_FDCWD, .relative = name, .shown = name};
    struct stat status;
    int result;

    *root = -1;
    if (stat(name, &status) != 0)
        return error_set(&reader->error, ERROR_INPUT, "%s: %s", name, strerror(errno));
    result = search_part(reader, name, S_ISDIR(status.st_mode), root);
    if (result <= 0)
        return result;
    if (!S_ISDIR(status.st_mode))
        return search_file(reader, &path);
    *root = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*root < 0)
        return error_set(&reader->error, ERROR_INPUT, "%s: %s", name, strerror(errno));
    map_clear(&reader->listed, free);
    return search_root(reader, name, *root);
}
