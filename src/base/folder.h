/* SPDX-License-Identifier: MIT */
/* Making the entries of a folder durable. */
#ifndef PRSERVD_FOLDER_H
#define PRSERVD_FOLDER_H

/* Syncs a folder. Returns 0, or -1 and sets errno. */
int folder_sync(const char *folder);

/* Syncs the folder above a path, so that the path's entry in it is durable. Likewise. */
int folder_sync_above(const char *path);

#endif
