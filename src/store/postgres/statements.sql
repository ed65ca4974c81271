-- SPDX-License-Identifier: MIT
-- The statements of a session: its settings, and what is prepared. statements_to_c.awk makes strings
-- of them; the parameters of prepared statements are arrays.

-- Indexes in their order are always the right plan, also before statistics exist that say so. Lock
-- waits are short, because new arrivals get their read pass in between. A transaction whose server
-- is gone, or was cut off by a dead network, must not hold locks for long.
-- name: settings
SET client_min_messages = warning;
SET default_transaction_isolation = 'read committed';
SET lock_timeout = '500ms';
SET idle_in_transaction_session_timeout = '5s';
SET tcp_keepalives_idle = 5;
SET tcp_keepalives_interval = 2;
SET tcp_keepalives_count = 2;
SET tcp_user_timeout = '8s';
SET plan_cache_mode = force_generic_plan;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET enable_sort = off;
SET jit = off;
SET max_parallel_workers_per_gather = 0;
SELECT
    pg_is_in_recovery()::int,
    current_setting('server_encoding'),
    current_setting('synchronous_commit'),
    current_setting('fsync'),
    to_regclass('prserv_schema') IS NOT NULL,
    current_setting('default_transaction_read_only'),
    current_setting('synchronous_standby_names'),
    pg_backend_pid(),
    to_regclass('prserv_mark') IS NOT NULL,
    coalesce(has_table_privilege(to_regclass('prserv_mark'), 'SELECT')
        AND has_table_privilege(to_regclass('prserv_mark'), 'INSERT')
        AND has_table_privilege(to_regclass('prserv_mark'), 'UPDATE')
        AND has_table_privilege(to_regclass('prserv_mark'), 'DELETE'), false)

-- What names a database among those of all clusters. A standby has the same names as its primary.
-- name: instance
SELECT format('postgresql %s %s %s', s.system_identifier, d.oid, n.nspname)
FROM pg_control_system() s, pg_database d, pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE d.datname = current_database() AND c.oid = to_regclass('prserv_schema')

-- Any number would do for the advisory lock, as long as it never changes.
-- name: lock_schema
SET lock_timeout = 0;
SELECT pg_advisory_lock(8585123409)

-- name: unlock_schema
SELECT pg_advisory_unlock(8585123409);
SET lock_timeout = '500ms'

-- name: find_schema
BEGIN;
SELECT to_regclass('prserv_schema') IS NULL

-- name: version
SELECT count(*), max(version) FROM prserv_schema

-- Makes the index for searches where it is missing. Where that takes long, an administrator does it, with
-- CREATE INDEX CONCURRENTLY.
-- name: make_name_index
SET statement_timeout = '5s';
DO $$ BEGIN
    IF to_regclass('prserv_package_name') IS NULL AND (
        SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = 'prserv_package'::regclass
    ) THEN
        CREATE INDEX prserv_package_name
            ON prserv_package (left(version, 400), left(pkgarch, 200), key);
    END IF;
EXCEPTION WHEN query_canceled OR lock_not_available OR duplicate_table OR insufficient_privilege THEN
    NULL;
END $$;
SET statement_timeout = 0

