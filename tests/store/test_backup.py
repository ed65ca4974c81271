# SPDX-License-Identifier: MIT
"""Copies of the database made while the server stores rows. Each is a consistent database, on
which a server can continue."""

import contextlib
import shutil
import sqlite3
import subprocess

import pytest

from load import Load


def by_backup(file, copy):
    with contextlib.closing(sqlite3.connect(file)) as database:
        with contextlib.closing(sqlite3.connect(copy)) as target:
            database.backup(target)


def by_vacuum(file, copy):
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("VACUUM INTO ?", (str(copy),))


def by_shell(file, copy):
    if not shutil.which("sqlite3"):
        pytest.skip("sqlite3 is not installed")
    command = [".timeout 10000", f".backup {copy}"]
    subprocess.run(["sqlite3", file, *command], check=True)


def rows(file):
    with contextlib.closing(sqlite3.connect(file)) as database:
        return set(database.execute("SELECT checksum, value FROM PRMAIN"))


@pytest.mark.parametrize("make_copy", [by_backup, by_vacuum, by_shell])
def test_a_copy_made_under_load_is_complete(serve, tmp_path, make_copy):
    server = serve("--loglevel", "INFO")
    copy = tmp_path / "copy.sqlite3"
    with Load(("127.0.0.1", server.port), builds=3) as load:
        load.wait_for_more()
        answered = {(c, v) for c, values in list(load.given.items()) for v in values[:]}
        make_copy(server.folder / "prserv.sqlite3", copy)
        load.wait_for_more()
    assert load.failures == []
    copied = rows(copy)
    assert answered <= copied <= rows(server.folder / "prserv.sqlite3")
    greatest = max(int(value) for _, value in copied)
    other = serve("--file", copy, folder="other")
    assert other.get_pr("m4-1", "all", "something new") == str(greatest + 1)
