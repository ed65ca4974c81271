/* SPDX-License-Identifier: MIT */
/* The files of the disk: their visible and their durable content. Used under the disk's lock. */
#ifndef PRSERVD_DISK_FILES_H
#define PRSERVD_DISK_FILES_H

#include "chance.h"

#include <stdbool.h>
#include <stddef.h>

struct bytes {
    unsigned char *data;
    size_t size;
    size_t room;
};

/* A change of a file that is not synced. */
struct change {
    struct change *next;
    bool truncates;
    bool doomed; /* its sync failed: later syncs do not write it either */
    size_t offset;
    size_t size; /* of the data, or the new size of the file */
    unsigned char data[];
};

struct locks;

struct node {
    struct node *next; /* of all nodes */
    struct bytes seen;
    struct bytes durable;
    struct change *changes;
    struct change **last;
    struct locks *locks; /* disk_locks.h */
};

#define MOST_NAMES 16

struct name {
    char text[128]; /* "": unused */
    struct node *seen;
    struct node *durable;
};

struct files {
    struct node *nodes;
    struct name names[MOST_NAMES];
};

struct node *files_new_node(struct files *files);
/* Returns the entry of the name, or NULL if it is missing and not created, or none is free. */
struct name *files_find(struct files *files, const char *text, bool create);
void files_sync_folder(struct files *files);
void files_free(struct files *files);

void node_write(struct node *node, const void *data, size_t size, size_t offset);
void node_truncate(struct node *node, size_t size);
void node_sync(struct node *node);
/* Discards the unsynced changes, as Linux does: the next sync succeeds. */
void node_fail_sync(struct node *node);

/* Discards changes that need not survive. */
void files_cut_power(struct files *files, struct chance *chance);

#endif
