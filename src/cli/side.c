#include "cli/side.h"

#include "cli/rows.h"

#include <stdio.h>

struct adding {
    struct shelf *shelf;
    int side;
    struct progress progress;
    struct error error;
};

static int say(const struct error *error, int status)
{
    (void)fprintf(stderr, "prserv: %s\n", error->text);
    return status;
}

static int add_row(void *context, const struct prserv_row *row)
{
    struct adding *adding = context;

    progress_row(&adding->progress, 0, 0);
    return shelf_add(adding->shelf, row, adding->side, NULL, &adding->error);
}

int side_add_server(struct shelf *shelf, int side, struct prserv *server,
    const struct prserv_row *filter, bool history)
{
    struct adding adding = {.shelf = shelf, .side = side};
    struct prserv_export export = {.history = history, .row = add_row, .context = &adding};
    struct prserv_error error;
    int result;

    if (filter) {
        export.version = filter->version;
        export.pkgarch = filter->pkgarch;
        export.checksum = filter->checksum;
    }
    progress_begin(&adding.progress, "read from the server");
    result = prserv_export(server, &export, &error);
    progress_end(&adding.progress);
    if (result == PRSERV_ERROR_STOPPED)
        return say(&adding.error, CLI_NO);
    return result == 0 ? CLI_DONE : cli_failed(&error);
}

/* Returns CLI_DONE if every row of the file was taken. */
static int add_rows(struct adding *adding, struct row_reader *reader)
{
    struct source *source = reader->source;
    struct prserv_row row;
    int status = CLI_DONE;
    int found;

    while ((found = reader->next(reader, &row, &adding->error)) != ROW_END) {
        progress_row(&adding->progress, source->at_bytes, source->size_bytes);
        if (found != ROW_READ) {
            progress_end(&adding->progress);
            (void)fprintf(
                stderr, "prserv: %s:%lu: %s\n", source->name, reader->line, adding->error.text);
            status = CLI_USAGE;
        } else if (shelf_add(adding->shelf, &row, adding->side, NULL, &adding->error) != 0) {
            return say(&adding->error, CLI_NO);
        }
        if (found == ROW_BROKEN)
            break;
    }
    return status;
}

int side_add_file(struct shelf *shelf, int side, const char *name)
{
    struct adding adding = {.shelf = shelf, .side = side};
    struct row_reader *reader = NULL;
    struct source source;
    int status;

    if (source_open(&source, name, &adding.error) != 0)
        return say(&adding.error, CLI_USAGE);
    progress_begin(&adding.progress, "read from the file");
    if (row_reader_new(&reader, &source, &adding.error) == 0)
        status = add_rows(&adding, reader);
    else
        status = say(&adding.error, CLI_NO);
    progress_end(&adding.progress);
    row_reader_free(reader);
    source_close(&source);
    return status;
}
