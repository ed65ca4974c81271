-- The tables of prservd on PostgreSQL (13 or newer, encoding UTF8).
--
-- prservd makes them itself, in the first schema of the role's search_path, when it may. Where it may not,
-- someone who may runs this once, and then (a role that only reads needs SELECT alone):
--
--     GRANT SELECT, INSERT, UPDATE ON prserv_package TO prservd;
--     GRANT SELECT, INSERT ON prserv_row TO prservd;
--     GRANT SELECT, UPDATE ON prserv_schema TO prservd;
--
-- and for prserv migrate also: GRANT TEMPORARY ON DATABASE prserv TO prservd;
-- (UPDATE, because rows are locked. Nothing is ever changed or removed.)

-- Which layout this is, for later versions of prservd: one row.
CREATE TABLE prserv_schema (
    version integer NOT NULL
);
INSERT INTO prserv_schema VALUES (1);

-- A package, once. Its row is locked by who gives a revision in it.
-- key: sha256 over the length of version (4 bytes, highest first), version and pkgarch, in UTF-8:
-- the texts themselves may be too long for an index.
CREATE TABLE prserv_package (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key bytea NOT NULL UNIQUE,
    version text COLLATE "C" NOT NULL,
    pkgarch text COLLATE "C" NOT NULL
);

-- Which revisions were given. Rows are only ever added.
-- digest: sha256 over checksum, in UTF-8.
-- place, rest: where value stands in the order of revisions, as bytes (src/revision/order_key.h): the first
-- 500, and what follows them. If value is no revision (another program's work), place is empty, and rest
-- is value itself after a byte 1, or a byte 0 alone for NULL.
CREATE TABLE prserv_row (
    package bigint NOT NULL,
    digest bytea NOT NULL,
    place bytea NOT NULL,
    rest bytea NOT NULL,
    checksum text COLLATE "C" NOT NULL,
    value text COLLATE "C"
);
CREATE UNIQUE INDEX prserv_row_once ON prserv_row
    (package, digest, place, (CASE WHEN rest = '' THEN rest ELSE sha256(rest) END));
CREATE INDEX prserv_row_order ON prserv_row (package, place);

-- The rows as they are in an SQLite database, for whoever wants to look.
CREATE VIEW prmain AS
    SELECT p.version, p.pkgarch, r.checksum, r.value
    FROM prserv_row r JOIN prserv_package p ON p.id = r.package;
