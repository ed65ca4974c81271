# SPDX-License-Identifier: MIT
"""What other programs need to start a server: --with-parent and --address-file."""

import signal
import subprocess
import time

import pytest

from harness import BUILD, Server, needs_preload, poll, run_prservd

NO_PIDFD = BUILD / "tests" / "preload" / "libno_pidfd.so"


@pytest.fixture
def parent():
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


def ends_with(parent, server, number):
    parent.send_signal(number)
    began = time.monotonic()
    server.process.wait(10)
    assert server.process.returncode == 0
    assert time.monotonic() - began < 2
    assert "the process of --with-parent is gone" in server.log


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_ends_with_its_parent(serve, parent, number):
    # The process is not reaped: it stays a zombie, which is gone all the same.
    ends_with(parent, serve("--with-parent", parent.pid), number)


@needs_preload
def test_a_server_ends_with_its_parent_without_pidfds(serve, parent):
    server = serve(
        "--with-parent", parent.pid, environment={"LD_PRELOAD": str(NO_PIDFD)}
    )
    time.sleep(1.2)
    assert server.process.poll() is None
    ends_with(parent, server, signal.SIGKILL)


def test_requests_are_answered_at_the_end(serve, parent):
    server = serve("--with-parent", parent.pid)
    with server.client() as client:
        for number in range(50):
            client.post({"ping": {}})
        parent.kill()
        for number in range(50):
            assert client.receive() == {"alive": True}
    server.process.wait(10)


def test_a_process_that_does_not_exist(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    done = run_prservd("--port", 0, "--with-parent", gone.pid, cwd=tmp_path)
    assert done.returncode == 1
    assert f"--with-parent: process {gone.pid} does not exist" in done.stderr


@pytest.mark.parametrize("value", ["0", "-1", "x", "", "99999999999"])
def test_numbers_that_are_no_process(tmp_path, value):
    done = run_prservd("--with-parent", value, cwd=tmp_path)
    assert done.returncode == 2 and "--with-parent" in done.stderr


def test_the_address_file_says_where_the_server_listens(serve, tmp_path):
    file, socket = tmp_path / "address", tmp_path / "socket"
    file.write_text("old")
    words = ("--bind", "127.0.0.1:0", "--bind", f"unix://{socket}")
    server = serve(*words, "--address-file", file, bind=False)
    poll(lambda: file.read_text() != "old", "the file")
    assert file.read_text() == f"127.0.0.1:{server.port}\nunix://{socket}\n"
    assert [each.name for each in tmp_path.glob("address*")] == ["address"]
    server.stop()
    assert not file.exists()


def test_the_address_file_of_a_successor_is_left(serve, tmp_path):
    file = tmp_path / "address"
    first = serve("--address-file", file)
    poll(file.exists, "the file")
    second = serve("--address-file", file)
    poll(lambda: str(second.port) in file.read_text(), "the second one")
    first.stop()
    assert str(second.port) in file.read_text()


def test_an_address_file_that_can_not_be_written(serve, tmp_path):
    server = serve("--address-file", tmp_path / "none" / "address")
    assert isinstance(server, Server) and server.ask({"ping": {}}) == {"alive": True}
    poll(lambda: "ERROR" in server.log and "none/address" in server.log, "the log")
