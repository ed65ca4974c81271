-- SPDX-License-Identifier: MIT
-- The statements of the mark (mark.c). statements_to_c.awk makes strings of them.

-- Makes the table of the marks in a database that was made without it (schema.sql explains it), while
-- no other server does.
-- name: make_mark
SELECT pg_advisory_xact_lock(8585123409);
CREATE TABLE IF NOT EXISTS prserv_mark (
    identity text PRIMARY KEY,
    counter bigint NOT NULL,
    rollback bigint,
    used timestamptz NOT NULL DEFAULT now()
)

-- Finds a rollback that a server has found, for a reader.
-- name: find_rollback
SELECT identity || ':' || rollback, counter FROM prserv_mark
WHERE rollback IS NOT NULL ORDER BY identity LIMIT 1

-- Removes rows of servers that no longer exist, and prepares the statements of the mark: mark reads
-- a server's counter, a rollback that any server has found, and when one was last accepted;
-- mark_count stores a counter, mark_publish a rollback, mark_accept ends all rollbacks.
-- name: prepare_mark
DELETE FROM prserv_mark
WHERE used < now() - interval '30 days' AND identity <> '' AND rollback IS NULL;
PREPARE mark (text[]) AS
SELECT coalesce((SELECT counter FROM prserv_mark WHERE identity = $1[1]), -1),
    r.identity || ':' || r.rollback, coalesce(r.counter, 0),
    coalesce((SELECT (extract(epoch FROM used) * 1000000)::bigint FROM prserv_mark
        WHERE identity = ''), 0)
FROM (SELECT 1) AS one LEFT JOIN (
    SELECT identity, rollback, counter FROM prserv_mark
    WHERE rollback IS NOT NULL ORDER BY identity LIMIT 1
) AS r ON true;
PREPARE mark_count (text[], int8[]) AS
INSERT INTO prserv_mark (identity, counter) VALUES ($1[1], $2[1])
ON CONFLICT (identity) DO UPDATE SET counter = excluded.counter, used = now();
PREPARE mark_publish (text[], int8[]) AS
INSERT INTO prserv_mark (identity, counter, rollback) VALUES ($1[1], 0, $2[1])
ON CONFLICT (identity) DO UPDATE SET rollback = excluded.rollback, used = now();
PREPARE mark_accept (text[], int8[]) AS
WITH ended AS (
    UPDATE prserv_mark SET counter = greatest(counter, rollback) + 1, rollback = NULL
    WHERE rollback IS NOT NULL AND identity <> $1[1]
), own AS (
    INSERT INTO prserv_mark (identity, counter) VALUES ($1[1], $2[1])
    ON CONFLICT (identity) DO UPDATE SET counter = excluded.counter, rollback = NULL, used = now()
)
INSERT INTO prserv_mark (identity, counter, used) VALUES ('', 0, clock_timestamp())
ON CONFLICT (identity) DO UPDATE
SET used = greatest(prserv_mark.used + interval '1 microsecond', excluded.used)
