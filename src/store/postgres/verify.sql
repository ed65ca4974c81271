-- SPDX-License-Identifier: MIT
-- The checks of prserv verify (verify.c): each returns a text for each fault.

-- name: columns
WITH wanted (t, c, type, is_required, collates) AS (VALUES
    ('prserv_schema', 'version', 'integer', true, false),
    ('prserv_package', 'id', 'bigint', true, false),
    ('prserv_package', 'key', 'bytea', true, false),
    ('prserv_package', 'version', 'text', true, true),
    ('prserv_package', 'pkgarch', 'text', true, true),
    ('prserv_row', 'package', 'bigint', true, false),
    ('prserv_row', 'digest', 'bytea', true, false),
    ('prserv_row', 'place', 'bytea', true, false),
    ('prserv_row', 'rest', 'bytea', true, false),
    ('prserv_row', 'checksum', 'text', true, true),
    ('prserv_row', 'value', 'text', false, true)
), fault (n, text) AS (
    SELECT row_number() OVER (), CASE
        WHEN to_regclass(t) IS NULL THEN format('the table %s is missing', t)
        WHEN a.attname IS NULL THEN format('%s: the column %s is missing', t, c)
        WHEN format_type(a.atttypid, a.atttypmod) <> type
            THEN format('%s: the column %s has the type %s, not %s', t, c,
                format_type(a.atttypid, a.atttypmod), type)
        WHEN is_required AND NOT a.attnotnull THEN format('%s: the column %s may be NULL', t, c)
        WHEN collates AND o.collname NOT IN ('C', 'POSIX', 'ucs_basic')
            THEN format('%s: the column %s compares with %s, not with C', t, c, o.collname)
        END
    FROM wanted
    LEFT JOIN pg_attribute a ON a.attrelid = to_regclass(t) AND a.attname = c AND NOT a.attisdropped
    LEFT JOIN pg_collation o ON o.oid = a.attcollation
)
SELECT text FROM fault WHERE text IS NOT NULL GROUP BY text ORDER BY min(n)

-- Without the unique indexes, a value could be given twice.
-- name: indexes
WITH wanted (t, is_unique, columns) AS (VALUES
    ('prserv_package', true, '{id}'::text[]),
    ('prserv_package', true, '{key}'),
    ('prserv_row', true, '{package,digest,place,rest}'),
    ('prserv_row', false, '{package,place}')
), found AS (
    SELECT i.indrelid, i.indisunique, (
        SELECT array_agg(CASE WHEN d LIKE '%CASE%sha256(rest)%' THEN 'rest' ELSE d END ORDER BY n)
        FROM generate_series(1, i.indnkeyatts) AS n, pg_get_indexdef(i.indexrelid, n, true) AS d
    ) AS columns
    FROM pg_index i WHERE i.indisvalid AND i.indpred IS NULL
        AND i.indrelid IN (to_regclass('prserv_package'), to_regclass('prserv_row'))
)
SELECT format('%s: %s index over (%s) is missing', t, CASE WHEN is_unique THEN 'a unique' ELSE 'an' END,
    array_to_string(columns, ', '))
FROM wanted w
WHERE to_regclass(t) IS NOT NULL AND NOT EXISTS (
    SELECT FROM found f WHERE f.indrelid = to_regclass(w.t) AND f.columns = w.columns
        AND (f.indisunique OR NOT w.is_unique))

-- name: schema_rows
SELECT format('prserv_schema has %s rows instead of one', count(*))
FROM prserv_schema HAVING count(*) <> 1

-- name: sequence_behind
SELECT 'the sequence of prserv_package is behind its rows'
FROM pg_get_serial_sequence('prserv_package', 'id') AS s
WHERE CASE WHEN has_sequence_privilege(s, 'SELECT') THEN
    coalesce(pg_sequence_last_value(s::regclass), 0) <
        (SELECT coalesce(max(id), 0) FROM prserv_package)
    END

-- name: orphans
SELECT format('prserv_row: %s rows belong to no package', count(*))
FROM prserv_row r WHERE NOT EXISTS (SELECT FROM prserv_package p WHERE p.id = r.package)
HAVING count(*) > 0

-- name: package_keys
SELECT format('prserv_package: %s rows have a key that is not the hash of version and pkgarch',
    count(*))
FROM prserv_package WHERE key <> sha256(int4send(octet_length(version)) ||
    convert_to(version, 'UTF8') || convert_to(pkgarch, 'UTF8'))
HAVING count(*) > 0

-- name: row_digests
SELECT format('prserv_row: %s rows have a digest that is not the hash of checksum', count(*))
FROM prserv_row WHERE digest <> sha256(convert_to(checksum, 'UTF8'))
HAVING count(*) > 0
