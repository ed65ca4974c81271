/* SPDX-License-Identifier: MIT */
/* With history every row is written as it comes.
 *
 * Without, the rows come package by package. Those that hold the greatest revision until now are
 * kept until the package ends, all in one transaction. A piece that can't take a whole package ends
 * in front of it. A package that is longer than a piece is read in one transaction all the same,
 * but not kept, and then once more: in pieces that write the rows which hold its greatest revision.
 *
 *     ORDINARY ──── the piece began with a package that it can't take ───→ LONG
 *         ↑ ↑                                                                │ export_read_package,
 *         │ └── the next package begins ── FIXED ←── greatest is known ──────┤ or an index
 *         └───────────────────────────── the rows are few: they are written ─┘ */
#include "exec/export.h"

#include "base/clock.h"
#include "exec/export_package.h"
#include "version.h"
#include "wire/codec.h"

#include <stdlib.h>

#define PIECE_US 5000
#define LOOK_BYTES ((size_t)32 * 1024) /* of rows that are read between two looks at the clock */

enum export_row_result {
    ROW_TAKEN = 0,
    ROW_LEFT, /* the piece ends in front of it */
    ROW_LONG, /* the piece ends in front of its package */
};

struct export_scan {
    bool has_begun; /* the beginning of the answer was written */
    bool is_first;  /* no row was written (or, before, no column) */
    unsigned rollbacks;
    struct buffer place;           /* where the next piece begins; empty: at the first row */
    struct export_package package; /* without history */
};

/* The making of a piece. */
struct export_piece {
    struct job *job;
    struct export_scan *scan;
    struct store *store;
    struct invalid_rows *invalid_rows;
    uint64_t until_us; /* clock_us */
    unsigned n_rows;
    size_t unlooked_bytes; /* read since the last look at the clock */
    struct error *error;
};

void export_free(struct export_scan *scan)
{
    if (!scan)
        return;
    buffer_free(&scan->place);
    export_package_free(&scan->package);
    free(scan);
}

size_t export_bytes(const struct export_scan *scan)
{
    return scan ? sizeof *scan + scan->place.capacity + export_package_bytes(&scan->package) : 0;
}

bool export_is_search(const struct request *request)
{
    return request->version.length == 0 &&
           (request->pkgarch.length > 0 || request->checksum.length > 0);
}

/* ---- the beginning ---- */

static void export_write_column(void *context, const struct store_column *column)
{
    const struct export_piece *piece = context;
    const struct codec_column described = {
        .name = column->name,
        .type = column->type,
        .not_null = column->not_null,
        .default_value = column->default_value,
        .primary_key = column->primary_key,
    };

    codec_write_export_column(&piece->job->piece, piece->scan->is_first, &described);
    piece->scan->is_first = false;
}

static int export_begin_answer(struct export_piece *piece)
{
    struct export_scan *scan = piece->scan;
    struct buffer *out = &piece->job->piece;
    const bool has_columns = piece->job->request->colinfo;
    int result = 0;

    if (scan->has_begun)
        return 0;
    codec_write_export_begin(out, has_columns ? PRSERVD_VERSION : NULL);
    scan->is_first = true;
    if (has_columns)
        result = store_describe(piece->store, export_write_column, piece, piece->error);
    codec_write_export_rows(out, has_columns);
    scan->is_first = true;
    scan->has_begun = result == 0;
    return result;
}

/* Breaks the export off if the database has gone back since it began: rows that were exported may
 * be missing in it. (The store notices it likewise, but not if it has gone on since.) */
static int export_check_rollbacks(struct export_scan *scan, unsigned rollbacks, struct error *error)
{
    if (!scan->has_begun)
        scan->rollbacks = rollbacks;
    if (scan->rollbacks == rollbacks)
        return 0;
    return error_set(error, ERROR_STORE,
        "the database was replaced or went back to an older state meanwhile; try again");
}

/* Starts to read at the place where the export is. */
static int export_resume(const struct export_piece *piece)
{
    const struct request *request = piece->job->request;
    const bool needs_whole_packages = !request->history;
    const struct store_filter filter = {
        .version = request->version,
        .pkgarch = request->pkgarch,
        .checksum = needs_whole_packages ? text_of("") : request->checksum,
    };

    return store_scan_resume(piece->store, &filter, &piece->scan->place, piece->error);
}

static int export_begin_piece(struct export_piece *piece, bool *is_begun)
{
    const uint64_t began_us = clock_us();
    uint64_t now_us;
    int result = export_check_rollbacks(
        piece->scan, identity_rollbacks(piece->store->identity), piece->error);

    if (result == 0)
        result = export_resume(piece);
    if (result != 0)
        return result;
    *is_begun = true;
    now_us = clock_us();
    piece->until_us = now_us + (now_us - began_us > PIECE_US ? now_us - began_us : PIECE_US);
    return export_begin_answer(piece);
}

