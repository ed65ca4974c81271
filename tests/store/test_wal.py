# SPDX-License-Identifier: MIT
"""The write-ahead log of SQLite, which the checkpointer moves into the database."""

import contextlib
import itertools
import signal
import sqlite3

import pytest

from harness import SANITIZER, poll
from prserv_command import bench

MIB = 1024 * 1024
MOST = 160 * MIB  # 96 MiB, and commits during a checkpoint on a busy machine

pytestmark = pytest.mark.slow


def wal_size(server):
    return (server.folder / "prserv.sqlite3-wal").stat().st_size


def write(server, requests, seed=1):
    """Stores new content of many packages, so that each row changes a different page."""
    words = ("--work", "new", "--packages", 5000, "--seed", seed, "--pipeline", 4)
    bench(server.address, *words, "--requests", requests)


@pytest.mark.skipif(bool(SANITIZER), reason="takes a sanitizer minutes")
def test_the_wal_does_not_grow_without_end(serve):
    server = serve("--sync", "off")
    write(server, 100_000)
    assert 90 * MIB < wal_size(server) < MOST
    write(server, 100_000, seed=2)
    write(server, 100_000, seed=3)
    assert wal_size(server) < MOST


@pytest.mark.skipif(bool(SANITIZER), reason="takes a sanitizer minutes")
def test_rows_in_the_wal_survive_a_kill(serve):
    server = serve()
    write(server, 5_000)
    assert wal_size(server) > MIB
    with server.client() as client:
        rows = client.ask({"get-stats": {}})["database"]["rows"]
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    server.restart()
    with server.client() as client:
        assert client.ask({"get-stats": {}})["database"]["rows"] == rows


@pytest.mark.skipif(bool(SANITIZER), reason="takes a sanitizer minutes")
def test_the_wal_grows_while_a_reader_does_not_read(serve):
    server = serve("--sync", "off")
    write(server, 100_000)
    path = server.folder / "prserv.sqlite3"
    # A connection that is closed goes on reading for a cursor that is not.
    with (
        contextlib.closing(sqlite3.connect(path)) as reader,
        contextlib.closing(reader.execute("SELECT * FROM PRMAIN")) as rows,
    ):
        rows.fetchone()  # and does not go on
        write(server, 100_000, seed=2)
        assert wal_size(server) > 150 * MIB
    seeds = itertools.count(3)

    def is_truncated():  # by the first writer after a whole checkpoint
        write(server, 1000, seed=next(seeds))
        return wal_size(server) <= 128 * MIB + 4096

    poll(is_truncated, "a shorter WAL")
