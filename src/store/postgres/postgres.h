/* SPDX-License-Identifier: MIT */
/* The parts of the PostgreSQL backend that its files share. Only they include this. */
#ifndef PRSERVD_POSTGRES_H
#define PRSERVD_POSTGRES_H

#include "base/buffer.h"
#include "base/digest.h"
#include "store/mark_file.h"
#include "store/postgres/policy.h"
#include "store/store.h"

#include <libpq-fe.h>
#include <stdint.h>

#define POSTGRES_NAME_BYTES 256

/* ---- conn.c: one connection, whose waits all have an end ---- */

struct postgres_conn {
    PGconn *connection;
    const char *name;                      /* of the database, for messages; borrowed */
    struct log *log;                       /* borrowed; NULL: none */
    const atomic_ullong *read_deadline_ms; /* as in store_options; NULL: never */
    uint64_t until_ms;                     /* the end of all waiting */
    bool is_doubtful;                      /* a commit may not have reached the standby */
    bool is_broken;                        /* the connection is only good for closing */
    int backend_pid;                       /* the process in the database; 0: not known */
};

/* The oldest server that is known to work: PQserverVersion. */
#define POSTGRES_LEAST_VERSION 130000

/* Sets up a new connection: not blocking, its notices to the log. */
ERROR_MUST_CHECK int postgres_conn_attach(struct postgres_conn *conn, struct error *error);

/* Takes all replies to what was sent, and checks them. *reply as from postgres_run. */
ERROR_MUST_CHECK int postgres_finish(
    struct postgres_conn *conn, PGresult **reply, struct error *error);

/* Runs statements without parameters. *reply, the last one's, is the caller's (PQclear), or NULL
 * after an error; reply may be NULL. */
ERROR_MUST_CHECK int postgres_run(
    struct postgres_conn *conn, const char *sql, PGresult **reply, struct error *error);

/* Returns the next reply to what was sent; *reply is NULL after the last one. Fails only if the
 * connection does: postgres_check tells what the reply says. */
ERROR_MUST_CHECK int postgres_next(
    struct postgres_conn *conn, PGresult **reply, struct error *error);

/* Checks a reply. ERROR_LOCKED: another try may succeed; ERROR_STORE, ERROR_INPUT: it won't. May
 * find that the connection is broken. */
ERROR_MUST_CHECK int postgres_check(
    struct postgres_conn *conn, const PGresult *reply, struct error *error);

/* Runs statements in one round trip. There are n; send puts one into the pipeline, and is called
 * for those with wanted[i]. Their replies are the caller's (PQclear); NULL where there is none, and
 * all of them after an error, which is the first statement's that failed. */
ERROR_MUST_CHECK int postgres_pipeline(struct postgres_conn *conn, const bool *wanted, size_t n,
    int (*send)(void *context, size_t i, struct error *error), void *context, PGresult **replies,
    struct error *error);

/* The steps of postgres_pipeline: more statements may be sent before the replies to the first ones
 * are taken. Without checks, statements that failed are no error. end comes after the last reply.
 */
ERROR_MUST_CHECK int postgres_pipeline_send(struct postgres_conn *conn, const bool *wanted,
    size_t n, int (*send)(void *context, size_t i, struct error *error), void *context,
    struct error *error);
ERROR_MUST_CHECK int postgres_pipeline_take(struct postgres_conn *conn, const bool *wanted,
    size_t n, bool checks, PGresult **replies, struct error *error);
void postgres_pipeline_end(struct postgres_conn *conn);

/* Frees the replies of a pipeline. */
void postgres_clear(PGresult **replies, size_t n);

/* Marks the connection as broken, and describes libpq's last error. Returns ERROR_LOCKED. */
int postgres_lost(struct postgres_conn *conn, struct error *error);

/* Copies a message of libpq to one line of at most 400 bytes: it ends with a newline, and may have
 * more of them inside. */
void postgres_one_line(const char *message, char line[400]);

/* ---- attempt.c: connecting, on a thread of its own ---- */

struct postgres_attempt;

struct connect_params {
    const char *conninfo;
    bool writes; /* needs the primary, and makes the tables */
    bool proves; /* on a primary, needs proofs (proof.c) */
    enum store_sync sync;
    bool is_startup; /* finds out whether another attempt could help */
};

