# SPDX-License-Identifier: MIT
"""Requests wait for a database that is locked, full or cannot be read, until their patience ends
(doc/semantics.md, Patience). test_database_locks.py has what is answered meanwhile."""

import mmap
import os
import re
import select
import socket
import sqlite3
import struct
import time
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from bitbake_database import TABLE
from harness import BUILD, HANDSHAKE, SANITIZER, Refused, get_pr_request, line, poll
from rows import M4, ZIP, locked, rows_in
from test_database_locks import is_readable

CLOCK_AHEAD = BUILD / "tests" / "preload" / "libclock_ahead.so"
BEGIN = "Requests that need a new revision wait, for {} s at most: the database "
END = "Requests that need a new revision no longer wait, after "

needs_preload = pytest.mark.skipif(
    bool(SANITIZER), reason="sanitizers want to be loaded first"
)


def cpu_seconds(process):
    """Returns the processor time that a process has used."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_the_log_says_that_requests_wait_and_that_they_no_longer_do(serve, path):
    server = serve("--file", path)
    with server.client() as client, server.client() as other:
        with locked(path):
            client.post(get_pr_request(*ZIP, "a"))
            other.post(get_pr_request(*ZIP, "b"))
            poll(lambda: BEGIN.format(90) in server.log, "the warning")
            assert "is locked by another process" in server.log
            assert END not in server.log
        assert {client.receive()["value"], other.receive()["value"]} == {"0", "1"}
        poll(lambda: END in server.log, "the end")
    assert "2 requests waited, 0 of them got an error" in server.log


def test_a_short_wait_is_not_logged(serve, path):
    """Two servers on one file wait for each other all the time."""
    servers = [serve("--file", path, folder=f"server-{n}") for n in range(2)]
    with ExitStack() as stack:
        clients = [
            stack.enter_context(server.client()) for server in servers for _ in range(4)
        ]
        for turn in range(20):
            for number, client in enumerate(clients):
                client.post(get_pr_request(*M4, f"{turn}-{number}"))
            assert all("value" in client.receive() for client in clients)
    assert not any("wait, for" in server.log for server in servers)


def test_patience_ends_with_an_error_that_says_since_when(serve, path):
    server = serve("--file", path, "--patience", "2")
    with server.client() as client:
        assert client.get_pr(*M4, "known") == "0"
        with locked(path):
            begun = time.monotonic()
            with pytest.raises(Refused) as refused:
                client.get_pr(*M4, "new")
            assert time.monotonic() - begun >= 1.9
            message = str(refused.value)
            assert f"{path} is locked by another process" in message
            assert re.search(r"this has lasted for [12] s$", message)
            assert client.get_pr(*M4, "known") == "0"
        assert client.get_pr(*M4, "later") == "1"
    assert BEGIN.format(2) in server.log
    poll(lambda: "1 requests waited, 1 of them got an error" in server.log)
    assert [row[2] for row in sorted(rows_in(path))] == ["known", "later"]


def test_without_patience_nothing_waits(serve, path):
    """The log has the error, because no outage was reported."""
    server = serve("--file", path, "--patience", "0")
    with server.client() as client, locked(path):
        for number in range(3):
            with pytest.raises(Refused, match="is locked by another process"):
                client.get_pr(*M4, f"new {number}")
    lines = [line for line in server.log.splitlines() if " ERROR " in line]
    assert sum("is locked by another process" in line for line in lines) == 3


class Clock:
    """The clock of a server, which can be advanced."""

    def __init__(self, folder):
        self.file = folder / "ahead"
        self.file.write_bytes(bytes(4))
        with open(self.file, "r+b") as opened:
            self.seconds = memoryview(mmap.mmap(opened.fileno(), 4)).cast("i")
        assert CLOCK_AHEAD.exists()
        self.environment = {
            "LD_PRELOAD": str(CLOCK_AHEAD),
            "CLOCK_AHEAD": str(self.file),
        }

    def advance(self, seconds):
        """Advances the clock in steps, between which the server makes some tries."""
        for _ in range(seconds // 5):
            self.seconds[0] += 5
            time.sleep(0.05)


@needs_preload
def test_patience_counts_from_the_start_of_the_outage(serve, path, tmp_path):
    """A client that asks again hears the error, and in an old outage after five seconds."""
    clock = Clock(tmp_path)
    server = serve("--file", path, environment=clock.environment)
    with server.client() as first, server.client() as again, server.client() as late:
        with locked(path):
            first.post(get_pr_request(*M4, "a"))
            poll(lambda: BEGIN.format(90) in server.log, "the warning")
            clock.advance(50)
            again.post(get_pr_request(*M4, "a"))
            assert not is_readable(again)
            clock.advance(45)
            for client in (first, again):
                message = client.receive()["invoke-error"]["message"]
                assert re.search(r"this has lasted for 9\d s$", message)
            late.post(get_pr_request(*M4, "a"))
            time.sleep(0.3)  # some tries
            assert not is_readable(late)
            clock.advance(5)
            assert "locked" in late.receive()["invoke-error"]["message"]
            assert server.ask({"ping": {}}) == {"alive": True}
        assert first.get_pr(*M4, "b") == "0"


@needs_preload
def test_without_requests_an_outage_is_forgotten(serve, path, tmp_path):
    """Nobody knows whether the lock of the next night is still the same one."""
    clock = Clock(tmp_path)
    server = serve("--file", path, environment=clock.environment)
    with server.client() as first, server.client() as second:
        with locked(path):
            first.post(get_pr_request(*M4, "a"))
            poll(lambda: BEGIN.format(90) in server.log, "the warning")
            clock.advance(100)
            assert "locked" in first.receive()["invoke-error"]["message"]
            clock.seconds[0] += 1000
            second.post(get_pr_request(*M4, "a"))
            poll(lambda: server.log.count(BEGIN.format(90)) == 2, "another warning")
            clock.advance(60)
            time.sleep(0.3)  # some tries
            assert not is_readable(second)
        assert second.receive() == {"value": "0"}


def test_a_crowd_that_waits_costs_little(serve, path):
    """One try is made for all of them, and those who need no lock do not notice."""
    server = serve("--file", path)
    assert server.get_pr(*M4, "known") == "0"
    with ExitStack() as stack:
        crowd = [stack.enter_context(server.client()) for _ in range(300)]
        other = stack.enter_context(server.client())
        with locked(path):
            for number, client in enumerate(crowd):
                client.post(get_pr_request(*ZIP, f"new {number}"))
            poll(lambda: BEGIN.format(90) in server.log, "the warning")
            before = cpu_seconds(server.process)
            begun = time.monotonic()
            while time.monotonic() < begun + 2:
                assert other.get_pr(*M4, "known") == "0"
                time.sleep(0.05)
            assert cpu_seconds(server.process) - before < 1
        values = {int(client.receive()["value"]) for client in crowd}
    assert values == set(range(300))


# ---- clients that are gone ----


def wait_until_reported(server):
    poll(lambda: "wait, for" in server.log, "the warning")


def reset(client):
    """Closes a connection with a reset."""
    client.socket.setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )
    client.close()


def memory_used(client):
    return client.ask({"get-stats": {}})["memory"]["used_bytes"]


@pytest.mark.parametrize("end", ["close", "reset"])
def test_requests_of_clients_that_are_gone_are_dropped(serve, path, end):
    """A client that asks again does not wait behind itself, and nothing is stored for the dead."""
    server = serve("--file", path)
    with server.client() as alive, server.client() as other:
        with locked(path):
            alive.post(get_pr_request(*M4, "alive"))
            wait_until_reported(server)
            before = memory_used(other)
            dead = [server.client() for _ in range(3)]
            for client in dead:
                client.post(get_pr_request(*M4, "x" * 30_000))
            poll(lambda: memory_used(other) > before + 90_000, "them to wait")
            for client in dead:
                (client.close if end == "close" else lambda: reset(client))()
            poll(lambda: memory_used(other) < before + 30_000, "them to be gone")
            assert not is_readable(alive)
        assert alive.receive() == {"value": "0"}
    assert [row[2:] for row in rows_in(path)] == [("alive", "0")]


def test_after_the_end_of_input_all_else_is_answered(serve, path):
    """The client may have closed only its sending side."""
    server = serve("--file", path)
    assert server.get_pr(*M4, "known") == "0"
    with locked(path), server.client() as waiting, server.client() as client:
        waiting.post(get_pr_request(*M4, "of another client"))
        wait_until_reported(server)
        client.post(get_pr_request(*M4, "known"))
        client.post(get_pr_request(*M4, "new"))
        client.post({"ping": {}})
        client.socket.shutdown(socket.SHUT_WR)
        assert client.receive() == {"value": "0"}
        message = client.receive()["invoke-error"]["message"]
        assert "the client has ended its input" in message and "locked" in message
        assert client.receive() == {"alive": True}
        assert client.is_closed()
        assert not is_readable(waiting)


def test_after_the_end_of_input_a_short_wait_ends_with_the_answer(serve, path):
    server = serve("--file", path)
    with server.client() as client:
        with locked(path):
            client.post(get_pr_request(*M4, "new"))
            client.socket.shutdown(socket.SHUT_WR)
            assert server.ask({"ping": {}}) == {"alive": True}
        assert client.receive() == {"value": "0"}


def test_the_end_of_a_client_that_is_not_read_from_is_noticed(serve, path):
    """Its requests fill the session, so that the server does not read from it."""
    server = serve("--file", path)
    with locked(path), server.client() as other:
        client = server.client()
        for number in range(400):
            client.send(line(get_pr_request(*M4, f"dead {number}")))
        wait_until_reported(server)
        assert other.ask({"get-stats": {}})["connections"]["open"] == 2
        client.close()
        open_now = lambda: other.ask({"get-stats": {}})["connections"][
            "open"
        ]  # noqa: E731
        poll(lambda: open_now() == 1, "the connection to be closed")
    assert server.get_pr(*M4, "alive") is not None


# ---- a database that can't even be read ----


@contextmanager
def unreadable(path):
    """Another program writes to a database without a WAL: nobody can read it meanwhile."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        yield
        database.execute("ROLLBACK")


