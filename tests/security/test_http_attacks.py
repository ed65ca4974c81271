# SPDX-License-Identifier: MIT
"""Hostile HTTP clients: each gets a status, an error or a closed connection, no PR client notices,
and what they send does not reach the log as it is."""

import contextlib
import http.client
import itertools
import json
import re
import resource
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import SANITIZER, TIMEOUT_S, poll
from http_client import fetch, http_port, needs_http

pytestmark = needs_http


@pytest.fixture
def attacked(serve):
    """A server with a package, which answers PR clients as before at the end."""
    server = serve("--http", "127.0.0.1:0")
    assert server.get_pr("m4", "all", "x") == "0"
    yield server
    assert server.process.poll() is None
    assert server.get_pr("m4", "all", "x") == "0"
    assert server.get_pr("m4", "all", "y") == "1"
    assert fetch(server, "/healthz").status == 200
    assert all(ord(c) >= 32 or c == "\n" for c in server.log)


def connection(server):
    return socket.create_connection(("127.0.0.1", http_port(server)), TIMEOUT_S)


def send(server, data, seconds=TIMEOUT_S):
    """Sends bytes, ends the input, and returns all that comes back."""
    received = b""
    with connection(server) as client, contextlib.suppress(OSError):
        client.settimeout(seconds)
        with contextlib.suppress(OSError):
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
        while part := client.recv(65536):
            received += part
    return received


def status(answer):
    found = re.match(rb"HTTP/1\.[01] (\d{3}) ", answer)
    return int(found[1]) if found else None


@pytest.mark.parametrize(
    "head, expected",
    [
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", {400}),
        (
            b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            {400},
        ),
        (
            b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n",
            {405},
        ),
        (b"GET /healthz HTTP/1.1\r\n\r\n", {400}),  # no Host
        (b"GET http://else.where/healthz HTTP/1.1\r\nHost: x\r\n\r\n", {200}),
        (b"GET https://else.where HTTP/1.1\r\nHost: x\r\n\r\n", {200}),
        (b"GET ftp://else.where/healthz HTTP/1.1\r\nHost: x\r\n\r\n", {400}),
        (b"GET healthz HTTP/1.1\r\nHost: x\r\n\r\n", {400}),
        (b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", {400}),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", {405}),
        (b"CONNECT else.where:443 HTTP/1.1\r\nHost: x\r\n\r\n", {405}),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", {413, 414, None}),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
            {413, 414, 431, None},
        ),
        (
            b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
            {413, 414, 431, None},
        ),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", {400, 505, None}),
        (b"get /healthz HTTP/1.1\r\nHost: x\r\n\r\n", {405, 400, None}),
        (b"\x00\x01\x02\x03\r\n\r\n", {400, 405, None}),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200, {400, None}),
        (b"PRSERVICE 1.0\n\n" + b'{"ping":{}}\n', {400, 405, 505, None}),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", {404}),
        (b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", {404}),
    ],
    ids=map(str, itertools.count()),
)
def test_a_request_that_is_not_right_gets_an_error(attacked, head, expected):
    answer = send(attacked, head)
    assert status(answer) in expected, answer[:300]
    assert b"root:" not in answer


def test_http_0_9_and_half_requests(attacked):
    attacks = (b"GET /healthz\r\n", b"GET /healthz", b"GET", b"\r\n\r\n", b"")
    with ThreadPoolExecutor(len(attacks)) as pool:  # the server waits for the rest
        answers = list(pool.map(lambda data: send(attacked, data), attacks))
    assert {status(answer) for answer in answers} <= {None, 200, 400}


def test_a_path_with_every_byte(attacked):
    for number in range(256):
        byte = bytes([number])
        if byte in b"\r\n":
            continue
        answer = send(attacked, b"GET /a" + byte + b"b HTTP/1.1\r\nHost: x\r\n\r\n")
        # libmicrohttpd 1.0 corrects some of them with a redirection.
        assert status(answer) in {None, 301, 400, 404, 505}, (number, answer[:200])
    for number in range(256):
        answer = send(attacked, b"GET /a%%%02xb HTTP/1.1\r\nHost: x\r\n\r\n" % number)
        assert status(answer) == (404 if number < 128 else 400), (number, answer)
        body = answer.partition(b"\r\n\r\n")[2]
        assert "error" in json.loads(body)


