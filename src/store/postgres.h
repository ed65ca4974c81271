/* The PostgreSQL backend: what its files share. Only they include this. */
#ifndef PRSERVD_POSTGRES_H
#define PRSERVD_POSTGRES_H

#include "base/buffer.h"
#include "base/digest.h"
#include "store/store.h"

#include <libpq-fe.h>
#include <stdint.h>

#define POSTGRES_NAME_BYTES 256

/* ---- postgres_link.c: one connection, every wait with an end ---- */

struct postgres_link {
    PGconn *connection;
    const char *name;                /* of the database, for messages; borrowed */
    struct log *log;                 /* borrowed; NULL: none */
    const atomic_ullong *give_up_ms; /* see store_options; NULL: never */
    uint64_t until_ms;               /* nothing is waited for after that */
    bool is_doubtful;                /* a commit that may not have reached the standby */
    bool is_broken;                  /* only good for closing */
};

/* The oldest server that is known to work: PQserverVersion. */
#define POSTGRES_LEAST_VERSION 130000

/* Makes a new connection a link: not blocking, its notices to the log. */
ERROR_MUST_CHECK int postgres_link_attach(struct postgres_link *link, struct error *error);

/* Runs statements without parameters. *result, the last one's, is the caller's (PQclear), or
 * NULL after an error; result may be NULL. */
ERROR_MUST_CHECK int postgres_run(
    struct postgres_link *link, const char *sql, PGresult **result, struct error *error);

/* The next result of what was sent; NULL when there is none. Errors are those of the connection:
 * what the result says, postgres_check tells. */
ERROR_MUST_CHECK int postgres_next(
    struct postgres_link *link, PGresult **result, struct error *error);

/* Is that result what was hoped for? ERROR_LOCKED: it may be another time; ERROR_STORE,
 * ERROR_INPUT: it won't. May find that the connection is broken. */
ERROR_MUST_CHECK int postgres_check(
    struct postgres_link *link, const PGresult *result, struct error *error);

/* Sends off what was put into a pipeline, and waits for all of its n results; results[i] are the
 * caller's (PQclear), NULL where there is none. Fails with the first that failed. */
ERROR_MUST_CHECK int postgres_pipeline(
    struct postgres_link *link, PGresult **results, size_t n, struct error *error);

/* What libpq says of the connection: ERROR_LOCKED; the link is broken. */
int postgres_lost(struct postgres_link *link, struct error *error);

/* libpq's messages end with a newline, and may have some inside: on one line, at most 400 bytes. */
void postgres_one_line(const char *message, char line[400]);

/* ---- postgres_open.c: connecting, on a thread of its own ---- */

struct postgres_attempt;

struct postgres_aim {
    const char *conninfo;
    bool writes; /* wants the primary, and makes the tables */
    enum store_sync sync;
    bool starts; /* it is worth knowing whether trying again could help */
};

/* What a session was found to be like. */
struct postgres_session {
    bool has_tables;
    bool made_tables;   /* just now */
    bool loses_commits; /* it is asked to sync them, and does not */
};

/* What came of an attempt. */
struct postgres_outcome {
    PGconn *connection; /* the taker's */
    struct postgres_session session;
    bool is_hopeless; /* trying again won't help: the server is there, and says no */
    int result;       /* 0, ERROR_LOCKED, ERROR_STORE, ERROR_MEMORY */
    struct error error;
};

/* Is that what libpq takes? ERROR_STORE if not. */
ERROR_MUST_CHECK int postgres_check_conninfo(const char *conninfo, struct error *error);

/* Begins to connect. The aim is copied. Nothing is logged: an attempt may outlive the log. */
ERROR_MUST_CHECK int postgres_attempt_begin(
    struct postgres_attempt **attempt, const struct postgres_aim *aim, struct error *error);

/* Waits until it is over, but not after until_ms. True: it is, outcome is set, and the attempt is
 * gone. */
bool postgres_attempt_take(
    struct postgres_attempt *attempt, uint64_t until_ms, struct postgres_outcome *outcome);

/* Waits until that time. */
void postgres_pause(uint64_t until_ms);

/* Leaves it to itself; NULL is allowed. */
void postgres_attempt_abandon(struct postgres_attempt *attempt);

/* ---- postgres_schema.c ---- */

/* Sets a session up, and looks for the tables; makes them, if the aim is to write. */
ERROR_MUST_CHECK int postgres_prepare_session(struct postgres_link *link,
    const struct postgres_aim *aim, struct postgres_session *session, struct error *error);

/* ---- postgres_array.c: arrays as PostgreSQL sends them in binary ---- */

enum postgres_type {
    POSTGRES_BOOL = 16,
    POSTGRES_BYTEA = 17,
    POSTGRES_INT8 = 20,
    POSTGRES_TEXT = 25,
};

struct postgres_array {
    struct buffer bytes;
    uint32_t count;
};

void postgres_array_begin(struct postgres_array *array, enum postgres_type type);
void postgres_array_text(struct postgres_array *array, struct text text); /* bytes NULL: NULL */
void postgres_array_int8(struct postgres_array *array, int64_t number);
void postgres_array_bool(struct postgres_array *array, bool is_true);
void postgres_array_free(struct postgres_array *array);

/* Puts a prepared statement whose parameters are arrays into the pipeline. */
ERROR_MUST_CHECK int postgres_send(struct postgres_link *link, const char *statement,
    struct postgres_array *arrays, size_t n, struct error *error);

