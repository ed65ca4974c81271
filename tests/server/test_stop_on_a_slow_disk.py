# SPDX-License-Identifier: MIT
"""SIGTERM while the disk does not respond: the server ends within 5 s all the same."""

import re
import signal

import pytest

from harness import BUILD, Client, free_port, needs_preload, poll, run_prservd

PRELOAD = BUILD / "tests" / "preload"
M4 = ("m4-1", "all")
LIMIT = 5  # seconds from the signal to the end
SLACK = 5  # for a machine that is busy with other work


@pytest.fixture
def hold(tmp_path):
    """Returns the name of a file: as long as it exists, syncs don't end."""
    path = tmp_path / "hold"
    yield path
    path.unlink(missing_ok=True)


def holding(hold):
    library = PRELOAD / "libhold_sync.so"
    assert library.exists()
    return {"LD_PRELOAD": str(library), "HOLD_SYNC": str(hold)}


def wait_for_sync(hold):
    poll(hold.with_name("hold.waiting").exists, "the sync")


def get_pr(client, checksum):
    version, pkgarch = M4
    arguments = {"version": version, "pkgarch": pkgarch, "checksum": checksum}
    client.post({"get-pr": {**arguments, "history": False}})


@needs_preload
def test_a_sync_that_does_not_end_does_not_delay_the_end(serve, hold):
    server = serve(environment=holding(hold))
    assert server.get_pr(*M4, "before") == "0"
    hold.touch()
    with server.client() as client, server.client() as idle:
        get_pr(client, "content")
        wait_for_sync(hold)
        server.process.send_signal(signal.SIGTERM)
        assert idle.is_closed() and client.is_closed()
        assert server.process.wait(LIMIT + SLACK) == 0, server.log
    file = (server.folder / "prserv.sqlite3-wal").resolve()
    assert re.search(
        rf"WARNING .*: Ending without the sync of {file}, for which the kernel has been waiting "
        r"for \d+ s: the disk does not respond",
        server.log,
    )
    assert server.log.endswith(": Stopped\n")
    hold.unlink()
    server.restart()
    assert server.get_pr(*M4, "content") == "1"


@needs_preload
def test_a_sync_that_ends_in_time_is_answered(serve, hold):
    server = serve(environment=holding(hold))
    assert server.get_pr(*M4, "before") == "0"
    hold.touch()
    with server.client() as client:
        get_pr(client, "content")
        wait_for_sync(hold)
        server.process.send_signal(signal.SIGTERM)
        poll(lambda: "Stopping" in server.log, "the signal")
        hold.unlink()
        assert client.receive() == {"value": "1"}
    assert server.process.wait(LIMIT + SLACK) == 0
    assert "Ending" not in server.log


@needs_preload
def test_prservd_stop_ends_a_server_whose_disk_does_not_respond(tmp_path, hold):
    options = ["--host", "127.0.0.1", "--port", free_port(), "--pidfile", "own.pid"]
    environment = holding(hold)
    start = run_prservd("--start", *options, cwd=tmp_path, environment=environment)
    assert start.returncode == 0
    try:
        with Client(("127.0.0.1", options[3])) as client:
            assert client.get_pr(*M4, "before") == "0"
            hold.touch()
            get_pr(client, "content")
            wait_for_sync(hold)
            stop = run_prservd("--stop", *options, cwd=tmp_path)
            assert client.is_closed()
    finally:
        hold.unlink(missing_ok=True)
        run_prservd("--stop", *options, cwd=tmp_path)
    assert (stop.returncode, stop.stderr) == (0, "")
    assert not (tmp_path / "own.pid").exists()


@needs_preload
def test_a_log_that_does_not_respond_does_not_delay_the_end(serve, tmp_path):
    """Its writers wait: the loop, and the thread that handles the signal."""
    hold = tmp_path / "hold"
    environment = {
        "LD_PRELOAD": str(PRELOAD / "libhold_log.so"),
        "HOLD_LOG": str(hold),
    }
    server = serve(environment=environment)
    with server.client() as client:
        assert client.ask({"ping": {}}) == {"alive": True}
        hold.touch()
    with server.client() as client:  # the end of the other one has a line in the log
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(LIMIT + SLACK) == 0
        assert client.is_closed()
    hold.unlink()