/* The properties of a session. */
struct postgres_session {
    bool has_tables;
    bool made_tables;    /* just now */
    bool has_mark;       /* the table of the mark may be used */
    bool loses_commits;  /* commits are to be synced, but the server does not sync */
    bool has_no_standby; /* a primary without a synchronous standby */
    bool is_standby;
    bool is_unproven;   /* failed, because the database could not commit in time */
    uint64_t proven_ms; /* as in postgres_store */
    int backend_pid;    /* as in postgres_conn */
    int64_t n_packages; /* at the start of prservd; -1: unknown */
    bool is_estimate;   /* of n_packages */
    char version[64];   /* of the server */
    char instance[128]; /* the facts that name the database (base/identity.h); "": unknown */
};

/* The result of an attempt. */
struct connect_result {
    PGconn *connection; /* the taker's */
    struct postgres_session session;
    bool is_hopeless; /* another attempt won't help: the server is up, and refuses */
    int result;       /* 0, ERROR_LOCKED, ERROR_STORE, ERROR_MEMORY */
    struct error error;
};

/* Checks that libpq understands a connection string. Fails with ERROR_STORE. */
ERROR_MUST_CHECK int postgres_check_conninfo(const char *conninfo, struct error *error);

/* Begins to connect. The params are copied. Nothing is logged: an attempt may outlive the log. */
ERROR_MUST_CHECK int postgres_attempt_begin(
    struct postgres_attempt **attempt, const struct connect_params *params, struct error *error);

/* Waits for the end of an attempt, until until_ms. Returns true if it has ended: connect_result is
 * set, and the attempt is freed. */
bool postgres_attempt_take(
    struct postgres_attempt *attempt, uint64_t until_ms, struct connect_result *connect_result);

/* Frees an attempt, which goes on alone until it ends. NULL is allowed. */
void postgres_attempt_abandon(struct postgres_attempt *attempt);

/* ---- schema.c ---- */

/* The cure for a sequence that is behind the rows. */
#define POSTGRES_SETVAL                                                                   \
    "SELECT setval(pg_get_serial_sequence('prserv_package', 'id'), (SELECT max(id) FROM " \
    "prserv_package))"

/* Sets up a session and looks for the tables; makes them if params->writes. */
ERROR_MUST_CHECK int postgres_prepare_session(struct postgres_conn *conn,
    const struct connect_params *params, struct postgres_session *session, struct error *error);

/* ---- proof.c: whether the database is still the primary ---- */

extern const char postgres_proof_sql[];

/* Proves at the beginning of a session that the database can commit. */
ERROR_MUST_CHECK int postgres_proof_begin_session(struct postgres_conn *conn,
    const struct connect_params *params, struct postgres_session *session, struct error *error);

struct postgres_store;

/* Returns whether nothing may be answered without another proof. */
bool postgres_proof_is_due(const struct postgres_store *store);

/* Returns the end of the wait for a round trip with a proof, which is to end at until_ms. */
uint64_t postgres_proof_end_ms(const struct postgres_store *store, uint64_t until_ms);

/* Notes that a commit, begun at began_ms, has succeeded; fails if it did not wait for a standby.
 * proof: the reply to postgres_proof_sql; NULL: the commit was that of rows. */
ERROR_MUST_CHECK int postgres_proof_take(
    struct postgres_store *store, const PGresult *proof, uint64_t began_ms, struct error *error);

/* Fails with ERROR_LOCKED if the last proof is too old for an answer. */
ERROR_MUST_CHECK int postgres_proof_check(struct postgres_store *store, struct error *error);

/* Makes a proof in a round trip of its own, if one is due. */
ERROR_MUST_CHECK int postgres_proof_run(struct postgres_store *store, struct error *error);

/* ---- pooler.c: whether a pooler shares the session ---- */

extern const char postgres_pooler_advice[];

/* Finds out which process answers, and checks that no pooler gives the session to others. Connects
 * a second time if there is a pooler. */
ERROR_MUST_CHECK int postgres_pooler_check(
    struct postgres_conn *conn, const char *conninfo, struct error *error);

/* Fails with ERROR_STORE unless this is the session's process. */
ERROR_MUST_CHECK int postgres_pooler_check_pid(
    struct postgres_conn *conn, int backend_pid, struct error *error);

/* ---- hosts.c: the hosts of a connection string ---- */