/* ---- the end ---- */

/* Ends the piece: the next one begins there. */
static int export_pause(struct export_piece *piece, enum store_scan_from which)
{
    piece->job->more = true;
    store_scan_place(piece->store, which, &piece->scan->place);
    return buffer_failed(&piece->scan->place) ? error_set_memory(piece->error) : 0;
}

/* Ends the piece in front of the package that is open. */
static int export_pause_at_package(struct export_piece *piece)
{
    struct export_package *package = &piece->scan->package;

    piece->job->is_long = package->is_first;
    if (package->is_first)
        export_package_restart(package);
    else
        export_package_close(package);
    return export_pause(piece, STORE_AT_PACKAGE);
}

/* Ends the piece behind its last row, or in front of a package of which it has a part. */
static int export_pause_behind(struct export_piece *piece)
{
    const struct export_package *package = &piece->scan->package;

    return package->is_open && !package->is_fixed ? export_pause_at_package(piece)
                                                  : export_pause(piece, STORE_BEHIND_ROW);
}

/* ---- rows ---- */

static void export_write_row(void *context, const struct row *row)
{
    const struct export_piece *piece = context;

    codec_write_export_row(&piece->job->piece, piece->scan->is_first, row);
    piece->scan->is_first = false;
}

static size_t export_room(const struct export_piece *piece)
{
    const struct job *job = piece->job;

    return job->piece_bytes > job->piece.length ? job->piece_bytes - job->piece.length : 0;
}

/* Returns the most bytes that a text may take in an answer: what may be escaped counts six times.
 */
static size_t export_text_bytes(struct text text)
{
    size_t bytes = text.length;

    for (size_t i = 0; i < text.length; i++) {
        const unsigned char byte = (unsigned char)text.bytes[i];

        bytes += byte < ' ' || byte > '~' || byte == '"' || byte == '\\' ? 5 : 0;
    }
    return bytes;
}

/* Returns the most bytes that a row may take in an answer. */
static size_t export_row_bytes(const struct row *row)
{
    return 64 + export_text_bytes(row->version) + export_text_bytes(row->pkgarch) +
           export_text_bytes(row->checksum) +
           (row->value.bytes ? export_text_bytes(row->value) : 0);
}

static enum export_row_result export_write_if_fits(
    struct export_piece *piece, const struct row *row)
{
    const size_t room = export_room(piece);
    size_t bytes = export_row_most_bytes(row);

    if (bytes > room)
        bytes = export_row_bytes(row);
    if (bytes <= room) {
        export_write_row(piece, row);
        return ROW_TAKEN;
    }
    if (piece->job->piece.length == 0)
        piece->job->wanted_bytes = bytes;
    return ROW_LEFT;
}

static bool export_passes(struct text filter, struct text text)
{
    return filter.length == 0 || text_equal(filter, text);
}

/* Writes what is kept of the package that is open, and closes it. */
static void export_end_package(struct export_piece *piece)
{
    export_package_each(&piece->scan->package, export_write_row, piece);
    export_package_close(&piece->scan->package);
}

static enum export_row_result export_keep_row(struct export_piece *piece, const struct row *row)
{
    struct export_package *package = &piece->scan->package;

    if (!invalid_rows_check(piece->invalid_rows, row))
        return ROW_TAKEN;
    export_package_add(package, row, export_passes(piece->job->request->checksum, row->checksum),
        export_room(piece));
    return package->is_too_long ? ROW_LONG : ROW_TAKEN;
}

static enum export_row_result export_take_greatest(
    struct export_piece *piece, const struct row *row)
{
    struct export_package *package = &piece->scan->package;

    if (!export_package_has(package, row)) {
        export_end_package(piece);
        export_package_open(package, row, piece->n_rows == 1);
    }
    if (!package->is_fixed)
        return export_keep_row(piece, row);
    if (!export_package_is_greatest(package, row) ||
        !export_passes(piece->job->request->checksum, row->checksum))
        return ROW_TAKEN;
    return export_write_if_fits(piece, row);
}

static enum export_row_result export_take_row(struct export_piece *piece, const struct row *row)
{
    const struct request *request = piece->job->request;

    if (!export_passes(request->version, row->version) ||
        !export_passes(request->pkgarch, row->pkgarch)) {
        export_end_package(piece);
        return ROW_TAKEN;
    }
    if (!request->history)
        return export_take_greatest(piece, row);
    if (!export_passes(request->checksum, row->checksum))
        return ROW_TAKEN;
    return export_write_if_fits(piece, row);
}

/* Counts a row that was read. Returns whether the piece has taken its time. */
static bool export_is_over(struct export_piece *piece, const struct row *row)
{
    piece->unlooked_bytes += export_row_most_bytes(row) / 6;
    if (piece->unlooked_bytes < LOOK_BYTES)
        return false;
    piece->unlooked_bytes = 0;
    return clock_us() >= piece->until_us;
}

