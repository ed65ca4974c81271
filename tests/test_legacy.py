"""Databases that other programs wrote: BitBake 1.16 to 2.8, BitBake of 2011, and
whoever put odd rows into PRMAIN."""

import hashlib
import sqlite3
from contextlib import closing

import pytest

from harness import run_prservd

M4 = ("m4-1.4.19-r0", "core2-64")
ZIP = ("zip-3.0-r2", "core2-64")
TZDATA = ("tzdata-2024a-r0", "all")

LEGACY_TABLE = (
    "CREATE TABLE {} (version TEXT, pkgarch TEXT, checksum TEXT, value INTEGER, "
    "PRIMARY KEY (version, pkgarch, checksum))"
)
TABLE = (
    "CREATE TABLE IF NOT EXISTS PRMAIN (version TEXT NOT NULL, pkgarch TEXT NOT NULL, "
    "checksum TEXT NOT NULL, value TEXT, "
    "PRIMARY KEY (version, pkgarch, checksum, value))"
)

NOHIST = [(*M4, "aa", 9), (*M4, "bb", 10), (*TZDATA, "aa", 0)]
HIST = [(*M4, "bb", 4), (*M4, "cc", 5), (*ZIP, "dd", 2)]
YOUNG = [(*M4, "dd", "0"), (*M4, "aa", "1"), (*ZIP, "ee", "2.1")]


def write(path, sql, rows=()):
    """Does with the database what another program would."""
    with closing(sqlite3.connect(path)) as database:
        database.text_factory = bytes
        if rows:
            database.executemany(sql, rows)
        else:
            database.execute(sql)
        database.commit()


def read(path, sql):
    with closing(sqlite3.connect(path)) as database:
        return database.execute(sql).fetchall()


def make_database(path, nohist=None, hist=None, main=None):
    """A database with those of the three tables that get rows, or an empty list."""
    for table, rows in (("PRMAIN_nohist", nohist), ("PRMAIN_hist", hist)):
        if rows is not None:
            write(path, LEGACY_TABLE.format(table))
            if rows:
                write(path, f"INSERT INTO {table} VALUES (?, ?, ?, ?)", rows)
    if main is not None:
        write(path, TABLE)
        if main:
            write(path, "INSERT INTO PRMAIN VALUES (?, ?, ?, ?)", main)


def user_version(path):
    return read(path, "PRAGMA user_version")[0][0]


def main_rows(path):
    return set(read(path, "SELECT version, pkgarch, checksum, value FROM PRMAIN"))


def old_rows(path):
    """The rows of the old tables, with their types."""
    tables = [
        name
        for (name,) in read(path, "SELECT name FROM sqlite_master WHERE type = 'table'")
        if name in ("PRMAIN_nohist", "PRMAIN_hist")
    ]
    columns = "rowid, version, pkgarch, checksum, value, typeof(value)"
    return {table: read(path, f"SELECT {columns} FROM {table}") for table in tables}


def as_text(rows):
    return {(*row[:3], str(row[3])) for row in rows}


def exported(server, **arguments):
    """The rows of an export, in its order."""
    with server.client() as client:
        rows = client.export(**arguments)["datainfo"]
    return [
        tuple(row[k] for k in ("version", "pkgarch", "checksum", "value"))
        for row in rows
    ]


