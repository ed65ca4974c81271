# SPDX-License-Identifier: MIT
"""Rows: store them, read them back, check them, and create databases without a server."""

import sqlite3
from contextlib import closing, contextmanager

M4 = ("m4-1.4.19-r0", "core2-64")
ZIP = ("zip-3.0-r2", "core2-64")

FIELDS = ("version", "pkgarch", "checksum", "value")
EMPTY_EXPORT = {"metainfo": {}, "datainfo": []}
CSV_HEADER = "version,pkgarch,checksum,value\n"

# Texts that every database has to keep unchanged.
TEXTS = [
    "",
    " ",
    "'; DROP TABLE prserv_row; --",
    '"\\',
    "a\tb\r\nc\x01\x7f",
    "\u00e4\u20ac\U0001f600\ufffd\uffff",
    '{1,NULL,"x"}',
    "NULL",
    "\\N",
    "x" * 100_000,
]


def store(server, rows):
    """Imports rows into a server."""
    with server.client() as client:
        for row in rows:
            client.import_one(*row)


def rows_of(server, history=True):
    """Returns the rows of an export, sorted."""
    with server.client() as client:
        rows = client.export(history=history)["datainfo"]
    return sorted(
        (tuple(row[field] for field in FIELDS) for row in rows),
        key=lambda row: [str(field) for field in row],
    )


def rows_in(path, order=""):
    """Returns the rows of a file, without a server."""
    with closing(sqlite3.connect(path)) as database:
        sql = f"SELECT {', '.join(FIELDS)} FROM PRMAIN {order}"
        return database.execute(sql).fetchall()


def assert_no_value_twice(rows):
    """Checks that no value of a package belongs to two checksums."""
    owners = {}
    for version, pkgarch, checksum, value in rows:
        assert owners.setdefault((version, pkgarch, value), checksum) == checksum


def make_database_with_invalid_rows(path):
    """Creates a database with rows of another program: one is valid, three are not."""
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE TABLE PRMAIN (version TEXT NOT NULL, pkgarch TEXT NOT NULL, checksum TEXT"
            " NOT NULL, value TEXT, PRIMARY KEY (version, pkgarch, checksum, value))"
        )
        database.execute("INSERT INTO PRMAIN VALUES ('v', 'a', 'null', NULL)")
        database.execute("INSERT INTO PRMAIN VALUES ('v', 'a', 'empty', '')")
        database.execute("INSERT INTO PRMAIN VALUES ('v', 'a', 'text', 'abc')")
        database.execute("INSERT INTO PRMAIN VALUES ('v', 'a', 'good', '1')")
    database.close()


def make_large_database(path, rows):
    """Creates a database with many rows."""
    make_database_with_invalid_rows(path)
    with sqlite3.connect(path) as database:
        database.execute("DELETE FROM PRMAIN")
        database.executemany(
            "INSERT INTO PRMAIN VALUES (?, 'core2-64', ?, ?)",
            ((f"p{i // 8}-1.0-r0", f"{i:064x}", str(i % 8)) for i in range(rows)),
        )
    database.close()


@contextmanager
def locked(path):
    """Holds the write lock of the file, as another program's transaction does."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield database
        if database.in_transaction:
            database.execute("ROLLBACK")
