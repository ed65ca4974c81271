#include "cli/batch.h"

#include <stdlib.h>

#define MOST_BYTES ((size_t)1024 * 1024)

bool batch_is_full(const struct batch *batch)
{
    return batch->n == BATCH_ROWS || batch->bytes >= MOST_BYTES;
}

static struct prserv_text put(char **at, struct prserv_text text)
{
    struct prserv_text copy = {.bytes = *at, .length = text.length};

    if (text.length > 0)
        memcpy(*at, text.bytes, text.length);
    *at += text.length;
    return copy;
}

bool batch_add(struct batch *batch, const struct prserv_row *row, unsigned long line)
{
    size_t length =
        row->version.length + row->pkgarch.length + row->checksum.length + row->value.length;
    struct prserv_row *copy = &batch->requests[batch->n].row;
    char *at = malloc(length + 1);

    if (!at)
        return false;
    copy->version = put(&at, row->version); /* where the allocation begins */
    copy->pkgarch = put(&at, row->pkgarch);
    copy->checksum = put(&at, row->checksum);
    copy->value = put(&at, row->value);
    batch->lines[batch->n++] = line;
    batch->bytes += length;
    return true;
}

static void free_texts(const struct prserv_request *request)
{
    free((char *)request->row.version.bytes);
}

int batch_filter(
    struct batch *batch, int (*keep)(void *context, const struct prserv_row *row), void *context)
{
    size_t kept = 0;
    int result = 1;

    for (size_t i = 0; i < batch->n; i++) {
        if (result >= 0)
            result = keep(context, &batch->requests[i].row);
        if (result == 0) {
            free_texts(&batch->requests[i]);
            continue;
        }
        batch->requests[kept] = batch->requests[i];
        batch->lines[kept++] = batch->lines[i];
    }
    batch->n = kept;
    return result < 0 ? result : 0;
}

void batch_empty(struct batch *batch)
{
    for (size_t i = 0; i < batch->n; i++)
        free_texts(&batch->requests[i]);
    batch->n = 0;
    batch->bytes = 0;
}
