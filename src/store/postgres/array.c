/* SPDX-License-Identifier: MIT */
/* The binary format of an array: the number of dimensions, whether it has NULLs, the type, the
 * number of elements, the first index; then each element's length and bytes. Numbers have 32 bits,
 * the highest byte first. */
#include "store/postgres/postgres.h"

#include <arpa/inet.h>
#include <endian.h>
#include <limits.h>
#include <string.h>

#define MAX_ARRAYS 8
#define FLAGS_AT 4
#define COUNT_AT 12

static void postgres_array_append_number(struct buffer *bytes, uint32_t number)
{
    const uint32_t wire = htonl(number);

    buffer_append(bytes, (const char *)&wire, sizeof wire);
}

static void postgres_array_patch_number(struct buffer *bytes, size_t at, uint32_t number)
{
    const uint32_t wire = htonl(number);

    if (!buffer_failed(bytes))
        memcpy(bytes->bytes + at, &wire, sizeof wire);
}

void postgres_array_begin(struct postgres_array *array, enum postgres_type type)
{
    buffer_reset(&array->bytes, (size_t)64 * 1024);
    array->count = 0;
    postgres_array_append_number(&array->bytes, 1); /* dimensions */
    postgres_array_append_number(&array->bytes, 0); /* no NULL yet */
    postgres_array_append_number(&array->bytes, (uint32_t)type);
    postgres_array_append_number(&array->bytes, 0); /* elements */
    postgres_array_append_number(&array->bytes, 1); /* the first index */
}

void postgres_array_text(struct postgres_array *array, struct text text)
{
    array->bytes.failed = array->bytes.failed || text.length > INT_MAX;
    postgres_array_append_number(&array->bytes, text.bytes ? (uint32_t)text.length : UINT32_MAX);
    if (text.bytes)
        buffer_append_text(&array->bytes, text);
    else
        postgres_array_patch_number(&array->bytes, FLAGS_AT, 1);
    array->count++;
}

void postgres_array_int8(struct postgres_array *array, int64_t number)
{
    const uint64_t wire = htobe64((uint64_t)number);

    postgres_array_text(array, (struct text){.bytes = (const char *)&wire, .length = sizeof wire});
}

void postgres_array_bool(struct postgres_array *array, bool is_true)
{
    postgres_array_text(array, (struct text){.bytes = is_true ? "\1" : "\0", .length = 1});
}

void postgres_array_free(struct postgres_array *array)
{
    buffer_free(&array->bytes);
}

int postgres_send(struct postgres_conn *conn, const char *statement, struct postgres_array *arrays,
    size_t n, struct error *error)
{
    const char *values[MAX_ARRAYS];
    int lengths[MAX_ARRAYS];
    int formats[MAX_ARRAYS];

    for (size_t i = 0; i < n; i++) {
        postgres_array_patch_number(&arrays[i].bytes, COUNT_AT, arrays[i].count);
        if (buffer_failed(&arrays[i].bytes))
            return error_set_memory(error);
        if (arrays[i].bytes.length > INT_MAX)
            return error_set(
                error, ERROR_STORE, "the batch is too large for one transaction of %s", conn->name);
        values[i] = arrays[i].bytes.bytes;
        lengths[i] = (int)arrays[i].bytes.length;
        formats[i] = 1;
    }
    if (PQsendQueryPrepared(conn->connection, statement, (int)n, values, lengths, formats, 1) != 1)
        return postgres_lost(conn, error);
    return 0;
}

/* ---- replies ---- */

int32_t postgres_get_int4(const PGresult *reply, int row, int column)
{
    uint32_t wire = 0;

    if (PQgetlength(reply, row, column) == sizeof wire)
        memcpy(&wire, PQgetvalue(reply, row, column), sizeof wire);
    return (int32_t)ntohl(wire);
}

int64_t postgres_get_int8(const PGresult *reply, int row, int column)
{
    uint64_t wire = 0;

    if (PQgetlength(reply, row, column) == sizeof wire)
        memcpy(&wire, PQgetvalue(reply, row, column), sizeof wire);
    return (int64_t)be64toh(wire);
}

struct text postgres_get_text(const PGresult *reply, int row, int column)
{
    if (PQgetisnull(reply, row, column))
        return (struct text){.bytes = NULL};
    return (struct text){
        .bytes = PQgetvalue(reply, row, column),
        .length = (size_t)PQgetlength(reply, row, column),
    };
}
