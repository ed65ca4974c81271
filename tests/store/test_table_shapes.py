# SPDX-License-Identifier: MIT
"""The table PRMAIN as other programs make it: what is refused, and what is used as it is."""

import json

import pytest

from bitbake_database import (
    LEGACY_TABLE,
    TABLE,
    make_database,
    read,
    write,
)
from harness import Refused, run_prservd
from prserv_command import prserv
from rows import M4, ZIP, rows_of

KEY = "PRIMARY KEY (version, pkgarch, checksum, value)"
INSERT = "INSERT INTO PRMAIN (version, pkgarch, checksum, value) VALUES (?, ?, ?, ?)"


def make_table(path, old="", new="", more=()):
    """Creates PRMAIN as BitBake does, with a difference."""
    assert old in TABLE
    sql = TABLE.replace(old, new)
    if " AS (" in new:  # which can't be in a primary key
        sql = sql.replace("PRIMARY KEY", "UNIQUE")
    write(path, sql)
    for sql in more:
        write(path, sql)


def refuse(path, *options):
    """Returns the message of a server that does not start."""
    before = path.read_bytes()
    address = ("--host", "127.0.0.1", "--port", "0")
    done = run_prservd("--file", path, *address, *options, cwd=path.parent)
    assert done.returncode == 1
    assert path.read_bytes() == before
    return done.stderr


REFUSED = {
    "integer value": ("value TEXT", "value INTEGER", "value has the type INTEGER"),
    "no type": ("version TEXT", "version", "version has no type"),
    "numeric": ("checksum TEXT", "checksum STRING", "checksum has the type STRING"),
    "blob": ("pkgarch TEXT", "pkgarch BLOB", "pkgarch has the type BLOB"),
    "point": ("value TEXT", "value CHARINT", "value has the type CHARINT"),
    "no case": ("version TEXT", "version TEXT COLLATE NOCASE", "version compares with"),
    "trimmed": ("value TEXT", "value TEXT COLLATE RTRIM", "value compares with RTRIM"),
    "no key": (f", {KEY}", "", "a key of version"),
    "key of three": ("checksum, value)", "checksum)", "excludes rows"),
    "key and more": (
        "checksum, value)",
        "checksum, value, value2)",
        "a key of version",
    ),
    "key without case": (KEY, KEY.replace("n,", "n COLLATE NOCASE,"), "excludes rows"),
    "one row a content": (
        KEY,
        f"{KEY}, UNIQUE (version, pkgarch, checksum)",
        "excludes",
    ),
    "one row a value": (
        KEY,
        f"{KEY}, UNIQUE (version, pkgarch, value)",
        "excludes rows",
    ),
    "computed": (
        "value TEXT",
        "more TEXT, value TEXT AS (more) STORED",
        "value is computed",
    ),
}


@pytest.mark.parametrize("options", [(), ("--read-only",)], ids=["rw", "ro"])
@pytest.mark.parametrize("name", REFUSED)
def test_a_table_that_could_change_or_lose_a_row_is_refused(path, name, options):
    old, new, said = REFUSED[name]
    if "value2" in new:
        make_table(
            path,
            f", {KEY}",
            f", value2 TEXT, {KEY.replace('value)', 'value, value2)')}",
        )
    else:
        make_table(path, old, new)
    message = refuse(path, *options)
    assert said in message and f"{path} has a table PRMAIN that can't hold" in message
    assert "prserv migrate OLD NEW" in message
    assert prserv("verify", path).returncode == 1


@pytest.mark.parametrize(
    "more, said",
    [
        (["CREATE UNIQUE INDEX u ON PRMAIN (version, pkgarch, checksum)"], "index u"),
        (["CREATE UNIQUE INDEX u ON PRMAIN (lower(version))"], "index u"),
        (["CREATE UNIQUE INDEX u ON PRMAIN (checksum) WHERE value = '1'"], "index u"),
    ],
)
def test_a_unique_index_that_excludes_rows_is_refused(path, more, said):
    make_table(path, more=more)
    assert said in refuse(path)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE VIEW PRMAIN AS SELECT version, pkgarch, checksum, value FROM PRMAIN_hist",
        "CREATE VIRTUAL TABLE PRMAIN USING fts4(version, pkgarch, checksum, value)",
    ],
)
def test_a_view_and_a_virtual_table_are_refused(path, sql):
    make_database(path, hist=[(*M4, "a", 1)])
    write(path, sql)
    assert "has a table PRMAIN that can't hold all rows" in refuse(path)