/* Lists, as in a connection string; NULL: as there. */
struct postgres_hosts {
    char *hosts;
    char *addresses;
    char *ports;
};

/* Connects; blocks. target: the kind of server that is good enough; NULL: as in conninfo. */
PGconn *postgres_hosts_connect(
    const struct postgres_hosts *hosts, const char *conninfo, const char *target);

/* The same, but does not block: PQconnectPoll goes on. */
PGconn *postgres_hosts_begin_connecting(
    const struct postgres_hosts *hosts, const char *conninfo, const char *target);

/* Sets the lists to the one host of a connection. */
void postgres_hosts_of(struct postgres_hosts *hosts, const PGconn *connection);

/* Sets the lists to those that a connection was made with, without its host. Returns false if there
 * is no other host. */
bool postgres_hosts_leave_out(struct postgres_hosts *hosts, PGconn *connection);

void postgres_hosts_free(struct postgres_hosts *hosts);

/* ---- array.c: arrays in PostgreSQL's binary format ---- */

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
ERROR_MUST_CHECK int postgres_send(struct postgres_conn *conn, const char *statement,
    struct postgres_array *arrays, size_t n, struct error *error);

/* Return a field of a binary reply: numbers, text (borrowed from the reply; bytes NULL: NULL). */
int32_t postgres_get_int4(const PGresult *reply, int row, int column);
int64_t postgres_get_int8(const PGresult *reply, int row, int column);
struct text postgres_get_text(const PGresult *reply, int row, int column);

/* ---- question.c and facts.c: the facts that a batch wants ---- */

struct postgres_facts;

/* Returns NULL when memory ran out. The digest is borrowed as long as the facts live. */
struct postgres_facts *postgres_facts_create(struct digest *digest);
void postgres_facts_free(struct postgres_facts *facts);

/* Builds the question of a batch. The texts of the batch are borrowed until postgres_facts_clear.
 */
ERROR_MUST_CHECK int postgres_facts_want(
    struct postgres_facts *facts, const struct store_batch *batch, struct error *error);

/* Put statements with one reply each into the pipeline: making the packages, locking them (all, or
 * those that nobody else holds), and asking the question. */
ERROR_MUST_CHECK int postgres_facts_send_make(
    struct postgres_facts *facts, struct postgres_conn *conn, struct error *error);
ERROR_MUST_CHECK int postgres_facts_send_lock(
    struct postgres_facts *facts, struct postgres_conn *conn, bool only_free, struct error *error);
ERROR_MUST_CHECK int postgres_facts_send(
    struct postgres_facts *facts, struct postgres_conn *conn, struct error *error);

/* Takes the answer over (PQclear). locked: the packages that were locked; NULL: all of them. */
ERROR_MUST_CHECK int postgres_facts_take(
    struct postgres_facts *facts, PGresult *reply, const PGresult *locked, struct error *error);

/* Forgets everything. */
void postgres_facts_clear(struct postgres_facts *facts);

/* As store_load and store_look_up. */
ERROR_MUST_CHECK int postgres_facts_load(struct postgres_facts *facts, struct text version,
    struct text pkgarch, store_row_fn fn, void *context, struct error *error);
ERROR_MUST_CHECK int postgres_facts_look_up(struct postgres_facts *facts, struct text version,
    struct text pkgarch, struct text checksum, store_row_fn fn, void *context, struct error *error);

/* Returns the process that has answered the question. */
int postgres_facts_backend_pid(const struct postgres_facts *facts);

/* Returns whether the transaction has locked the package. */
bool postgres_facts_hold(struct postgres_facts *facts, struct text version, struct text pkgarch);

/* Returns the number of a package in the database; 0 if it does not exist, or was not asked for. */
int64_t postgres_facts_package(
    struct postgres_facts *facts, struct text version, struct text pkgarch);

/* ---- rows.c: rows on their way to the database ---- */

/* Returns whether a text of PostgreSQL can hold this: it can't hold a NUL. */
bool postgres_can_hold(struct text text);

/* As store_check. */
int postgres_rows_check(
    struct store *base, const struct text *texts, size_t count, struct error *error);

/* Hashes a package to the key of its row in the database (schema.sql says how). Returns false when
 * memory ran out. */
bool postgres_hash_package(struct digest *digest, struct text version, struct text pkgarch,
    unsigned char key[DIGEST_BYTES]);

