"""Of the tests' own PostgreSQL nothing stays behind."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import postgres
from harness import poll
from postgres_watch import processes_in

PROGRAM = """
import time, postgres
cluster = postgres.Cluster().start()
cluster.pause()
print(cluster.folder, flush=True)
time.sleep(600)
"""


def test_a_paused_cluster_ends_with_tests_that_are_killed():
    postgres.require()
    tests = subprocess.Popen(
        [sys.executable, "-B", "-c", PROGRAM],
        cwd=Path(__file__).parent,
        stdout=subprocess.PIPE,
        text=True,
    )
    with tests:
        folder = Path(tests.stdout.readline().strip())
        assert len(processes_in(folder)) > 1
        tests.send_signal(signal.SIGKILL)
    poll(lambda: not processes_in(folder), "the end of PostgreSQL")
    poll(lambda: not folder.parent.exists(), "the folder to go")


@pytest.mark.parametrize("ci, outcome", [("true", "Failed"), ("", "Skipped")])
def test_without_postgresql_tests_are_skipped_but_not_in_ci(monkeypatch, ci, outcome):
    monkeypatch.setattr(postgres, "BUILT", True)
    monkeypatch.setattr(postgres, "PROGRAMS", None)
    monkeypatch.setenv("CI", ci)
    with pytest.raises(BaseException, match="is not installed") as raised:
        postgres.require()
    assert raised.typename == outcome
