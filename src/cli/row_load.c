/* SPDX-License-Identifier: MIT */
#include "cli/row_load.h"

#include "cli/connect.h"
#include "cli/progress.h"
#include "cli/row_input.h"
#include "cli/rows/rows.h"
#include "client/field.h"

#include <stdio.h>

struct row_loader {
    struct row_set *set;
    int origin;
    struct progress progress;
    struct error error;
};

static int row_load_report(const struct error *error, int status)
{
    (void)fprintf(stderr, "prserv: %s\n", error->text);
    return status;
}

static int row_load_add_row(void *context, const struct prserv_row *received)
{
    struct row_loader *loader = context;
    const struct row row = field_row(received);

    progress_row(&loader->progress, 0, 0);
    return row_set_add(loader->set, &row, loader->origin, NULL, &loader->error);
}

int row_load_server(
    struct row_set *set, int origin, struct prserv *server, const struct row *filter, bool history)
{
    struct row_loader loader = {.set = set, .origin = origin};
    struct prserv_export request = {
        .history = history, .row = row_load_add_row, .context = &loader};
    struct prserv_error error;
    int result;

    if (filter) {
        request.version = field_of(filter->version);
        request.pkgarch = field_of(filter->pkgarch);
        request.checksum = field_of(filter->checksum);
    }
    progress_begin(&loader.progress, "loaded from the server");
    result = prserv_export(server, &request, &error);
    progress_clear(&loader.progress);
    if (result == PRSERV_ERROR_STOPPED)
        return row_load_report(&loader.error, CLI_FAILED);
    return result == 0 ? CLI_OK : cli_report_error(&error);
}

/* Returns CLI_OK if every row of the file was loaded. */
static int row_load_add_rows(struct row_loader *loader, struct row_reader *reader)
{
    const struct source *source = &reader->source;
    struct row row;
    int status = CLI_OK;
    int found;

    while ((found = reader->next(reader, &row, &loader->error)) != ROW_END) {
        progress_row(&loader->progress, source->at_bytes, source->size_bytes);
        if (found != ROW_READ) {
            progress_clear(&loader->progress);
            (void)fprintf(
                stderr, "prserv: %s:%lu: %s\n", source->name, reader->line, loader->error.text);
            status = CLI_USAGE;
        } else if (row_set_add(loader->set, &row, loader->origin, NULL, &loader->error) != 0) {
            return row_load_report(&loader->error, CLI_FAILED);
        }
        if (found == ROW_BROKEN)
            break;
    }
    return status;
}

int row_load_file(struct row_set *set, int origin, const char *name)
{
    struct row_loader loader = {.set = set, .origin = origin};
    struct row_reader *reader;
    int result = row_input_open(&reader, name, &loader.error);
    int status;

    if (result != 0)
        return row_load_report(&loader.error, result == ERROR_MEMORY ? CLI_FAILED : CLI_USAGE);
    progress_begin(&loader.progress, "loaded from the file");
    status = row_load_add_rows(&loader, reader);
    progress_clear(&loader.progress);
    row_reader_close(reader);
    return status;
}