def content_of(folder):
    """What every file of a folder holds."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
    }


@pytest.fixture
def path(tmp_path):
    (tmp_path / "database").mkdir()
    return tmp_path / "database" / "prserv.sqlite3"


# ---- taking over ----


@pytest.mark.parametrize(
    "tables",
    [
        {"nohist": NOHIST},
        {"hist": HIST},
        {"nohist": NOHIST, "hist": HIST},
        {"nohist": NOHIST, "hist": HIST, "main": []},
        {"nohist": NOHIST, "hist": HIST, "main": YOUNG},
        {"nohist": [], "main": YOUNG},
    ],
    ids="+".join,
)
def test_old_rows_are_taken_over_and_the_old_tables_left_alone(serve, path, tables):
    make_database(path, **tables)
    before = old_rows(path)
    server = serve("--file", path)
    expected = set().union(*(as_text(rows) for rows in tables.values()))
    assert set(exported(server, history=True)) == expected
    server.stop()
    assert user_version(path) == 1
    assert main_rows(path) == expected
    assert old_rows(path) == before


def test_the_greatest_value_of_a_package_wins(serve, path):
    make_database(path, NOHIST, HIST, YOUNG)
    with serve("--file", path).client() as client:
        assert client.max_pr(*M4) == "10"
        assert client.get_pr(*M4, "bb") == "10"
        assert client.get_pr(*M4, "new content") == "11"
        assert client.get_pr(*ZIP, "new content") == "2.2"
        assert client.get_pr(*TZDATA, "aa") == "0"
        assert client.get_pr(*M4, "bb") == "12"


def test_with_history_the_smallest_value_of_any_table_is_the_answer(serve, path):
    make_database(path, NOHIST, HIST, YOUNG)
    with serve("--file", path).client() as client:
        assert client.get_pr(*M4, "bb", history=True) == "4"
        assert client.get_pr(*M4, "aa", history=True) == "1"
        assert client.get_pr(*M4, "cc", history=True) == "5"


def test_old_integers_of_any_size_go_on(serve, path):
    make_database(path, nohist=[(*M4, "aa", 2**63 - 1)])
    server = serve("--file", path)
    assert server.get_pr(*M4, "bb") == "9223372036854775808"


def test_old_rows_are_taken_over_once(serve, path):
    """What a BitBake of 2.8 or older writes later is not seen."""
    make_database(path, NOHIST, HIST)
    server = serve("--file", path)
    write(path, "INSERT INTO PRMAIN_nohist VALUES (?, ?, ?, ?)", [(*M4, "late", 99)])
    assert server.get_pr(*M4, "new content") == "11"
    server.restart()
    assert server.get_pr(*M4, "late") == "12"
    server.stop()
    reader = serve("--file", path, "--read-only", folder="reader")
    with reader.client() as client:
        assert client.max_pr(*M4) == "12"
        assert client.test_pr(*M4, "late") == "12"
    assert len(exported(reader, history=True)) == len(NOHIST + HIST) + 2


def test_a_database_with_the_marker_is_not_taken_over(serve, path):
    make_database(path, NOHIST, HIST, YOUNG)
    write(path, "PRAGMA user_version = 1")
    server = serve("--file", path)
    assert set(exported(server, history=True)) == as_text(YOUNG)
    assert server.get_pr(*M4, "new content") == "2"


def test_rows_and_marker_are_one_transaction(serve, path):
    """Where one row can't be stored, no row is, and the next start takes them over."""
    make_database(path, NOHIST, HIST, YOUNG)
    write(
        path,
        "CREATE TRIGGER obstacle BEFORE INSERT ON PRMAIN WHEN new.checksum = 'cc' "
        "BEGIN SELECT RAISE(ABORT, 'an obstacle'); END",
    )
    options = ("--file", path, "--host", "127.0.0.1", "--port", "0")
    refused = run_prservd(*options, cwd=path.parent)
    assert refused.returncode == 1
    assert "an obstacle" in refused.stderr
    assert main_rows(path) == as_text(YOUNG)
    assert user_version(path) == 0
    write(path, "DROP TRIGGER obstacle")
    server = serve("--file", path)
    assert set(exported(server, history=True)) == as_text(NOHIST + HIST + YOUNG)


def test_old_rows_that_hold_no_revision_stay_where_they_are(serve, path):
    odd = [
        (*M4, "null", None),
        (*M4, "text", "abc"),
        (*M4, "empty", ""),
        (*M4, "negative", -1),
        (None, "core2-64", "aa", 50),
        ("m4-1.4.19-r0", None, "aa", 51),
        (*M4, None, 52),
    ]
    make_database(path, NOHIST + odd, odd[:2])
    before = old_rows(path)
    server = serve("--file", path)
    assert set(exported(server, history=True)) == as_text(NOHIST)
    assert server.get_pr(*M4, "null") == "11"
    assert server.get_pr(*M4, "negative", history=True) == "12"
    assert "7 rows of PRMAIN_nohist" in server.log
    assert "2 rows of PRMAIN_hist" in server.log
    server.stop()
    assert old_rows(path) == before


