/* SPDX-License-Identifier: MIT */
/* File systems that several machines may have mounted, by the number that statfs(2) gives. The
 * machines have no memory in common, and SQLite's WAL needs that. */
#include "store/sqlite/network_fs.h"

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

#define FUSE 0x65735546

static const struct {
    uint32_t number;
    const char *name;
} systems[] = {{0x6969, "NFS"}, {0xFF534D42, "CIFS"}, {0xFE534D42, "SMB"}, {0x517B, "SMB"},
    {0x564C, "NCP"}, {0x5346414F, "AFS"}, {0x6B414653, "AFS"}, {0x73757245, "Coda"},
    {0x00C36400, "Ceph"}, {0x01021997, "9p"}, {0x01161970, "GFS2"}, {0x7461636F, "OCFS2"},
    {0x0BD00BD0, "Lustre"}, {0x47504653, "GPFS"}, {0x19830326, "BeeGFS"}, {0x786F4256, "vboxsf"},
    {FUSE, "FUSE"}};

/* Calls statfs(2) of the file, or of the nearest folder above it that exists. */
static int network_fs_status(const char *path, struct statfs *status)
{
    char folder[PATH_MAX];
    int result = statfs(path, status);

    (void)snprintf(folder, sizeof folder, "%s", path);
    while (result != 0) {
        char *slash = strrchr(folder, '/');

        if (!slash)
            return statfs(".", status);
        *slash = '\0';
        result = statfs(slash == folder ? "/" : folder, status);
        if (slash == folder)
            return result;
    }
    return 0;
}

const char *network_fs_name(const char *path, bool *is_certain)
{
    struct statfs status;

    *is_certain = true;
    if (network_fs_status(path, &status) != 0)
        return NULL;
    for (size_t i = 0; i < sizeof systems / sizeof *systems; i++) {
        /* The type is signed on some machines, and 32 bits of it count. */
        if (systems[i].number == (uint32_t)status.f_type) {
            *is_certain = systems[i].number != FUSE;
            return systems[i].name;
        }
    }
    return NULL;
}
