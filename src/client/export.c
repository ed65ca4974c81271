/* The export: its answer is taken apart while it comes, and handed on row by row. */
#include "client/answer.h"
#include "client/fail.h"
#include "client/handle.h"
#include "client/splitter.h"
#include "wire/codec.h"

struct exporting {
    const struct prserv_export *export;
    struct prserv_error *error;
    bool has_metainfo;
    bool has_rows; /* the list of rows has come, be it empty */
};

static int stopped(struct exporting *exporting)
{
    return fail(exporting->error, PRSERV_ERROR_STOPPED, "the caller stopped it");
}

static int found_row(struct exporting *exporting, struct text json)
{
    struct codec_row row;
    struct prserv_row handed;
    struct error reason;
    int result = codec_read_row(json, &row, &reason);

    if (result != 0)
        return answer_fail(exporting->error, result, &reason);
    handed.version = field_of(row.version);
    handed.pkgarch = field_of(row.pkgarch);
    handed.checksum = field_of(row.checksum);
    handed.value = field_of(row.value);
    result = exporting->export->row(exporting->export->context, &handed);
    codec_release_row(&row);
    return result == 0 ? 0 : stopped(exporting);
}

static int no_export(struct prserv_error *error)
{
    return fail(error, PRSERV_ERROR_PROTOCOL, "it answered with something that is no export");
}

static int found_metainfo(struct exporting *exporting, struct text json)
{
    const struct prserv_export *export = exporting->export;

    struct error reason;
    int result = codec_check_object(json, &reason);

    if (result == ERROR_MEMORY)
        return answer_fail(exporting->error, result, &reason);
    if (exporting->has_metainfo || result != 0)
        return no_export(exporting->error);
    exporting->has_metainfo = true;
    if (!export->metainfo)
        return 0;
    return export->metainfo(export->context, field_of(json)) == 0 ? 0 : stopped(exporting);
}

static int found(void *context, enum splitter_part part, struct text key, struct text value)
{
    struct exporting *exporting = context;

    if (text_is(key, "datainfo")) {
        if (exporting->has_rows || part == SPLITTER_MEMBER)
            return no_export(exporting->error);
        exporting->has_rows = part == SPLITTER_LIST_END;
        return exporting->has_rows ? 0 : found_row(exporting, value);
    }
    if (text_is(key, "metainfo"))
        return part == SPLITTER_MEMBER ? found_metainfo(exporting, value)
                                       : no_export(exporting->error);
    if (text_is(key, "invoke-error")) {
        struct error reason;

        return answer_fail(exporting->error, codec_read_refusal(value, &reason), &reason);
    }
    return 0;
}

static int feed(struct splitter *splitter, struct text piece, struct prserv_error *error)
{
    int result = splitter_feed(splitter, piece);

    if (result == SPLITTER_NONSENSE)
        return no_export(error);
    if (result == SPLITTER_TOO_LONG)
        return fail(
            error, PRSERV_ERROR_PROTOCOL, "a row is longer than %zu bytes", SPLITTER_VALUE_BYTES);
    if (result == SPLITTER_NO_MEMORY)
        return fail(error, PRSERV_ERROR_MEMORY, "out of memory");
    return result;
}

/* Reads the answer to its end, piece by piece. */
static int read_pieces(struct prserv *server, struct splitter *splitter, struct text piece,
    bool last, struct prserv_error *error)
{
    int result = feed(splitter, piece, error);

    while (result == 0 && !last) {
        result = handle_next(server, &piece, &last, error);
        if (result == 0)
            result = feed(splitter, piece, error);
    }
    if (result == 0 && !splitter_is_complete(splitter))
        return fail(error, PRSERV_ERROR_PROTOCOL, "the export ended midway");
    /* What is left of an answer that is not read to its end can't be skipped. */
    if (result != 0 && !last)
        channel_close(&server->channel);
    return result;
}

static int read_export(struct prserv *server, const struct prserv_export *export, struct text piece,
    bool last, struct prserv_error *error)
{
    struct exporting exporting = {.export = export, .error = error};
    struct splitter splitter = {.found = found, .context = &exporting};
    int result = read_pieces(server, &splitter, piece, last, error);

    splitter_free(&splitter);
    return result == 0 && !exporting.has_rows ? no_export(error) : result;
}

int prserv_export(
    struct prserv *server, const struct prserv_export *export, struct prserv_error *error)
{
    const struct request request = {
        .kind = REQUEST_EXPORT,
        .version = field_text(export->version),
        .pkgarch = field_text(export->pkgarch),
        .checksum = field_text(export->checksum),
        .history = export->history,
        .colinfo = export->colinfo,
    };
    struct buffer line = BUFFER_EMPTY;
    struct text piece;
    bool last;
    int result;

    handle_begin(server);
    result = handle_write(&line, &request, error);
    if (result == 0)
        result = handle_start(server, buffer_text(&line), &piece, &last, error);
    buffer_free(&line);
    if (result == 0)
        result = read_export(server, export, piece, last, error);
    return handle_end(server, request.kind, result, error);
}
