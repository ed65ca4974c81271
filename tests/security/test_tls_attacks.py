# SPDX-License-Identifier: MIT
"""Hostile clients of a port with TLS (tls_attackers.py): other clients are served meanwhile, and
nothing is left behind. test_soak.py measures how long they wait."""

import contextlib
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from certificates import client_context, needs_tls, tls_words
from harness import HANDSHAKE, SANITIZER, open_files, poll
from tls_attackers import TLS_ATTACKS

pytestmark = needs_tls

PROGRAM = Path(__file__).with_name("attackers.py")
NAMES = [function.__name__.replace("_", "-") for function in TLS_ATTACKS]
PING = b'{"ping": {}}\n'
N_ASKED = 20
LOAD = max(1, os.getloadavg()[0] / os.cpu_count())
BOUND_S = 0.1 * LOAD * (10 if SANITIZER else 1)

# What the log says of the attackers.
REASONS = {
    "key-updates": "it changes its key again and again",
    "plain-bytes": "it does not speak TLS",
    "forged-tickets": "No TLS with the client 127.0.0.1:",
    "bytes-instead-of-records": "decrypt",
}


@contextlib.contextmanager
def attacking(name, address):
    command = [sys.executable, "-B", PROGRAM, f"{name}/tls", *map(str, address)]
    with subprocess.Popen(command) as attacker:
        try:
            yield
        finally:
            attacker.kill()


def ask(address, context):
    """Connects with TLS from another address than the attackers', and asks."""
    plain = socket.create_connection(address, 30, ("127.0.0.3", 0))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with context.wrap_socket(plain, server_hostname="localhost") as client:
        client.sendall(HANDSHAKE + PING)
        return client.recv(100)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_others_are_served_during_an_attack_with_tls(
    serve, authority, server_files, name
):
    words = ("--bind", "127.0.0.2:0,ro,tls", *tls_words(server_files))
    server = serve(*words, "--loglevel", "DEBUG", bind=False)
    host, port = server.addresses[0].split(":")
    address = (host, int(port))
    context = client_context(authority.ca)
    assert b"alive" in ask(address, context)
    files = len(open_files(server.process))
    before = len(server.log)
    times = []

    def has_begun():
        return len(server.log) > before or len(open_files(server.process)) > files

    with attacking(name, address):
        poll(has_begun, "the attackers")
        while len(times) < N_ASKED:
            start = time.monotonic()
            assert b"alive" in ask(address, context)
            times.append(time.monotonic() - start)
        if name in REASONS:
            poll(lambda: REASONS[name] in server.log, "the reason in the log")
    assert statistics.median(times) < BOUND_S, times
    poll(lambda: len(open_files(server.process)) <= files, "closed connections")
    assert b"alive" in ask(address, context)
