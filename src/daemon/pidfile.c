/* SPDX-License-Identifier: MIT */
/* Everybody can write to /tmp. The file is therefore opened without following a symbolic link, and
 * used only if it is a regular file of this user without another name: nobody can make the server
 * write to, or lock, another file. fcntl locks tell the process that holds them. */
#include "daemon/pidfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_BYTES 64
#define FOLDER "/tmp/"
#define NAME_START "PRServer_"
#define NAME_END ".pid"
#define NAME_BYTES 256

/* Writes the address as a number; IPv4 if a name has both. */
static void pidfile_resolve(const char *host, char ip[ADDRESS_TEXT_BYTES])
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *addresses = NULL;
    const struct addrinfo *chosen;

    (void)snprintf(ip, ADDRESS_TEXT_BYTES, "%s", host);
    if (getaddrinfo(host, NULL, &hints, &addresses) != 0 || !addresses)
        return;
    chosen = addresses;
    for (const struct addrinfo *each = addresses; each; each = each->ai_next) {
        if (each->ai_family == AF_INET) {
            chosen = each;
            break;
        }
    }
    address_format_number(chosen->ai_addr, ip);
    freeaddrinfo(addresses);
}

void pidfile_path(const struct address *address, char path[PATH_MAX])
{
    char ip[ADDRESS_TEXT_BYTES];

    if (address->is_unix) {
        (void)snprintf(ip, sizeof ip, "%s", address->path);
        for (char *slash = ip; (slash = strchr(slash, '/'));)
            *slash = '_';
        (void)snprintf(path, PATH_MAX, FOLDER NAME_START "unix%s" NAME_END, ip);
        return;
    }
    pidfile_resolve(address->host, ip);
    (void)snprintf(path, PATH_MAX, FOLDER NAME_START "%s_%u" NAME_END, ip, address->port);
}

static int pidfile_set_lock(int descriptor, int command, struct flock *lock)
{
    *lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(descriptor, command, lock);
}

/* Refuses a file that can't be a stale pid file of this user, such as one that holds much more than
 * a number and was named by mistake. */
static int pidfile_check_file(const char *path, const struct stat *status, struct error *error)
{
    if (!S_ISREG(status->st_mode) || status->st_nlink > 1)
        return error_set(error, ERROR_SYSTEM,
            "the pid file %s is not a regular file; remove it or choose another with --pidfile",
            path);
    if (status->st_uid != geteuid())
        return error_set(error, ERROR_SYSTEM,
            "the pid file %s belongs to another user (%u); choose another with --pidfile", path,
            (unsigned)status->st_uid);
    if (status->st_size > MAX_BYTES)
        return error_set(error, ERROR_SYSTEM,
            "%s is not a pid file: it has other content; choose another with --pidfile", path);
    return 0;
}

/* Returns whether the open file is the one that has this path. */
static bool pidfile_is_current(const struct pidfile *pidfile)
{
    struct stat opened;
    struct stat named;

    return fstat(pidfile->descriptor, &opened) == 0 && lstat(pidfile->path, &named) == 0 &&
           opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
}

/* Opens and locks the file. Returns 1 if it was removed meanwhile, to try again. */
static int pidfile_try_create(struct pidfile *pidfile, struct error *error)
{
    struct stat status;
    struct flock lock;

    pidfile->descriptor = open(
        pidfile->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
    if (pidfile->descriptor < 0)
        return error_set(error, ERROR_SYSTEM, "can't open the pid file %s: %s%s", pidfile->path,
            strerror(errno), errno == ELOOP ? " (symbolic links are not followed)" : "");
    if (fstat(pidfile->descriptor, &status) != 0)
        return error_set(
            error, ERROR_SYSTEM, "can't use the pid file %s: %s", pidfile->path, strerror(errno));
    if (status.st_nlink == 0)
        return 1;
    if (pidfile_check_file(pidfile->path, &status, error) != 0)
        return ERROR_SYSTEM;
    if (pidfile_set_lock(pidfile->descriptor, F_SETLK, &lock) != 0)
        return error_set(error, ERROR_SYSTEM,
            "a server is already running for this address (pid file %s)", pidfile->path);
    return pidfile_is_current(pidfile) ? 0 : 1;
}

int pidfile_create(struct pidfile *pidfile, const char *path, struct error *error)
{
    char number[32];
    int length = snprintf(number, sizeof number, "%ld\n", (long)getpid());
    int result = 1;

    (void)snprintf(pidfile->path, sizeof pidfile->path, "%s", path);
    for (int tries = 0; tries < 10 && result > 0; tries++) {
        result = pidfile_try_create(pidfile, error);
        if (result != 0 && pidfile->descriptor >= 0) {
            (void)close(pidfile->descriptor);
            pidfile->descriptor = -1;
        }
    }
    if (result > 0)
        return error_set(error, ERROR_SYSTEM,
            "the pid file %s is removed again and again; choose another with --pidfile", path);
    if (result == 0 && (ftruncate(pidfile->descriptor, 0) != 0 ||
                           write(pidfile->descriptor, number, (size_t)length) != length)) {
        result = error_set(
            error, ERROR_SYSTEM, "can't write the pid file %s: %s", path, strerror(errno));
        pidfile_remove(pidfile);
    }
    return result;
}

void pidfile_remove(struct pidfile *pidfile)
{
    if (pidfile->descriptor < 0)
        return;
    if (pidfile_is_current(pidfile))
        (void)unlink(pidfile->path);
    (void)close(pidfile->descriptor);
    pidfile->descriptor = -1;
}

/* Returns whether the process belongs to the file's owner. Another user may hold a lock, too. */
static bool pidfile_is_process_of(pid_t process, uid_t owner)
{
    char path[40];
    struct stat status;

    (void)snprintf(path, sizeof path, "/proc/%ld", (long)process);
    return stat(path, &status) == 0 && status.st_uid == owner;
}

int pidfile_find_holder(const char *path, pid_t *holder, struct error *error)
{
    int descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct flock lock;
    struct stat status;
    int result;

    *holder = 0;
    if (descriptor < 0 && errno == ENOENT)
        return error_set(error, ERROR_INPUT,
            "no server is running for this address: the pid file %s does not exist (was the server "
            "started with the same --host and --port?)",
            path);
    if (descriptor < 0)
        return error_set(error, ERROR_SYSTEM, "can't read the pid file %s", path);
    result = fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode) && status.st_nlink == 1
                 ? pidfile_set_lock(descriptor, F_GETLK, &lock)
                 : -1;
    (void)close(descriptor);
    if (result != 0)
        return error_set(error, ERROR_SYSTEM,
            "the pid file %s is not a regular file, so a server has not created it", path);
    if (lock.l_type == F_UNLCK)
        return 0;
    if (lock.l_pid <= 0 || !pidfile_is_process_of(lock.l_pid, status.st_uid))
        return error_set(error, ERROR_SYSTEM,
            "no server is running for this address: the pid file %s is stale, and a process of "
            "another user holds it",
            path);
    *holder = lock.l_pid;
    return 0;
}

