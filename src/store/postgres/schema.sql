-- SPDX-License-Identifier: MIT
-- The tables of prservd on PostgreSQL (13 or newer, encoding UTF8).
--
-- prservd makes them itself, in the first schema of the role's search_path, if the role has the right to.
-- Otherwise an administrator runs this once, and then (a role that only reads needs only SELECT):
--
--     GRANT SELECT, INSERT, UPDATE ON prserv_package TO prservd;
--     GRANT SELECT, INSERT ON prserv_row TO prservd;
--     GRANT SELECT ON prserv_schema TO prservd;
--     GRANT SELECT ON SEQUENCE prserv_package_id_seq TO prservd; -- only to check it at the start
--     GRANT SELECT, INSERT, UPDATE, DELETE ON prserv_mark TO prservd;
--     GRANT SELECT, INSERT, UPDATE, DELETE ON prserv_audit_revision TO prservd;
--     GRANT SELECT, INSERT, UPDATE, DELETE ON prserv_audit_package TO prservd;
--     GRANT SELECT, INSERT, UPDATE, DELETE ON prserv_audit_content TO prservd;
--
-- (UPDATE, because rows are locked. Rows of the first three tables are never changed or removed.)

-- The version of this layout, for later versions of prservd: one row.
CREATE TABLE prserv_schema (
    version integer NOT NULL
);
INSERT INTO prserv_schema VALUES (1);

-- Each package once. A server locks its row before it gives a revision in it.
-- key: sha256 over the length of version (4 bytes, highest first), version and pkgarch, in UTF-8; the
-- texts themselves may be too long for an index.
CREATE TABLE prserv_package (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key bytea NOT NULL UNIQUE,
    version text COLLATE "C" NOT NULL,
    pkgarch text COLLATE "C" NOT NULL
);

-- For searches by name, over HTTP alone. left(), because an index can't hold long texts. A server whose
-- role owns the table makes it in a database that lacks it, if that takes no more than 5 s.
CREATE INDEX prserv_package_name ON prserv_package (left(version, 400), left(pkgarch, 200), key);

-- The revisions that were given. Rows are only ever added.
-- digest: sha256 over checksum, in UTF-8.
-- place, rest: the order of values as bytes (src/revision/order_key.h): the first 500, and what follows
-- them. If value is not a revision (but left by another program), place is empty, and rest is a byte 1 and
-- value itself, or a byte 0 alone for NULL.
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
-- The floors of a package. Databases that 0.2 and older versions made work without it, but look for
-- floors among all rows; CREATE INDEX CONCURRENTLY adds it while servers run.
CREATE INDEX prserv_row_floor ON prserv_row (package, place) WHERE starts_with(checksum, 'floor:');

-- The mark of each server: its counter grows with each transaction in which it stores rows. If the
-- row is smaller than the server remembers, the database went back to an older state.
-- rollback: the counter that the server remembers then; NULL: all is well. used: rows that are unused
-- for 30 days are removed. The row without identity says when a rollback was last accepted.
CREATE TABLE prserv_mark (
    identity text PRIMARY KEY,
    counter bigint NOT NULL,
    rollback bigint,
    used timestamptz NOT NULL DEFAULT now()
);

-- The audit log: who got which revision, and when. It can be emptied at any time.
-- time_us: microseconds since 1970. digest: that of the checksum, as in prserv_row. request: 0 get-pr,
-- 1 import-one, 3 floor; 16 is added if the content had another revision before. annotations: a JSON
-- object, or empty.
CREATE TABLE prserv_audit_revision (
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
CREATE INDEX prserv_audit_revision_package ON prserv_audit_revision (package, id);

-- How many records there are of each package, and of how many the content came back.
CREATE TABLE prserv_audit_package (
    package bigint PRIMARY KEY,
    n_revisions bigint NOT NULL,
    n_returns bigint NOT NULL,
    last_us bigint NOT NULL
);
CREATE INDEX prserv_audit_package_revisions ON prserv_audit_package (n_revisions);
CREATE INDEX prserv_audit_package_returns ON prserv_audit_package (n_returns) WHERE n_returns > 0;

-- When each content was last asked for, and how often.
CREATE TABLE prserv_audit_content (
    package bigint NOT NULL,
    digest bytea NOT NULL,
    last_us bigint NOT NULL,
    count bigint NOT NULL,
    PRIMARY KEY (package, digest)
);

-- The rows as in an SQLite database, for queries by hand.
CREATE VIEW prmain AS
    SELECT p.version, p.pkgarch, r.checksum, r.value
    FROM prserv_row r JOIN prserv_package p ON p.id = r.package;