# ---- read-only, before they are taken over ----


def questions(client):
    """The answers to everything that a read-only server can be asked."""
    answers = {}
    for package in (M4, ZIP, TZDATA, ("unknown-1-r0", "all")):
        arguments = dict(zip(("version", "pkgarch"), package))
        answers[package] = client.max_pr(*package)
        answers[package, "any"] = client.ask({"test-package": arguments})["value"]
        for checksum in ("aa", "bb", "cc", "dd", "ee", "unknown"):
            for history in (False, True):
                key = (*package, checksum, history)
                answers["test-pr", key] = client.test_pr(*key)
    for history in (False, True):
        rows = client.export(history=history)["datainfo"]
        answers["export", history] = sorted(map(repr, rows))
        for name, text in ("version", M4[0]), ("pkgarch", "all"), ("checksum", "bb"):
            rows = client.export(history=history, **{name: text})["datainfo"]
            answers["export", history, name] = sorted(map(repr, rows))
    return answers


def test_a_read_only_server_answers_from_all_three_tables(serve, path):
    make_database(path, NOHIST, HIST, YOUNG)
    before = content_of(path.parent)
    server = serve("--file", path, "--read-only")
    with server.client() as client:
        assert client.max_pr(*M4) == "10"
        assert client.test_pr(*M4, "bb") == "10"
        assert client.test_pr(*M4, "bb", history=True) == "4"
        assert client.test_pr(*M4, "cc") == "5"
        assert client.test_pr(*M4, "aa", history=True) == "1"
        assert client.test_pr(*ZIP, "ee") == "2.1"
        assert client.test_pr(*ZIP, "aa") is None
        package = dict(zip(("version", "pkgarch"), TZDATA))
        assert client.ask({"test-package": package}) == {"value": True}
        assert client.get_pr(*M4, "bb") == "10"
        assert client.get_pr(*M4, "aa") == "11"
        assert client.get_pr(*M4, "aa", history=True) == "1"
        assert client.get_pr(*M4, "new content") == "11"
        assert client.get_pr(*M4, "other content") == "11"
    assert set(exported(server, history=True)) == as_text(NOHIST + HIST + YOUNG)
    assert set(exported(server, history=False)) == {
        (*M4, "bb", "10"),
        (*TZDATA, "aa", "0"),
        (*ZIP, "ee", "2.1"),
    }
    server.stop()
    assert content_of(path.parent) == before


@pytest.mark.parametrize(
    "tables",
    [{"nohist": NOHIST}, {"hist": HIST}, {"nohist": NOHIST, "hist": HIST}],
    ids="+".join,
)
def test_a_read_only_server_needs_no_table_of_ours(serve, path, tables):
    make_database(path, **tables)
    server = serve("--file", path, "--read-only")
    expected = set().union(*(as_text(rows) for rows in tables.values()))
    assert set(exported(server, history=True)) == expected
    version, pkgarch, checksum, value = tables[next(iter(tables))][1]
    assert server.get_pr(version, pkgarch, checksum, history=False) is not None
    assert user_version(path) == 0


def test_a_read_only_server_answers_as_one_that_took_the_rows_over(serve, path):
    make_database(path, NOHIST, HIST, YOUNG)
    reader = serve("--file", path, "--read-only", folder="reader")
    with reader.client() as client:
        before = questions(client)
        writer = serve("--file", path, folder="writer")
        with writer.client() as other:
            assert questions(other) == before


def test_a_read_only_server_follows_when_another_takes_over(serve, path):
    """Before, while and after: the same answers, then what the other stores."""
    make_database(path, NOHIST, HIST)
    reader = serve("--file", path, "--read-only", folder="reader")
    with reader.client() as client:
        before = questions(client)
        writer = serve("--file", path, folder="writer")
        assert questions(client) == before
        with writer.client() as other:
            assert other.get_pr(*M4, "new content") == "11"
            assert client.test_pr(*M4, "new content") == "11"
            assert client.max_pr(*M4) == "11"
            write(path, "INSERT INTO PRMAIN_hist VALUES (?, ?, ?, ?)", [(*M4, "x", 70)])
            assert client.max_pr(*M4) == "11"
            assert client.get_pr(*M4, "bb") == "12"
            assert other.get_pr(*M4, "bb") == "12"
            assert client.test_pr(*M4, "bb") == "12"