USED = {
    "BitBake 2.10": ("", ""),
    "without rowid": ("checksum, value))", "checksum, value)) WITHOUT ROWID"),
    "strict": ("checksum, value))", "checksum, value)) STRICT"),
    "other names": ("PRMAIN (version TEXT", "prMain (VERSION TEXT"),
    "other text": ("value TEXT", "value NVARCHAR(80)"),
    "nulls": (" NOT NULL", ""),
    "no null": ("value TEXT", "value TEXT NOT NULL"),
    "other order": (KEY, "PRIMARY KEY (value, checksum, version, pkgarch)"),
    "unique": (KEY, "UNIQUE (version, pkgarch, checksum, value)"),
    "a number": ("(version TEXT", "(id INTEGER PRIMARY KEY, version TEXT"),
    "a time": ("value TEXT", "value TEXT, time TEXT DEFAULT CURRENT_TIMESTAMP"),
    "replace": (KEY, f"{KEY} ON CONFLICT REPLACE"),
}


# Without the mark, which a server adds.
SCHEMA = "SELECT sql FROM sqlite_master WHERE name != 'prservd_mark' ORDER BY name"


@pytest.mark.parametrize("name", USED)
def test_a_table_that_holds_every_row_is_used_as_it_is(serve, path, name):
    old, new = USED[name]
    sql = TABLE.replace(old, new)
    if name == "a number":
        sql = sql.replace(KEY, f"UNIQUE {KEY[len('PRIMARY KEY '):]}")
    write(path, sql)
    write(path, INSERT, [(*M4, "A", "1.10"), (*M4, "a", "1.9"), (*M4, "a", "1.10 ")])
    before = read(path, SCHEMA)
    server = serve("--file", path)
    assert server.get_pr(*M4, "b") == "1.11"
    assert server.get_pr(*M4, "b") == "1.11"
    server.restart()
    assert server.get_pr(*M4, "A ") == "1.12"
    assert server.get_pr(*M4, "a", history=True) == "1.9"
    assert len(rows_of(server)) == 5
    assert read(path, SCHEMA) == before


def test_more_indexes_are_allowed(serve, path):
    make_table(
        path,
        more=[
            "CREATE INDEX a ON PRMAIN (value COLLATE NOCASE)",
            "CREATE INDEX b ON PRMAIN (lower(version))",
            "CREATE UNIQUE INDEX c ON PRMAIN (value, checksum, pkgarch, version)",
        ],
    )
    server = serve("--file", path)
    assert [server.get_pr(*M4, name) for name in "aab"] == ["0", "0", "1"]


# ---- rows that SQLite changes or drops ----


@pytest.mark.parametrize(
    "more",
    [
        "BEFORE INSERT ON PRMAIN WHEN new.checksum = 'b' BEGIN SELECT RAISE(IGNORE); END",
        "AFTER INSERT ON PRMAIN BEGIN DELETE FROM PRMAIN WHERE checksum = 'b'; END",
        "AFTER INSERT ON PRMAIN BEGIN UPDATE PRMAIN SET value = 9 WHERE checksum = 'b'; END",
    ],
    ids=["ignored", "deleted", "updated"],
)
def test_a_row_that_a_trigger_drops_or_changes_is_not_answered(serve, path, more):
    make_table(path, more=[f"CREATE TRIGGER t {more}"])
    server = serve("--file", path)
    assert server.get_pr(*M4, "a") == "0"
    with pytest.raises(Refused, match="has changed or dropped a new row"):
        server.get_pr(*M4, "b")
    assert server.get_pr(*M4, "c") == "1"


def test_a_row_that_a_constraint_drops_is_not_answered(serve, path):
    make_table(
        path, "value TEXT,", "value TEXT, more TEXT NOT NULL ON CONFLICT IGNORE,"
    )
    server = serve("--file", path)
    with pytest.raises(Refused, match="has changed or dropped a new row"):
        server.get_pr(*M4, "b")


@pytest.mark.parametrize("options", [(), ("--read-only",)], ids=["rw", "ro"])
def test_rows_whose_keys_are_not_texts_do_not_count(serve, path, options):
    """A blob or NULL is not the text that a client asks for."""
    make_table(path, " NOT NULL", "")
    rows = [
        (*M4, None, "7"),
        (*M4, b"blob", "8"),
        (*M4, "", "1"),
        (None, "all", "a", "5"),
    ]
    write(path, INSERT, rows)
    server = serve("--file", path, *options)
    with server.client() as client:
        assert client.max_pr(*M4) == "1"
        assert client.test_pr(*M4, "") == "1"
        assert client.test_pr(*M4, "blob") is None
        assert client.max_pr("", "all") is None
    assert rows_of(server, history=False) == [(*M4, "", "1")]