static int export_read_rows(struct export_piece *piece)
{
    struct row row;

    for (;;) {
        enum export_row_result taken;
        int result = store_scan_next(piece->store, &row, piece->error);

        if (result == STORE_SCAN_MORE)
            return export_pause_behind(piece);
        if (result < 0)
            return result;
        if (result == STORE_SCAN_END)
            break;
        piece->n_rows++;
        taken = export_take_row(piece, &row);
        if (export_package_has_failed(&piece->scan->package))
            return error_set_memory(piece->error);
        if (taken == ROW_LEFT)
            return export_pause(piece, STORE_AT_ROW);
        if (taken == ROW_LONG)
            return export_pause_at_package(piece);
        if (export_is_over(piece, &row))
            return export_pause_behind(piece);
    }
    export_end_package(piece);
    codec_write_export_end(&piece->job->piece);
    return 0;
}

/* ---- pieces ---- */

static struct export_piece export_prepare(
    struct job *job, struct store *store, struct invalid_rows *invalid_rows, struct error *error)
{
    job->more = job->is_long = false;
    job->wanted_bytes = 0;
    if (!job->scan)
        job->scan = calloc(1, sizeof *job->scan);
    return (struct export_piece){
        .job = job,
        .scan = job->scan,
        .store = store,
        .invalid_rows = invalid_rows,
        .until_us = clock_us() + PIECE_US,
        .error = error,
    };
}

/* Asks an index for the greatest revision of the package in which the export is. */
static int export_look_up_greatest(const struct export_piece *piece)
{
    struct export_package *package = &piece->scan->package;
    int result = store_find_greatest(piece->store, buffer_text(&package->version),
        buffer_text(&package->pkgarch), &package->greatest, piece->error);

    package->is_fixed = result == 0;
    return result;
}

int export_make_piece(struct job *job, struct store *store, struct invalid_rows *invalid_rows,
    bool *is_begun, struct error *error)
{
    const bool is_long = job->is_long;
    struct export_piece piece = export_prepare(job, store, invalid_rows, error);
    int result = 0;

    if (!piece.scan)
        return error_set_memory(error);
    if (is_long)
        result = export_look_up_greatest(&piece);
    if (result == 0)
        result = export_begin_piece(&piece, is_begun);
    if (result == 0)
        result = export_read_rows(&piece);
    if (result == 0 && buffer_failed(&job->piece))
        result = error_set_memory(error);
    if (result != 0 && !*is_begun)
        job->is_long = is_long;
    return result;
}

/* ---- long packages ---- */

/* Takes the end of the package: the next piece writes what was kept, or reads the package again. */
static int export_end_long_package(struct export_piece *piece, bool is_last)
{
    struct export_package *package = &piece->scan->package;

    piece->job->more = true;
    if (package->is_too_long) {
        package->is_fixed = true;
        return 0;
    }
    export_end_package(piece);
    if (!is_last)
        return export_pause(piece, STORE_AT_PACKAGE);
    codec_write_export_end(&piece->job->piece);
    piece->job->more = false;
    return 0;
}

/* Continues with the next rows of the same transaction. */
static int export_read_on(struct export_piece *piece)
{
    struct buffer place = piece->scan->place; /* kept: the package may be read again */
    int result;

    piece->scan->place = BUFFER_EMPTY;
    result = export_pause(piece, STORE_BEHIND_ROW);
    if (result == 0)
        result = export_resume(piece);
    buffer_free(&piece->scan->place);
    piece->scan->place = place;
    return result;
}

int export_read_package(struct job *job, struct store *store, struct invalid_rows *invalid_rows,
    bool *is_begun, struct error *error)
{
    struct export_piece piece = export_prepare(job, store, invalid_rows, error);
    struct export_package *package = &piece.scan->package;
    struct row row;
    int result = 0;

    if (!*is_begun) {
        export_package_restart(package);
        result = export_begin_piece(&piece, is_begun);
    }
    while (result == 0) {
        result = store_scan_next(store, &row, error);
        if (result < 0)
            return result;
        if (result == STORE_SCAN_END ||
            (result == STORE_SCAN_ROW && !export_package_has(package, &row)))
            return export_end_long_package(&piece, result == STORE_SCAN_END);
        if (result == STORE_SCAN_MORE) {
            result = export_read_on(&piece);
            continue;
        }
        piece.n_rows++;
        if (invalid_rows_check(invalid_rows, &row))
            export_package_add(package, &row, export_passes(job->request->checksum, row.checksum),
                job->piece_bytes);
        if (export_package_has_failed(package))
            return error_set_memory(error);
        if (export_is_over(&piece, &row)) {
            store_pause(store);
            job->is_long = true;
            return 1;
        }
        result = 0;
    }
    return result;
}
