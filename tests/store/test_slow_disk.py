# SPDX-License-Identifier: MIT
"""A disk that takes seconds for a sync: what needs no new row does not wait for the commit."""

import contextlib
import time

import pytest

from harness import BUILD, SANITIZER, get_pr_request, poll
from rows import M4, ZIP
from test_database_locks import is_readable

HOLD_SYNC = BUILD / "tests" / "preload" / "libhold_sync.so"

pytestmark = pytest.mark.skipif(
    bool(SANITIZER), reason="sanitizers want to be loaded first"
)


class SlowDisk:
    """A server with known content, whose syncs can be held."""

    def __init__(self, serve, folder, *options):
        assert HOLD_SYNC.exists()
        self.file = folder / "hold"
        self.waiting = folder / "hold.waiting"
        environment = {"LD_PRELOAD": str(HOLD_SYNC), "HOLD_SYNC": str(self.file)}
        self.server = serve(*options, environment=environment)
        with self.server.client() as client:
            assert client.get_pr(*M4, "first") == "0"
            assert client.get_pr(*M4, "known") == "1"
            assert client.get_pr(*ZIP, "known") == "0"

    @contextlib.contextmanager
    def held(self, client, *content):
        """A client asks for new content, whose commit does not end."""
        self.file.touch()
        try:
            client.post(get_pr_request(*content))
            poll(self.waiting.exists, "the sync")
            yield
            assert self.waiting.exists()
        finally:
            self.file.unlink(missing_ok=True)


@pytest.fixture
def disk(serve, tmp_path):
    return SlowDisk(serve, tmp_path)


def test_known_content_does_not_wait_for_a_commit(disk):
    """Of the same package, too: until the commit nobody has seen the new row."""
    server = disk.server
    with server.client() as client, server.client() as other:
        with disk.held(client, *M4, "new"):
            for _ in range(100):
                assert other.get_pr(*ZIP, "known") == "0"
                assert other.get_pr(*M4, "known") == "1"
                assert other.get_pr(*M4, "first", history=True) == "0"
                assert other.max_pr(*M4) == "1"
                assert other.import_one(*M4, "known", "1") == {"value": "1"}
                assert other.test_pr(*M4, "new") is None
                assert len(other.export(history=True)["datainfo"]) == 3
            assert not is_readable(client)
        assert client.receive() == {"value": "2"}
        assert other.get_pr(*M4, "known") == "3"


def test_a_new_connection_with_known_content_does_not_wait(disk):
    server = disk.server
    with server.client() as client:
        with disk.held(client, *M4, "new"):
            for _ in range(20):
                assert server.get_pr(*ZIP, "known") == "0"
        assert client.receive() == {"value": "2"}


def test_many_requests_of_a_client_do_not_wait(disk):
    """They are sent at once, as a server below or a library does."""
    server = disk.server
    with server.client() as client, server.client() as other:
        with disk.held(client, *M4, "new"):
            for _ in range(100):
                other.post(get_pr_request(*ZIP, "known"))
            assert [other.receive()["value"] for _ in range(100)] == ["0"] * 100
        assert client.receive() == {"value": "2"}


def test_a_client_sees_its_own_requests(disk):
    """What a client has asked for before, for the same package, comes first."""
    server = disk.server
    with server.client() as client, server.client() as other:
        with disk.held(client, *ZIP, "new"):
            for content in "known", "new", "known", "first":
                other.post(get_pr_request(*M4, content))
            other.post(get_pr_request(*ZIP, "known"))
            assert other.receive() == {"value": "1"}
            time.sleep(0.2)  # many turns of the thread that answers
            assert not is_readable(other)
            client.post(get_pr_request(*ZIP, "known"))  # behind its own new content
        assert [other.receive()["value"] for _ in range(4)] == ["2", "3", "4", "0"]
        assert [client.receive()["value"] for _ in range(2)] == ["1", "2"]


def test_content_that_several_clients_wait_for_is_new_only_once(disk):
    server = disk.server
    with server.client() as client, server.client() as other, server.client() as third:
        with disk.held(client, *M4, "new"):
            for waiting in other, third:
                waiting.post(get_pr_request(*M4, "new"))
                waiting.post(get_pr_request(*M4, "newer"))
            assert server.get_pr(*ZIP, "known") == "0"
            assert not is_readable(other) and not is_readable(third)
        assert client.receive() == {"value": "2"}
        for waiting in other, third:
            assert [waiting.receive()["value"] for _ in range(2)] == ["2", "3"]


def test_known_content_is_answered_while_the_server_stops(disk):
    """Its request has arrived before; the commit ends in time."""
    server = disk.server
    with server.client() as client, server.client() as other:
        with disk.held(client, *M4, "new"):
            for _ in range(10):
                assert other.get_pr(*M4, "known") == "1"
            server.process.terminate()
            assert not is_readable(client)
        assert client.receive() == {"value": "2"}
    server.process.wait()
