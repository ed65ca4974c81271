# SPDX-License-Identifier: MIT
"""Servers are killed (kill -9) at any moment and started again: no answered row is lost, and no
value is given twice."""

import contextlib
import os
import random
import sqlite3
import threading
import time

import pytest
from harness import TIMEOUT_S, Refused, poll
from load import Threads

ARCH = "all"
PACKAGES = 4


class Builds(Threads):
    """Clients that ask several servers without a pause, and reconnect when one is killed."""

    def __init__(self, servers, builds=4):
        self.ports = [server.port for server in servers]
        self.servers = servers
        self.given = set()  # (version, checksum, value)
        self.lock = threading.Lock()
        self.wrong = []
        self.n_broken = 0
        self.n_exports = 0
        works = [(self.build, n) for n in range(builds)] + [(self.export, 0)]
        super().__init__(
            [threading.Thread(target=self.go_on, args=work) for work in works]
        )

    def go_on(self, work, number):
        dice = random.Random(f"{number}-{time.monotonic_ns()}")
        while not self.over.is_set():
            try:
                with dice.choice(self.servers).client() as client:
                    while not self.over.is_set():
                        work(client, dice)
            except (OSError, EOFError, ValueError, IndexError):
                self.n_broken += 1  # killed, or not started yet
                self.over.wait(0.005)
            except Refused as refusal:
                self.wrong.append(str(refusal))
                return

    def build(self, client, dice):
        version = f"package-{dice.randrange(PACKAGES)}"
        checksum = f"{version}-{dice.getrandbits(64)}"
        known = dice.random() < 0.2 and self.given
        if known:
            version, checksum, _ = dice.choice(self.some())
        value = client.get_pr(version, ARCH, checksum, history=dice.random() < 0.3)
        with self.lock:
            self.given.add((version, checksum, value))

    def some(self):
        with self.lock:
            return [row for row, _ in zip(self.given, range(50))]

    def export(self, client, _):
        client.export(
            version=None, pkgarch=None, checksum=None, history=True, colinfo=False
        )
        self.n_exports += 1

    def wait_for_more(self, n):
        so_far = len(self.given)
        poll(lambda: self.wrong or len(self.given) > so_far + n, "more answers")


def check(builds, path):
    with builds.lock:
        given = set(builds.given)
    with contextlib.closing(sqlite3.connect(path, timeout=TIMEOUT_S)) as database:
        rows = set(database.execute("SELECT version, checksum, value FROM PRMAIN"))
        whole = database.execute("PRAGMA quick_check").fetchone()
    assert builds.wrong == []
    assert whole == ("ok",)
    assert given <= rows, f"lost: {given - rows}"
    owners = {}
    for version, checksum, value in rows:
        assert owners.setdefault((version, value), checksum) == checksum


def kill_in_rounds(serve, path, go_on):
    options = ("--file", path, "--loglevel", "INFO")
    seed = os.environ.get("TORTURE_SEED", time.time_ns())
    dice = random.Random(str(seed))
    servers = [serve(*options, folder=f"server-{n}") for n in range(2)]
    rounds = 0
    with Builds(servers) as builds:
        while go_on(rounds):
            builds.wait_for_more(dice.randrange(60))
            victims = dice.choice(([0], [1], [0, 1]))
            for victim in victims:
                servers[victim].kill()
            if len(victims) == 1 and dice.random() < 0.5:
                builds.wait_for_more(5)  # the other one continues alone
            for victim in victims:
                servers[victim].restart()
            check(builds, path)
            rounds += 1
        builds.wait_for_more(0)
    check(builds, path)
    for server in servers:
        number = server.get_pr("package-0", ARCH, f"the next of {server.port}")
        assert all(
            int(number) > int(value)
            for version, _, value in builds.given
            if version == "package-0"
        )
    assert builds.n_exports > 0
    print(
        f"seed {seed}: {rounds} kills, {len(builds.given)} answers, {builds.n_exports} exports, "
        f"{builds.n_broken} connections broken; nothing lost, nothing given twice"
    )


def test_kill_9_loses_no_answered_row(serve, path):
    kill_in_rounds(serve, path, lambda rounds: rounds < 10)


@pytest.mark.torture
def test_kill_9_loses_no_answered_row_for_long(serve, path):
    over = time.monotonic() + int(os.environ.get("TORTURE_SECONDS", 60))
    kill_in_rounds(serve, path, lambda _: time.monotonic() < over)