/* Hashes a checksum, likewise. */
bool postgres_hash_checksum(
    struct digest *digest, struct text checksum, unsigned char hash[DIGEST_BYTES]);

/* Returns a hash as a text; borrowed. */
struct text postgres_hash_text(const unsigned char hash[DIGEST_BYTES]);

/* Splits the order key of a value (revision_order_key) into the part that an index holds and the
 * overflow: the columns place and rest. The texts point into key. */
void postgres_sort_key(
    struct buffer *key, struct text value, struct text *sort_key, struct text *overflow);

/* The parameters that rows are sent in, an array each. The statement "find" takes those before
 * ROWS_PACKAGE, "add" those from ROWS_DIGEST on. */
enum {
    ROWS_KEY,
    ROWS_DIGEST,
    ROWS_SORT_KEY,
    ROWS_OVERFLOW,
    ROWS_PACKAGE,
    ROWS_CHECKSUM,
    ROWS_VALUE,
    N_ROWS
};

struct postgres_rows {
    struct digest *digest; /* borrowed */
    struct postgres_array arrays[N_ROWS];
    struct buffer order_key;
};

/* Empties the list of rows. Afterwards all rows are to be added, or all are wanted. */
void postgres_rows_begin(struct postgres_rows *rows);
void postgres_rows_add(struct postgres_rows *rows, int64_t package, const struct row *row);
void postgres_rows_add_wanted(struct postgres_rows *rows, const struct row *row);
void postgres_rows_free(struct postgres_rows *rows);

/* ---- postgres.c: the store ---- */

/* The row of this server in prserv_mark (mark.c). */
struct postgres_mark {
    bool is_on;          /* the table can be used */
    struct mark mark;    /* the server's identity, and the counter of its last transaction */
    int64_t accepted_us; /* when a rollback was last accepted: the database's clock, since 1970 */
    uint64_t used_s;     /* when the row was last seen or stored (clock_ms) */
    int64_t next;        /* the counter of the transaction under way */
    bool is_accepted;    /* the transaction accepts the rollback */
    bool must_publish;   /* the next transaction tells other servers of the rollback */
    bool is_touched;     /* the transaction under way stores the counter, also without rows */
    bool must_store;     /* the next transaction stores the counter, also without rows */
    bool has_warned;
    struct mark_file *file; /* in --state-dir; or NULL */
    int hold;               /* a descriptor of the file, with a lock; or -1 */
    struct postgres_array arrays[2];
};

/* Tells whether a database is the same as before, and not older (pieces.c). */
struct postgres_state {
    int64_t table; /* the object, and the file, that is prserv_row */
    int64_t file;
    int64_t counters; /* the sum of all marks; 0: not known */
};

/* A scan that goes through many transactions: the rows of one piece. */
struct postgres_pieces {
    bool is_on;        /* the rows come from here, and not from a scan in one transaction */
    PGresult *reply;   /* NULL: none */
    int next;          /* the next of its rows */
    bool has_no_marks; /* this connection may not read the table of the marks */
    struct postgres_state state;
};

struct postgres_store {
    struct store base;
    struct store_options options;
    enum store_role role;
    char name[POSTGRES_NAME_BYTES];
    struct postgres_conn conn;        /* connection NULL: not connected */
    struct postgres_attempt *attempt; /* under way; or NULL */
    uint64_t next_try_ms;
    unsigned pause_ms;   /* before the attempt after the next */
    uint64_t refused_ms; /* when the first of the last attempts was refused; 0: the last was not */
    struct error away;   /* why the last attempt failed; empty: it did not */
    bool has_tables;
    bool in_transaction;
    bool has_begun_next; /* the next transaction was begun with the last commit (transaction.c) */
    bool is_scanning;
    uint64_t proven_ms;  /* the beginning of the last commit that has reached the standbys */
    bool proves_nothing; /* because there is no synchronous standby, or this is a standby */
    struct digest *digest;
    struct postgres_facts *facts;
    struct postgres_rows rows;
    struct postgres_mark mark;
    struct postgres_policy policy;
    PGresult *row; /* a scan's last */
    struct postgres_pieces pieces;
};

/* As store_name, for a URI or a connection string. */
void postgres_name(const char *file, char *name, size_t size);

ERROR_MUST_CHECK int postgres_open(struct store **store, const struct store_options *options,
    enum store_role role, struct error *error);

/* ---- connect.c: the store's connection ---- */