-- Finds packages by name: $1 the prefix, $2 to $4 version, pkgarch and key of the package before, or of
-- none; $5 how many; $6 how many rows of each are looked at. The second statement finds one: $1 its key.
-- name: search
SELECT p.version, p.pkgarch, g.value, c.n, c.is_all FROM (
    SELECT id, version, pkgarch, key, left(version, 400) AS v, left(pkgarch, 200) AS a
    FROM prserv_package
    WHERE (left(version, 400), left(pkgarch, 200), key) > (left($2::text, 400), left($3::text, 200), $4::bytea)
        AND left(version, 400) <= left($1::text, 400) || chr(1114111)
        AND starts_with(version, $1::text)
    ORDER BY left(version, 400), left(pkgarch, 200), key
    LIMIT $5::int4
) AS p LEFT JOIN LATERAL (
    SELECT r.value FROM prserv_row r
    WHERE r.package = p.id AND r.place > ''
    ORDER BY r.place DESC, r.rest DESC LIMIT 1
) AS g ON true CROSS JOIN LATERAL (
    SELECT count(DISTINCT r.digest) FILTER (WHERE r.place > '' AND NOT starts_with(r.checksum, 'floor:'))
        AS n, (count(*) <= $6::int4)::int4 AS is_all
    FROM (
        SELECT r.digest, r.place, r.checksum FROM prserv_row r
        WHERE r.package = p.id ORDER BY r.package, r.digest LIMIT $6::int4 + 1
    ) AS r
) AS c
ORDER BY p.v, p.a, p.key

-- name: search_one
SELECT p.version, p.pkgarch, g.value, c.n, c.is_all
FROM prserv_package p LEFT JOIN LATERAL (
    SELECT r.value FROM prserv_row r
    WHERE r.package = p.id AND r.place > ''
    ORDER BY r.place DESC, r.rest DESC LIMIT 1
) AS g ON true CROSS JOIN LATERAL (
    SELECT count(DISTINCT r.digest) FILTER (WHERE r.place > '' AND NOT starts_with(r.checksum, 'floor:'))
        AS n, (count(*) <= $2::int4)::int4 AS is_all
    FROM (
        SELECT r.digest, r.place, r.checksum FROM prserv_row r
        WHERE r.package = p.id ORDER BY r.package, r.digest LIMIT $2::int4 + 1
    ) AS r
) AS c
WHERE p.key = $1::bytea

-- How many packages there are: up to 10001, and an estimate.
-- name: survey
SELECT (SELECT count(*) FROM (SELECT FROM prserv_package LIMIT 10001) AS first),
    greatest(reltuples, 0)::bigint, current_setting('server_version')
FROM pg_class WHERE oid = 'prserv_package'::regclass

-- Whether the next package would get the number of one that exists. CASE, because a role that may not
-- read the sequence would get an error.
-- name: sequence
SELECT CASE WHEN has_sequence_privilege(s, 'SELECT') THEN
    coalesce(pg_sequence_last_value(s::regclass), 0) <
        (SELECT coalesce(max(id), 0) FROM prserv_package)
    END
FROM pg_get_serial_sequence('prserv_package', 'id') AS s

-- The statements below look up each element of an array with a subquery that the planner can't turn
-- into a join (OFFSET 0, or a comparison with its value). Their plans are made once, when the tables may
-- still be empty. A join could then read all packages, or the whole array for each package.

-- Makes packages: $1 keys, $2 versions, $3 pkgarches, each package once. Only missing packages are
-- inserted: an insert that meets a conflict costs more.
-- name: make
INSERT INTO prserv_package (key, version, pkgarch)
SELECT u.k, u.v, u.a FROM unnest($1::bytea[], $2::text[], $3::text[]) AS u (k, v, a)
WHERE (SELECT p.id FROM prserv_package p WHERE p.key = u.k) IS NULL
ORDER BY u.k
ON CONFLICT (key) DO NOTHING

-- Locks packages: $1 keys. In the order of keys, so that servers don't wait for each other in a
-- circle.
-- name: lock
SELECT count(*) FROM (
    SELECT FROM prserv_package WHERE key = ANY ($1::bytea[]) ORDER BY key FOR UPDATE
) AS l

-- Locks those packages that no other transaction has locked.
-- name: lock_free
SELECT id FROM prserv_package WHERE key = ANY ($1::bytea[]) ORDER BY key FOR UPDATE SKIP LOCKED

