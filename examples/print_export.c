/* SPDX-License-Identifier: MIT */
/* Prints the rows of a PR server while they arrive: version, pkgarch, checksum and value, separated
 * by tabs.
 *
 *     print_export 127.0.0.1:8585 [VERSION]
 *
 *     cc print_export.c $(pkg-config --cflags --libs prserv) */
#include <prserv.h>
#include <stdio.h>

static void print_text(FILE *out, struct prserv_text text, char end)
{
    /* The value of a row without one has no bytes. */
    if (text.bytes)
        (void)fwrite(text.bytes, 1, text.length, out);
    (void)fputc(end, out);
}

/* Stops the export when printing fails, because nobody reads on. */
static int print_row(void *context, const struct prserv_row *row)
{
    FILE *out = context;

    print_text(out, row->version, '\t');
    print_text(out, row->pkgarch, '\t');
    print_text(out, row->checksum, '\t');
    print_text(out, row->value, '\n');
    return ferror(out);
}

int main(int argc, char **argv)
{
    struct prserv_export wanted = {.history = true, .row = print_row, .context = stdout};
    struct prserv *server;
    struct prserv_error error;
    int result;

    if (argc != 2 && argc != 3) {
        fprintf(stderr, "Usage: print_export SERVER [VERSION]\n");
        return 2;
    }
    if (argc == 3)
        wanted.version = prserv_text(argv[2]);
    if (prserv_connect(&server, argv[1], PRSERV_TIMEOUT_MS, &error) != 0) {
        fprintf(stderr, "%s\n", error.text);
        return 3;
    }
    result = prserv_export(server, &wanted, &error);
    if (result != 0)
        fprintf(stderr, "%s\n", error.text);
    prserv_close(server);
    return result == 0 && fflush(stdout) == 0 ? 0 : 1;
}
