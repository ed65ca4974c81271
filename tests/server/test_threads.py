# SPDX-License-Identifier: MIT
"""The system allows no more threads: a server does not start, or goes on with those it has."""

import os
import resource
import subprocess

import pytest

from harness import (
    BUILD,
    PRSERVD,
    TIMEOUT_S,
    clean_environment,
    needs_preload,
    poll,
)
from rows import M4

NO_THREADS = BUILD / "tests" / "preload" / "libno_threads.so"
USER = 64123  # of nobody else's processes
ENOUGH = 12

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes users")


def without_threads(tmp_path):
    """Returns an environment, and the file that forbids threads as long as it exists."""
    assert NO_THREADS.exists()
    forbid = tmp_path / "forbid"
    return {"LD_PRELOAD": str(NO_THREADS), "NO_THREADS": str(forbid)}, forbid


@needs_preload
def test_a_server_asks_its_upstream_when_no_thread_can_be_started(
    serve, upstream, tmp_path
):
    """libuv starts threads for the first name to resolve, and aborts if it can't."""
    upstream.umax = "2"
    environment, forbid = without_threads(tmp_path)
    server = serve("--upstream", upstream.address, environment=environment)
    forbid.touch()
    with server.client() as client:
        assert client.get_pr(*M4, "content") == "2.0"
        assert len(client.export(history=True)["datainfo"]) == 1
        assert client.ask({"get-stats": {}})["database"]["rows"] == 1
    server.stop()


@needs_preload
def test_a_server_without_threads_does_not_start(tmp_path):
    environment, forbid = without_threads(tmp_path)
    forbid.touch()
    result = subprocess.run(
        [PRSERVD, "--bind", f"unix://{tmp_path}/socket"],
        cwd=tmp_path,
        env=clean_environment(**environment),
        stderr=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert result.returncode == 1
    assert "can't start a thread for signals: " in result.stderr
    assert "raise the limit of threads (ulimit -u, TasksMax=)" in result.stderr


@needs_root
@needs_preload
def test_a_start_with_few_threads_fails_with_a_message_or_serves(tmp_path):
    """Each number of threads, from none to more than enough."""
    outcomes = []
    os.chown(tmp_path, USER, USER)
    for parent in tmp_path.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o011)
    for threads in range(1, ENOUGH + 1):
        log = tmp_path / "own.log"
        log.unlink(missing_ok=True)
        words = [PRSERVD, "--bind", f"unix://{tmp_path}/socket", "--log", log]
        process = subprocess.Popen(
            [str(word) for word in words + ["--upstream", "127.0.0.1:1"]],
            cwd=tmp_path,
            env=clean_environment(),
            user=USER,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: resource.setrlimit(
                resource.RLIMIT_NPROC, (threads, threads)
            ),
        )
        try:
            poll(
                lambda: process.poll() is not None
                or (log.exists() and "Listening" in log.read_text()),
                "the server",
            )
            outcomes.append(process.poll())
            if process.poll() is not None:
                assert "can't start a thread for " in process.stderr.read()
        finally:
            process.kill()
            process.communicate()
    assert outcomes[0] == 1 and outcomes[-1] is None
    assert set(outcomes) == {1, None}
