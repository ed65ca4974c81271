"""How long a server is patient with clients: half a minute for an opening, a minute for answers
that are not read (doc/security.md). Its clock is moved, so that nobody waits that long."""

import contextlib
import json
import mmap
import select
import socket

import pytest
from harness import BUILD, OPENING, SANITIZER, poll

PRELOAD = BUILD / "tests" / "preload" / "libclock_ahead.so"
HALF = b"PRSERVICE 1.0\nx: "
TOO_LONG = "the opening of the connection was not complete in 30 seconds"
EXPORT = b'{"export": {"history": true}}\n'
ROWS = 400

pytestmark = pytest.mark.skipif(
    bool(SANITIZER), reason="sanitizers want to be loaded first"
)


class Patience:
    """A server, and a hand on its clock."""

    def __init__(self, serve, folder):
        file = folder / "ahead"
        file.write_bytes(bytes(4))
        with open(file, "r+b") as opened:
            self.ahead = memoryview(mmap.mmap(opened.fileno(), 4)).cast("i")
        assert PRELOAD.exists()
        environment = {"LD_PRELOAD": str(PRELOAD), "CLOCK_AHEAD": str(file)}
        self.server = serve(environment=environment)
        self.watcher = self.server.client()  # an idle one has no deadline

    def pass_half_a_minute(self):
        """And more; then the server, which looks at deadlines each second of its own, has done
        so: a client that began to open before has heard of it."""
        count = self.count()
        with self.server.client(opening=HALF) as client:
            poll(lambda: self.count() == count + 1, "the client to be let in")
            self.ahead[0] += 50
            assert refusal(client) == TOO_LONG
        poll(lambda: self.count() <= count, "the client to be gone")

    def pass_time_until(self, condition, what):
        """(A socket that nobody reads from may still take some bytes a moment later, which counts
        as reading.)"""

        def is_so():
            self.ahead[0] += 5
            return condition()

        poll(is_so, what)

    def count(self):
        """Connections that are open, but for the watcher's."""
        return self.watcher.ask({"get-stats": {}})["connections"]["open"] - 1

    def fill(self):
        """An export has some 24 MiB from now on: more than the sockets of both sides take."""
        for number in range(ROWS):
            row = {"version": str(number), "pkgarch": "a", "checksum": "x" * 60_000}
            self.watcher.send(json.dumps({"get-pr": row}).encode() + b"\n")
        for number in range(ROWS):
            assert self.watcher.receive() == {"value": "0"}

    def asker(self):
        """A client with a socket that takes little, which asks for an export, and does not read."""
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
        client.connect(("127.0.0.1", self.server.port))
        client.sendall(OPENING + EXPORT)
        return client


def refusal(client):
    return client.receive()["invoke-error"]["message"]


def is_heard(client):
    return bool(select.select([client.socket], [], [], 0)[0])


def read(client, count):
    while count > 0:
        data = client.recv(min(count, 65_536))
        assert data, "closed"
        count -= len(data)


@pytest.fixture
def patience(serve, tmp_path):
    patience = Patience(serve, tmp_path)
    with patience.watcher:
        yield patience


def test_an_opening_has_30_seconds(patience):
    with patience.server.client(opening=HALF) as first:
        poll(lambda: patience.count() == 1, "the client to be let in")
        patience.ahead[0] += 20
        with patience.server.client(opening=HALF) as second:
            poll(lambda: patience.count() == 2, "the client to be let in")
            patience.ahead[0] += 11
            assert refusal(first) == TOO_LONG
            assert first.is_closed()
            assert not is_heard(second)
            patience.ahead[0] += 20
            assert refusal(second) == TOO_LONG


def test_who_has_opened_may_be_silent(patience):
    with patience.server.client() as client:
        assert client.ask({"ping": {}}) == {"alive": True}
        patience.pass_half_a_minute()
        patience.pass_half_a_minute()
        client.send(b'{"pi')
        patience.pass_half_a_minute()
        patience.pass_half_a_minute()
        client.send(b'ng": {}}\n')
        assert client.receive() == {"alive": True}


def test_who_does_not_read_has_60_seconds(patience):
    patience.fill()
    with contextlib.closing(patience.asker()) as deaf:
        read(deaf, 1)
        patience.pass_half_a_minute()
        assert patience.count() == 1
        patience.pass_time_until(lambda: patience.count() == 0, "the end")
    assert "the client did not read its answers" in patience.server.log


def test_who_reads_slowly_has_as_long_as_it_takes(patience):
    """So little that the kernel, which has megabytes of it, takes no more from the server."""
    patience.fill()
    with contextlib.closing(patience.asker()) as slow:
        for _ in range(6):
            read(slow, 250_000)
            patience.pass_half_a_minute()
            assert patience.count() == 1


def test_an_export_that_is_not_read_ends_when_others_wait(patience):
    patience.fill()
    with contextlib.ExitStack() as stack:
        deaf = [
            stack.enter_context(contextlib.closing(patience.asker())) for _ in range(16)
        ]
        for client in deaf:
            read(client, 1)
        patience.pass_half_a_minute()
        late = stack.enter_context(contextlib.closing(patience.asker()))
        poll(lambda: patience.count() == 17, "the client to be let in")
        patience.pass_time_until(
            lambda: select.select([late], [], [], 0)[0],
            "the turn of the one that waits",
        )
    assert "An export was broken off" in patience.server.log
