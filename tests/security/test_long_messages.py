# SPDX-License-Identifier: MIT
"""Long messages: they are read in a thread, in the order of the requests, and delay nobody; and
clients that send much leave the others their turn."""

import contextlib
import socket
import threading
import time

import pytest
from harness import HANDSHAKE, SANITIZER, poll
from load import Threads

PING = b'{"ping": {}}\n'
ALIVE = {"alive": True}
MIB = 1 << 20
LONG = ("--max-message-bytes", 64 * MIB)
# Generous: another client's requests took seconds when the event loop read such messages itself.
BOUND_S = 0.5 * (6 if SANITIZER else 1)


def chunks(text, size=32_767):
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    return b"\n".join([b'{"chunk-stream": null}', *pieces, b"", b""])


def filled(begin, part, end, size):
    return begin + part * ((size - len(begin) - len(end)) // len(part)) + end


LOOK_UP = b'{"test-pr": {"version": "v", "pkgarch": "a", "checksum": "'
HOSTILE = {
    "an escape": (LOOK_UP + b"\\n", b"x", b'"}}'),
    "escapes": (LOOK_UP, b"\\n", b'"}}'),
    "an unknown member": (b'{"ping": {"x": "', b"x", b'"}}'),
    "unknown members": (b'{"ping": {', b'"\\n":1,', b'"x": 1}}'),
    "unknown requests": (b"{", b'"\\n":1,', b'"ping": {}}'),
    "duplicates": (b"{", b'"ping":{},', b'"ping": {}}'),
    "lists": (b'{"ping": {"x": [', b"[[[]]],", b"0]}}"),
    "a number": (b'{"ping": {"x": ', b"9", b"}}"),
    "a short line for each byte": (b'{"ping": {"x": "', b"x", b'"}}'),
}


class Flood(Threads):
    """Clients that send the same bytes again and again, and read the answers."""

    def __init__(self, server, data, clients=16):
        self.server, self.data = server, data
        self.n_answers = 0
        super().__init__([threading.Thread(target=self.send) for _ in range(clients)])

    def send(self):
        with contextlib.suppress(OSError, EOFError):
            with self.server.client() as client:
                while not self.over.is_set():
                    client.send(self.data)
                    client.receive()
                    self.n_answers += 1


def assert_others_are_served(server, flood):
    """Checks the time of most requests of another client while the flood goes on."""
    times = []
    with server.client() as client, flood:
        poll(lambda: flood.n_answers > 0, "the first answer")
        for _ in range(50):
            start = time.monotonic()
            assert client.ask({"ping": {}}) == ALIVE
            times.append(time.monotonic() - start)
    times.sort()
    assert times[len(times) * 9 // 10] < BOUND_S, times


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_messages_do_not_delay_others(serve, kind):
    server = serve(*LONG)
    size = 1 if "short line" in kind else 32_767
    text = filled(*HOSTILE[kind], 4 * MIB if size > 1 else MIB // 4)
    assert_others_are_served(server, Flood(server, chunks(text, size)))


def test_many_small_messages_at_once_do_not_delay_others(server):
    with contextlib.suppress(OSError):
        assert_others_are_served(server, Flood(server, PING * 5_000))


def test_a_long_message_is_answered_in_its_turn(serve):
    end = b'", "version": "v", "pkgarch": "a"}}'
    long = chunks(filled(b'{"test-package": {"x": "', b"x", end, 5 * MIB))
    server = serve(*LONG)
    with server.client() as client:
        client.send(PING + long + PING + b'{"get-pr": 1}\n' + long + PING)
        assert client.receive() == ALIVE
        assert client.receive() == {"value": False}
        assert client.receive() == ALIVE
        assert (
            "arguments must be an object" in client.receive()["invoke-error"]["message"]
        )
        assert client.receive() == {"value": False}
        assert client.receive() == ALIVE


def test_a_long_message_that_is_stored_is_seen_by_the_next_request(serve):
    server = serve(*LONG)
    checksum = "\\n" * MIB
    question = (
        f'{{"get-pr": {{"version": "v", "pkgarch": "a", "checksum": "{checksum}"}}}}'
    )
    with server.client() as client:
        client.send(chunks(question.encode()))
        client.send(b'{"get-pr": {"version": "v", "pkgarch": "a", "checksum": "y"}}\n')
        client.send(chunks(question.replace("get-pr", "test-pr").encode()))
        assert [client.receive()["value"] for _ in range(3)] == ["0", "1", "0"]


INVALID = {
    "no end": (b'{"ping": {"x": "' + b"x" * MIB, "a string that does not end"),
    "no value": (b'{"ping": ' + b" " * MIB + b"[", "the message is not JSON"),
}


@pytest.mark.parametrize("text,reason", INVALID.values(), ids=INVALID)
def test_a_long_message_that_is_not_json_is_refused_and_closed(serve, text, reason):
    with serve(*LONG).client() as client:
        client.send(PING + chunks(text) + PING)
        assert client.receive() == ALIVE
        assert reason in client.receive()["invoke-error"]["message"]
        assert client.is_closed()


def test_a_long_null_ends_the_connection(serve):
    with serve(*LONG).client() as client:
        client.send(PING + chunks(b" " * MIB + b"null" + b" " * MIB) + PING)
        assert client.receive() == ALIVE
        assert client.is_closed()


def test_a_long_message_is_answered_after_the_end_of_the_input(serve):
    with serve(*LONG).client() as client:
        client.send(chunks(filled(b'{"ping": {"x": "', b"x", b'"}}', MIB)))
        client.socket.shutdown(socket.SHUT_WR)
        assert client.receive() == ALIVE
        assert client.is_closed()


def test_clients_may_leave_while_their_messages_are_read(serve):
    server = serve(*LONG)
    long = chunks(filled(b'{"ping": {', b'"\\n":1,', b'"x": 1}}', 4 * MIB))
    for _ in range(5):
        for _ in range(4):
            client = server.client(handshake=HANDSHAKE)
            client.send(long + PING)
            client.close()
        assert server.ask({"ping": {}}) == ALIVE
    poll(
        lambda: server.ask({"get-stats": {}})["connections"]["open"] == 1,
        "the connections to be closed",
    )
    poll(
        lambda: server.ask({"get-stats": {}})["memory"]["used_bytes"] < MIB,
        "the memory to be given back",
    )


def test_a_server_stops_while_long_messages_are_read(serve):
    server = serve(*LONG)
    long = chunks(filled(b'{"ping": {', b'"\\n":1,', b'"x": 1}}', 8 * MIB))
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(server.client()).send(long)
        server.stop()
