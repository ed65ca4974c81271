/* An array in binary: how many dimensions, whether it has NULLs, the type, how many elements,
 * the first index; then each element's length and bytes. Numbers are 32 bits, the highest byte
 * first. */
#include "store/postgres.h"

#include <arpa/inet.h>
#include <endian.h>
#include <limits.h>
#include <string.h>

#define MOST_ARRAYS 8
#define FLAGS_AT 4
#define COUNT_AT 12

static void append_number(struct buffer *bytes, uint32_t number)
{
    const uint32_t wire = htonl(number);

    buffer_append(bytes, (const char *)&wire, sizeof wire);
}

static void patch_number(struct buffer *bytes, size_t at, uint32_t number)
{
    const uint32_t wire = htonl(number);

    if (!buffer_failed(bytes))
        memcpy(bytes->bytes + at, &wire, sizeof wire);
}

void postgres_array_begin(struct postgres_array *array, enum postgres_type type)
{
    buffer_reset(&array->bytes, (size_t)64 * 1024);
    array->count = 0;
    append_number(&array->bytes, 1); /* dimensions */
    append_number(&array->bytes, 0); /* no NULL yet */
    append_number(&array->bytes, (uint32_t)type);
    append_number(&array->bytes, 0); /* elements */
    append_number(&array->bytes, 1); /* the first index */
}

static void append_element(struct postgres_array *array, const char *bytes, size_t length)
{
    array->bytes.failed = array->bytes.failed || length > INT_MAX;
    append_number(&array->bytes, (uint32_t)length);
    buffer_append(&array->bytes, bytes, length);
    array->count++;
}

void postgres_array_text(struct postgres_array *array, struct text text)
{
    if (text.bytes) {
        append_element(array, text.bytes, text.length);
        return;
    }
    append_number(&array->bytes, UINT32_MAX);
    patch_number(&array->bytes, FLAGS_AT, 1);
    array->count++;
}

void postgres_array_int8(struct postgres_array *array, int64_t number)
{
    const uint64_t wire = htobe64((uint64_t)number);

    append_element(array, (const char *)&wire, sizeof wire);
}

void postgres_array_bool(struct postgres_array *array, bool is_true)
{
    append_element(array, is_true ? "\1" : "\0", 1);
}

void postgres_array_free(struct postgres_array *array)
{
    buffer_free(&array->bytes);
}

int postgres_send(struct postgres_link *link, const char *statement, struct postgres_array *arrays,
    size_t n, struct error *error)
{
    const char *values[MOST_ARRAYS];
    int lengths[MOST_ARRAYS];
    int formats[MOST_ARRAYS];

    for (size_t i = 0; i < n; i++) {
        patch_number(&arrays[i].bytes, COUNT_AT, arrays[i].count);
        if (buffer_failed(&arrays[i].bytes))
            return error_set_memory(error);
        if (arrays[i].bytes.length > INT_MAX)
            return error_set(error, ERROR_STORE, "too much for one transaction of %s", link->name);
        values[i] = arrays[i].bytes.bytes;
        lengths[i] = (int)arrays[i].bytes.length;
        formats[i] = 1;
    }
    if (PQsendQueryPrepared(link->connection, statement, (int)n, values, lengths, formats, 1) != 1)
        return postgres_lost(link, error);
    return 0;
}

/* ---- results ---- */

int32_t postgres_get_int4(const PGresult *result, int row, int column)
{
    uint32_t wire = 0;

    if (PQgetlength(result, row, column) == sizeof wire)
        memcpy(&wire, PQgetvalue(result, row, column), sizeof wire);
    return (int32_t)ntohl(wire);
}

int64_t postgres_get_int8(const PGresult *result, int row, int column)
{
    uint64_t wire = 0;

    if (PQgetlength(result, row, column) == sizeof wire)
        memcpy(&wire, PQgetvalue(result, row, column), sizeof wire);
    return (int64_t)be64toh(wire);
}

struct text postgres_get_text(const PGresult *result, int row, int column)
{
    if (PQgetisnull(result, row, column))
        return (struct text){.bytes = NULL};
    return (struct text){
        .bytes = PQgetvalue(result, row, column),
        .length = (size_t)PQgetlength(result, row, column),
    };
}