@pytest.fixture
def database_without_wal(path):
    with closing(sqlite3.connect(path)) as database:
        database.execute(TABLE)
        database.execute("INSERT INTO PRMAIN VALUES (?, ?, 'a', '7')", M4)
        database.commit()
    return path


PACKAGE = dict(zip(("version", "pkgarch"), M4))
LOOK_UPS = [
    ({"test-pr": {**PACKAGE, "checksum": "a"}}, {"value": "7"}),
    ({"get-pr": {**PACKAGE, "checksum": "a"}}, {"value": "7"}),
    ({"max-package-pr": PACKAGE}, {"value": "7"}),
    ({"test-package": PACKAGE}, {"value": True}),
]


def test_look_ups_exports_and_counts_wait(serve, database_without_wal):
    server = serve("--read-only", "--file", database_without_wal)
    with ExitStack() as stack:
        clients = [stack.enter_context(server.client()) for _ in LOOK_UPS]
        exporters = [stack.enter_context(server.client()) for _ in range(3)]
        counter = stack.enter_context(server.client())
        with unreadable(database_without_wal):
            for client, (request, _) in zip(clients, LOOK_UPS):
                client.post(request)
            for client in exporters:
                client.post({"export": {"history": True}})
            counter.post({"get-stats": {}})
            poll(lambda: "Look-ups wait, for 90 s at most" in server.log)
            poll(lambda: "Exports and counts of rows wait, for 90 s" in server.log)
            assert server.ask({"ping": {}}) == {"alive": True}
            everybody = [c.socket for c in (*clients, *exporters, counter)]
            assert not select.select(everybody, [], [], 0)[0]
        for client, (_, answer) in zip(clients, LOOK_UPS):
            assert client.receive() == answer
        for client in exporters:
            assert len(client.receive()["datainfo"]) == 1
        assert counter.receive()["database"]["rows"] == 1
    poll(lambda: "4 requests waited, 0 of them got an error" in server.log)


def test_look_ups_exports_and_counts_end_with_an_error(serve, database_without_wal):
    server = serve("--read-only", "--file", database_without_wal, "--patience", "1")
    requests = [request for request, _ in LOOK_UPS] + [
        {"export": {}},
        {"get-stats": {}},
    ]
    with ExitStack() as stack:
        clients = [stack.enter_context(server.client()) for _ in requests]
        with unreadable(database_without_wal):
            for client, request in zip(clients, requests):
                client.post(request)
            for client in clients:
                message = client.receive()["invoke-error"]["message"]
                assert "is locked by another process" in message
        for client, (request, answer) in zip(clients, LOOK_UPS):
            assert client.ask(request) == answer


def test_a_dead_clients_export_is_dropped(serve, database_without_wal):
    server = serve("--read-only", "--file", database_without_wal)
    with unreadable(database_without_wal), socket.create_connection(
        ("127.0.0.1", server.port)
    ) as client:
        client.sendall(HANDSHAKE + line({"export": {}}))
        poll(lambda: "Exports and counts of rows wait" in server.log)
        client.shutdown(socket.SHUT_WR)
        answer = client.makefile("rb").read()
        assert b"the client has ended its input" in answer
