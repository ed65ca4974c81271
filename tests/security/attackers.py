# SPDX-License-Identifier: MIT
"""Hostile clients, as a program that runs one attack until it is killed.

    attackers.py NAME ADDRESS PORT      --list prints the names

The port of NAME/tls has TLS. test_soak.py runs them against read-only listeners, and
test_tls_attacks.py those that are about TLS. doc/security.md has the figures. An attacker that loses
its connection makes a new one."""

import contextlib
import json
import os
import resource
import socket
import sys
import threading
import time

from tls_attackers import TLS_ATTACKS, Tls

HANDSHAKE = b"PRSERVICE 1.0\n\n"
KIB = 1024
ATTACKS = {}
TLS = "/tls"
PACKAGE = {"version": "large", "pkgarch": "all"}  # with very many rows
VALUE = {"version": "wide", "pkgarch": "all", "checksum": "wide"}  # a long revision


def attack(clients):
    """Registers a function that is called again and again by so many threads."""

    def register(function):
        ATTACKS[function.__name__.replace("_", "-")] = (function, clients)
        return function

    return register


def request(name, **arguments):
    return json.dumps({name: arguments}).encode() + b"\n"


class Attacker:
    opening = HANDSHAKE

    def __init__(self, address, is_tls):
        self.address = address
        self.is_tls = is_tls

    def plain_client(self):
        return socket.create_connection(self.address, 60)

    @contextlib.contextmanager
    def client(self, opening=HANDSHAKE):
        with self.plain_client() as client:
            if self.is_tls:
                client = Tls(client)
                client.negotiate()
            if opening:
                client.sendall(opening)
            yield client

    def flood(self, data, opening=HANDSHAKE):
        """Sends the data for ever, and reads whatever comes."""
        with self.client(opening) as client:
            while True:
                client.sendall(data)
                client.recv(64 * KIB)


def read_for_ever(client, pause_s=0.0, size=256 * KIB):
    while client.recv(size):
        time.sleep(pause_s)


# ---- messages ----

LOOK_UP = b'{"test-pr": {"version": "v", "pkgarch": "a", "checksum": "'
MESSAGES = {
    "escapes": (LOOK_UP, b"\\n", b'"}}'),
    "unicode": (LOOK_UP, "\u20ac".encode(), b'"}}'),
    "unknown-members": (b'{"ping": {', b'"\\n":1,', b'"x": 1}}'),
    "unknown-requests": (b"{", b'"\\n":1,', b'"ping": {}}'),
    "duplicates": (b"{", b'"ping":{},', b'"ping": {}}'),
    "lists": (b'{"ping": {"x": [', b"[[[]]],", b"0]}}"),
    "numbers": (b'{"ping": {"x": ', b"9", b"}}"),
}


def chunks(text, size):
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    return b"\n".join([b'{"chunk-stream": null}', *pieces, b"", b""])