/* A field of a binary result: numbers, text (borrowed from the result; bytes NULL: NULL). */
int32_t postgres_get_int4(const PGresult *result, int row, int column);
int64_t postgres_get_int8(const PGresult *result, int row, int column);
struct text postgres_get_text(const PGresult *result, int row, int column);

/* ---- postgres_facts.c: what a transaction wanted to know ---- */

struct postgres_facts;

/* NULL when memory ran out. The digest is borrowed as long as the facts are there. */
struct postgres_facts *postgres_facts_create(struct digest *digest);
void postgres_facts_free(struct postgres_facts *facts);

/* Takes the wants together; wants are borrowed until the next call. */
ERROR_MUST_CHECK int postgres_facts_want(
    struct postgres_facts *facts, const struct store_wants *wants, struct error *error);

/* Put statements with one result each into the pipeline: what makes packages, what locks them (all,
 * or those that nobody else holds), and the question. */
ERROR_MUST_CHECK int postgres_facts_send_make(
    struct postgres_facts *facts, struct postgres_link *link, struct error *error);
ERROR_MUST_CHECK int postgres_facts_send_lock(
    struct postgres_facts *facts, struct postgres_link *link, bool only_free, struct error *error);
ERROR_MUST_CHECK int postgres_facts_send(
    struct postgres_facts *facts, struct postgres_link *link, struct error *error);

/* Takes the answer over (PQclear). locked is what was locked, if only some of the packages were;
 * otherwise NULL. */
ERROR_MUST_CHECK int postgres_facts_take(
    struct postgres_facts *facts, PGresult *result, const PGresult *locked, struct error *error);

/* Forgets everything. */
void postgres_facts_clear(struct postgres_facts *facts);

ERROR_MUST_CHECK int postgres_facts_load(struct postgres_facts *facts, struct text version,
    struct text pkgarch, store_row_fn fn, void *context, struct error *error);
ERROR_MUST_CHECK int postgres_facts_look_up(struct postgres_facts *facts, struct text version,
    struct text pkgarch, struct text checksum, store_row_fn fn, void *context, struct error *error);

/* Was it locked by the transaction? */
bool postgres_facts_hold(struct postgres_facts *facts, struct text version, struct text pkgarch);

/* The number of a package in the database; 0 if it is not there, or was not wanted. */
int64_t postgres_facts_package(
    struct postgres_facts *facts, struct text version, struct text pkgarch);

/* ---- postgres_rows.c: rows on their way in ---- */

/* Where a value stands in the order, in two parts; the texts point into key. */
void postgres_place(struct buffer *key, struct text value, struct text *place, struct text *rest);

struct postgres_rows {
    struct digest *digest; /* borrowed */
    struct postgres_array packages;
    struct postgres_array digests;
    struct postgres_array places;
    struct postgres_array rests;
    struct postgres_array checksums;
    struct postgres_array values;
    struct buffer key;
};

void postgres_rows_begin(struct postgres_rows *rows);
void postgres_rows_add(struct postgres_rows *rows, int64_t package, const struct row *row);
ERROR_MUST_CHECK int postgres_rows_send(
    struct postgres_rows *rows, struct postgres_link *link, struct error *error);
void postgres_rows_free(struct postgres_rows *rows);

/* ---- the store ---- */

struct postgres_store {
    struct store base;
    struct store_options options;
    enum store_role role;
    char name[POSTGRES_NAME_BYTES];
    struct postgres_link link;        /* connection NULL: there is none */
    struct postgres_attempt *attempt; /* under way; or NULL */
    uint64_t next_try_ms;
    unsigned pause_ms; /* before the attempt after the next */
    struct error away; /* why the last attempt failed; empty: none has */
    bool has_tables;
    bool in_transaction;
    bool is_scanning;
    const struct store_wants *wants; /* of the next transaction */
    struct digest *digest;
    struct postgres_facts *facts;
    struct postgres_rows rows;
    PGresult *row; /* a scan's last */
};

/* store_name, of a URI or a connection string. */
void postgres_name(const char *file, char *name, size_t size);

ERROR_MUST_CHECK int postgres_open(struct store **store, const struct store_options *options,
    enum store_role role, struct error *error);

/* ---- postgres_connect.c: the store's connection ---- */

/* What it is reached by. */
const char *postgres_conninfo(const struct postgres_store *store);

/* The first one: waits as long as a start may take. ERROR_STORE: there will be none. */
ERROR_MUST_CHECK int postgres_connect_first(struct postgres_store *store, struct error *error);

/* Makes sure that there is one, or has one made: ERROR_LOCKED if it takes longer than a moment. */
ERROR_MUST_CHECK int postgres_connect_soon(struct postgres_store *store, struct error *error);

/* Gives it up, if there is one. */
void postgres_disconnect(struct postgres_store *store);

/* Nothing is tried for some time, which grows from one failure to the next, until all is calm. */
void postgres_pause_attempts(struct postgres_store *store);
void postgres_calm(struct postgres_store *store);

/* ---- postgres_bulk.c ---- */

int postgres_add_many(struct store *base, const struct row *rows, size_t n, struct error *error);
int postgres_find_many(struct store *base, const struct row *rows, size_t n, store_row_fn fn,
    void *context, struct error *error);

/* ---- postgres_scan.c ---- */

int postgres_describe(struct store *base, store_column_fn fn, void *context, struct error *error);
int postgres_count(struct store *base, uint64_t *rows, struct error *error);
int postgres_scan_begin(struct store *base, const struct store_filter *filter, struct error *error);
int postgres_scan_next(struct store *base, struct row *row, struct error *error);

#endif
