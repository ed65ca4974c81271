/* SPDX-License-Identifier: MIT */
/* A connection that failed is kept for the next try if the database is away: on PostgreSQL it may
 * still be connecting.
 *
 * The transaction in which a long package is read is the only one that lasts longer than a piece.
 * It is read in every second turn, so that it ends soon, however many exports there are. */
#include "exec/scanner.h"

#include "base/clock.h"
#include "exec/export.h"
#include "exec/report_job.h"
#include "exec/retry.h"

void scanner_init(
    struct scanner *scanner, const struct store_options *options, struct invalid_rows *invalid_rows)
{
    *scanner = (struct scanner){.options = options, .invalid_rows = invalid_rows};
    STAILQ_INIT(&scanner->waiting);
    STAILQ_INIT(&scanner->reading);
    row_count_init(&scanner->count);
    outage_init(&scanner->outage, "Exports and counts of rows", options->patience_ms, options->log);
}

static void scanner_close(struct store **store)
{
    store_close(*store);
    *store = NULL;
}

static void scanner_close_reports(struct scanner *scanner)
{
    report_source_free(scanner->reports);
    scanner->reports = NULL;
}

void scanner_deinit(struct scanner *scanner)
{
    scanner_close(&scanner->pieces);
    scanner_close(&scanner->packages);
    scanner_close_reports(scanner);
    row_count_deinit(&scanner->count);
}

static bool scanner_find_count(struct scanner *scanner, struct job *job)
{
    return row_count_find(&scanner->count, &job->rows, &job->rows_estimated);
}

void scanner_take(struct scanner *scanner, struct job_list *arrived, struct job_list *finished)
{
    struct job *job;

    while ((job = STAILQ_FIRST(arrived))) {
        STAILQ_REMOVE_HEAD(arrived, entry);
        if (job->request->kind == REQUEST_GET_STATS && scanner_find_count(scanner, job))
            STAILQ_INSERT_TAIL(finished, job, entry);
        else
            STAILQ_INSERT_TAIL(&scanner->waiting, job, entry);
    }
}

/* Opens one of the connections if need be, and begins a transaction. */
static int scanner_begin(struct scanner *scanner, struct store **store, struct error *error)
{
    int result = *store ? 0 : store_open(store, scanner->options, STORE_READER, error);

    return result == 0 ? store_begin_read(*store, NULL, STORE_BLOCK, error) : result;
}

/* ---- the count ---- */

static int scanner_count(struct scanner *scanner, struct error *error)
{
    const uint64_t n_added = row_count_added(&scanner->count);
    int result = scanner_begin(scanner, &scanner->pieces, error);

    if (result == 0)
        result = row_count_make(&scanner->count, scanner->pieces, n_added, error);
    if (scanner->pieces)
        store_rollback(scanner->pieces);
    return result;
}

void scanner_refresh_count(struct scanner *scanner)
{
    struct error error;

    if (!row_count_take_turn(&scanner->count))
        return;
    if (scanner_count(scanner, &error) == 0)
        return;
    scanner_close(&scanner->pieces);
    log_often(scanner->outage.log, LOG_WARNING,
        "Can't count the rows again, so get-stats has an older number: %s", error.text);
}

static int scanner_answer_count(struct scanner *scanner, struct job *job, bool *is_away)
{
    int result = 0;

    if (!scanner_find_count(scanner, job)) {
        result = scanner_count(scanner, &job->error);
        *is_away = result == ERROR_LOCKED;
        if (result == 0)
            (void)scanner_find_count(scanner, job);
    }
    return result;
}

/* ---- pieces ---- */

static int scanner_make_piece(struct scanner *scanner, struct job *job, bool *is_away)
{
    bool is_begun = false;
    int result = 0;

    if (!scanner->pieces)
        result = store_open(&scanner->pieces, scanner->options, STORE_READER, &job->error);
    if (result == 0)
        result = job_check(scanner->pieces, job);
    if (result == 0)
        result = scanner_begin(scanner, &scanner->pieces, &job->error);
    if (result == 0)
        result =
            export_make_piece(job, scanner->pieces, scanner->invalid_rows, &is_begun, &job->error);
    if (scanner->pieces)
        store_rollback(scanner->pieces);
    *is_away = result == ERROR_LOCKED && !is_begun;
    return result;
}

static int scanner_make_report_piece(struct scanner *scanner, struct job *job, bool *is_away)
{
    int result = 0;

    if (!scanner->reports)
        result = report_source_create(&scanner->reports, scanner->options, &job->error);
    if (result == 0)
        result = report_job_make_piece(job, scanner->reports, is_away);
    return result;
}

/* Lets the waiting jobs wait for the database. */
static void scanner_note_outage(
    struct scanner *scanner, const struct error *reason, struct job_list *finished)
{
    const struct error error = *reason;

