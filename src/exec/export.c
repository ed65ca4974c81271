/* With history every row is written as it comes. Without, the rows come package by
 * package, and those that hold its greatest value so far are kept until the next
 * package begins. */
#include "exec/export.h"

#include "base/clock.h"
#include "revision/revision.h"
#include "version.h"
#include "wire/codec.h"

#include <stdlib.h>

#define PIECE_BYTES ((size_t)128 * 1024)
#define PIECE_MS 50 /* other exports wait no longer for their turn */

struct export
{
    struct export *next; /* on a list of those that wait to be freed */
    struct store *store;
    struct odd_rows *odd_rows;
    const struct request *request; /* borrowed from the job */
    bool first_row;

    /* without history: the package under way */
    struct buffer version;
    struct buffer pkgarch;
    char *greatest;
    struct buffer checksums; /* of the rows that hold it: length, bytes, … */
};

void export_free(struct export *export)
{
    if (!export)
        return;
    store_close(export->store);
    buffer_free(&export->version);
    buffer_free(&export->pkgarch);
    buffer_free(&export->checksums);
    free(export->greatest);
    free(export);
}

void export_put(struct export **list, struct export *export)
{
    export->next = *list;
    *list = export;
}

void export_free_all(struct export **list)
{
    struct export *export;

    while ((export = *list)) {
        *list = export->next;
        export_free(export);
    }
}

/* ---- the start ---- */

struct describing {
    struct buffer *out;
    bool first;
};

static void write_column(void *context, const struct store_column *column)
{
    struct describing *describing = context;
    const struct codec_column described = {
        .name = column->name,
        .type = column->type,
        .not_null = column->not_null,
        .default_value = column->default_value,
        .primary_key = column->primary_key,
    };

    codec_write_export_column(describing->out, describing->first, &described);
    describing->first = false;
}

static int begin_answer(struct export *export, struct buffer *out, struct error *error)
{
    struct describing describing = {.out = out, .first = true};
    bool columns = export->request->colinfo;
    int result = 0;

    codec_write_export_begin(out, columns ? PRSERVD_VERSION : NULL);
    if (columns)
        result = store_describe(export->store, write_column, &describing, error);
    codec_write_export_rows(out, columns);
    return result;
}

static int open_scan(
    struct export *export, const struct store_options *options, struct error *error)
{
    const struct request *request = export->request;
    struct store_filter filter = {.version = request->version, .pkgarch = request->pkgarch};
    const struct text texts[] = {request->version, request->pkgarch, request->checksum};
    int result = store_open(&export->store, options, STORE_READER, error);

    if (request->history)
        filter.checksum = request->checksum;
    if (result == 0)
        result = store_check(export->store, texts, sizeof texts / sizeof *texts, error);
    if (result == 0)
        result = store_begin_read(export->store, STORE_WAITS, error);
    return result == 0 ? store_scan_begin(export->store, &filter, error) : result;
}

static int begin(struct job *job, const struct store_options *options, struct odd_rows *odd_rows)
{
    struct export *export = calloc(1, sizeof *export);
    int result;

    if (!export)
        return error_set_memory(&job->error);
    job->export = export;
    export->odd_rows = odd_rows;
    export->request = job->request;
    export->first_row = true;
    result = open_scan(export, options, &job->error);
    return result == 0 ? begin_answer(export, &job->piece, &job->error) : result;
}

/* ---- rows ---- */

static void write_row(struct export *export, struct buffer *out, const struct row *row)
{
    codec_write_export_row(
        out, export->first_row, row->version, row->pkgarch, row->checksum, row->value);
    export->first_row = false;
}

/* Writes what was kept of the package under way, as far as the filter lets it. */
static void write_kept(struct export *export, struct buffer *out)
{
    const char *at = export->checksums.bytes;
    const char *end = at ? at + export->checksums.length : at;
    struct row row = {
        .version = buffer_text(&export->version), .pkgarch = buffer_text(&export->pkgarch)};

    while (at < end) {
        memcpy(&row.checksum.length, at, sizeof row.checksum.length);
        row.checksum.bytes = at + sizeof row.checksum.length;
        row.value = text_of(export->greatest);
        if (export->request->checksum.length == 0 ||
            text_equal(export->request->checksum, row.checksum))
            write_row(export, out, &row);
        at = row.checksum.bytes + row.checksum.length;
    }
    buffer_reset(&export->checksums, PIECE_BYTES);
    free(export->greatest);
    export->greatest = NULL;
}

static void keep_row(struct export *export, const struct row *row)
{
    int order = export->greatest ? revision_compare(row->value.bytes, export->greatest) : 1;

    if (order < 0)
        return;
    if (order > 0) {
        free(export->greatest);
        export->greatest = strndup(row->value.bytes, row->value.length);
        buffer_reset(&export->checksums, PIECE_BYTES);
        export->checksums.failed = !export->greatest;
    }
    buffer_append(
        &export->checksums, (const char *)&row->checksum.length, sizeof row->checksum.length);
    buffer_append_text(&export->checksums, row->checksum);
}

static bool is_new_package(const struct export *export, const struct row *row)
{
    return !text_equal(buffer_text(&export->version), row->version) ||
           !text_equal(buffer_text(&export->pkgarch), row->pkgarch);
}

static int take_row(
    struct export *export, struct buffer *out, const struct row *row, struct error *error)
{
    if (export->request->history) {
        write_row(export, out, row);
        return 0;
    }
    if (is_new_package(export, row)) {
        write_kept(export, out);
        buffer_reset(&export->version, PIECE_BYTES);
        buffer_append_text(&export->version, row->version);
        buffer_reset(&export->pkgarch, PIECE_BYTES);
        buffer_append_text(&export->pkgarch, row->pkgarch);
    }
    if (odd_rows_check(export->odd_rows, row))
        keep_row(export, row);
    if (buffer_failed(&export->version) || buffer_failed(&export->pkgarch) ||
        buffer_failed(&export->checksums))
        return error_set_memory(error);
    return 0;
}

/* One piece: 1 if more is to come, 0 at the end, or an error code. */
static int make_piece(struct export *export, struct buffer *out, struct error *error)
{
    uint64_t until_ms = clock_ms() + PIECE_MS;
    unsigned rows = 0;

    while (out->length < PIECE_BYTES && (++rows % 1024 != 0 || clock_ms() < until_ms)) {
        struct row row;
        int result = store_scan_next(export->store, &row, error);

        if (result == 0) {
            if (!export->request->history)
                write_kept(export, out);
            codec_write_export_end(out);
            return 0;
        }
        if (result == 1)
            result = take_row(export, out, &row, error);
        if (result != 0)
            return result;
    }
    return 1;
}

void export_work(struct job *job, const struct store_options *options, struct odd_rows *odd_rows)
{
    int result = job->export ? 0 : begin(job, options, odd_rows);

    if (result == 0)
        result = make_piece(job->export, &job->piece, &job->error);
    if (result >= 0 && buffer_failed(&job->piece))
        result = error_set_memory(&job->error);
    job->more = result > 0;
    job->result = result < 0 ? result : 0;
    if (!job->more) {
        export_free(job->export);
        job->export = NULL;
    }
}
