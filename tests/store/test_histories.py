# SPDX-License-Identifier: MIT
"""Short runs of tests/torture/histories.c, which checks histories of real servers against the
promises (doc/testing.md, Histories)."""

import os
import re
import select
import subprocess
import time

import pytest

from harness import BUILD, TIMEOUT_S, clean_environment

PROGRAM = [
    BUILD / "tests" / "torture" / "torture_histories",
    *("--prservd", BUILD / "prservd"),
]


def histories(*options):
    run = subprocess.run(
        [*PROGRAM, *options],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "; 0 broken promises" in run.stdout


def test_four_servers_on_one_file_keep_the_promises_while_they_are_killed():
    histories("--operations", "40000")


def test_servers_give_no_number_twice_after_rollbacks():
    histories("--seconds", "8", "--rollbacks")


@pytest.mark.slow
@pytest.mark.parametrize("writers", ["1", "3"])
def test_servers_keep_the_promises_while_files_are_removed(writers):
    histories("--seconds", "12", "--remove-files", "700", "--writers", writers)


@pytest.mark.slow
def test_servers_beside_another_writer_keep_the_promises():
    histories("--operations", "20000", "--sql-writer")


@pytest.mark.slow
def test_a_chain_keeps_the_promises_while_its_connections_fail():
    histories("--operations", "6000", "--round", "2000", "--chain", "2")


@pytest.mark.slow
def test_a_chain_keeps_the_promises_strictly_while_nothing_fails():
    histories(
        "--operations", "20000", "--chain", "2", "--steady-network", "--kills", "0"
    )


# ---- PostgreSQL, which is killed as well ----


class DatabaseKiller:
    """Kills the database and starts it again whenever the shell command `command` runs, which
    waits until that is done. (A database started by the command would end with it.)"""

    def __init__(self, folder, cluster):
        self.cluster = cluster
        self.kills = 0
        for name in "wanted", "done":
            os.mkfifo(folder / name)
        self.wanted = os.open(folder / "wanted", os.O_RDWR)
        self.done = os.open(folder / "done", os.O_RDWR)
        self.command = f"echo >'{folder}/wanted' && read _ <'{folder}/done'"

    def turn(self):
        ready, _, _ = select.select([self.wanted], [], [], 0.1)
        if ready:
            os.read(self.wanted, 1)
            self.cluster.kill()
            self.cluster.start()
            self.kills += 1
            os.write(self.done, b"\n")

    def close(self):
        os.close(self.wanted)
        os.close(self.done)


def run_on_postgresql(cluster, folder, seconds):
    """Runs four servers on PostgreSQL with 64 clients; returns how often it was killed."""
    uri = cluster.create("rows")
    killer = DatabaseKiller(folder, cluster)
    options = [
        *("--file", uri, "--clients", "16", "--seconds", str(seconds)),
        *("--seed", str(int(time.time())), "--on-kill", killer.command),
    ]
    with open(folder / "output", "w+") as output, subprocess.Popen(
        [*PROGRAM, *options], env=clean_environment(), stdout=output, stderr=output
    ) as run:
        try:
            deadline = time.monotonic() + seconds + 3 * TIMEOUT_S
            while run.poll() is None:
                assert time.monotonic() < deadline, "it does not end"
                killer.turn()
        finally:
            run.kill()
            killer.close()
        output.seek(0)
        text = output.read()
    print(text)
    assert run.returncode == 0, text
    assert "; 0 broken promises" in text
    assert f" {killer.kills} commands," in text
    assert int(re.search(r"(\d+) kills", text)[1]) > 0
    return killer.kills


@pytest.mark.slow
def test_four_servers_on_postgresql_keep_the_promises_while_it_is_killed(
    cluster, tmp_path
):
    assert run_on_postgresql(cluster, tmp_path, 10) > 0


@pytest.mark.torture
def test_servers_on_postgresql_keep_the_promises_for_long(cluster, tmp_path):
    run_on_postgresql(cluster, tmp_path, int(os.environ.get("TORTURE_SECONDS", "60")))