def test_a_read_only_server_sees_what_an_old_bitbake_still_writes(serve, path):
    """Without the marker the old tables are read as they are at each moment."""
    make_database(path, NOHIST)
    server = serve("--file", path, "--read-only")
    with server.client() as client:
        assert client.get_pr(*M4, "new content") == "11"
        sql = "INSERT INTO PRMAIN_nohist VALUES (?, ?, ?, ?)"
        write(path, sql, [(*M4, "cc", 11)])
        assert client.get_pr(*M4, "new content") == "12"
        assert client.test_pr(*M4, "cc") == "11"
        make_database(path, hist=[(*M4, "dd", 12)], main=[(*M4, "ee", "13")])
        assert client.test_pr(*M4, "dd") == "12"
        assert client.max_pr(*M4) == "13"


def test_a_read_only_server_shows_odd_old_rows_with_history_only(serve, path):
    odd = [(*M4, "null", None), (*M4, "text", "abc"), (*M4, "negative", -1)]
    make_database(path, NOHIST + odd)
    server = serve("--file", path, "--read-only")
    with server.client() as client:
        assert client.max_pr(*M4) == "10"
        assert client.get_pr(*M4, "negative") == "11"
        for _, _, checksum, _ in odd:
            assert client.test_pr(*M4, checksum) is None
            assert client.test_pr(*M4, checksum, history=True) is None
    assert set(exported(server, history=False)) == {
        (*M4, "bb", "10"),
        (*TZDATA, "aa", "0"),
    }
    rows = exported(server, history=True)
    assert {(*M4, "text", "abc"), (*M4, "negative", "-1"), (*M4, "null", None)} < set(
        rows
    )
    assert len(rows) == len(NOHIST + odd)


def test_old_rows_without_a_key_count_as_if_they_were_not_there(serve, path):
    """Nobody can ask for them, and an export without history does not name them."""
    odd = [
        (None, None, None, 60),
        (None, "core2-64", "aa", 61),
        ("m4-1.4.19-r0", None, "aa", 62),
        (*M4, None, 63),
    ]
    make_database(path, NOHIST + odd)
    server = serve("--file", path, "--read-only")
    with server.client() as client:
        assert client.max_pr(*M4) == "10"
        assert client.get_pr(*M4, "new content") == "11"
        assert client.max_pr("", "") is None
        assert client.test_pr(*M4, "") is None
    assert set(exported(server, history=False)) == {
        (*M4, "bb", "10"),
        (*TZDATA, "aa", "0"),
    }


# ---- 2011 ----


@pytest.mark.parametrize(
    "options", [(), ("--read-only",)], ids=["read-write", "read-only"]
)
@pytest.mark.parametrize("beside", [None, NOHIST], ids=["alone", "beside old tables"])
def test_a_table_of_2011_is_refused_and_not_touched(path, options, beside):
    write(
        path,
        "CREATE TABLE PRMAIN (version TEXT NOT NULL, checksum TEXT NOT NULL, "
        "value INTEGER, PRIMARY KEY (version, checksum))",
    )
    write(path, "INSERT INTO PRMAIN VALUES (?, ?, ?)", [("m4-1.4.16-r0", "aa", 3)])
    make_database(path, nohist=beside)
    before = content_of(path.parent)
    address = ("--host", "127.0.0.1", "--port", "0")
    refused = run_prservd("--file", path, *address, *options, cwd=path.parent)
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert str(path) in line
    assert "pkgarch" in line
    assert content_of(path.parent) == before


# ---- odd rows in PRMAIN ----

ODD = [
    (*M4, "null", None),
    (*M4, "blob", b"7"),
    (*M4, "word", "abc"),
    (*M4, "empty", ""),
    (*M4, "open end", "99."),
    (*M4, "leading zero", "099"),
    (*M4, "negative", "-1"),
    (*M4, "blank", "99 "),
    (*M4, "zero byte", "99\0"),
    ("odd-1-r0", "all", "only", "no revision"),
]
SOUND = [(*M4, "aa", "9"), (*M4, "bb", "10")]


