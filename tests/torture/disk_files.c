/* SPDX-License-Identifier: MIT */
/* Each file keeps its durable bytes and a list of the changes since its last sync. A power cut
 * applies one of several rules to that list, from "all is lost" to "each sector separately": a
 * sector is new, old, or garbage where it was written. */
#include "disk_files.h"

#include <stdlib.h>
#include <string.h>

#define SECTOR 512

static void *must_have(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

/* ---- bytes ---- */

static void resize(struct bytes *bytes, size_t size)
{
    if (size > bytes->room) {
        bytes->room = size + size / 2 + 4096;
        bytes->data = must_have(realloc(bytes->data, bytes->room));
    }
    if (size > bytes->size)
        memset(bytes->data + bytes->size, 0, size - bytes->size);
    bytes->size = size;
}

static void put(struct bytes *bytes, const unsigned char *data, size_t size, size_t offset)
{
    if (size == 0)
        return;
    if (offset + size > bytes->size)
        resize(bytes, offset + size);
    memcpy(bytes->data + offset, data, size);
}

static void copy(struct bytes *to, const struct bytes *from)
{
    resize(to, 0);
    put(to, from->data, from->size, 0);
}

/* ---- one file ---- */

struct node *files_new_node(struct files *files)
{
    struct node *node = must_have(calloc(1, sizeof *node));

    node->last = &node->changes;
    node->next = files->nodes;
    files->nodes = node;
    return node;
}

static struct change *note(struct node *node, size_t n_bytes)
{
    struct change *change = must_have(calloc(1, sizeof *change + n_bytes));

    *node->last = change;
    node->last = &change->next;
    return change;
}

void node_write(struct node *node, const void *data, size_t size, size_t offset)
{
    struct change *change = note(node, size);

    change->offset = offset;
    change->size = size;
    memcpy(change->data, data, size);
    put(&node->seen, data, size, offset);
}

void node_truncate(struct node *node, size_t size)
{
    struct change *change = note(node, 0);

    change->truncates = true;
    change->size = size;
    resize(&node->seen, size);
}

static void forget_changes(struct node *node)
{
    struct change *change;

    while ((change = node->changes)) {
        node->changes = change->next;
        free(change);
    }
    node->last = &node->changes;
}

static void apply(struct bytes *bytes, const struct change *change)
{
    if (change->truncates)
        resize(bytes, change->size);
    else
        put(bytes, change->data, change->size, change->offset);
}

void node_sync(struct node *node)
{
    for (struct change *change = node->changes; change; change = change->next) {
        if (!change->doomed)
            apply(&node->durable, change);
    }
    forget_changes(node);
}

void node_fail_sync(struct node *node)
{
    for (struct change *change = node->changes; change; change = change->next)
        change->doomed = true;
}

/* ---- power cuts ---- */

enum rule { ALL_LOST, ALL_KEPT, FIRST_KEPT, ANY_KEPT, ANY_SECTOR, RULES };

/* Makes each sector new, old or garbage. */
static void tear(struct bytes *bytes, const struct change *change, struct chance *chance)
{
    size_t at = 0;

    while (at < change->size) {
        size_t in_sector = SECTOR - (change->offset + at) % SECTOR;
        size_t size = in_sector < change->size - at ? in_sector : change->size - at;
        uint64_t fate = chance_below(chance, 8);

        if (fate < 4)
            put(bytes, change->data + at, size, change->offset + at);
        else if (fate == 4)
            put(bytes, change->data + at, chance_below(chance, size + 1), change->offset + at);
        else if (fate == 5 && change->offset + at + size <= bytes->size)
            for (size_t i = 0; i < size; i++)
                bytes->data[change->offset + at + i] = (unsigned char)chance_below(chance, 256);
        at += size;
    }
}

static void survive(
    struct bytes *bytes, const struct change *change, enum rule rule, struct chance *chance)
{
    uint64_t fate = chance_below(chance, 3);

    if (change->doomed || rule == ALL_LOST)
        return;
    if (rule == ALL_KEPT || (rule == ANY_KEPT && fate == 0) ||
        (rule == ANY_SECTOR && change->truncates && fate < 2))
        apply(bytes, change);
    else if (!change->truncates && (rule == ANY_SECTOR || (rule == ANY_KEPT && fate == 1)))
        tear(bytes, change, chance);
}

static void cut_node(struct node *node, struct chance *chance)
{
    enum rule rule = (enum rule)chance_below(chance, RULES);
    uint64_t n_changes = 0;
    uint64_t n_kept = 0;
    uint64_t at = 0;

    for (const struct change *change = node->changes; change; change = change->next)
        n_changes++;
    if (rule == FIRST_KEPT)
        n_kept = chance_below(chance, n_changes + 1);
    for (const struct change *change = node->changes; change; change = change->next, at++) {
        if (rule != FIRST_KEPT)
            survive(&node->durable, change, rule, chance);
        else if (at <= n_kept)
            survive(&node->durable, change, at < n_kept ? ALL_KEPT : ANY_SECTOR, chance);
    }
    forget_changes(node);
    copy(&node->seen, &node->durable);
}

/* ---- the folder ---- */

struct name *files_find(struct files *files, const char *text, bool create)
{
    struct name *unused = NULL;

    for (size_t i = 0; i < MOST_NAMES; i++) {
        struct name *name = &files->names[i];

        if (name->text[0] != '\0' && strcmp(name->text, text) == 0)
            return name;
        if (name->text[0] == '\0' && !unused)
            unused = name;
    }
    if (!create || !unused || strlen(text) >= sizeof unused->text)
        return NULL;
    memcpy(unused->text, text, strlen(text) + 1);
    return unused;
}

void files_sync_folder(struct files *files)
{
    for (size_t i = 0; i < MOST_NAMES; i++)
        files->names[i].durable = files->names[i].seen;
}

void files_cut_power(struct files *files, struct chance *chance)
{
    for (size_t i = 0; i < MOST_NAMES; i++) {
        struct name *name = &files->names[i];

        if (name->seen != name->durable && chance_below(chance, 2))
            name->durable = name->seen;
        name->seen = name->durable;
    }
    for (struct node *node = files->nodes; node; node = node->next)
        cut_node(node, chance);
}

void files_free(struct files *files)
{
    struct node *node;

    while ((node = files->nodes)) {
        files->nodes = node->next;
        forget_changes(node);
        free(node->seen.data);
        free(node->durable.data);
        free(node->locks);
        free(node);
    }
    memset(files, 0, sizeof *files);
}
