/* SPDX-License-Identifier: MIT */
/* Runs a fuzz target on files one by one. Every build replays the corpus as a test, and can
 * reproduce what a fuzzer has found. */
#include "fuzz.h"

static uint8_t *read_file(const char *name, size_t *size)
{
    FILE *file = fopen(name, "rbe");
    uint8_t *data = NULL;
    long length;

    if (!file || fseek(file, 0, SEEK_END) != 0 || (length = ftell(file)) < 0) {
        (void)fprintf(stderr, "%s: can't be read\n", name);
        exit(2);
    }
    rewind(file);
    *size = (size_t)length;
    data =
        malloc(*size + (*size == 0)); /* the exact size, so that a sanitizer sees reads beyond it */
    if (!data || fread(data, 1, *size, file) != *size) {
        (void)fprintf(stderr, "%s: can't be read\n", name);
        exit(2);
    }
    (void)fclose(file);
    return data;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        size_t size;
        uint8_t *data = read_file(argv[i], &size);

        (void)fprintf(stderr, "%s\n", argv[i]);
        (void)LLVMFuzzerTestOneInput(data, size);
        free(data);
    }
    return 0;
}
