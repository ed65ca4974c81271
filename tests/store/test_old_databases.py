# SPDX-License-Identifier: MIT
"""Databases of BitBake 1.16 to 2.8, of BitBake of 2011, and of BitBake's server of today."""

import hashlib
import sqlite3
from contextlib import closing

import pytest

from bitbake_database import (
    BROKEN,
    HIST,
    LOOSE_TABLE,
    NOHIST,
    TABLE,
    TABLE_OF_2011,
    TZDATA,
    YOUNG,
    insert_broken,
    make_database,
    read,
    write,
)
from harness import run_prservd
from rows import M4, ZIP, rows_of


def main_rows(path):
    return set(read(path, "SELECT version, pkgarch, checksum, value FROM PRMAIN"))


def old_rows(path):
    """Returns the rows of the old tables, with their types."""
    tables = [
        name
        for (name,) in read(path, "SELECT name FROM sqlite_master WHERE type = 'table'")
        if name in ("PRMAIN_nohist", "PRMAIN_hist")
    ]
    columns = "rowid, version, pkgarch, checksum, value, typeof(value)"
    return {table: read(path, f"SELECT {columns} FROM {table}") for table in tables}


def as_text(rows):
    return {(*row[:3], str(row[3])) for row in rows}


def content_of(folder):
    """Returns the content of each file of a folder."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
    }


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
def test_old_rows_are_taken_over_and_the_old_tables_are_kept(serve, path, tables):
    make_database(path, **tables)
    before = old_rows(path)
    server = serve("--file", path)
    expected = set().union(*(as_text(rows) for rows in tables.values()))
    assert set(rows_of(server, history=True)) == expected
    server.stop()
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


def test_numbers_continue_from_old_integers_of_any_size(serve, path):
    make_database(path, nohist=[(*M4, "aa", 2**63 - 1)])
    server = serve("--file", path)
    assert server.get_pr(*M4, "bb") == "9223372036854775808"


def test_old_rows_are_stored_in_one_transaction(serve, path):
    """If one row can't be stored, none is; the next start takes them over."""
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
    write(path, "DROP TRIGGER obstacle")
    server = serve("--file", path)
    assert set(rows_of(server, history=True)) == as_text(NOHIST + HIST + YOUNG)


def test_invalid_old_rows_are_not_taken_over(serve, path):
    invalid = [
        (*M4, "null", None),
        (*M4, "text", "abc"),
        (*M4, "empty", ""),
        (*M4, "negative", -1),
        (None, "core2-64", "aa", 50),
        ("m4-1.4.19-r0", None, "aa", 51),
        (*M4, None, 52),
    ]
    make_database(path, NOHIST + invalid, invalid[:2], definition=LOOSE_TABLE)
    before = old_rows(path)
    server = serve("--file", path)
    assert set(rows_of(server, history=True)) == as_text(NOHIST)
    assert server.get_pr(*M4, "null") == "11"
    assert server.get_pr(*M4, "negative", history=True) == "12"
    assert "7 rows of PRMAIN_nohist" in server.log
    assert "2 rows of PRMAIN_hist" in server.log
    server.stop()
    assert old_rows(path) == before


# ---- read-only, before they are taken over ----


