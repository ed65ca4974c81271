/* SPDX-License-Identifier: MIT */
/* The rows that a transaction adds are kept, and sent together with its commit; rows that are
 * wanted are sent likewise. Keys, hashes and order keys are computed here, so that the database
 * need not. */
#include "store/postgres/postgres.h"

#include "revision/revision.h"

#include <arpa/inet.h>
#include <string.h>

#define SORT_KEY_BYTES 500 /* an entry of an index holds 2,700 */

bool postgres_can_hold(struct text text)
{
    return text.length == 0 || !memchr(text.bytes, '\0', text.length);
}

int postgres_rows_check(
    struct store *base, const struct text *texts, size_t count, struct error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (!postgres_can_hold(texts[i]))
            return error_set(error, ERROR_INPUT,
                "a text with a NUL character in it can't be held by the database %s (PostgreSQL)",
                ((const struct postgres_store *)base)->name);
    }
    return 0;
}

bool postgres_hash_package(struct digest *digest, struct text version, struct text pkgarch,
    unsigned char key[DIGEST_BYTES])
{
    const uint32_t length = htonl((uint32_t)version.length);

    digest_begin(digest);
    digest_add(digest, (struct text){.bytes = (const char *)&length, .length = sizeof length});
    digest_add(digest, version);
    digest_add(digest, pkgarch);
    return digest_end(digest, key);
}

bool postgres_hash_checksum(
    struct digest *digest, struct text checksum, unsigned char hash[DIGEST_BYTES])
{
    digest_begin(digest);
    digest_add(digest, checksum);
    return digest_end(digest, hash);
}

struct text postgres_hash_text(const unsigned char hash[DIGEST_BYTES])
{
    return (struct text){.bytes = (const char *)hash, .length = DIGEST_BYTES};
}

void postgres_sort_key(
    struct buffer *key, struct text value, struct text *sort_key, struct text *overflow)
{
    static const char nothing[] = "";
    size_t length = 0;

    buffer_reset(key, (size_t)64 * 1024);
    if (value.bytes && revision_is_valid(value.bytes, value.length)) {
        revision_order_key(key, value);
        length = key->length < SORT_KEY_BYTES ? key->length : SORT_KEY_BYTES;
    } else { /* left by another program: it is kept outside of the order */
        buffer_append(key, value.bytes ? "\1" : "\0", 1);
        buffer_append(key, value.bytes, value.bytes ? value.length : 0);
    }
    *sort_key = (struct text){.bytes = length > 0 ? key->bytes : nothing, .length = length};
    *overflow = (struct text){
        .bytes = key->length > length ? key->bytes + length : nothing,
        .length = key->length - length,
    };
}

void postgres_rows_begin(struct postgres_rows *rows)
{
    static const enum postgres_type types[N_ROWS] = {
        [ROWS_KEY] = POSTGRES_BYTEA,
        [ROWS_DIGEST] = POSTGRES_BYTEA,
        [ROWS_SORT_KEY] = POSTGRES_BYTEA,
        [ROWS_OVERFLOW] = POSTGRES_BYTEA,
        [ROWS_PACKAGE] = POSTGRES_INT8,
        [ROWS_CHECKSUM] = POSTGRES_TEXT,
        [ROWS_VALUE] = POSTGRES_TEXT,
    };

    for (int i = 0; i < N_ROWS; i++)
        postgres_array_begin(&rows->arrays[i], types[i]);
}

/* Appends what identifies a row within its package. */
static void postgres_rows_append(struct postgres_rows *rows, const struct row *row)
{
    unsigned char hash[DIGEST_BYTES] = {0};
    struct text sort_key;
    struct text overflow;
    const bool is_hashed = postgres_hash_checksum(rows->digest, row->checksum, hash);

    postgres_sort_key(&rows->order_key, row->value, &sort_key, &overflow);
    postgres_array_text(&rows->arrays[ROWS_DIGEST], postgres_hash_text(hash));
    postgres_array_text(&rows->arrays[ROWS_SORT_KEY], sort_key);
    postgres_array_text(&rows->arrays[ROWS_OVERFLOW], overflow);
    if (!is_hashed || buffer_failed(&rows->order_key))
        rows->arrays[ROWS_DIGEST].bytes.failed = true;
}

void postgres_rows_add(struct postgres_rows *rows, int64_t package, const struct row *row)
{
    postgres_rows_append(rows, row);
    postgres_array_int8(&rows->arrays[ROWS_PACKAGE], package);
    postgres_array_text(&rows->arrays[ROWS_CHECKSUM], text_not_null(row->checksum));
    postgres_array_text(&rows->arrays[ROWS_VALUE], row->value);
}

void postgres_rows_add_wanted(struct postgres_rows *rows, const struct row *row)
{
    unsigned char key[DIGEST_BYTES] = {0};

    if (!postgres_hash_package(rows->digest, row->version, row->pkgarch, key))
        rows->arrays[ROWS_KEY].bytes.failed = true;
    postgres_array_text(&rows->arrays[ROWS_KEY], postgres_hash_text(key));
    postgres_rows_append(rows, row);
}

void postgres_rows_free(struct postgres_rows *rows)
{
    for (int i = 0; i < N_ROWS; i++)
        postgres_array_free(&rows->arrays[i]);
    buffer_free(&rows->order_key);
}
