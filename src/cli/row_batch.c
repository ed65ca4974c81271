#include "cli/row_batch.h"

static const char missing[] = ""; /* stands for "has bytes" until the batch is sealed */

static struct text copy(struct buffer *bytes, struct text text)
{
    if (!text.bytes)
        return text;
    buffer_append_text(bytes, text);
    buffer_append(bytes, "", 1);
    return (struct text){.bytes = missing, .length = text.length};
}

void row_batch_add(struct row_batch *batch, const struct row *row)
{
    batch->rows[batch->n++] = (struct row){
        .version = copy(&batch->bytes, text_not_null(row->version)),
        .pkgarch = copy(&batch->bytes, text_not_null(row->pkgarch)),
        .checksum = copy(&batch->bytes, text_not_null(row->checksum)),
        .value = copy(&batch->bytes, row->value),
    };
}

bool row_batch_is_full(const struct row_batch *batch)
{
    return batch->n == ROW_BATCH_ROWS || batch->bytes.length >= ROW_BATCH_BYTES ||
           buffer_failed(&batch->bytes);
}

static void place(struct text *text, const char **at)
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
        place(&batch->rows[i].version, &at);
        place(&batch->rows[i].pkgarch, &at);
        place(&batch->rows[i].checksum, &at);
        place(&batch->rows[i].value, &at);
    }
    return 0;
}

void row_batch_take_out(struct row_batch *batch, size_t at)
{
    batch->n--;
    memmove(&batch->rows[at], &batch->rows[at + 1], (batch->n - at) * sizeof *batch->rows);
}

void row_batch_empty(struct row_batch *batch)
{
    batch->n = 0;
    buffer_reset(&batch->bytes, 2 * ROW_BATCH_BYTES);
}

void row_batch_free(struct row_batch *batch)
{
    buffer_free(&batch->bytes);
}