def add_messages(kind, begin, part, end):
    text = begin + part * ((250 * KIB - len(begin) - len(end)) // len(part)) + end
    data = chunks(
        text, 32_766 // len(part) * len(part) if kind == "unicode" else 32_767
    )
    ATTACKS[f"messages-of-{kind}"] = (lambda attacker: attacker.flood(data), 16)


for name, parts in MESSAGES.items():
    add_messages(name, *parts)


@attack(16)
def chunk_lines_of_one_byte(attacker):
    attacker.flood(chunks(b'{"ping": {"x": "' + b"x" * 60_000 + b'"}}', 1))


@attack(16)
def many_requests_at_once(attacker):
    with attacker.client() as client:
        reader = threading.Thread(target=read_quietly, args=[client], daemon=True)
        reader.start()
        while True:
            client.sendall(b'{"ping": {}}\n' * 5000)


def read_quietly(client):
    with contextlib.suppress(OSError):
        read_for_ever(client)


@attack(16)
def lines_without_an_end(attacker):
    attacker.flood(b"x" * 1024 * KIB)


@attack(16)
def chunk_streams_without_an_end(attacker):
    with attacker.client() as client:
        client.sendall(b'{"chunk-stream": null}\n')
        while True:
            client.sendall(b"x" * 60_000 + b"\n")


@attack(16)
def large_handshakes(attacker):
    lines = b"".join(b"x-build-host: %s\n" % (b"h" * 8000) for _ in range(90))
    with attacker.client(
        b"PRSERVICE 1.0\n" + lines + b"\n" + b'{"ping": {}}\n'
    ) as client:
        client.recv(KIB)


# ---- answers ----


@attack(16)
def answers_that_nobody_reads(attacker):
    with attacker.client() as client:
        while True:
            client.sendall(request("test-pr", **VALUE) * 100)


@attack(16)
def get_pr_in_a_large_package(attacker):
    with attacker.client() as client:
        for number in range(1000):
            checksum = f"{os.getpid()}-{threading.get_native_id()}-{number}"
            client.sendall(request("get-pr", **PACKAGE, checksum=checksum))
            client.recv(KIB)


@attack(16)
def look_ups_in_a_large_package(attacker):
    with attacker.client() as client:
        for number in range(1000):
            revision = {"revision": str(number)}
            client.sendall(request("test-package", **PACKAGE, **revision) * 20)
            client.recv(KIB)
            client.sendall(request("max-package-pr", **PACKAGE) * 20)
            client.recv(KIB)


# ---- exports and reports ----


@attack(64)
def exports_that_nobody_reads(attacker):
    with attacker.client() as client:
        client.sendall(request("export", history=True))
        time.sleep(3600)


@attack(8)
def exports_again_and_again(attacker):
    with attacker.client() as client:
        client.sendall(request("export", history=True) * 1000)
        read_for_ever(client)


@attack(8)
def exports_without_history(attacker):
    with attacker.client() as client:
        client.sendall(request("export", history=False) * 1000)
        read_for_ever(client)


@attack(16)
def exports_that_are_read_slowly(attacker):
    with attacker.client() as client:
        client.sendall(request("export", history=True))
        read_for_ever(client, 0.5, 4 * KIB)


@attack(16)
def exports_that_find_nothing(attacker):
    with attacker.client() as client:
        client.sendall(request("export", history=True, checksum="none") * 1000)
        read_for_ever(client)


@attack(64)
def get_stats(attacker):
    with attacker.client() as client:
        client.sendall(request("get-stats") * 100)
        read_for_ever(client)


@attack(16)
def reports(attacker):
    with attacker.client() as client:
        client.sendall(
            (request("get-log", limit=1000) + request("get-why", **PACKAGE)) * 100
            + request("get-churn") * 10
        )
        read_for_ever(client)


# ---- connections ----


@attack(8)
def connections_that_are_reset(attacker):
    for number in range(1000):
        with attacker.plain_client() as client:
            linger = b"\1\0\0\0\0\0\0\0"
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            client.sendall((HANDSHAKE + b'{"ping": {}}\n')[: number % 28])


@attack(8)
def a_connection_for_each_request(attacker):
    for _ in range(1000):
        with attacker.client() as client:
            client.sendall(b'{"ping": {}}\n')
            client.recv(KIB)


@attack(1)
def bytes_now_and_then(attacker):
    data = HANDSHAKE + LOOK_UP
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(attacker.client(b"")) for _ in range(300)]
        for number in range(len(data) + 1000):
            for client in crowd:
                client.sendall(data[number : number + 1] or b"x")
            time.sleep(0.01)


@attack(1)
def a_thousand_connections(attacker):
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(attacker.client()) for _ in range(1000)]
        for _ in range(100):
            for client in crowd:
                client.sendall(b'{"ping": {}}\n')
            for client in crowd:
                client.recv(KIB)


for name in list(ATTACKS):
    if name != "connections-that-are-reset":  # it sends plain bytes
        ATTACKS[name + TLS] = ATTACKS[name]
for function, clients in TLS_ATTACKS.items():
    ATTACKS[function.__name__.replace("_", "-") + TLS] = (function, clients)


def run(name, address):
    function, count = ATTACKS[name]
    attacker = Attacker(address, name.endswith(TLS))

    def repeat():
        while True:
            with contextlib.suppress(OSError):
                function(attacker)
            time.sleep(0.01)

    os.nice(19)  # they stand for other machines
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for _ in range(count):
        threading.Thread(target=repeat, daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    if sys.argv[1:] == ["--list"]:
        print("\n".join(ATTACKS))
    else:
        run(sys.argv[1], (sys.argv[2], int(sys.argv[3])))
