/* The files of the disk: what is seen, what survives. Used under the disk's lock. */
#ifndef PRSERVD_TEST_DISK_FILES_H
#define PRSERVD_TEST_DISK_FILES_H

#include "chance.h"

#include <stdbool.h>
#include <stddef.h>

struct bytes {
    unsigned char *data;
    size_t size;
    size_t room;
};

/* Something that was done to a file and not synced. */
struct change {
    struct change *next;
    bool truncates;
    bool doomed; /* a sync of it failed: it is not written any more, whatever is synced later */
    size_t offset;
    size_t size; /* of data; or what it is truncated to */
    unsigned char data[];
};

struct locks;

struct node {
    struct node *next; /* all there ever were */
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
/* The name's entry; NULL if create is false and there is none, or none is free. */
struct name *files_find(struct files *files, const char *text, bool create);
void files_sync_folder(struct files *files);
void files_free(struct files *files);

void node_write(struct node *node, const void *data, size_t size, size_t offset);
void node_truncate(struct node *node, size_t size);
void node_sync(struct node *node);
/* As Linux does it: what could not be written is forgotten, the next sync succeeds. */
void node_fail_sync(struct node *node);

/* Takes away what need not survive. */
void files_cut_power(struct files *files, struct chance *chance);

#endif
