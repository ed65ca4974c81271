# SPDX-License-Identifier: MIT
"""The number of rows in get-stats, which is counted once and then kept."""

import contextlib
import sqlite3

from rows import M4


def count(client):
    return client.ask({"get-stats": {}})["database"]["rows"]


def fill(path, n_rows):
    """Adds rows as another program does."""
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.executemany(
            "INSERT INTO PRMAIN VALUES (?, 'a', 'c', '1')",
            ((f"{i:06}",) for i in range(n_rows)),
        )


def test_get_stats_counts_the_rows_of_this_server_as_they_are_stored(server):
    with server.client() as client:
        assert count(client) == 0
        for number in range(5):
            client.get_pr(*M4, str(number))
            client.get_pr(*M4, str(number))
            assert count(client) == number + 1


def test_get_stats_is_answered_from_memory(serve):
    """The rows of other programs are counted in a minute."""
    server = serve("--file", "prserv.sqlite3")
    with server.client() as client:
        client.get_pr(*M4, "a")
        assert count(client) == 1
        fill(server.folder / "prserv.sqlite3", 10)
        assert count(client) == 1


def test_a_crowd_that_asks_for_statistics_delays_no_export(serve):
    """With a count for each request, this takes minutes."""
    server = serve("--file", "prserv.sqlite3")
    fill(server.folder / "prserv.sqlite3", 300_000)
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(server.client()) for _ in range(64)]
        exporter = stack.enter_context(server.client())
        for client in crowd:
            client.send(b'{"get-stats": {}}\n' * 100)
        assert len(exporter.export(history=True)["datainfo"]) == 300_000
        for client in crowd:
            for _ in range(100):
                assert client.receive()["database"]["rows"] == 300_000
