/* SPDX-License-Identifier: MIT */
/* What names the file of a database among those of all machines: the machine, the device and the
 * inode. Machine and start of the system are both named, because copied machines may share their
 * machine-id. */
#include "base/identity.h"
#include "store/sqlite/sqlite.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Appends the first line of a file, if there is one. */
static size_t sqlite_instance_read_line(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "re");
    size_t length = 0;

    if (file && fgets(text, (int)size, file))
        length = strcspn(text, "\n");
    if (file)
        (void)fclose(file);
    return length;
}

void sqlite_set_instance(const struct sqlite_store *store)
{
    char facts[256];
    struct stat status;
    size_t length;

    if (!store->options.identity || stat(store->options.file, &status) != 0)
        return;
    length = (size_t)snprintf(facts, sizeof facts, "sqlite %" PRIuMAX " %" PRIuMAX " ",
        (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    length += sqlite_instance_read_line("/etc/machine-id", facts + length, 64);
    length += sqlite_instance_read_line("/proc/sys/kernel/random/boot_id", facts + length, 64);
    identity_set(store->options.identity, (struct text){.bytes = facts, .length = length});
}
