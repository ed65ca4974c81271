/* SPDX-License-Identifier: MIT */
/* Makes the folders of a new database, durably. */
#include "base/folder.h"
#include "store/sqlite/sqlite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Returns whether the path is a folder. If not, sets errno to ENOTDIR. */
static bool folders_is_folder(const char *path)
{
    struct stat status;

    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return true;
    errno = ENOTDIR;
    return false;
}

/* Makes a folder if it does not exist, and syncs the folder above it in any case: a server that was
 * killed may have made the folder just before. If the folder exists, only EIO is an error of that
 * sync, because the folder above may belong to another user. */
static int folders_make_one(const char *path)
{
    if (mkdir(path, 0777) == 0)
        return folder_sync_above(path);
    if (errno != EEXIST || !folders_is_folder(path))
        return -1;
    return folder_sync_above(path) == 0 || errno != EIO ? 0 : -1;
}

int sqlite_refuse_folder(const char *file, struct error *error)
{
    if (!folders_is_folder(file))
        return 0;
    return error_set(error, ERROR_STORE,
        "the database %s is a folder; name a file in it, such as %s/prserv.sqlite3", file, file);
}

int sqlite_make_folders(const char *file, struct error *error)
{
    char *path = strdup(file);
    int result = 0;

    if (!path)
        return error_set_memory(error);
    for (char *slash = strchr(path + 1, '/'); slash && result == 0;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        result = folders_make_one(path);
        if (result != 0)
            result = error_set(error, ERROR_STORE,
                "can't make the folder %s for the database %s: %s", path, file, strerror(errno));
        *slash = '/';
    }
    free(path);
    return result;
}
