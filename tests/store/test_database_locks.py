# SPDX-License-Identifier: MIT
"""Requests that wait for a lock which another process holds on the database."""

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

import postgres_cluster
from bitbake_database import make_legacy
from harness import (
    TIMEOUT_S,
    PRSERVD,
    Client,
    Refused,
    clean_environment,
    get_pr_request,
    open_files,
    poll,
)
from postgres_cluster import both_kinds
from rows import M4, ZIP, locked, rows_in


@contextmanager
def held(name):
    """Holds the write lock of a database of either kind."""
    if isinstance(name, Path):
        with locked(name):
            yield
        return
    lock = "BEGIN; LOCK prserv_package, prserv_row IN EXCLUSIVE MODE;\n\\echo held\n"
    psql = subprocess.Popen(
        [f"{postgres_cluster.PROGRAMS}/psql", "-X", "-q", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with psql:
        psql.stdin.write(lock)
        psql.stdin.flush()
        assert psql.stdout.readline() == "held\n"
        yield
        psql.communicate("ROLLBACK;\n", TIMEOUT_S)


def is_readable(client):
    client.socket.setblocking(False)
    try:
        return bool(client.socket.recv(1, 2))  # MSG_PEEK
    except BlockingIOError:
        return False
    finally:
        client.socket.settimeout(TIMEOUT_S)


def check_what_needs_no_lock(client):
    """Checks look-ups, exports, and get-pr of content that is stored already."""
    assert client.test_pr(*M4, "first") == "0"
    assert client.max_pr(*M4) == "1"
    assert client.test_pr(*M4, "unknown") is None
    assert client.get_pr(*M4, "latest") == "1"
    assert client.get_pr(*M4, "first", history=True) == "0"
    assert client.import_one(*M4, "latest", "1") == {"value": "1"}
    assert len(client.export(history=True)["datainfo"]) == 2
    assert client.ask({"ping": {}}) == {"alive": True}


def check_beside(client, kind):
    """The same for either kind. With PostgreSQL, stored content may wait for half a second."""
    if kind == "sqlite":
        check_what_needs_no_lock(client)
        return
    assert client.test_pr(*M4, "first") == "0"
    assert client.get_pr(*M4, "latest") == "1"


@pytest.fixture
def server_with_rows(serve, shared):
    server = serve("--file", shared)
    assert server.get_pr(*M4, "first") == "0"
    assert server.get_pr(*M4, "latest") == "1"
    return server


def test_a_request_is_answered_when_the_lock_is_released(server_with_rows, path):
    with server_with_rows.client() as client, server_with_rows.client() as other:
        with locked(path):
            client.post(get_pr_request(*ZIP, "new content"))
            check_what_needs_no_lock(other)
            assert not is_readable(client)
        assert client.receive() == {"value": "0"}


@both_kinds
def test_a_request_that_waits_for_a_lock_does_not_delay_others(
    server_with_rows, shared, kind
):
    with server_with_rows.client() as client, server_with_rows.client() as other:
        with held(shared):
            client.post(get_pr_request(*M4, "new content"))
            check_beside(other, kind)
            assert not is_readable(client)
        assert client.receive() == {"value": "2"}


def test_a_request_that_waited_sees_what_the_lock_holder_stored(server_with_rows, path):
    with server_with_rows.client() as client, server_with_rows.client() as other:
        with locked(path) as database:
            client.post(get_pr_request(*ZIP, "new content"))
            check_what_needs_no_lock(other)
            row = (*ZIP, "theirs", "7")
            database.execute("INSERT INTO PRMAIN VALUES (?, ?, ?, ?)", row)
            assert other.max_pr(*ZIP) is None
            database.execute("COMMIT")
        assert client.receive() == {"value": "8"}


@both_kinds
def test_requests_behind_one_that_waits_keep_their_order(
    server_with_rows, shared, kind
):
    """A look-up behind a waiting request sees what that request stores."""
    with server_with_rows.client() as client, server_with_rows.client() as other:
        with held(shared):
            for checksum in "ab":
                client.post(get_pr_request(*ZIP, checksum))
            package = dict(zip(("version", "pkgarch"), ZIP))
            client.post({"max-package-pr": package})
            check_beside(other, kind)
            assert not is_readable(client)
        assert [client.receive()["value"] for _ in range(3)] == ["0", "1", "1"]


def sleeps(process):
    """Returns how often the process has slept."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return 0
    return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", status, re.M)[1])


def listens(path):
    try:
        Client(path).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_a_start_waits_for_a_lock(path, journal):
    """The start has to take a database over while another program writes to it."""
    make_legacy(path, journal)
    socket = path.parent / "socket"
    command = [PRSERVD, "--file", path, "--bind", f"unix://{socket}"]
    with locked(path):
        process = subprocess.Popen(command, env=clean_environment())
        ended = lambda: process.poll() is not None  # noqa: E731
        poll(
            lambda: ended() or str(path) in open_files(process),
            "the database to be opened",
        )
        before = sleeps(process)
        poll(lambda: ended() or sleeps(process) > before + 5, "it to wait for the lock")
    try:
        poll(lambda: ended() or listens(socket), "the server")
        assert not ended()
        with Client(socket) as client:
            assert client.get_pr(*M4, "new content") == "11"
    finally:
        process.terminate()
        process.wait()


def test_every_request_that_writes_waits_for_the_lock_and_then_fails(serve, path):
    """get-pr of returned content, get-pr of another package, and import-one. The connections stay
    usable, and no refused row is stored."""
    server = serve("--file", path, "--patience", "2")
    assert server.get_pr(*M4, "first") == "0"
    assert server.get_pr(*M4, "latest") == "1"

    def refusal(ask):
        with server.client() as client:
            with pytest.raises(Refused, match="locked") as refused:
                ask(client)
            check_what_needs_no_lock(client)
            return str(refused.value)

    requests = [
        lambda client: client.get_pr(*M4, "first"),
        lambda client: client.get_pr(*ZIP, "new content"),
        lambda client: client.import_one(*M4, "imported", "5"),
    ]
    with locked(path), ThreadPoolExecutor(3) as pool:
        for message in pool.map(refusal, requests):
            assert str(path) in message
    assert len(rows_in(path)) == 2
