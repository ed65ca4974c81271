# SPDX-License-Identifier: MIT
"""Idle clients can't take the descriptors that the database, the log and exports need, and a new
client is always heard."""

import contextlib
import os
import resource
import signal

import pytest

from harness import Server, poll
from rows import M4

ALIVE = {"alive": True}
LIMIT = 100  # descriptors of the server
CROWD = LIMIT
FULL = "Can't accept more connections", "Closed a connection that had been idle"


class LogsToFile(Server):
    """A server with --log, which SIGHUP reopens."""

    @property
    def log(self):
        path = self.folder / "own.log"
        return path.read_text() if path.exists() else ""


def set_limit(server, limit=LIMIT):
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (limit, limit))


def descriptors(server):
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


@pytest.fixture
def server(serve):
    server = serve()
    set_limit(server)
    return server


@contextlib.contextmanager
def crowd(server, count=CROWD):
    """Idle clients, more than there are descriptors; some have not even sent a handshake."""
    with contextlib.ExitStack() as stack:
        clients = []
        for number in range(count):
            options = {} if number % 2 else {"handshake": b""}
            clients.append(stack.enter_context(server.client(**options)))
        poll(lambda: any(line in server.log for line in FULL), "the warning")
        yield clients


def is_open(client):
    """Tells whether the server still has the connection, or has not accepted it yet."""
    client.socket.setblocking(False)
    try:
        return client.socket.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    finally:
        client.socket.settimeout(30)


def test_a_new_client_is_heard_although_idle_ones_use_all_descriptors(server):
    with crowd(server):
        for number in range(20):
            with server.client() as client:
                assert client.get_pr(*M4, str(number)) == str(number)


def test_the_requests_of_clients_inside_succeed(server):
    with server.client() as inside, crowd(server):
        for number in range(5):
            with contextlib.suppress(EOFError, ConnectionError):
                assert inside.get_pr(*M4, str(number)) == str(number)
                assert len(inside.export(history=True)["datainfo"]) == number + 1
                rows = inside.ask({"get-stats": {}})["database"]["rows"]
                assert rows == number + 1


def test_exports_have_descriptors_of_their_own(server):
    """They share a connection to the database."""
    assert server.get_pr(*M4, "content") == "0"
    with contextlib.ExitStack() as stack, crowd(server):
        inside = [stack.enter_context(server.client()) for _ in range(30)]
        for client in inside:
            client.post({"export": {"history": True}})
        for client in inside:
            assert len(client.receive()["datainfo"]) == 1


def test_the_log_can_be_reopened(tmp_path):
    with LogsToFile(tmp_path, "--log", "own.log") as server:
        set_limit(server)
        with crowd(server):
            (tmp_path / "own.log").rename(tmp_path / "old.log")
            server.process.send_signal(signal.SIGHUP)
            poll(lambda: "Opened the log again (SIGHUP)" in server.log, "the new log")


def test_a_reserve_of_descriptors_stays_free(server):
    before = descriptors(server)
    with crowd(server):
        reserve = (LIMIT - before) // 2
        for _ in range(10):
            with server.client() as client:
                assert client.ask({"ping": {}}) == ALIVE
            assert descriptors(server) <= LIMIT - reserve + 1


def test_the_connection_that_has_been_idle_longest_is_closed(server):
    room = (LIMIT - descriptors(server)) // 2
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.client()) for _ in range(room // 2)]
        for client in clients:
            assert client.ask({"ping": {}}) == ALIVE
        oldest, *others = clients
        assert (
            oldest.ask({"ping": {}}) == ALIVE
        )  # now it has been idle for the shortest time
        stack.enter_context(crowd(server, room // 2 + 3))
        poll(lambda: not is_open(others[0]), "the end of the idlest")
        assert others[0].is_closed()
        assert is_open(oldest)
    assert "Closed a connection that had been idle for " in server.log


def test_a_client_that_waits_for_an_answer_is_not_closed(serve, upstream):
    """The upstream is slow, and other clients come meanwhile."""
    upstream.hold()
    server = serve("--upstream", upstream.address)
    set_limit(server)
    with server.client() as waiting:
        waiting.post(
            {"get-pr": dict(version="v", pkgarch="a", checksum="c", history=False)}
        )
        with crowd(server):
            for _ in range(5):
                with server.client() as client:
                    assert client.ask({"ping": {}}) == ALIVE
            upstream.release()
            assert waiting.receive() == {"value": "0"}