@pytest.fixture(params=[(), ("--read-only",)], ids=["read-write", "read-only"])
def odd_server(request, serve, path):
    make_database(path, main=SOUND + ODD)
    return serve("--file", path, *request.param)


def test_odd_rows_count_as_if_they_were_not_there(odd_server):
    with odd_server.client() as client:
        for version, pkgarch, checksum, _ in ODD:
            assert client.test_pr(version, pkgarch, checksum) is None
            assert client.test_pr(version, pkgarch, checksum, history=True) is None
        assert client.max_pr(*M4) == "10"
        assert client.max_pr("odd-1-r0", "all") is None
        package = {"version": "odd-1-r0", "pkgarch": "all"}
        assert client.ask({"test-package": package}) == {"value": False}
        assert client.get_pr("odd-1-r0", "all", "only") == "0"
        assert client.get_pr(*M4, "blob") == "11"
        assert client.get_pr(*M4, "null", history=True) in ("11", "12")


def test_odd_rows_are_shown_by_an_export_with_history(odd_server):
    assert sorted(exported(odd_server, history=False)) == [(*M4, "bb", "10")]
    rows = exported(odd_server, history=True)
    assert len(rows) == len(SOUND + ODD)
    texts = {row for row in SOUND + ODD if isinstance(row[3], str)}
    assert texts < set(rows)
    assert (*M4, "null", None) in rows
    assert "blob" in [checksum for _, _, checksum, _ in rows]


def test_odd_rows_are_named_once_in_the_log(odd_server):
    with odd_server.client() as client:
        for _ in range(3):
            for version, pkgarch, checksum, _ in ODD:
                client.test_pr(version, pkgarch, checksum)
                client.get_pr(version, pkgarch, "aa")
            client.export(history=False)
    lines = [line for line in odd_server.log.splitlines() if "is no revision" in line]
    assert len(lines) == len(ODD)
    for version, _, checksum, _ in ODD:
        (line,) = (text for text in lines if f", {checksum} " in text)
        assert version in line
        assert "WARNING" in line


def test_an_odd_row_does_not_keep_its_content_from_a_revision(serve, path):
    make_database(path, main=SOUND + ODD)
    server = serve("--file", path)
    assert server.get_pr(*M4, "null") == "11"
    assert server.get_pr(*M4, "null") == "11"
    server.stop()
    rows = read(path, "SELECT value FROM PRMAIN WHERE checksum = 'null'")
    assert sorted(rows, key=repr) == [("11",), (None,)]


# ---- texts that are not UTF-8 ----

BROKEN = b"m4-\xff\xfe-\xc3-r0"


def insert_broken(path, table):
    """Rows whose columns, one after the other, hold text that is not UTF-8."""
    text = "CAST(? AS TEXT)"
    sql = f"INSERT INTO {table} VALUES ({text}, {text}, {text}, {text})"
    rows = [
        (BROKEN, b"core2-64", b"broken version", b"5"),
        (M4[0].encode(), BROKEN, b"broken pkgarch", b"6"),
        (M4[0].encode(), M4[1].encode(), BROKEN, b"12"),
        (M4[0].encode(), M4[1].encode(), b"broken value", b"99\xff"),
        (M4[0].encode(), M4[1].encode(), "sound, aö𝄞".encode(), b"11"),
    ]
    write(path, sql, rows)


@pytest.mark.parametrize(
    "options", [(), ("--read-only",)], ids=["read-write", "read-only"]
)
def test_text_that_is_not_utf8_harms_no_answer(serve, path, options):
    make_database(path, main=SOUND)
    insert_broken(path, "PRMAIN")
    server = serve("--file", path, *options)
    with server.client() as client:
        assert client.max_pr(*M4) == "12"
        assert client.test_pr(*M4, "broken value") is None
        assert client.test_pr(*M4, "sound, aö𝄞") == "11"
        assert client.get_pr(*M4, "new content") == "13"
    rows = exported(server, history=True)
    assert len(rows) == len(SOUND) + 5 + (0 if options else 1)
    assert {"\ufffd" in version for version, _, _, value in rows if value == "5"} == {
        True
    }
    assert {"\ufffd" in pkgarch for _, pkgarch, _, value in rows if value == "6"} == {
        True
    }
    assert {
        "\ufffd" in checksum for _, _, checksum, value in rows if value == "12"
    } == {True}
    assert (*M4, "sound, aö𝄞", "11") in rows
    assert [value for _, _, checksum, value in rows if checksum == "broken value"] == [
        "99\ufffd"
    ]
    assert len(exported(server, history=False)) == 3


