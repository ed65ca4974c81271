/* SPDX-License-Identifier: MIT */
#include "cli/row_batch.h"

#define KEEP_BYTES ((size_t)8 * 1024 * 1024)

static const char placeholder[] = ""; /* bytes of a text until the batch is sealed */

static struct text row_batch_copy(struct buffer *bytes, struct text text)
{
    if (!text.bytes)
        return text;
    buffer_append_text(bytes, text);
    buffer_append(bytes, "", 1);
    return (struct text){.bytes = placeholder, .length = text.length};
}

void row_batch_add(struct row_batch *batch, const struct row *row)
{
    batch->rows[batch->n++] = (struct row){
        .version = row_batch_copy(&batch->bytes, text_not_null(row->version)),
        .pkgarch = row_batch_copy(&batch->bytes, text_not_null(row->pkgarch)),
        .checksum = row_batch_copy(&batch->bytes, text_not_null(row->checksum)),
        .value = row_batch_copy(&batch->bytes, row->value),
    };
}

bool row_batch_is_full(const struct row_batch *batch, size_t rows, size_t bytes)
{
    return batch->n >= rows || batch->bytes.length >= bytes || buffer_failed(&batch->bytes);
}

static void row_batch_place(struct text *text, const char **at)
{
    if (!text->bytes)
        return;
    text->bytes = *at;
    *at += text->length + 1;
}

int row_batch_seal(struct row_batch *batch, struct error *error)
{
    const char *at = batch->bytes.bytes;

    if (buffer_failed(&batch->bytes))
        return error_set_memory(error);
    for (size_t i = 0; i < batch->n; i++) {
        row_batch_place(&batch->rows[i].version, &at);
        row_batch_place(&batch->rows[i].pkgarch, &at);
        row_batch_place(&batch->rows[i].checksum, &at);
        row_batch_place(&batch->rows[i].value, &at);
    }
    return 0;
}

void row_batch_remove(struct row_batch *batch, size_t at)
{
    batch->n--;
    memmove(&batch->rows[at], &batch->rows[at + 1], (batch->n - at) * sizeof *batch->rows);
}

void row_batch_empty(struct row_batch *batch)
{
    batch->n = 0;
    buffer_reset(&batch->bytes, KEEP_BYTES);
}

void row_batch_deinit(struct row_batch *batch)
{
    buffer_free(&batch->bytes);
}
