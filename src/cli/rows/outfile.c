/* SPDX-License-Identifier: MIT */
#include "cli/rows/outfile.h"

#include "cli/rows/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static int outfile_fail(const struct outfile *out, struct error *error)
{
    return error_set(error, ERROR_SYSTEM, "%s: can't be written: %s",
        out->path ? out->path : "standard output", strerror(errno));
}

/* Returns the permissions that open() would give a new file. */
static mode_t outfile_usual_mode(void)
{
    mode_t mask = umask(0);

    (void)umask(mask);
    return 0666 & ~mask;
}

/* Opens an unnamed file, which disappears with the process however that ends. Returns -1 if the
 * file system has no unnamed files. */
static int outfile_open_nameless(const struct outfile *out)
{
    const char *slash = strrchr(out->path, '/');
    char *folder = slash ? strndup(out->path, (size_t)(slash - out->path) + 1) : strdup(".");
    int descriptor = folder ? open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600) : -1;

    free(folder);
    return descriptor;
}

static int outfile_open_temporary(struct outfile *out, mode_t mode, struct error *error)
{
    int descriptor;

    if (asprintf(&out->temporary, "%s.XXXXXX", out->path) < 0) {
        out->temporary = NULL;
        return error_set_memory(error);
    }
    descriptor = outfile_open_nameless(out);
    out->nameless = descriptor >= 0;
    if (!out->nameless)
        descriptor = mkostemp(out->temporary, O_CLOEXEC);
    if (descriptor < 0) {
        free(out->temporary);
        out->temporary = NULL;
        return outfile_fail(out, error);
    }
    out->file = fdopen(descriptor, "wb");
    if (out->file && fchmod(descriptor, mode) == 0)
        return 0;
    if (!out->file)
        (void)close(descriptor);
    return outfile_fail(out, error);
}

/* Returns whether this is the file that standard output goes to, which must not be replaced. */
static bool outfile_is_standard_output(const struct stat *status)
{
    struct stat standard;

    return fstat(STDOUT_FILENO, &standard) == 0 && standard.st_dev == status->st_dev &&
           standard.st_ino == status->st_ino;
}

/* The failed write's errno may be lost; writing the rest fails for the same reason. */
int outfile_failed(const struct outfile *out, struct error *error)
{
    errno = 0;
    return fflush(out->file) != 0 && errno != 0
               ? outfile_fail(out, error)
               : error_set(error, ERROR_SYSTEM, "%s: can't be written",
                     out->path ? out->path : "standard output");
}

static int outfile_use_standard_output(struct outfile *out, struct error *error)
{
    out->file = isatty(STDOUT_FILENO) ? terminal_open() : stdout;
    return out->file ? 0 : error_set_memory(error);
}

int outfile_open(struct outfile *out, const char *name, struct error *error)
{
    struct stat status = {.st_mode = 0};
    bool exists;
    int result;

    *out = (struct outfile){.file = NULL};
    if (!name || strcmp(name, "-") == 0)
        return outfile_use_standard_output(out, error);
    exists = stat(name, &status) == 0;
    if (exists && outfile_is_standard_output(&status))
        return outfile_use_standard_output(out, error);
    if (!exists && lstat(name, &status) == 0)
        return error_set(error, ERROR_SYSTEM,
            "%s: can't be written: it is a symbolic link to a file that does not exist", name);
    out->path = exists ? realpath(name, NULL) : strdup(name); /* the target of a link */
    if (!out->path)
        return outfile_fail(out, error);
    if (!exists || S_ISREG(status.st_mode)) {
        result = outfile_open_temporary(
            out, exists ? status.st_mode & 07777 : outfile_usual_mode(), error);
    } else {
        out->file = fopen(name, "wbe");
        result = out->file ? 0 : outfile_fail(out, error);
    }
    if (result != 0)
        outfile_discard(out);
    return result;
}

/* Links an unnamed file to the temporary name: rename() replaces a file, linkat() does not. */
static bool outfile_name_temporary(struct outfile *out)
{
    const size_t marks = strlen("XXXXXX");
    char *end = out->temporary + strlen(out->temporary) - marks;
    char from[40];
    int result;

    (void)snprintf(from, sizeof from, "/proc/self/fd/%d", fileno(out->file));
    do {
        uint32_t random;

        if (getrandom(&random, sizeof random, 0) != sizeof random)
            return false;
        (void)snprintf(end, marks + 1, "%06" PRIx32, random & 0xffffff);
        result = linkat(AT_FDCWD, from, AT_FDCWD, out->temporary, AT_SYMLINK_FOLLOW);
    } while (result != 0 && errno == EEXIST);
    out->nameless = result != 0;
    return result == 0;
}

int outfile_commit(struct outfile *out, struct error *error)
{
    bool regular = out->temporary;
    FILE *file = out->file;
    bool good = fflush(file) == 0 && !ferror(file) && (!regular || fsync(fileno(file)) == 0);
    int result;

    if (good && regular && out->nameless)
        good = outfile_name_temporary(out);
    if (good && file != stdout) {
        good = fclose(file) == 0;
        out->file = NULL;
    }
    if (good && regular)
        good = rename(out->temporary, out->path) == 0;
    result = good ? 0 : outfile_fail(out, error);
    if (good) {
        free(out->temporary);
        out->temporary = NULL;
    }
    outfile_discard(out);
    return result;
}

void outfile_discard(struct outfile *out)
{
    if (out->file && out->file != stdout)
        (void)fclose(out->file);
    if (out->temporary && !out->nameless)
        (void)unlink(out->temporary);
    free(out->temporary);
    free(out->path);
    *out = (struct outfile){.file = NULL};
}
