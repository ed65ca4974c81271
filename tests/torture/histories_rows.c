/* SPDX-License-Identifier: MIT */
/* The rows at the end of a round: an export of all its packages. */
#include "histories.h"

#include "base/buffer.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void add_row(json_t *row, const struct server *server, struct round *round, uint32_t package)
{
    const char *checksum = json_string_value(json_object_get(row, "checksum"));
    const char *value = json_string_value(json_object_get(row, "value"));
    struct history_operation operation = {
        .kind = HISTORY_STORED, .package = package, .database = (uint8_t)server->database};

    if (!checksum || !value)
        abort();
    if (strncmp(checksum, "floor:", strlen("floor:")) == 0)
        operation.kind = HISTORY_STORED_FLOOR;
    else
        operation.checksum = (uint32_t)strtoul(checksum + 1, NULL, 10);
    if (checksum[0] == 'f' && operation.kind == HISTORY_STORED)
        operation.checksum |= HISTORY_FOREIGN;
    operation.value = history_value(round->history, text_of(value));
    (void)history_add(round->history, &operation);
}

static bool add_rows(const char *text, size_t length, const struct server *server,
    struct round *round, uint32_t package)
{
    json_t *answer = json_loadb(text, length, 0, NULL);
    json_t *rows = json_object_get(answer, "datainfo");
    bool is_good = json_is_array(rows);
    json_t *row;
    size_t i;

    json_array_foreach(rows, i, row) add_row(row, server, round, package);
    json_decref(answer);
    return is_good;
}

/* Reads one message, which may be a chunk stream. */
static bool read_message(FILE *stream, struct buffer *message)
{
    char *line = NULL;
    size_t most = 0;
    ssize_t n = getline(&line, &most, stream);
    bool is_stream = n > 0 && strstr(line, "chunk-stream") != NULL;

    if (n > 0 && !is_stream)
        buffer_append(message, line, (size_t)n);
    while (is_stream && (n = getline(&line, &most, stream)) > 1)
        buffer_append(message, line, (size_t)n - 1);
    free(line);
    return n > 0 && !buffer_failed(message);
}

bool rows_add(const struct server *server, struct round *round)
{
    const struct timeval receive_timeout = {.tv_sec = 30};
    int fd = servers_connect(server, 0);
    FILE *stream = fd >= 0 ? fdopen(fd, "r+") : NULL;
    bool is_good = stream != NULL;

    if (!stream)
        return false;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &receive_timeout, sizeof receive_timeout);
    (void)fprintf(stream, "PRSERVICE 1.0\nneeds-headers: false\n\n");
    for (uint32_t package = 0; is_good && package < PACKAGES; package++) {
        struct buffer message = {0};

        (void)fprintf(stream,
            "{\"export\": {\"version\": \"%s-%u\", \"pkgarch\": null, \"checksum\": null, "
            "\"colinfo\": false, \"history\": true}}\n",
            round->name, package);
        (void)fflush(stream);
        is_good = read_message(stream, &message) &&
                  add_rows(message.bytes, message.length, server, round, package);
        buffer_free(&message);
        (void)fseek(stream, 0, SEEK_CUR);
    }
    (void)fclose(stream);
    return is_good;
}
