/* Prints what a PR server knows, row by row while it comes: version, pkgarch, checksum and
 * value, with tabs between them.
 *
 *     print_export 127.0.0.1:8585 [VERSION]
 *
 *     cc print_export.c $(pkg-config --cflags --libs prserv) */
#include <prserv.h>
#include <stdio.h>

static void print_text(FILE *out, struct prserv_text text, char end)
{
    /* A row without a value has no bytes there. */
    if (text.bytes)
        (void)fwrite(text.bytes, 1, text.length, out);
    (void)fputc(end, out);
}

/* Stops the export when nobody reads what is printed. */
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
    struct prserv_export export = {.history = true, .row = print_row, .context = stdout};
    struct prserv *server;
    struct prserv_error error;
    int result;

    if (argc != 2 && argc != 3) {
        fprintf(stderr, "Usage: print_export SERVER [VERSION]\n");
        return 2;
    }
    if (argc == 3)
        export.version = prserv_text(argv[2]);
    if (prserv_connect(&server, argv[1], 30000, &error) != 0) {
        fprintf(stderr, "%s\n", error.text);
        return 3;
    }
    result = prserv_export(server, &export, &error);
    if (result != 0)
        fprintf(stderr, "%s\n", error.text);
    prserv_close(server);
    return result == 0 && fflush(stdout) == 0 ? 0 : 1;
}
