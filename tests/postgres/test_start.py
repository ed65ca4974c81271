# SPDX-License-Identifier: MIT
"""A start while the database is away waits, and says so."""

import subprocess

import pytest

from harness import PRSERVD, clean_environment, free_port, run_prservd


@pytest.mark.slow
def test_a_start_says_that_it_waits_for_the_database(cluster, tmp_path):
    """On the terminal and in the log, at once, and only once; then it serves."""
    port = free_port()
    options = ("--port", str(port), "--file", cluster.uri(), "--log", "log")
    cluster.stop()
    command = [PRSERVD, "--start", *options]
    with subprocess.Popen(
        [str(word) for word in command],
        cwd=tmp_path,
        env=clean_environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as start:
        line = start.stderr.readline()
        assert line.startswith("prservd: Waiting up to 30 s for the database: ")
        assert "refused" in line and start.poll() is None
        cluster.start()
        assert start.stderr.read() == ""
        assert start.wait() == 0
    log = (tmp_path / "log").read_text()
    assert log.count("WARNING prservd") >= 1 and log.count("Waiting up to 30 s") == 1
    stopped = run_prservd("--stop", "--port", str(port), cwd=tmp_path)
    assert stopped.returncode == 0, stopped.stderr


def test_a_start_that_fails_says_why_once(tmp_path, shared_cluster):
    uri = shared_cluster.uri("nothing_here")
    failed = run_prservd(
        *("--start", "--port", str(free_port()), "--file", uri, "--log", "log"),
        cwd=tmp_path,
    )
    assert failed.returncode == 1
    assert failed.stderr.count("does not exist") <= 2
    assert failed.stderr.splitlines()[-1].startswith("prservd: can't connect")
