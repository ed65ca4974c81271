/* SPDX-License-Identifier: MIT */
/* On a network file system, FILE-mark names the machine that has the database open: SQLite's locks
 * and the memory that its processes share don't reach another machine. Servers on one machine share
 * the database as usual; the last one to close it removes the name. Each holds a lock on FILE-mark
 * meanwhile, by which the last one knows. A machine that was started again since has lost its
 * servers, so it may open the database at once. */
#include "store/sqlite/network_fs.h"
#include "store/sqlite/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HOLD_AT 4096 /* the byte that is locked; there is none */

/* Reads the first word of a file. */
static void sqlite_mark_read_word(const char *path, char word[MARK_MACHINE_BYTES])
{
    FILE *file = fopen(path, "re");

    word[0] = '\0';
    if (file && fscanf(file, "%39s", word) != 1)
        word[0] = '\0';
    if (file)
        (void)fclose(file);
}

/* Names this machine. Without a machine-id, its host name has to do. */
static void sqlite_mark_find_machine(struct mark_owner *owner)
{
    sqlite_mark_read_word("/etc/machine-id", owner->machine);
    sqlite_mark_read_word("/proc/sys/kernel/random/boot_id", owner->boot);
    if (!owner->machine[0] && gethostname(owner->machine, sizeof owner->machine) != 0)
        owner->machine[0] = '\0';
    owner->machine[sizeof owner->machine - 1] = '\0';
}

int sqlite_mark_check_owner(
    struct sqlite_store *store, const struct mark_owner *last, struct error *error)
{
    struct mark_owner own;
    bool is_certain;
    const char *system = network_fs_name(store->options.file, &is_certain);

    if (!system)
        return 0;
    store->mark.is_shared = true;
    sqlite_mark_find_machine(&own);
    mark_file_set_owner(store->mark.file, &own);
    if (!last->machine[0] || strcmp(last->machine, own.machine) == 0)
        return 0;
    if (is_certain)
        return error_set(error, ERROR_STORE,
            "the database %s is on a network file system (%s), and another machine (machine-id %s) "
            "has it open: send requests to the server there, or stop it; if that machine is gone, "
            "remove %s",
            store->options.file, system, last->machine, mark_file_path(store->mark.file));
    log_write(store->options.log, LOG_WARNING,
        "The database %s is on FUSE, and another machine (machine-id %s) may have it open: two "
        "machines would overwrite each other's rows",
        store->options.file, last->machine);
    return 0;
}

static int sqlite_mark_lock(int descriptor, short type)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = HOLD_AT, .l_len = 1};

    return fcntl(descriptor, F_OFD_SETLK, &lock);
}

void sqlite_mark_hold(struct sqlite_store *store)
{
    struct sqlite_mark *own = &store->mark;

    own->hold = open(mark_file_path(own->file), O_RDWR | O_CLOEXEC);
    if (own->hold >= 0)
        (void)!sqlite_mark_lock(own->hold, F_RDLCK);
}

void sqlite_mark_let_go(struct sqlite_store *store)
{
    static const struct mark_owner none = {.machine = ""};
    struct sqlite_mark *own = &store->mark;

    if (!own->is_shared || own->hold < 0)
        return;
    if (sqlite_mark_lock(own->hold, F_WRLCK) == 0) {
        mark_file_set_owner(own->file, &none);
        (void)mark_file_put(own->file, &own->mark);
    }
    (void)close(own->hold);
}