-- Answers the question of a batch. For each element: $1 key of the package, $2 digest of the checksum
-- or NULL, $3 whether its smallest value is wanted, $4 its largest, $5 and $6 place and rest of a
-- value or NULL, $7 whether this is the first element of its package. The second column of a row says
-- what the row is: i the package's number, g its greatest row, o rows that hold no revision, s and l
-- the checksum's smallest and largest value, h a row that holds the value, f the greatest floor if it
-- is not below the value (src/revision/floor.h has the prefix). Element 0, b, has the process.
--
-- No plan may read all rows of a package, not even while the tables are new and without statistics:
-- so the planner is kept from sorting, and length() keeps it from using the index over places for the
-- rows of a checksum. Only a place of 500 bytes has a rest: where many rows share a shorter place, any
-- of them will do. f reads the rows above the value where the index over floors is missing, which
-- databases of older versions don't have.
-- name: facts
WITH w AS MATERIALIZED (
    SELECT u.n::int4 AS n, p.id, u.digest, u.smallest, u.largest, u.place, u.rest, u.first
    FROM unnest($1::bytea[], $2::bytea[], $3::bool[], $4::bool[], $5::bytea[], $6::bytea[],
        $7::bool[]) WITH ORDINALITY AS u (key, digest, smallest, largest, place, rest, first, n)
    CROSS JOIN LATERAL (SELECT id FROM prserv_package WHERE key = u.key OFFSET 0) AS p
), g AS MATERIALIZED (
    SELECT w.n, w.id, top.place, top.checksum, top.value FROM w CROSS JOIN LATERAL (
        SELECT r.place, r.checksum, r.value FROM prserv_row r
        WHERE r.package = w.id AND r.place > ''
        ORDER BY r.place DESC LIMIT 1
    ) AS top WHERE w.first
)
SELECT w.n, 'i', NULL, NULL, w.id FROM w WHERE w.first
UNION ALL
SELECT g.n, 'g', g.checksum, g.value, NULL FROM g WHERE length(g.place) < 500
UNION ALL
SELECT g.n, 'g', l.checksum, l.value, NULL FROM g CROSS JOIN LATERAL (
    SELECT r.checksum, r.value FROM prserv_row r
    WHERE r.package = g.id AND r.place = g.place
    ORDER BY r.rest DESC LIMIT 1
) AS l WHERE length(g.place) >= 500
UNION ALL
SELECT w.n, 'o', o.checksum, o.value, NULL FROM w CROSS JOIN LATERAL (
    SELECT r.checksum, r.value FROM prserv_row r
    WHERE r.package = w.id AND r.place = ''
    LIMIT 3
) AS o WHERE w.first
UNION ALL
SELECT w.n, 's', NULL, s.value, NULL FROM w CROSS JOIN LATERAL (
    SELECT r.value FROM prserv_row r
    WHERE r.package = w.id AND r.digest = w.digest AND length(r.place) > 0
    ORDER BY r.place, r.rest LIMIT 1
) AS s WHERE w.smallest
UNION ALL
SELECT w.n, 'l', NULL, l.value, NULL FROM w CROSS JOIN LATERAL (
    SELECT r.value FROM prserv_row r
    WHERE r.package = w.id AND r.digest = w.digest AND length(r.place) > 0
    ORDER BY r.place DESC, r.rest DESC LIMIT 1
) AS l WHERE w.largest
UNION ALL
SELECT w.n, 'h', h.checksum, h.value, NULL FROM w CROSS JOIN LATERAL (
    SELECT r.checksum, r.value FROM prserv_row r
    WHERE r.package = w.id AND r.place = w.place AND r.rest = w.rest
    LIMIT 1
) AS h WHERE w.place > ''
UNION ALL
SELECT w.n, 'f', f.checksum, f.value, NULL FROM w CROSS JOIN LATERAL (
    SELECT r.checksum, r.value FROM prserv_row r
    WHERE r.package = w.id AND r.place >= w.place AND starts_with(r.checksum, 'floor:')
    ORDER BY r.place DESC, r.rest DESC LIMIT 1
) AS f WHERE w.place > ''
UNION ALL
SELECT 0, 'b', NULL, NULL, pg_backend_pid()::int8

