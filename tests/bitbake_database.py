# SPDX-License-Identifier: MIT
"""Databases as older BitBakes and other programs leave them, made with Python's sqlite3."""

import sqlite3
from contextlib import closing

from harness import TIMEOUT_S
from rows import M4, ZIP

TZDATA = ("tzdata-2024a-r0", "all")

# BitBake of 2011, when it had no pkgarch.
TABLE_OF_2011 = (
    "CREATE TABLE PRMAIN (version TEXT NOT NULL, checksum TEXT NOT NULL, "
    "value INTEGER, PRIMARY KEY (version, checksum))"
)
# BitBake 1.16 to 2.8, for PRMAIN_nohist and PRMAIN_hist.
LEGACY_TABLE = (
    "CREATE TABLE {} (version TEXT NOT NULL, pkgarch TEXT NOT NULL, "
    "checksum TEXT NOT NULL, value INTEGER, PRIMARY KEY (version, pkgarch, checksum))"
)
# The same from another program, which allows rows without a key.
LOOSE_TABLE = LEGACY_TABLE.replace(" NOT NULL", "")
# BitBake 2.10 and newer.
TABLE = (
    "CREATE TABLE IF NOT EXISTS PRMAIN (version TEXT NOT NULL, pkgarch TEXT NOT NULL, "
    "checksum TEXT NOT NULL, value TEXT, "
    "PRIMARY KEY (version, pkgarch, checksum, value))"
)

NOHIST = [(*M4, "aa", 9), (*M4, "bb", 10), (*TZDATA, "aa", 0)]
HIST = [(*M4, "bb", 4), (*M4, "cc", 5), (*ZIP, "dd", 2)]
YOUNG = [(*M4, "dd", "0"), (*M4, "aa", "1"), (*ZIP, "ee", "2.1")]


def write(path, sql, rows=()):
    """Runs a statement, as another program would."""
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


def make_database(path, nohist=None, hist=None, main=None, definition=LEGACY_TABLE):
    """Creates those of the three tables for which a list of rows is given."""
    for table, rows in (("PRMAIN_nohist", nohist), ("PRMAIN_hist", hist)):
        if rows is not None:
            write(path, definition.format(table))
            if rows:
                write(path, f"INSERT INTO {table} VALUES (?, ?, ?, ?)", rows)
    if main is not None:
        write(path, TABLE)
        if main:
            write(path, "INSERT INTO PRMAIN VALUES (?, ?, ?, ?)", main)


# Text that is not UTF-8.
BROKEN = b"m4-\xff\xfe-\xc3-r0"


def insert_broken(path, table):
    """Inserts rows in which one column after the other is not UTF-8."""
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


def make_legacy(path, journal="DELETE"):
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA journal_mode = {journal}")
        database.execute(LEGACY_TABLE.format("PRMAIN_nohist"))
        rows = [(*M4, f"old {value}", value) for value in range(11)]
        insert = "INSERT INTO PRMAIN_nohist VALUES (?, ?, ?, ?)"
        database.executemany(insert, rows)
        database.commit()


# The journal mode that BitBake sets, from this release on.
JOURNALS = {"1.16": "DELETE", "1.26": "WAL", "1.44": "MEMORY", "2.10": "WAL"}


class OldBitBake:
    """Does to a database what BitBake's server does before 2.10.

    That of 1.26 to 1.42 can run beside other programs. Later ones lock the file, and can't begin
    while another program has it open.
    """

    def __init__(self, path, release="1.26", history=False):
        self.table = "PRMAIN_hist" if history else "PRMAIN_nohist"
        self.history = history
        self.database = sqlite3.connect(path, timeout=TIMEOUT_S)
        self.database.execute("PRAGMA synchronous = OFF")
        self.database.execute(f"PRAGMA journal_mode = {JOURNALS[release]}")
        self.database.execute(
            LEGACY_TABLE.format(self.table).replace("TABLE", "TABLE IF NOT EXISTS")
        )
        self.database.commit()

    def get_pr(self, version, pkgarch, checksum):
        """Replaces the row of a content that comes back, unless with history."""
        package = (version, pkgarch)
        of_package = f"FROM {self.table} WHERE version = ? AND pkgarch = ?"
        ((greatest,),) = self.database.execute(
            f"SELECT max(value) {of_package}", package
        )
        known = self.database.execute(
            f"SELECT value {of_package} AND checksum = ?", (*package, checksum)
        ).fetchone()
        if known and (self.history or known[0] == greatest):
            return known[0]
        value = 0 if greatest is None else greatest + 1
        insert = f"INSERT OR REPLACE INTO {self.table} VALUES (?, ?, ?, ?)"
        self.database.execute(insert, (*package, checksum, value))
        self.database.commit()
        return value

    def close(self):
        self.database.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


class BitBake:
    """Does to a database what BitBake's own server does: look up, then insert."""

    def __init__(self, path):
        self.database = sqlite3.connect(path, timeout=TIMEOUT_S)
        self.database.execute("PRAGMA synchronous = OFF;")
        self.database.execute("PRAGMA journal_mode = WAL;")
        self.database.execute(TABLE)
        self.database.commit()

    def values(self, version, pkgarch):
        sql = "SELECT value FROM PRMAIN WHERE version=? AND pkgarch=?"
        return [
            int(value) for (value,) in self.database.execute(sql, (version, pkgarch))
        ]

    def get_pr(self, version, pkgarch, checksum):
        value = str(max(self.values(version, pkgarch), default=-1) + 1)
        row = (version, pkgarch, checksum, value)
        self.database.execute("INSERT INTO PRMAIN VALUES (?, ?, ?, ?);", row)
        self.database.commit()
        return value

    def close(self):
        self.database.close()