def test_pipelined_requests_are_answered_in_order(attacked):
    paths = (b"/healthz", b"/api/v1/packages", b"/nothing-1", b"/healthz")
    one = b"".join(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in paths[:2])
    answer = send(attacked, one * 20)
    found = re.findall(rb"healthy\n|\"packages\"", answer)
    assert found == [b"healthy\n", b'"packages"'] * 20
    answer = send(attacked, b"GET /no HTTP/1.1\r\nHost: x\r\n\r\n" * 10)
    assert status(answer) == 404  # and the connection is closed


def test_a_response_can_not_be_split(attacked):
    target = b"/api/v1/packages?search=%0d%0aSet-Cookie:%20a=b"
    answer = send(attacked, b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status(answer) == 200 and b"Set-Cookie" not in answer


def test_a_slow_client_loses_its_connection(serve):
    """A byte now and then, for longer than the library's own limit of time without a byte."""
    server = serve("--http", "127.0.0.1:0")
    with connection(server) as slow:
        slow.settimeout(TIMEOUT_S)
        begun = time.monotonic()
        slow.sendall(b"GET /healthz HTTP/1.1\r\nX: ")

        def is_closed():
            try:
                slow.sendall(b"a")
                slow.setblocking(False)
                return slow.recv(100) == b""
            except BlockingIOError:
                return False
            except OSError:
                return True
            finally:
                slow.setblocking(True)

        while not is_closed():
            assert time.monotonic() < begun + 2 * TIMEOUT_S
            threading.Event().wait(0.5)  # the pace of the attack
        assert fetch(server, "/healthz").status == 200


def test_clients_that_never_read_are_not_waited_for(attacked):
    clients = []
    for _ in range(20):
        client = connection(attacked)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
        clients.append(client)
    assert fetch(attacked, "/healthz").status == 200
    assert attacked.get_pr("m4", "all", "x") == "0"
    for client in clients:
        client.close()


def test_many_connections_disturb_no_pr_client(attacked):
    """The server keeps its limit; the rest waits in the kernel, or is closed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    n_wanted = min(3000, hard - 500)
    clients = []
    try:
        address = "127.0.0.1", http_port(attacked)
        for _ in range(n_wanted):
            client = socket.socket()
            clients.append(client)
            client.setblocking(False)
            with contextlib.suppress(OSError):  # not yet connected, or closed at once
                client.connect(address)
        with attacked.client() as asker:
            for _ in range(20):
                assert asker.get_pr("m4", "all", "x") == "0"
    finally:
        for client in clients:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    poll(lambda: is_healthy(attacked), "the server to be rid of them", 3 * TIMEOUT_S)


def is_healthy(server):
    """Asks a server that may still close connections because there are too many."""
    try:
        return fetch(server, "/healthz").status == 200
    except (OSError, http.client.HTTPException):
        return False


def test_clients_that_come_and_go_leave_nothing_behind(attacked):
    def descriptors():
        return len(list(open_descriptors(attacked)))

    before = descriptors()
    for number in range(300):
        with connection(attacked) as client, contextlib.suppress(OSError):
            client.sendall(b"GET /api/v1/packages HTTP/1.1\r\nHost: x\r\n\r\n"[number:])
            if number % 3 == 0:
                client.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
                )
    poll(lambda: descriptors() <= before + 2, "the descriptors", 3 * TIMEOUT_S)


def open_descriptors(server):
    from harness import open_files

    return open_files(server.process)


@pytest.mark.skipif(bool(SANITIZER), reason="a sanitizer needs more memory")
def test_memory_is_bounded(attacked):
    def resident():
        text = open(f"/proc/{attacked.process.pid}/status").read()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1])

    before = resident()
    clients = [connection(attacked) for _ in range(100)]
    for client in clients:
        client.sendall(b"GET / HTTP/1.1\r\nX: " + b"a" * 15_000)
    assert fetch(attacked, "/healthz").status == 200
    assert resident() - before < 16 * 1024
    for client in clients:
        client.close()


def test_the_database_is_not_changed(serve, path):
    server = serve("--file", path)
    server.get_pr("m4", "all", "x")
    server.stop()
    server = serve("--read-only", "--file", path, "--http", "127.0.0.1:0", folder="r")
    before = path.read_bytes()
    for target in ("packages", "package?version=m4&pkgarch=all", "status", "log"):
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"):
            fetch(server, f"/api/v1/{target}", method=method)
    assert path.read_bytes() == before