def test_texts_with_nul_characters_are_stored_whole(serve, path):
    server = serve("--file", path)
    with server.client() as client:
        assert client.get_pr("a\0b", "c\0", "d\0e") == "0"
        assert client.get_pr("a\0b", "c\0", "d\0f") == "1"
        assert client.get_pr("a", "c", "d") == "0"
    server.restart()
    assert server.get_pr("a\0b", "c\0", "d\0e", history=True) == "0"
    assert ("a\0b", "c\0", "d\0f", "1") in rows_of(server)


# ---- the way out ----


def migrate(old, new, *options, status=0):
    done = prserv("--json", "migrate", old, new, *options)
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout) if done.stdout else done.stderr


def test_a_renamed_old_table_is_refused_and_migrated(serve, path, tmp_path):
    """New content got 0 from such a table, and its rows vanished at the restart."""
    write(path, LEGACY_TABLE.format("PRMAIN"))
    write(path, INSERT, [(*M4, f"c{n}", n) for n in range(12)])
    assert "value has the type INTEGER" in refuse(path)
    answer = migrate(path, tmp_path / "new")
    assert answer["same"] and answer["from"]["rows"] == answer["to"]["rows"] == 12
    server = serve("--file", tmp_path / "new")
    assert server.get_pr(*M4, "c11") == "11"
    assert server.get_pr(*M4, "new") == "12"


def test_rows_of_all_tables_beside_such_a_table_are_migrated(serve, path, tmp_path):
    make_database(
        path, [(*M4, "a", 1), (*M4, "b", 12)], [(*M4, "a", 1), (*ZIP, "c", 3)]
    )
    write(path, LEGACY_TABLE.format("PRMAIN"))
    write(path, INSERT, [(*M4, "a", 1), (*M4, "B", 12)])
    assert migrate(path, tmp_path / "new")["to"]["rows"] == 4
    assert rows_of(serve("--file", tmp_path / "new")) == sorted(
        [(*M4, "a", "1"), (*M4, "b", "12"), (*M4, "B", "12"), (*ZIP, "c", "3")]
    )


@pytest.mark.parametrize("name", ["no case", "no key", "computed", "key of three"])
def test_tables_of_other_shapes_are_migrated(path, tmp_path, name):
    old, new, _ = REFUSED[name]
    make_table(path, old, new)
    rows = [
        ("M4", "all", "a", "1"),
        ("m4", "all", "b", "1.10"),
        ("m4", "all", "c", "2"),
    ]
    into = INSERT.replace(", value)", ", more)") if name == "computed" else INSERT
    write(path, into, rows)
    if name == "no key":
        write(path, into, rows)
    assert migrate(path, tmp_path / "new")["to"]["rows"] == 3
    found = read(tmp_path / "new", "SELECT * FROM PRMAIN")
    assert sorted(found) == rows


def test_a_number_with_a_fraction_is_not_copied_in_silence(path, tmp_path):
    """SQLite has stored the revision 1.10 as the number 1.1."""
    make_table(path, "value TEXT", "value INTEGER")
    write(path, INSERT, [(*M4, "a", "1.10"), (*M4, "b", 2), (*M4, "c", "1.9")])
    said = migrate(path, tmp_path / "new", status=1)
    assert "can't hold a row without value" in said
    answer = migrate(path, tmp_path / "new", "--keep-going", status=1)
    assert answer["refused"] == 2
    assert read(tmp_path / "new", "SELECT * FROM PRMAIN") == [(*M4, "b", "2")]


def test_late_rows_are_migrated(serve, path, tmp_path):
    """All rows of the union arrive, also those that were written after the take-over."""
    make_database(path, [(*M4, "a", 1)])
    server = serve("--file", path)
    assert server.get_pr(*M4, "b") == "2"
    server.stop()
    write(path, "UPDATE PRMAIN_nohist SET value = 7")
    write(path, "INSERT INTO PRMAIN_nohist VALUES ('late', 'all', 'c', 3)")
    assert migrate(path, tmp_path / "new")["to"]["rows"] == 4
    found = read(tmp_path / "new", "SELECT * FROM PRMAIN")
    assert (*M4, "a", "7") in found and ("late", "all", "c", "3") in found


def test_a_new_database_of_wrong_shape_is_not_filled(path, tmp_path):
    make_database(tmp_path / "old", main=[(*M4, "a", "1")])
    make_table(path, "value TEXT", "value INTEGER")
    done = prserv("migrate", tmp_path / "old", path)
    assert done.returncode == 2 and "value has the type INTEGER" in done.stderr
