# SPDX-License-Identifier: MIT
"""Deadlines and checks for tests of servers with an upstream."""

import fcntl
import re
import signal
import struct
import subprocess
import termios
import time
from contextlib import contextmanager

import pytest

from harness import SANITIZER, Refused, paused, poll

SLACK = 3 if SANITIZER else 1
MARGIN = 1  # seconds that a busy machine may add to the times of the specification
RECOVERY = (
    2 + MARGIN
) * SLACK  # seconds from the upstream's return to the first answer
REFUSAL = (5 + MARGIN) * SLACK  # seconds to an error if the upstream is not silent
STOP = (5 + MARGIN) * SLACK  # seconds from SIGTERM to the end
SILENCE = 20 * SLACK  # seconds to an error if the upstream is silent


def get_pr(package, checksum, history=False):
    version, pkgarch = package
    arguments = {"version": version, "pkgarch": pkgarch, "checksum": checksum}
    return {"get-pr": {**arguments, "history": history}}


def order(value):
    return tuple(int(number) for number in value.split("."))


@contextmanager
def within(seconds, what):
    started = time.monotonic()
    yield
    elapsed = time.monotonic() - started
    assert elapsed < seconds, f"{what} took {elapsed:.1f} s"


def has_arrived(client):
    """Tells whether everything that was sent has reached the server's socket."""
    unacknowledged = fcntl.ioctl(client.socket, termios.TIOCOUTQ, bytes(4))
    return struct.unpack("i", unacknowledged)[0] == 0


def post_at_once(server, posts):
    """Sends the requests so that the server reads them all at the same time."""
    for client, _ in posts:
        client.ask({"ping": {}})
    with paused(server):
        for client, request in posts:
            client.post(request)
        for client, _ in posts:
            poll(lambda: has_arrived(client), "the request's arrival")


def open_clients(server, count):
    return [server.client() for _ in range(count)]


def assert_refused(server, upstream, request, reason=""):
    """Checks that the error names the address of the upstream and the reason."""
    with pytest.raises(Refused) as refusal:
        server.ask(request)
    assert upstream.address in str(refusal.value)
    assert re.search(reason, str(refusal.value), re.IGNORECASE)


def is_answered(server, request):
    try:
        return server.ask(request)
    except Refused:
        return None


def assert_recovers(server, request, expected):
    answer = poll(lambda: is_answered(server, request), "the recovery", RECOVERY)
    assert answer == {"value": expected}


def assert_serves_the_rest(client):
    """Checks that all requests which need no upstream are served."""
    with within(REFUSAL, "what asks no upstream"):
        assert client.ask({"ping": {}}) == {"alive": True}
        assert client.ask({"is-readonly": {}})["readonly"] is False
        client.import_one("rest-1.0-r0", "all", "known", "7")
        assert client.test_pr("rest-1.0-r0", "all", "known") == "7"
        assert client.max_pr("rest-1.0-r0", "all") == "7"
        package = {"version": "rest-1.0-r0", "pkgarch": "all"}
        assert client.ask({"test-package": package}) == {"value": True}
        assert len(client.export(**package)["datainfo"]) == 1
        assert client.get_pr("rest-1.0-r0", "all", "known", history=True) == "7"


def warnings(server):
    return [line for line in server.log.splitlines() if " WARNING " in line]


def assert_ends_while_it_waits(server, client):
    """Checks that client, whose question is under way, gets an error, and that the server exits."""
    server.process.send_signal(signal.SIGTERM)
    signalled = time.monotonic()
    assert "invoke-error" in client.receive()
    assert client.is_closed()
    try:
        server.process.wait(signalled + STOP - time.monotonic())
    except subprocess.TimeoutExpired:
        server.kill()
    assert server.process.returncode == 0, "it did not end in time"