/* Returns the connection string for the store's role. */
const char *postgres_conninfo(const struct postgres_store *store);

/* Connects for the first time, waiting as long as a start may take. ERROR_STORE: another try won't
 * help. */
ERROR_MUST_CHECK int postgres_connect_first(struct postgres_store *store, struct error *error);

/* Connects if necessary. ERROR_LOCKED if that takes longer than a moment; it goes on in the
 * background. */
ERROR_MUST_CHECK int postgres_connect_soon(struct postgres_store *store, struct error *error);

/* Closes an idle connection that the server has ended. */
void postgres_check_idle(struct postgres_store *store);

/* Closes the connection. */
void postgres_disconnect(struct postgres_store *store);

/* Lets no attempt begin for some time, which grows from one failure to the next; postgres_calm
 * makes it short again. */
void postgres_pause_attempts(struct postgres_store *store);
void postgres_calm(struct postgres_store *store);

/* ---- verify.c ---- */

/* As store_verify. */
ERROR_MUST_CHECK int postgres_verify(
    const char *file, store_fault_fn fn, void *context, struct error *error);
/* ---- mark.c ---- */

/* What a transaction does to the server's row. */
enum postgres_mark_change {
    POSTGRES_MARK_NOTHING,
    POSTGRES_MARK_COUNT,
    POSTGRES_MARK_PUBLISH, /* a rollback */
    POSTGRES_MARK_ACCEPT,  /* likewise */
};

/* Reads the file in --state-dir; afterwards, when there is a connection, compares for the first
 * time, and accepts the rollback that an option names. */
ERROR_MUST_CHECK int postgres_mark_open(struct postgres_store *store, struct error *error);
ERROR_MUST_CHECK int postgres_mark_start(struct postgres_store *store, struct error *error);
void postgres_mark_close(struct postgres_store *store);

/* Makes the table if it is missing, and prepares the statements. */
ERROR_MUST_CHECK int postgres_mark_prepare_session(struct postgres_conn *conn, bool has_table,
    bool may_use, struct postgres_session *session, struct error *error);
void postgres_mark_adopt_session(
    struct postgres_store *store, const struct postgres_session *session);

/* In each writing transaction: begin; put the question into the pipeline and take its answer; find
 * out what to change, put that into the pipeline, and note that it is committed. */
void postgres_mark_begin(struct postgres_store *store);
ERROR_MUST_CHECK int postgres_mark_send(struct postgres_store *store, struct error *error);
ERROR_MUST_CHECK int postgres_mark_take(
    struct postgres_store *store, const PGresult *reply, struct error *error);
enum postgres_mark_change postgres_mark_change(struct postgres_store *store, bool has_rows);
ERROR_MUST_CHECK int postgres_mark_send_change(
    struct postgres_store *store, enum postgres_mark_change change, struct error *error);
void postgres_mark_commit(struct postgres_store *store, enum postgres_mark_change change);

int postgres_mark_accept(struct store *base, const struct mark *mark, struct error *error);
void postgres_mark_touch(struct store *base);
int postgres_mark_check(struct store *base, struct error *error);
bool postgres_mark_wants_file(const struct store *base);
void postgres_mark_write_file(struct store *base);

/* ---- scan.c ---- */

int postgres_find_many(struct store *base, const struct row *rows, size_t n, store_row_fn fn,
    void *context, struct error *error);
int postgres_count(struct store *base, uint64_t *rows, bool *is_estimate, struct error *error);
int postgres_search(struct store *base, const struct store_search *search, store_package_fn fn,
    void *context, bool *is_end, struct error *error); /* search.c */
int postgres_scan_begin(struct store *base, const struct store_filter *filter, struct error *error);
int postgres_scan_next(struct store *base, struct row *row, struct error *error);

/* ---- pieces.c ---- */

int postgres_pieces_resume(struct store *base, const struct store_filter *filter,
    const struct buffer *bytes, struct error *error);
void postgres_pieces_place(struct store *base, enum store_scan_from which, struct buffer *bytes);
int postgres_pieces_find_greatest(struct store *base, struct text version, struct text pkgarch,
    struct buffer *value, struct error *error);

/* Returns as store_scan_next does. */
int postgres_pieces_next(struct postgres_store *store, struct row *row);

/* Drops the rows of the piece. */
void postgres_pieces_clear(struct postgres_store *store);

#endif
