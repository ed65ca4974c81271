/* SPDX-License-Identifier: MIT */
/* Records lie behind each other in a buffer. Requests are counted in a map whose key is what
 * identifies a content: the lengths of version and pkgarch, and the three texts. */
#include "audit/notes.h"

#include <stdlib.h>

enum { VERSION, PKGARCH, CHECKSUM, VALUE, PEER, RIGHTS, ANNOTATIONS, N_TEXTS };

struct header {
    int64_t time_us;
    enum audit_request request;
    bool is_return;
    size_t lengths[N_TEXTS];
};

struct notes_use {
    struct map_entry entry;
    STAILQ_ENTRY(notes_use) next;
    int64_t last_us;
    uint64_t count;
};

struct use_key {
    size_t version;
    size_t pkgarch;
};

void notes_init(struct notes *notes)
{
    *notes = (struct notes){.uses = MAP_EMPTY};
    STAILQ_INIT(&notes->waiting);
}

void notes_clear(struct notes *notes)
{
    buffer_free(&notes->revisions);
    buffer_free(&notes->key);
    map_clear(&notes->uses, free);
    notes_init(notes);
}

size_t notes_bytes(const struct notes *notes)
{
    return notes->revisions.capacity + notes->use_bytes + map_bytes(&notes->uses);
}

/* ---- adding ---- */

bool notes_add_revision(struct notes *notes, const struct audit_revision *revision)
{
    const struct text texts[N_TEXTS] = {revision->version, revision->pkgarch, revision->checksum,
        revision->value, revision->peer, revision->rights, revision->annotations};
    struct header header = {.time_us = revision->time_us,
        .request = revision->request,
        .is_return = revision->is_return};
    const size_t before = notes->revisions.length;

    for (int i = 0; i < N_TEXTS; i++)
        header.lengths[i] = texts[i].length;
    buffer_append(&notes->revisions, (const char *)&header, sizeof header);
    for (int i = 0; i < N_TEXTS; i++)
        buffer_append_text(&notes->revisions, text_not_null(texts[i]));
    if (!buffer_failed(&notes->revisions)) {
        notes->n_waiting++;
        return true;
    }
    notes->revisions.length = before;
    notes->revisions.failed = false;
    return false;
}

bool notes_add_use(struct notes *notes, struct text version, struct text pkgarch,
    struct text checksum, int64_t now_us)
{
    const struct use_key lengths = {.version = version.length, .pkgarch = pkgarch.length};
    struct notes_use *use = NULL;

    notes->key.length = 0;
    buffer_append(&notes->key, (const char *)&lengths, sizeof lengths);
    buffer_append_text(&notes->key, version);
    buffer_append_text(&notes->key, pkgarch);
    buffer_append_text(&notes->key, checksum);
    if (!buffer_failed(&notes->key))
        use = map_find_or_add(&notes->uses, buffer_text(&notes->key), sizeof *use);
    buffer_reset(&notes->key, BUFFER_KEEP_BYTES);
    if (!use)
        return false;
    if (use->count == 0) {
        STAILQ_INSERT_TAIL(&notes->waiting, use, next);
        notes->use_bytes += sizeof *use + use->entry.key.length;
    }
    use->last_us = now_us;
    use->count++;
    notes->n_waiting++;
    return true;
}

/* ---- taking ---- */

/* Reads the record at a position. Returns the position behind it. */
static size_t notes_read_revision(
    const struct notes *notes, size_t at, struct audit_revision *revision)
{
    struct header header;
    struct text texts[N_TEXTS];

    memcpy(&header, notes->revisions.bytes + at, sizeof header);
    at += sizeof header;
    for (int i = 0; i < N_TEXTS; i++) {
        texts[i] = (struct text){.bytes = notes->revisions.bytes + at, .length = header.lengths[i]};
        at += header.lengths[i];
    }
    *revision = (struct audit_revision){
        .time_us = header.time_us,
        .request = header.request,
        .is_return = header.is_return,
        .version = texts[VERSION],
        .pkgarch = texts[PKGARCH],
        .checksum = texts[CHECKSUM],
        .value = texts[VALUE],
        .peer = texts[PEER],
        .rights = texts[RIGHTS],
        .annotations = texts[ANNOTATIONS],
    };
    return at;
}

static struct audit_use notes_read_use(const struct notes_use *use)
{
    const struct text key = use->entry.key;
    struct use_key lengths;
    struct audit_use read = {.last_us = use->last_us, .count = use->count};
    struct text rest = text_from(key, sizeof lengths);

    memcpy(&lengths, key.bytes, sizeof lengths);
    read.version = (struct text){.bytes = rest.bytes, .length = lengths.version};
    rest = text_from(rest, lengths.version);
    read.pkgarch = (struct text){.bytes = rest.bytes, .length = lengths.pkgarch};
    read.checksum = text_from(rest, lengths.pkgarch);
    return read;
}

void notes_peek(const struct notes *notes, struct notes_batch *batch)
{
    struct notes_use *use;

    batch->batch = (struct audit_batch){.revisions = batch->revisions, .uses = batch->uses};
    batch->end_bytes = notes->taken_bytes;
    batch->last = NULL;
    batch->n = 0;
    while (batch->end_bytes < notes->revisions.length && batch->batch.n_revisions < NOTES_BATCH)
        batch->end_bytes = notes_read_revision(
            notes, batch->end_bytes, &batch->revisions[batch->batch.n_revisions++]);
    batch->n = batch->batch.n_revisions;
    STAILQ_FOREACH (use, &notes->waiting, next) {
        if (batch->batch.n_uses == NOTES_BATCH)
            break;
        batch->uses[batch->batch.n_uses++] = notes_read_use(use);
        batch->n += use->count;
        batch->last = use;
    }
}

void notes_take(struct notes *notes, const struct notes_batch *batch)
{
    notes->taken_bytes = batch->end_bytes;
    notes->n_waiting -= batch->n;
    for (size_t i = 0; i < batch->batch.n_uses; i++)
        STAILQ_REMOVE_HEAD(&notes->waiting, next);
}
