# SPDX-License-Identifier: MIT
"""Attacks in turn through read-only listeners, with TLS and without, beside thousands of
connections, in rounds, for as long as TORTURE_SECONDS says. Others are answered in time meanwhile,
and nothing is left behind.

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
GROWTH = 32 * MIB  # from the first round to the last
RELEASE_S = 10  # until the server gives unused memory back
ATTACK_S = 5.0  # in each round
MIN_ROUNDS = 2  # the first one leaves behind what the server keeps


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


def open_sockets(server):
    return sum(name.startswith("socket:") for name in open_files(server.process))


def wait_until_gone(server, sockets, name):
    """Waits for the end of the attacker's connections."""
    poll(lambda: open_sockets(server) <= sockets, f"the end of {name}")


@pytest.mark.torture
@needs_tls
def test_attacks_delay_nobody_and_leave_nothing_behind(
    serve, tmp_path, authority, server_files
):
    names = os.environ.get("SOAK_ATTACKS", "").split() or attack_names()
    n_rounds = max(MIN_ROUNDS, round(SECONDS / (len(names) * ATTACK_S)))
    each_s = min(ATTACK_S, SECONDS / (len(names) * n_rounds))
    path = tmp_path / "rows.db"
    make_database(path)
    listeners = ("--bind", "127.0.0.2:0,ro", "--bind", "127.0.0.2:0,ro,tls")
    server = serve("--file", path, *listeners, *tls_words(server_files))
    full, read_only, with_tls = (
        (host, int(port)) for host, port in (a.split(":") for a in server.addresses)
    )
    figures = {name: ([], [], []) for name in names}
    memory = []
    with crowd(read_only) as clients:
        ask_all(clients)
        bystander = Bystander(full, read_only, with_tls, authority.ca)
        show("nothing, before", bystander.ask(ATTACK_S), server)
        sockets = open_sockets(server)
        files = []
        for _ in range(n_rounds):
            for name in names:
                with attacking(name, read_only, with_tls):
                    times = bystander.ask(each_s)
                for all_times, more in zip(figures[name], times):
                    all_times += more
                show(name, times, server)
                wait_until_gone(server, sockets, name)
                ask_all(clients)
            time.sleep(2 * RELEASE_S)
            memory.append(resident(server))
            files.append(len(open_files(server.process)))
            print(f"after a round: {memory[-1] / MIB:.1f} MiB", flush=True)
        poll(lambda: resident(server) < memory[0] + GROWTH, "memory to be freed")
        quiet = bystander.ask(ATTACK_S)
        show("nothing, after", quiet, server)
    assert max(files[1:]) <= files[0] + 3  # a connection to the database more
    for name, times in figures.items():
        show(f"all rounds, {name}", times)
    assert not is_slow(quiet)
    assert not [name for name, times in figures.items() if is_slow(times)]


def show(name, times, server=None):
    figures = zip(("known", "new", "TLS"), times)
    print(
        f"{name:38}",
        *(
            f"{what} {p99(each) * 1000:6.1f} ms of {len(each)} "
            for what, each in figures
        ),
        f"{resident(server) // MIB} MiB, {len(open_files(server.process))} files"
        if server
        else "",
        flush=True,
    )
