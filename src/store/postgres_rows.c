/* Rows that a transaction adds are kept, and sent together with its commit. */
#include "store/postgres.h"

#include "revision/order_key.h"
#include "revision/revision.h"

#define PLACE_BYTES 500 /* an entry of an index holds 2,700 */

void postgres_place(struct buffer *key, struct text value, struct text *place, struct text *rest)
{
    static const char nothing[] = "";
    size_t length = 0;

    buffer_reset(key, (size_t)64 * 1024);
    if (value.bytes && revision_is_valid(value.bytes, value.length)) {
        revision_order_key(key, value);
        length = key->length < PLACE_BYTES ? key->length : PLACE_BYTES;
    } else { /* another program's work: it is kept, and has no place */
        buffer_append(key, value.bytes ? "\1" : "\0", 1);
        buffer_append(key, value.bytes, value.bytes ? value.length : 0);
    }
    *place = (struct text){.bytes = length > 0 ? key->bytes : nothing, .length = length};
    *rest = (struct text){
        .bytes = key->length > length ? key->bytes + length : nothing,
        .length = key->length - length,
    };
}

void postgres_rows_begin(struct postgres_rows *rows)
{
    postgres_array_begin(&rows->packages, POSTGRES_INT8);
    postgres_array_begin(&rows->digests, POSTGRES_BYTEA);
    postgres_array_begin(&rows->places, POSTGRES_BYTEA);
    postgres_array_begin(&rows->rests, POSTGRES_BYTEA);
    postgres_array_begin(&rows->checksums, POSTGRES_TEXT);
    postgres_array_begin(&rows->values, POSTGRES_TEXT);
}

void postgres_rows_add(struct postgres_rows *rows, int64_t package, const struct row *row)
{
    unsigned char digest[DIGEST_BYTES] = {0};
    struct text place;
    struct text rest;
    bool is_digested;

    digest_begin(rows->digest);
    digest_add(rows->digest, row->checksum);
    is_digested = digest_end(rows->digest, digest);
    postgres_place(&rows->key, row->value, &place, &rest);
    postgres_array_int8(&rows->packages, package);
    postgres_array_text(
        &rows->digests, (struct text){.bytes = (const char *)digest, .length = sizeof digest});
    postgres_array_text(&rows->places, place);
    postgres_array_text(&rows->rests, rest);
    postgres_array_text(&rows->checksums, text_not_null(row->checksum));
    postgres_array_text(&rows->values, row->value);
    rows->packages.bytes.failed =
        rows->packages.bytes.failed || buffer_failed(&rows->key) || !is_digested;
}

int postgres_rows_send(struct postgres_rows *rows, struct postgres_link *link, struct error *error)
{
    /* An array each, side by side; they keep their memory for the next transaction. */
    struct postgres_array arrays[] = {
        rows->packages, rows->digests, rows->places, rows->rests, rows->checksums, rows->values};

    return postgres_send(link, "add", arrays, sizeof arrays / sizeof *arrays, error);
}

void postgres_rows_free(struct postgres_rows *rows)
{
    postgres_array_free(&rows->packages);
    postgres_array_free(&rows->digests);
    postgres_array_free(&rows->places);
    postgres_array_free(&rows->rests);
    postgres_array_free(&rows->checksums);
    postgres_array_free(&rows->values);
    buffer_free(&rows->key);
}
