# SPDX-License-Identifier: MIT
"""The PostgreSQL clusters of the tests leave nothing behind."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import patroni_cluster
import postgres_cluster
import postgres_pooler
from harness import ROOT, poll
from patroni_cluster import require_patroni
from postgres_watch import processes_in

PAUSED = """
import time, postgres_cluster
cluster = postgres_cluster.Cluster().start()
cluster.pause()
print(cluster.folder, flush=True)
time.sleep(600)
"""

PATRONI = """
import signal, time
from harness import poll
from patroni_cluster import PatroniCluster
cluster = PatroniCluster(ttl=10, loop_wait=2, retry_timeout=3)
cluster.start_nodes()
poll(lambda: "leader" in cluster.members().values(), "a leader", 120)
cluster.leader().pause_agent()
print(cluster.folder, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(PAUSED, id="paused"),
        pytest.param(PATRONI, id="Patroni", marks=pytest.mark.slow),
    ],
)
def test_a_cluster_ends_when_its_tests_are_killed(program):
    (require_patroni if program == PATRONI else postgres_cluster.require)()
    tests = subprocess.Popen(
        [sys.executable, "-B", "-c", program],
        cwd=ROOT / "tests",
        stdout=subprocess.PIPE,
        text=True,
    )
    with tests:
        folder = Path(tests.stdout.readline().strip())
        assert len(processes_in(folder)) > 1
        tests.send_signal(signal.SIGKILL)
    poll(lambda: not processes_in(folder), "the end of PostgreSQL")
    poll(lambda: not folder.parent.exists(), "the folder to be removed")


@pytest.mark.parametrize("ci, outcome", [("true", "Failed"), ("", "Skipped")])
@pytest.mark.parametrize("missing", ["PostgreSQL", "Patroni", "PgBouncer", "pgpool"])
def test_without_a_program_tests_are_skipped_except_in_ci(
    monkeypatch, missing, ci, outcome
):
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(postgres_cluster, "BUILT", True)
    if missing == "PostgreSQL":
        monkeypatch.setattr(postgres_cluster, "PROGRAMS", None)
    elif postgres_cluster.PROGRAMS is None:
        pytest.skip("PostgreSQL is not installed")
    monkeypatch.setattr(patroni_cluster, "PATH", "/nowhere")
    monkeypatch.setattr(postgres_pooler, "PATH", "/nowhere")
    require = {
        "PostgreSQL": postgres_cluster.require,
        "Patroni": require_patroni,
        "PgBouncer": lambda: postgres_pooler.PgBouncer(None, None),
        "pgpool": lambda: postgres_pooler.PgPool(None, None),
    }
    with pytest.raises(
        BaseException, match=f"not installed.*{missing.lower()}"
    ) as raised:
        require[missing]()
    assert raised.typename == outcome
