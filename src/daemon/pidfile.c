/* /tmp is everybody's: the file is opened without following a symbolic link, and used
 * only if it is a plain file of ours with no other name, so that nobody can make us
 * write to, or lock, something else. fcntl locks tell who holds them. */
#include "daemon/pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_BYTES 64

/* The address as a number; IPv4 where a name has both. */
static void resolve(const char *host, char ip[ADDRESS_TEXT_BYTES])
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
        (void)snprintf(path, PATH_MAX, "/tmp/PRServer_unix%s.pid", ip);
        return;
    }
    resolve(address->host, ip);
    (void)snprintf(path, PATH_MAX, "/tmp/PRServer_%s_%u.pid", ip, address->port);
}

static int set_lock(int descriptor, int command, struct flock *lock)
{
    *lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(descriptor, command, lock);
}

static int check_file(const char *path, const struct stat *status, struct error *error)
{
    if (!S_ISREG(status->st_mode) || status->st_nlink > 1)
        return error_set(error, ERROR_SYSTEM,
            "the pid file %s is no plain file; remove it or choose another with --pidfile", path);
    if (status->st_uid != geteuid())
        return error_set(error, ERROR_SYSTEM,
            "the pid file %s belongs to another user (%u); choose another with --pidfile", path,
            (unsigned)status->st_uid);
    return 0;
}

/* Far more than a number is in it: not a stale pid file, but something that was named by
 * mistake. */
static int check_size(const char *path, const struct stat *status, struct error *error)
{
    if (status->st_size <= MOST_BYTES)
        return 0;
    return error_set(error, ERROR_SYSTEM,
        "%s is no pid file: something else is in it; choose another with --pidfile", path);
}

/* Is the file that has this name the one that is open? */
static bool is_in_place(const struct pidfile *pidfile)
{
    struct stat opened;
    struct stat named;

    return fstat(pidfile->descriptor, &opened) == 0 && lstat(pidfile->path, &named) == 0 &&
           opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
}

/* Opens and locks; 1 if the file was removed meanwhile, and it must be tried again. */
static int try_create(struct pidfile *pidfile, struct error *error)
{
    struct stat status;
    struct flock lock;

    pidfile->descriptor = open(
        pidfile->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
    if (pidfile->descriptor < 0)
        return error_set(error, ERROR_SYSTEM, "can't open the pid file %s: %s%s", pidfile->path,
            strerror(errno), errno == ELOOP ? " (a symbolic link is not followed)" : "");
    if (fstat(pidfile->descriptor, &status) != 0)
        return error_set(
            error, ERROR_SYSTEM, "can't use the pid file %s: %s", pidfile->path, strerror(errno));
    if (status.st_nlink == 0)
        return 1;
    if (check_file(pidfile->path, &status, error) != 0 ||
        check_size(pidfile->path, &status, error) != 0)
        return ERROR_SYSTEM;
    if (set_lock(pidfile->descriptor, F_SETLK, &lock) != 0)
        return error_set(error, ERROR_SYSTEM,
            "a server is already running for this address (pid file %s)", pidfile->path);
    return is_in_place(pidfile) ? 0 : 1;
}

int pidfile_create(struct pidfile *pidfile, const char *path, struct error *error)
{
    char number[32];
    int length = snprintf(number, sizeof number, "%ld\n", (long)getpid());
    int result = 1;

    (void)snprintf(pidfile->path, sizeof pidfile->path, "%s", path);
    for (int tries = 0; tries < 10 && result > 0; tries++) {
        result = try_create(pidfile, error);
        if (result != 0 && pidfile->descriptor >= 0) {
            (void)close(pidfile->descriptor);
            pidfile->descriptor = -1;
        }
    }
    if (result > 0)
        return error_set(error, ERROR_SYSTEM, "the pid file %s does not stay in place", path);
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
    if (is_in_place(pidfile))
        (void)unlink(pidfile->path);
    (void)close(pidfile->descriptor);
    pidfile->descriptor = -1;
}

/* Is this process the file's owner's? Somebody else may hold a lock on the file too. */
static bool is_process_of(pid_t process, uid_t owner)
{
    char path[40];
    struct stat status;

    (void)snprintf(path, sizeof path, "/proc/%ld", (long)process);
    return stat(path, &status) == 0 && status.st_uid == owner;
}

int pidfile_holder(const char *path, pid_t *holder, struct error *error)
{
    int descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct flock lock;
    struct stat status;
    int result;

    if (descriptor < 0)
        return error_set(error, ERROR_SYSTEM,
            errno == ENOENT ? "no server is running for this address: there is no pid file %s "
                              "(were --host and --port the same when it was started?)"
                            : "can't read the pid file %s",
            path);
    result = fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode) && status.st_nlink == 1
                 ? set_lock(descriptor, F_GETLK, &lock)
                 : -1;
    (void)close(descriptor);
    if (result != 0)
        return error_set(error, ERROR_SYSTEM,
            "the pid file %s is no plain file, and not what a server has made", path);
    if (lock.l_type == F_UNLCK || lock.l_pid <= 0 || !is_process_of(lock.l_pid, status.st_uid))
        return error_set(error, ERROR_SYSTEM,
            "no server is running for this address: the pid file %s is stale, nobody holds it",
            path);
    *holder = lock.l_pid;
    return 0;
}
