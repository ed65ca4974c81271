"""Short runs of tests/torture/histories.c: histories of real servers keep the promises
(doc/testing.md, Histories)."""

import os
import re
import select
import subprocess
import time

import pytest

from harness import BUILD, PATIENCE, clean_environment

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


@pytest.mark.slow
def test_they_keep_them_beside_another_writer():
    histories("--operations", "20000", "--sql-writer")


@pytest.mark.slow
def test_a_chain_keeps_them_while_its_links_fail():
    histories("--operations", "6000", "--round", "2000", "--chain", "2")


@pytest.mark.slow
def test_a_chain_keeps_them_to_the_letter_while_nothing_fails():
    histories("--operations", "20000", "--chain", "2", "--steady-links", "--kills", "0")


# ---- PostgreSQL, which is killed, too ----


class Striker:
    """Kills the database and starts it again when it is told to by a command for the shell, which
    waits until that is done. (A database of the command's own would end with it.)"""

    def __init__(self, folder, cluster):
        self.cluster = cluster
        self.strikes = 0
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
            self.strikes += 1
            os.write(self.done, b"\n")

    def close(self):
        os.close(self.wanted)
        os.close(self.done)


def over_postgres(cluster, folder, seconds):
    """Four servers on one PostgreSQL, 64 clients; gives how often the database was killed."""
    uri = cluster.create("rows")
    striker = Striker(folder, cluster)
    options = [
        *("--file", uri, "--clients", "16", "--seconds", str(seconds)),
        *("--seed", str(int(time.time())), "--on-strike", striker.command),
    ]
    with open(folder / "output", "w+") as output, subprocess.Popen(
        [*PROGRAM, *options], env=clean_environment(), stdout=output, stderr=output
    ) as run:
        try:
            deadline = time.monotonic() + seconds + 3 * PATIENCE
            while run.poll() is None:
                assert time.monotonic() < deadline, "it does not end"
                striker.turn()
        finally:
            run.kill()
            striker.close()
        output.seek(0)
        said = output.read()
    print(said)
    assert run.returncode == 0, said
    assert "; 0 broken promises" in said
    assert f" {striker.strikes} commands;" in said
    assert int(re.search(r"(\d+) kills", said)[1]) > 0
    return striker.strikes


@pytest.mark.slow
def test_four_servers_on_postgresql_keep_them_while_it_is_killed_as_well(
    cluster, tmp_path
):
    assert over_postgres(cluster, tmp_path, 10) > 0


@pytest.mark.torture
def test_they_keep_them_on_postgresql_for_long(cluster, tmp_path):
    over_postgres(cluster, tmp_path, int(os.environ.get("TORTURE_SECONDS", "60")))
