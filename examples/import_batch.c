/* SPDX-License-Identifier: MIT */
/* Imports rows from standard input, all of them in one batch.
 *
 *     printf '%s\n' 'm4-1.4.19-r0 core2-64 aaa 1' 'm4-1.4.19-r0 core2-64 bbb 2' |
 *         import_batch 127.0.0.1:8585
 *
 * Each line is a row: version, pkgarch, checksum and value, without blanks in them. Rows that the
 * server refuses are reported; the others are imported.
 *
 *     cc import_batch.c $(pkg-config --cflags --libs prserv) */
#include <prserv.h>
#include <stdio.h>
#include <stdlib.h>

struct line {
    char version[256];
    char pkgarch[256];
    char checksum[256];
    char value[256];
};

/* Reads all lines. *lines is the caller's (free). Returns the number of lines, or -1. */
static long read_lines(struct line **lines)
{
    struct line *grown;
    struct line line;
    long n = 0;
    int fields;

    *lines = NULL;
    for (;;) {
        fields = scanf(
            " %255s %255s %255s %255s", line.version, line.pkgarch, line.checksum, line.value);
        if (fields != 4)
            return fields == EOF ? n : -1;
        grown = realloc(*lines, (size_t)(n + 1) * sizeof line);
        if (!grown)
            return -1;
        *lines = grown;
        grown[n++] = line;
    }
}

/* Makes each request an import. (A zeroed one is a get-pr.) */
static void fill_requests(struct prserv_request *requests, const struct line *lines, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        requests[i].row.version = prserv_text(lines[i].version);
        requests[i].row.pkgarch = prserv_text(lines[i].pkgarch);
        requests[i].row.checksum = prserv_text(lines[i].checksum);
        requests[i].row.value = prserv_text(lines[i].value);
    }
}

/* Returns the number of refused rows, or -1. */
static long import_rows(const char *address, struct prserv_request *requests, size_t n)
{
    struct prserv *server;
    struct prserv_error error;
    long refused = 0;
    int result;

    if (prserv_connect(&server, address, PRSERV_TIMEOUT_MS, &error) != 0) {
        fprintf(stderr, "%s\n", error.text);
        return -1;
    }
    result = prserv_batch(server, requests, n, &error);
    prserv_close(server);
    if (result != 0) {
        fprintf(stderr, "%s\n", error.text);
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        if (requests[i].error.code != 0) {
            fprintf(stderr, "row %zu: %s\n", i + 1, requests[i].error.text);
            refused++;
        }
    }
    return refused;
}

int main(int argc, char **argv)
{
    struct line *lines = NULL;
    struct prserv_request *requests = NULL;
    long n = 0;
    long refused = -1;

    if (argc != 2) {
        fprintf(stderr, "Usage: import_batch SERVER < ROWS\n");
        return 2;
    }
    n = read_lines(&lines);
    if (n >= 0)
        requests = calloc((size_t)n + 1, sizeof *requests);
    if (requests) {
        fill_requests(requests, lines, (size_t)n);
        refused = import_rows(argv[1], requests, (size_t)n);
    } else {
        fprintf(stderr, "the rows can't be read\n");
    }
    if (refused >= 0)
        printf("%ld imported, %ld refused\n", n - refused, refused);
    free(requests);
    free(lines);
    return refused == 0 ? 0 : 1;
}