    scanner->next_try_ms = retry_next_ms(clock_ms());
    retry_note(&scanner->outage, &scanner->waiting, &error);
    retry_expire(&scanner->outage, &scanner->waiting, finished);
}

/* Returns whether the next job can be worked on now. */
static bool scanner_work_on_waiting(struct scanner *scanner, struct job_list *finished)
{
    struct job *job = STAILQ_FIRST(&scanner->waiting);
    bool is_away = false;
    int result;

    if (job->request->kind == REQUEST_EXPORT)
        result = scanner_make_piece(scanner, job, &is_away);
    else if (request_is_report(job->request->kind))
        result = scanner_make_report_piece(scanner, job, &is_away);
    else
        result = scanner_answer_count(scanner, job, &is_away);
    if (is_away) {
        scanner_note_outage(scanner, &job->error, finished);
        return false;
    }
    STAILQ_REMOVE_HEAD(&scanner->waiting, entry);
    job->result = result;
    if (result == 0)
        retry_end(&scanner->outage);
    else if (request_is_report(job->request->kind))
        scanner_close_reports(scanner);
    else
        scanner_close(&scanner->pieces);
    STAILQ_INSERT_TAIL(finished, job, entry);
    return true;
}

/* ---- long packages ---- */

/* Moves the first waiting job, if it needs a long package that no index knows. */
static void scanner_move_to_reading(struct scanner *scanner)
{
    struct job *job = STAILQ_FIRST(&scanner->waiting);

    if (!job || !job->is_long || (scanner->pieces && store_finds_greatest(scanner->pieces)))
        return;
    STAILQ_REMOVE_HEAD(&scanner->waiting, entry);
    STAILQ_INSERT_TAIL(&scanner->reading, job, entry);
}

/* Reads on. Returns 1 if that is not the end. */
static int scanner_read_on(struct scanner *scanner, struct job *job)
{
    int result = 0;

    if (!scanner->is_reading)
        result = scanner_begin(scanner, &scanner->packages, &job->error);
    return result == 0 ? export_read_package(job, scanner->packages, scanner->invalid_rows,
                             &scanner->is_reading, &job->error)
                       : result;
}

static void scanner_work_on_package(struct scanner *scanner, struct job_list *finished)
{
    struct job *job = STAILQ_FIRST(&scanner->reading);
    const int result = scanner_read_on(scanner, job);

    if (result == 1)
        return;
    if (scanner->packages)
        store_rollback(scanner->packages);
    if (result == ERROR_LOCKED && !scanner->is_reading) {
        STAILQ_REMOVE_HEAD(&scanner->reading, entry);
        STAILQ_INSERT_TAIL(&scanner->waiting, job, entry); /* and waits with the others */
        scanner_note_outage(scanner, &job->error, finished);
        return;
    }
    scanner->is_reading = false;
    job->result = result;
    if (result != 0)
        scanner_close(&scanner->packages);
    STAILQ_REMOVE_HEAD(&scanner->reading, entry);
    STAILQ_INSERT_TAIL(finished, job, entry);
}

/* ---- all jobs ---- */

bool scanner_work(struct scanner *scanner, struct job_list *finished)
{
    const bool may_try = clock_ms() >= scanner->next_try_ms;

    if (may_try)
        scanner_move_to_reading(scanner);
    scanner->is_readers_turn = !scanner->is_readers_turn;
    if (!STAILQ_EMPTY(&scanner->reading) && may_try &&
        (scanner->is_readers_turn || STAILQ_EMPTY(&scanner->waiting)))
        scanner_work_on_package(scanner, finished);
    else if (STAILQ_EMPTY(&scanner->waiting) || !may_try ||
             !scanner_work_on_waiting(scanner, finished))
        return false;
    return scanner_has_jobs(scanner) && clock_ms() >= scanner->next_try_ms;
}

bool scanner_has_jobs(const struct scanner *scanner)
{
    return !STAILQ_EMPTY(&scanner->waiting) || !STAILQ_EMPTY(&scanner->reading);
}

uint64_t scanner_next_try_ms(const struct scanner *scanner)
{
    return scanner->next_try_ms;
}

void scanner_give_up(struct scanner *scanner, struct job_list *finished)
{
    struct job *job;

    STAILQ_CONCAT(&scanner->waiting, &scanner->reading);
    STAILQ_FOREACH (job, &scanner->waiting, entry) {
        if (job->error.text[0] == '\0') /* it was not tried */
            (void)error_set(&job->error, ERROR_LOCKED, "the request was not carried out");
    }
    retry_give_up(&scanner->outage, &scanner->waiting, finished);
    if (scanner->packages)
        store_rollback(scanner->packages);
    scanner->is_reading = false;
}
