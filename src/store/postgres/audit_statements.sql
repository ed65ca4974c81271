-- SPDX-License-Identifier: MIT
-- The statements of the audit log (audit.c). statements_to_c.awk makes strings of them.

-- Finds out whether the tables are there.
-- name: find_audit
SELECT to_regclass('prserv_audit_revision') IS NOT NULL

-- Makes the tables in a database that was made without them (schema.sql explains them), while no
-- other server does.
-- name: make_audit
SELECT pg_advisory_xact_lock(8585123409);
CREATE TABLE IF NOT EXISTS prserv_audit_revision (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    time_us bigint NOT NULL,
    package bigint NOT NULL,
    digest bytea NOT NULL,
    value text COLLATE "C" NOT NULL,
    request smallint NOT NULL,
    rights text COLLATE "C" NOT NULL,
    peer text COLLATE "C" NOT NULL,
    annotations text COLLATE "C" NOT NULL
);
CREATE INDEX IF NOT EXISTS prserv_audit_revision_package ON prserv_audit_revision (package, id);
CREATE TABLE IF NOT EXISTS prserv_audit_package (
    package bigint PRIMARY KEY,
    n_revisions bigint NOT NULL,
    n_returns bigint NOT NULL,
    last_us bigint NOT NULL
);
CREATE INDEX IF NOT EXISTS prserv_audit_package_revisions ON prserv_audit_package (n_revisions);
CREATE INDEX IF NOT EXISTS prserv_audit_package_returns ON prserv_audit_package (n_returns)
WHERE n_returns > 0;
CREATE TABLE IF NOT EXISTS prserv_audit_content (
    package bigint NOT NULL,
    digest bytea NOT NULL,
    last_us bigint NOT NULL,
    count bigint NOT NULL,
    PRIMARY KEY (package, digest)
)

-- Prepares the statements that write: records, the counts of their packages, requests for contents;
-- audit_has looks for a record, among the last ones of its package.
-- A record of a return has 16 added to its request. Rows are locked in the order of packages. Why
-- LATERAL and OFFSET 0: see the note above the statement make in statements.sql. ANY (ARRAY()) uses an
-- index, where IN could read the whole table.
-- name: prepare_audit
PREPARE audit_add (bytea[], int8[], bytea[], text[], int8[], text[], text[], text[]) AS
INSERT INTO prserv_audit_revision
    (time_us, package, digest, value, request, rights, peer, annotations)
SELECT u.time_us, p.id, u.digest, u.value, u.request, u.rights, u.peer, u.annotations
FROM unnest($1, $2, $3, $4, $5, $6, $7, $8) WITH ORDINALITY
    AS u (key, time_us, digest, value, request, rights, peer, annotations, n)
CROSS JOIN LATERAL (SELECT id FROM prserv_package WHERE key = u.key OFFSET 0) AS p
ORDER BY u.n;
PREPARE audit_count (bytea[], int8[], int8[]) AS
INSERT INTO prserv_audit_package AS known (package, n_revisions, n_returns, last_us)
SELECT p.id, count(*), count(*) FILTER (WHERE u.request >= 16), max(u.time_us)
FROM unnest($1, $2, $3) AS u (key, time_us, request)
CROSS JOIN LATERAL (SELECT id FROM prserv_package WHERE key = u.key OFFSET 0) AS p
WHERE u.request & 15 < 2
GROUP BY p.id ORDER BY p.id
ON CONFLICT (package) DO UPDATE SET n_revisions = known.n_revisions + excluded.n_revisions,
    n_returns = known.n_returns + excluded.n_returns,
    last_us = greatest(known.last_us, excluded.last_us);
PREPARE audit_use (bytea[], bytea[], int8[], int8[]) AS
INSERT INTO prserv_audit_content AS known (package, digest, last_us, count)
SELECT p.id, u.digest, max(u.last_us), sum(u.count)
FROM unnest($1, $2, $3, $4) AS u (key, digest, last_us, count)
CROSS JOIN LATERAL (SELECT id FROM prserv_package WHERE key = u.key OFFSET 0) AS p
GROUP BY p.id, u.digest ORDER BY p.id, u.digest
ON CONFLICT (package, digest) DO UPDATE SET count = known.count + excluded.count,
    last_us = greatest(known.last_us, excluded.last_us);