def test_old_rows_that_are_not_utf8_are_taken_over_byte_for_byte(serve, path):
    make_database(path, nohist=NOHIST)
    insert_broken(path, "PRMAIN_nohist")
    reader = serve("--file", path, "--read-only", folder="reader")
    with reader.client() as client:
        assert client.max_pr(*M4) == "12"
        assert len(client.export(history=True)["datainfo"]) == len(NOHIST) + 5
    server = serve("--file", path, folder="writer")
    assert server.get_pr(*M4, "new content") == "13"
    sql = "SELECT {} FROM PRMAIN WHERE {} = CAST(x'{}' AS TEXT)"
    for column in "version", "pkgarch", "checksum":
        found = sql.format("count(*)", column, BROKEN.hex())
        assert read(path, found) == [(1,)]
    assert read(
        path, "SELECT count(*) FROM PRMAIN WHERE checksum = 'broken value'"
    ) == [(0,)]


# ---- what ours leaves to others ----


def test_a_database_of_ours_holds_the_documented_table_and_nothing_else(serve, path):
    server = serve("--file", path)
    assert server.get_pr(*M4, "aa") == "0"
    server.stop()
    objects = read(path, "SELECT type, name FROM sqlite_master WHERE sql IS NOT NULL")
    assert objects == [("table", "PRMAIN")]
    columns = read(
        path,
        "SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_info('PRMAIN')",
    )
    assert [column[:2] for column in columns] == [
        ("version", "TEXT"),
        ("pkgarch", "TEXT"),
        ("checksum", "TEXT"),
        ("value", "TEXT"),
    ]
    assert [column[2] for column in columns[:3]] == [1, 1, 1]
    assert [column[3] for column in columns] == [None] * 4
    assert [column[4] for column in columns] == [1, 2, 3, 4]
    assert "COLLATE" not in read(path, "SELECT sql FROM sqlite_master")[0][0].upper()
    assert read(path, "PRAGMA journal_mode") == [("wal",)]
    assert read(path, "PRAGMA integrity_check") == [("ok",)]
    assert main_rows(path) == {(*M4, "aa", "0")}


def test_bitbakes_own_server_can_go_on_with_a_database_of_ours(serve, path):
    """What it does when it opens one, looks up, and stores."""
    server = serve("--file", path)
    assert server.get_pr(*M4, "aa") == "0"
    server.stop()
    with closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        database.execute("PRAGMA synchronous = OFF;")
        database.execute("PRAGMA journal_mode = WAL;")
        database.execute(TABLE)
        data = database.execute(
            "SELECT value FROM PRMAIN WHERE version=? AND pkgarch=? AND checksum=?",
            (*M4, "aa"),
        )
        assert [row["value"] for row in data] == ["0"]
        insert = "INSERT INTO PRMAIN VALUES (?, ?, ?, ?);"
        database.execute(insert, (*M4, "bb", "1"))
        with pytest.raises(sqlite3.IntegrityError):
            database.execute(insert, (*M4, "bb", "1"))
        database.commit()
    server.start()
    assert server.get_pr(*M4, "bb") == "1"
    assert server.get_pr(*M4, "aa") == "2"


def test_a_database_of_bitbakes_own_is_used_as_it_is(serve, path):
    """Its table stays the one that it made, and gets the same rows."""
    make_database(path, main=[(*M4, "aa", "0"), (*M4, "bb", "1.3")])
    before = read(path, "SELECT sql FROM sqlite_master WHERE name = 'PRMAIN'")
    server = serve("--file", path)
    assert server.get_pr(*M4, "cc") == "1.4"
    server.stop()
    assert read(path, "SELECT sql FROM sqlite_master WHERE name = 'PRMAIN'") == before
    assert main_rows(path) == {(*M4, "aa", "0"), (*M4, "bb", "1.3"), (*M4, "cc", "1.4")}