/* Returns whether the file holds what a server writes: a number, or nothing yet. */
static bool pidfile_has_number(int descriptor)
{
    char content[MAX_BYTES];
    const ssize_t length = pread(descriptor, content, sizeof content, 0);

    return length >= 0 && strspn(content, "0123456789\n") >= (size_t)length;
}

int pidfile_remove_stale(const char *path, struct error *error)
{
    struct pidfile pidfile = {
        .descriptor = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
    struct stat status;
    struct flock lock;
    int result = 0;

    (void)snprintf(pidfile.path, sizeof pidfile.path, "%s", path);
    if (pidfile.descriptor < 0 || fstat(pidfile.descriptor, &status) != 0)
        result = error_set(
            error, ERROR_SYSTEM, "can't remove the stale pid file %s: %s", path, strerror(errno));
    else
        result = pidfile_check_file(path, &status, error);
    if (result == 0 && !pidfile_has_number(pidfile.descriptor))
        result = error_set(error, ERROR_SYSTEM, "%s is not a pid file: it has other content", path);
    if (result == 0 && pidfile_set_lock(pidfile.descriptor, F_SETLK, &lock) != 0)
        result = error_set(error, ERROR_SYSTEM,
            "the pid file %s was stale, and a server is starting with it now", path);
    if (result == 0)
        pidfile_remove(&pidfile);
    else if (pidfile.descriptor >= 0)
        (void)close(pidfile.descriptor);
    return result;
}

/* ---- all servers ---- */

/* Returns whether the name is that of a default pid file, and safe to print. */
static bool pidfile_is_default_name(const char *name)
{
    static const char characters[] =
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.:_-";
    const size_t length = strlen(name);

    return strncmp(name, NAME_START, strlen(NAME_START)) == 0 && length < NAME_BYTES &&
           name[strspn(name, characters)] == '\0' &&
           length > strlen(NAME_START) + strlen(NAME_END) &&
           strcmp(name + length - strlen(NAME_END), NAME_END) == 0;
}

/* Writes the options that name the server of a default pid file. */
static void pidfile_write_options(const char *name, char options[NAME_BYTES + 32])
{
    const char *address = name + strlen(NAME_START);
    const int length = (int)(strlen(address) - strlen(NAME_END));
    const char *port = memrchr(address, '_', (size_t)length);

    if (!port || strncmp(address, "unix", strlen("unix")) == 0)
        (void)snprintf(options, NAME_BYTES + 32, "--pidfile " FOLDER "%s", name);
    else
        (void)snprintf(options, NAME_BYTES + 32, "--host %.*s --port %.*s", (int)(port - address),
            address, length - (int)(port + 1 - address), port + 1);
}

void pidfile_each_running(void (*fn)(void *context, const char *options), void *context)
{
    DIR *folder = opendir(FOLDER);
    const struct dirent *entry;

    while (folder && (entry = readdir(folder))) {
        char path[sizeof FOLDER + NAME_BYTES];
        char options[NAME_BYTES + 32];
        struct error ignored;
        pid_t holder;

        if (!pidfile_is_default_name(entry->d_name))
            continue;
        (void)snprintf(path, sizeof path, FOLDER "%s", entry->d_name);
        if (pidfile_find_holder(path, &holder, &ignored) != 0 || holder == 0)
            continue;
        pidfile_write_options(entry->d_name, options);
        fn(context, options);
    }
    if (folder)
        (void)closedir(folder);
}
