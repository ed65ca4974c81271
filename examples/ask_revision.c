/* SPDX-License-Identifier: MIT */
/* Asks a PR server for the revision of the content of a package, as a build does.
 *
 *     ask_revision 127.0.0.1:8585 m4-1.4.19-r0 core2-64 a-checksum-of-the-content
 *
 * The same content gets the same revision again, new content the next one.
 *
 *     cc ask_revision.c $(pkg-config --cflags --libs prserv) */
#include <prserv.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    struct prserv *server;
    struct prserv_error error;
    char *revision;
    int result;

    if (argc != 5) {
        fprintf(stderr, "Usage: ask_revision SERVER VERSION PKGARCH CHECKSUM\n");
        return 2;
    }
    if (prserv_connect(&server, argv[1], PRSERV_TIMEOUT_MS, &error) != 0) {
        fprintf(stderr, "%s\n", error.text);
        return 3;
    }
    result = prserv_get_pr(server, prserv_text(argv[2]), prserv_text(argv[3]), prserv_text(argv[4]),
        false, &revision, &error);
    if (result == 0)
        printf("%s\n", revision);
    else
        fprintf(stderr, "%s\n", error.text);
    free(revision);
    prserv_close(server);
    return result == 0 ? 0 : 1;
}
