# SPDX-License-Identifier: MIT
"""Attacks in turn through read-only listeners, with TLS and without, beside thousands of
connections, for as long as TORTURE_SECONDS says. Others are answered in time meanwhile, and nothing
is left behind.

Prints the figures that doc/security.md has."""

import contextlib
import itertools
import os
import re
import socket
import sqlite3
import statistics
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest

from attackers import HANDSHAKE, PACKAGE, TLS, VALUE
from certificates import needs_tls, tls_words
from harness import Client, open_files, poll
from rows import make_large_database

SECONDS = int(os.environ.get("TORTURE_SECONDS", 60))
CROWD = int(os.environ.get("SOAK_CONNECTIONS", 5000))
PROGRAM = Path(__file__).with_name("attackers.py")
BOUND_S = 0.05
NEGOTIATION_BOUND_S = 0.1
MIB = 1 << 20
RELEASE_S = 10  # until the server gives unused memory back
MIN_S = 1.0


def attack_names():
    command = [sys.executable, "-B", PROGRAM, "--list"]
    return subprocess.run(
        command, capture_output=True, text=True, check=True
    ).stdout.split()


def resident(server):
    with open(f"/proc/{server.process.pid}/status") as status:
        return int(re.search(r"^VmRSS:\s+(\d+) kB", status.read(), re.M)[1]) * 1024


def client_of_another_address(address):
    """A client at 127.0.0.3: the attackers are at 127.0.0.1."""
    client = Client.__new__(Client)
    client.socket = socket.create_connection(address, 60, ("127.0.0.3", 0))
    client.file = client.socket.makefile("rb")
    client.send(HANDSHAKE)
    return client


class Bystander:
    """Clients of all listeners that ask one request after the other."""

    def __init__(self, full, read_only, with_tls, ca):
        self.full = client_of_another_address(full)
        self.read_only = client_of_another_address(read_only)
        self.with_tls = with_tls
        self.context = ssl.create_default_context(cafile=str(ca))
        self.number = itertools.count()

    def negotiate(self):
        """Connects with TLS, asks once, and leaves."""
        plain = socket.create_connection(self.with_tls, 60, ("127.0.0.3", 0))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.context.wrap_socket(plain, server_hostname="localhost") as client:
            client.sendall(HANDSHAKE + b'{"ping": {}}\n')
            assert b"alive" in client.recv(100)

    def ask(self, seconds):
        """Returns the times of look-ups and known content, those of new content, and those of
        connections with TLS."""
        known, new, negotiations = [], [], []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            number = next(self.number)
            package = (f"p{number % 1000}-1.0-r0", "core2-64")
            checksum = f"{number % 1000 * 8:064x}"
            with timed(known):
                assert self.read_only.test_pr(*package, checksum) == "0"
            with timed(known):
                assert self.full.get_pr(*package, f"{number % 1000 * 8 + 7:064x}")
            if number % 4 == 0:
                with timed(new):
                    self.full.get_pr(f"new-{number % 1000}", "all", f"{number}")
                with timed(negotiations):
                    self.negotiate()
            time.sleep(0.002)
        return known, new, negotiations


@contextlib.contextmanager
def timed(times):
    start = time.monotonic()
    yield
    times.append(time.monotonic() - start)


def p99(times):
    return statistics.quantiles(times, n=100)[98] if len(times) > 1 else max(times)


def is_slow(times):
    known, new, negotiations = map(p99, times)
    return max(known, new) > BOUND_S or negotiations > NEGOTIATION_BOUND_S


@contextlib.contextmanager
def crowd(address):
    """Connections that ask now and then, and are not closed."""
    clients = []
    try:
        for _ in range(CROWD):
            clients.append(client_of_another_address(address))
        yield clients
    finally:
        for client in clients:
            client.close()


def ask_all(clients):
    for client in clients:
        client.send(b'{"ping": {}}\n')
    for client in clients:
        assert client.receive() == {"alive": True}


def make_database(path):
    make_large_database(path, 160_000)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.executemany(
            "INSERT INTO PRMAIN VALUES (?, ?, ?, ?)",
            ((*PACKAGE.values(), f"large-{i}", str(i)) for i in range(200_000)),
        )
        database.execute(
            "INSERT INTO PRMAIN VALUES (?, ?, ?, ?)", (*VALUE.values(), "9" * 100_000)
        )


@contextlib.contextmanager
def attacking(name, read_only, with_tls):
    address = with_tls if name.endswith(TLS) else read_only
    command = [sys.executable, "-B", PROGRAM, name, *map(str, address)]
    attacker = subprocess.Popen(command)
    try:
        yield
    finally:
        attacker.kill()
        attacker.wait()


def wait_until_gone(server, files, name):
    """Waits for the end of the attacker's connections. A few files of the database stay open."""
    poll(lambda: len(open_files(server.process)) <= files + 8, f"the end of {name}")


@pytest.mark.torture
@needs_tls
def test_attacks_delay_nobody_and_leave_nothing_behind(
    serve, tmp_path, authority, server_files
):
    names = os.environ.get("SOAK_ATTACKS", "").split() or attack_names()
    each_s = max(MIN_S, SECONDS / (len(names) + 2))
    path = tmp_path / "rows.db"
    make_database(path)
    listeners = ("--bind", "127.0.0.2:0,ro", "--bind", "127.0.0.2:0,ro,tls")
    server = serve("--file", path, *listeners, *tls_words(server_files))
    full, read_only, with_tls = (
        (host, int(port)) for host, port in (a.split(":") for a in server.addresses)
    )
    slow = []
    with crowd(read_only) as clients:
        ask_all(clients)
        bystander = Bystander(full, read_only, with_tls, authority.ca)
        files = len(open_files(server.process))
        for name in names:  # once, briefly: what stays in memory is there afterwards
            with attacking(name, read_only, with_tls):
                bystander.ask(MIN_S)
            wait_until_gone(server, files, name)
        time.sleep(2 * RELEASE_S)
        memory = resident(server)
        show("nothing", bystander.ask(each_s), server)
        for name in names:
            with attacking(name, read_only, with_tls):
                times = bystander.ask(each_s)
            show(name, times, server)
            if is_slow(times):
                slow.append(name)
            wait_until_gone(server, files, name)
            ask_all(clients)
        poll(lambda: resident(server) < memory + 32 * MIB, "memory to be freed")
        quiet = bystander.ask(each_s)
        show("nothing", quiet, server)
        assert not is_slow(quiet)
    assert not slow


def show(name, times, server):
    figures = zip(("known", "new", "TLS"), times)
    print(
        f"{name:38}",
        *(
            f"{what} {p99(each) * 1000:6.1f} ms of {len(each)} "
            for what, each in figures
        ),
        f"{resident(server) // MIB} MiB, " f"{len(open_files(server.process))} files",
        flush=True,
    )