def answers_to_everything(client):
    """Returns the answers to all requests that a read-only server accepts."""
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
    assert set(rows_of(server, history=True)) == as_text(NOHIST + HIST + YOUNG)
    assert set(rows_of(server, history=False)) == {
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
def test_a_read_only_server_does_not_need_PRMAIN(serve, path, tables):
    make_database(path, **tables)
    server = serve("--file", path, "--read-only")
    expected = set().union(*(as_text(rows) for rows in tables.values()))
    assert set(rows_of(server, history=True)) == expected
    version, pkgarch, checksum, value = tables[next(iter(tables))][1]
    assert server.get_pr(version, pkgarch, checksum, history=False) is not None


def test_a_read_only_server_answers_as_if_the_rows_were_taken_over(serve, path):
    make_database(path, NOHIST, HIST, YOUNG)
    reader = serve("--file", path, "--read-only", folder="reader")
    with reader.client() as client:
        before = answers_to_everything(client)
        writer = serve("--file", path, folder="writer")
        with writer.client() as other:
            assert answers_to_everything(other) == before


def test_a_read_only_server_sees_another_server_take_the_rows_over(serve, path):
    """The answers stay the same before, during and after it, and new rows appear."""
    make_database(path, NOHIST, HIST)
    reader = serve("--file", path, "--read-only", folder="reader")
    with reader.client() as client:
        before = answers_to_everything(client)
        writer = serve("--file", path, folder="writer")
        assert answers_to_everything(client) == before
        with writer.client() as other:
            assert other.get_pr(*M4, "new content") == "11"
            assert client.test_pr(*M4, "new content") == "11"
            assert client.max_pr(*M4) == "11"
            assert client.get_pr(*M4, "bb") == "12"
            assert other.get_pr(*M4, "bb") == "12"
            assert client.test_pr(*M4, "bb") == "12"


def test_a_read_only_server_sees_what_an_old_bitbake_still_writes(serve, path):
    """The old tables are read anew for each request."""
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


def test_a_read_only_server_shows_invalid_old_rows_only_with_history(serve, path):
    invalid = [(*M4, "null", None), (*M4, "text", "abc"), (*M4, "negative", -1)]
    make_database(path, NOHIST + invalid)
    server = serve("--file", path, "--read-only")
    with server.client() as client:
        assert client.max_pr(*M4) == "10"
        assert client.get_pr(*M4, "negative") == "11"
        for _, _, checksum, _ in invalid:
            assert client.test_pr(*M4, checksum) is None
            assert client.test_pr(*M4, checksum, history=True) is None
    assert set(rows_of(server, history=False)) == {
        (*M4, "bb", "10"),
        (*TZDATA, "aa", "0"),
    }
    rows = rows_of(server, history=True)
    assert {(*M4, "text", "abc"), (*M4, "negative", "-1"), (*M4, "null", None)} < set(
        rows
    )
    assert len(rows) == len(NOHIST + invalid)


def test_old_rows_without_a_key_are_ignored(serve, path):
    """No request can ask for them, and an export without history does not show them."""
    invalid = [
        (None, None, None, 60),
        (None, "core2-64", "aa", 61),
        ("m4-1.4.19-r0", None, "aa", 62),
        (*M4, None, 63),
    ]
    make_database(path, NOHIST + invalid, definition=LOOSE_TABLE)
    server = serve("--file", path, "--read-only")
    with server.client() as client:
        assert client.max_pr(*M4) == "10"
        assert client.get_pr(*M4, "new content") == "11"
        assert client.max_pr("", "") is None
        assert client.test_pr(*M4, "") is None
    assert set(rows_of(server, history=False)) == {
        (*M4, "bb", "10"),
        (*TZDATA, "aa", "0"),
    }


# ---- 2011 ----


@pytest.mark.parametrize(
    "options", [(), ("--read-only",)], ids=["read-write", "read-only"]
)
@pytest.mark.parametrize("beside", [None, NOHIST], ids=["alone", "beside old tables"])
def test_a_table_of_2011_is_refused_and_left_unchanged(path, options, beside):
    write(path, TABLE_OF_2011)
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


# ---- texts that are not UTF-8 ----


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


# ---- sharing with BitBake's server ----


def test_a_new_database_holds_only_the_documented_tables(serve, path):
    server = serve("--file", path)
    assert server.get_pr(*M4, "aa") == "0"
    server.stop()
    objects = read(path, "SELECT type, name FROM sqlite_master WHERE sql IS NOT NULL")
    assert objects == [("table", "PRMAIN"), ("table", "prservd_mark")]
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


def test_bitbakes_server_can_use_a_database_of_prservd(serve, path):
    """The statements that it runs when it opens a database, looks up and stores succeed."""
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


def test_a_database_of_bitbakes_server_is_used_unchanged(serve, path):
    """Its table is kept as it is, and gets the new rows."""
    make_database(path, main=[(*M4, "aa", "0"), (*M4, "bb", "1.3")])
    before = read(path, "SELECT sql FROM sqlite_master WHERE name = 'PRMAIN'")
    server = serve("--file", path)
    assert server.get_pr(*M4, "cc") == "1.4"
    server.stop()
    assert read(path, "SELECT sql FROM sqlite_master WHERE name = 'PRMAIN'") == before
    assert main_rows(path) == {(*M4, "aa", "0"), (*M4, "bb", "1.3"), (*M4, "cc", "1.4")}
