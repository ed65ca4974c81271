# SPDX-License-Identifier: MIT
"""Rows of other programs whose value is not a revision, or whose text is not UTF-8."""

import contextlib
import sqlite3

import pytest

from bitbake_database import insert_broken, make_database, read
from rows import M4, make_database_with_invalid_rows, rows_of

INVALID = [
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
VALID = [(*M4, "aa", "9"), (*M4, "bb", "10")]


@pytest.fixture(params=[(), ("--read-only",)], ids=["read-write", "read-only"])
def server_with_invalid_rows(request, serve, path):
    make_database(path, main=VALID + INVALID)
    return serve("--file", path, *request.param)


def test_invalid_rows_are_ignored(server_with_invalid_rows):
    with server_with_invalid_rows.client() as client:
        for version, pkgarch, checksum, _ in INVALID:
            assert client.test_pr(version, pkgarch, checksum) is None
            assert client.test_pr(version, pkgarch, checksum, history=True) is None
        assert client.max_pr(*M4) == "10"
        assert client.max_pr("odd-1-r0", "all") is None
        package = {"version": "odd-1-r0", "pkgarch": "all"}
        assert client.ask({"test-package": package}) == {"value": False}
        assert client.get_pr("odd-1-r0", "all", "only") == "0"
        assert client.get_pr(*M4, "blob") == "11"
        assert client.get_pr(*M4, "null", history=True) in ("11", "12")


def test_an_export_with_history_shows_invalid_rows(server_with_invalid_rows):
    assert sorted(rows_of(server_with_invalid_rows, history=False)) == [
        (*M4, "bb", "10")
    ]
    rows = rows_of(server_with_invalid_rows, history=True)
    assert len(rows) == len(VALID + INVALID)
    texts = {row for row in VALID + INVALID if isinstance(row[3], str)}
    assert texts < set(rows)
    assert (*M4, "null", None) in rows
    assert "blob" in [checksum for _, _, checksum, _ in rows]


def test_each_invalid_row_is_logged_once(server_with_invalid_rows):
    with server_with_invalid_rows.client() as client:
        for _ in range(3):
            for version, pkgarch, checksum, _ in INVALID:
                client.test_pr(version, pkgarch, checksum)
                client.get_pr(version, pkgarch, "aa")
            client.export(history=False)
    lines = [
        line
        for line in server_with_invalid_rows.log.splitlines()
        if "is not a revision" in line
    ]
    assert len(lines) == len(INVALID)
    for version, _, checksum, _ in INVALID:
        (line,) = (text for text in lines if f", {checksum} " in text)
        assert version in line
        assert "WARNING" in line


def test_content_of_an_invalid_row_gets_a_revision(serve, path):
    make_database(path, main=VALID + INVALID)
    server = serve("--file", path)
    assert server.get_pr(*M4, "null") == "11"
    assert server.get_pr(*M4, "null") == "11"
    server.stop()
    rows = read(path, "SELECT value FROM PRMAIN WHERE checksum = 'null'")
    assert sorted(rows, key=repr) == [("11",), (None,)]


def test_the_log_names_at_most_256_invalid_rows(serve, tmp_path):
    path = tmp_path / "odd.db"
    make_database_with_invalid_rows(path)
    with contextlib.closing(sqlite3.connect(path)) as database:
        for number in range(300):
            row = (f"v{number}", "a", "c", "odd")
            database.execute("INSERT INTO PRMAIN VALUES (?, ?, ?, ?)", row)
        database.commit()
    server = serve("--file", path)
    with server.client() as client:
        for number in range(300):
            assert client.get_pr(f"v{number}", "a", "c") == "0"
    assert "More such rows will not be reported" in server.log
    assert server.log.count("which is not a revision") == 256


# ---- texts that are not UTF-8 ----


@pytest.mark.parametrize(
    "options", [(), ("--read-only",)], ids=["read-write", "read-only"]
)
def test_rows_that_are_not_utf8_do_not_break_answers(serve, path, options):
    make_database(path, main=VALID)
    insert_broken(path, "PRMAIN")
    server = serve("--file", path, *options)
    with server.client() as client:
        assert client.max_pr(*M4) == "12"
        assert client.test_pr(*M4, "broken value") is None
        assert client.test_pr(*M4, "sound, aö𝄞") == "11"
        assert client.get_pr(*M4, "new content") == "13"
    rows = rows_of(server, history=True)
    assert len(rows) == len(VALID) + 5 + (0 if options else 1)
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
    assert len(rows_of(server, history=False)) == 3
