# SPDX-License-Identifier: MIT
"""Deadlines for clients: 30 seconds for a handshake, 60 seconds for answers that are not read
(doc/security.md). The clock of the server is moved, so that the tests need not wait."""

import contextlib
import json
import mmap
import select
import socket

import pytest
from harness import BUILD, HANDSHAKE, SANITIZER, poll

PRELOAD = BUILD / "tests" / "preload" / "libclock_ahead.so"
HALF = b"PRSERVICE 1.0\nx: "
TOO_LONG = "the handshake of the connection was not complete in 30 seconds"
EXPORT = b'{"export": {"history": true}}\n'
ROWS = 400

pytestmark = pytest.mark.skipif(
    bool(SANITIZER), reason="sanitizers want to be loaded first"
)


class ServerWithClock:
    """A server, and control of its clock."""

    def __init__(self, serve, folder):
        file = folder / "ahead"
        file.write_bytes(bytes(4))
        with open(file, "r+b") as opened:
            self.ahead = memoryview(mmap.mmap(opened.fileno(), 4)).cast("i")
        assert PRELOAD.exists()
        environment = {"LD_PRELOAD": str(PRELOAD), "CLOCK_AHEAD": str(file)}
        self.server = serve(environment=environment)
        self.watcher = self.server.client()  # an idle connection has no deadline

    def advance_30_seconds(self):
        """Advances the clock by more than 30 seconds, and waits until the server has checked its
        deadlines: a handshake that was begun before is refused by then."""
        count = self.count()
        with self.server.client(handshake=HALF) as client:
            poll(lambda: self.count() == count + 1, "the client to be accepted")
            self.ahead[0] += 50
            assert refusal(client) == TOO_LONG
        poll(lambda: self.count() <= count, "the client to be gone")

    def advance_until(self, is_done, what):
        """Advances the clock until is_done(). (A socket that is not read may still accept
        some bytes a moment later, which counts as reading.)"""

        def condition():
            self.ahead[0] += 5
            return is_done()

        poll(condition, what)

    def count(self):
        """Returns the number of open connections without the watcher's."""
        return self.watcher.ask({"get-stats": {}})["connections"]["open"] - 1

    def store_large_rows(self):
        """Makes an export 24 MiB long, more than the socket buffers of both sides hold."""
        for number in range(ROWS):
            row = {"version": str(number), "pkgarch": "a", "checksum": "x" * 60_000}
            self.watcher.send(json.dumps({"get-pr": row}).encode() + b"\n")
        for number in range(ROWS):
            assert self.watcher.receive() == {"value": "0"}

    def export_reader(self):
        """A client with a small socket buffer that asks for an export and does not read it."""
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
        client.connect(("127.0.0.1", self.server.port))
        client.sendall(HANDSHAKE + EXPORT)
        return client


def refusal(client):
    return client.receive()["invoke-error"]["message"]


def has_error(client):
    return bool(select.select([client.socket], [], [], 0)[0])


def read(client, count):
    while count > 0:
        data = client.recv(min(count, 65_536))
        assert data, "closed"
        count -= len(data)


@pytest.fixture
def clocked(serve, tmp_path):
    clocked = ServerWithClock(serve, tmp_path)
    with clocked.watcher:
        yield clocked


def test_a_handshake_must_complete_within_30_seconds(clocked):
    with clocked.server.client(handshake=HALF) as first:
        poll(lambda: clocked.count() == 1, "the client to be accepted")
        clocked.ahead[0] += 20
        with clocked.server.client(handshake=HALF) as second:
            poll(lambda: clocked.count() == 2, "the client to be accepted")
            clocked.ahead[0] += 11
            assert refusal(first) == TOO_LONG
            assert first.is_closed()
            assert not has_error(second)
            clocked.ahead[0] += 20
            assert refusal(second) == TOO_LONG


def test_an_idle_client_is_kept(clocked):
    with clocked.server.client() as client:
        assert client.ask({"ping": {}}) == {"alive": True}
        clocked.advance_30_seconds()
        clocked.advance_30_seconds()
        client.send(b'{"pi')
        clocked.advance_30_seconds()
        clocked.advance_30_seconds()
        client.send(b'ng": {}}\n')
        assert client.receive() == {"alive": True}


def test_a_client_that_does_not_read_is_closed_after_60_seconds(clocked):
    clocked.store_large_rows()
    with contextlib.closing(clocked.export_reader()) as silent:
        read(silent, 1)
        clocked.advance_30_seconds()
        assert clocked.count() == 1
        clocked.advance_until(lambda: clocked.count() == 0, "the end")
    assert "the client did not read its answers" in clocked.server.log


def test_a_client_that_reads_slowly_is_kept(clocked):
    """It reads too little for the kernel, which buffers megabytes, to accept more."""
    clocked.store_large_rows()
    with contextlib.closing(clocked.export_reader()) as slow:
        for _ in range(6):
            read(slow, 250_000)
            clocked.advance_30_seconds()
            assert clocked.count() == 1