-- Adds rows: $1 digests, $2 places, $3 rests, $4 numbers of packages, $5 checksums, $6 values.
-- name: add
INSERT INTO prserv_row (digest, place, rest, package, checksum, value)
SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::int8[], $5::text[], $6::text[])
ON CONFLICT DO NOTHING

-- Finds rows: $1 keys of packages, $2 digests, $3 places, $4 rests.
-- name: find
SELECT p.version, p.pkgarch, r.checksum, r.value
FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bytea[]) AS u (key, digest, place, rest)
CROSS JOIN LATERAL (
    SELECT id, version, pkgarch FROM prserv_package WHERE key = u.key OFFSET 0
) AS p
CROSS JOIN LATERAL (
    SELECT checksum, value FROM prserv_row
    WHERE package = p.id AND digest = u.digest AND place = u.place AND rest = u.rest OFFSET 0
) AS r

-- Reads rows, package by package: $1 version, $2 pkgarch, $3 checksum, or '' for all; $4 the key of the
-- package, or NULL.
-- name: scan
SELECT p.version, p.pkgarch, r.checksum, r.value
FROM prserv_package p JOIN prserv_row r ON r.package = p.id
WHERE ($1::text = '' OR p.version = $1) AND ($2::text = '' OR p.pkgarch = $2)
    AND ($3::text = '' OR r.checksum = $3) AND ($4::bytea IS NULL OR p.key = $4)
ORDER BY p.id

-- Reads a piece of all rows, in the order of the index prserv_row_once: $1 to $4 where it begins, $5
-- the last package. So many bytes at most, but one row at least.
-- name: scan_piece
SELECT s.version, s.pkgarch, s.checksum, s.value, s.package, s.digest, s.place, s.hash
FROM (
    SELECT p.version, p.pkgarch, r.checksum, r.value, r.package, r.digest, r.place, r.hash, b.bytes,
        sum(b.bytes) OVER (ORDER BY r.package, r.digest, r.place, r.hash
            ROWS UNBOUNDED PRECEDING) AS total
    FROM (
        SELECT package, digest, place, checksum, value,
            (CASE WHEN rest = '' THEN rest ELSE sha256(rest) END) AS hash
        FROM prserv_row
        WHERE (package, digest, place, (CASE WHEN rest = '' THEN rest ELSE sha256(rest) END)) >=
            ($1::int8, $2::bytea, $3::bytea, $4::bytea) AND package <= $5::int8
        ORDER BY package, digest, place, (CASE WHEN rest = '' THEN rest ELSE sha256(rest) END)
        LIMIT 1500
    ) AS r
    JOIN prserv_package p ON p.id = r.package
    CROSS JOIN LATERAL (
        SELECT octet_length(p.version) + octet_length(p.pkgarch) + octet_length(r.checksum)
            + coalesce(octet_length(r.value), 0) AS bytes
    ) AS b
) AS s
WHERE s.total - s.bytes < 98304
ORDER BY s.package, s.digest, s.place, s.hash

-- The number of a package: $1 its key.
-- name: scan_package
SELECT id FROM prserv_package WHERE key = $1::bytea

-- The greatest revision of a package: $1 its key. A place that is shorter than 500 bytes is all of a
-- revision's order, so any row with it will do.
-- name: greatest
WITH g AS MATERIALIZED (
    SELECT r.package, r.place FROM prserv_row r
    WHERE r.package = (SELECT id FROM prserv_package WHERE key = $1::bytea) AND r.place > ''
    ORDER BY r.place DESC LIMIT 1
)
SELECT r.value FROM g CROSS JOIN LATERAL (
    (SELECT value FROM prserv_row
    WHERE length(g.place) < 500 AND package = g.package AND place = g.place
    LIMIT 1)
    UNION ALL
    (SELECT value FROM prserv_row
    WHERE length(g.place) >= 500 AND package = g.package AND place = g.place
    ORDER BY rest DESC LIMIT 1)
) AS r