PREPARE audit_has (bytea[], int8[], bytea[], text[]) AS
SELECT count(*)::int8 FROM (
    SELECT time_us, digest, value FROM prserv_audit_revision
    WHERE package = (SELECT id FROM prserv_package WHERE key = $1[1])
    ORDER BY id DESC LIMIT 20000
) AS last WHERE time_us = $2[1] AND digest = $3[1] AND value = $4[1];
PREPARE audit_expire (int8[], int8[]) AS
WITH old AS (
    DELETE FROM prserv_audit_revision WHERE id = ANY (ARRAY(
        SELECT id FROM (
            SELECT id, time_us FROM prserv_audit_revision ORDER BY id LIMIT $2[1]
            FOR UPDATE SKIP LOCKED
        ) AS first WHERE time_us < $1[1]
    )) RETURNING package, request
), counted AS (
    SELECT package, count(*) AS n, count(*) FILTER (WHERE request >= 16) AS n_returns FROM old
    WHERE request & 15 < 2 GROUP BY package
), fewer AS (
    UPDATE prserv_audit_package AS known SET n_revisions = known.n_revisions - counted.n,
        n_returns = known.n_returns - counted.n_returns
    FROM counted
    WHERE known.package = ANY (ARRAY(SELECT package FROM counted))
        AND known.package = counted.package
)
SELECT count(*)::int8 FROM old;
PREPARE audit_expire_uses (int8[], int8[]) AS
WITH next AS (
    SELECT package FROM prserv_audit_package WHERE package > $2[1] ORDER BY package LIMIT 20
), gone AS (
    DELETE FROM prserv_audit_content
    WHERE last_us < $1[1] AND package = ANY (ARRAY(SELECT package FROM next))
)
SELECT coalesce(max(package), 0)::int8, count(*)::int8 FROM next

-- Reads the greatest id.
-- name: audit_last
SELECT coalesce((SELECT id FROM prserv_audit_revision ORDER BY id DESC LIMIT 1), 0)::int8

-- Read records: the newest first before an id, the oldest first behind one; those of a package; those
-- of a version. The statements end with an order and a limit.
-- name: audit_read
SELECT a.id, a.time_us, p.version, p.pkgarch, r.checksum, a.value, a.request::int8, a.peer,
    a.annotations, a.rights
FROM prserv_audit_revision a LEFT JOIN prserv_package p ON p.id = a.package
LEFT JOIN LATERAL (SELECT checksum FROM prserv_row r
    WHERE r.package = a.package AND r.digest = a.digest LIMIT 1) AS r ON true

-- Reads when the contents of a package were asked for.
-- name: audit_uses
SELECT r.checksum, c.last_us, c.count
FROM prserv_audit_content c
JOIN LATERAL (SELECT checksum FROM prserv_row r
    WHERE r.package = c.package AND r.digest = c.digest LIMIT 1) AS r ON true
WHERE c.package = (SELECT id FROM prserv_package WHERE key = $1::bytea) LIMIT $2::int8

-- Read the packages with the most revisions, and those with the most contents that came back.
-- name: audit_by_revisions
SELECT p.version, p.pkgarch, a.n_revisions, a.n_returns, a.last_us
FROM prserv_audit_package a JOIN prserv_package p ON p.id = a.package
WHERE a.n_revisions > 0 ORDER BY a.n_revisions DESC LIMIT $1::int8

-- name: audit_by_returns
SELECT p.version, p.pkgarch, a.n_revisions, a.n_returns, a.last_us
FROM prserv_audit_package a JOIN prserv_package p ON p.id = a.package
WHERE a.n_returns > 0 ORDER BY a.n_returns DESC LIMIT $1::int8

-- The same, of the records behind an id and since a time.
-- name: audit_new_by_revisions
SELECT p.version, p.pkgarch, c.n, c.back, c.last_us
FROM (SELECT package, count(*) AS n, count(*) FILTER (WHERE request >= 16) AS back,
        max(time_us) AS last_us
    FROM prserv_audit_revision WHERE id > $2::int8 AND time_us >= $3::int8 AND request & 15 < 2
    GROUP BY package) AS c
JOIN prserv_package p ON p.id = c.package
ORDER BY c.n DESC LIMIT $1::int8

-- name: audit_new_by_returns
SELECT p.version, p.pkgarch, c.n, c.back, c.last_us
FROM (SELECT package, count(*) AS n, count(*) FILTER (WHERE request >= 16) AS back,
        max(time_us) AS last_us
    FROM prserv_audit_revision WHERE id > $2::int8 AND time_us >= $3::int8 AND request & 15 < 2
    GROUP BY package) AS c
JOIN prserv_package p ON p.id = c.package
WHERE c.back > 0 ORDER BY c.back DESC LIMIT $1::int8

-- Reads the time of the first record behind an id.
-- name: audit_from
SELECT time_us FROM prserv_audit_revision WHERE id > $1::int8 ORDER BY id LIMIT 1
