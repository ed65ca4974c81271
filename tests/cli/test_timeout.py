# SPDX-License-Identifier: MIT
"""How long prserv waits for an answer: 120 s, ping and status 10 s, or as --timeout says."""

import contextlib
import mmap
import socket
import struct
import subprocess
import threading

import pytest

from harness import BUILD, PRSERV, TIMEOUT_S, clean_environment, needs_preload
from prserv_command import bench, prserv
from rows import M4

CLOCK_AHEAD = BUILD / "tests" / "preload" / "libclock_ahead.so"
SOON_S = 15  # less than the 19 s that would be left of 30 s
SHORT_S = 0.5  # real seconds in which a command that gives up would have done so


@pytest.fixture
def silent():
    """A server that accepts connections and does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT_S)
        yield listener


def address(listener):
    return f"127.0.0.1:{listener.getsockname()[1]}"


class Asking:
    """prserv while it waits for an answer, and control of its clock."""

    def __init__(self, silent, tmp_path, *words):
        path = tmp_path / "ahead"
        path.write_bytes(bytes(mmap.PAGESIZE))
        self.file = open(path, "r+b")
        self.ahead = mmap.mmap(self.file.fileno(), 0)
        environment = {"LD_PRELOAD": str(CLOCK_AHEAD), "CLOCK_AHEAD": str(path)}
        self.process = subprocess.Popen(
            [str(word) for word in (PRSERV, "--server", address(silent), *words)],
            env=clean_environment(**environment),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.peer = silent.accept()[0]
        self.peer.settimeout(TIMEOUT_S)
        received = b""
        while not received.endswith(b"}\n"):
            received += self.peer.recv(4096)

    def pass_time(self, seconds):
        """Advances its clock, and wakes it with a part of an answer."""
        self.ahead[:4] = struct.pack("i", seconds)
        self.peer.sendall(b" ")

    def waits(self):
        """Tells whether it goes on waiting."""
        try:
            self.process.wait(SHORT_S)
        except subprocess.TimeoutExpired:
            return True
        return False

    def error(self):
        return self.process.communicate(timeout=SOON_S)[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()
        self.peer.close()
        self.ahead.close()
        self.file.close()


@needs_preload
@pytest.mark.parametrize(
    "words, seconds",
    [
        (("get", *M4, "content"), 120),
        (("max", *M4), 120),
        (("export",), 120),
        (("ping",), 10),
        (("status",), 10),
        (("--timeout", "300", "ping"), 300),
        (("get", *M4, "content", "--timeout=7.5"), 7.5),
    ],
)
def test_a_command_waits_this_long(silent, tmp_path, words, seconds):
    with Asking(silent, tmp_path, *words) as asking:
        asking.pass_time(int(seconds) - 5)
        assert asking.waits()
        asking.pass_time(int(seconds) + 1)
        assert "no answer in time" in asking.error()
        assert asking.process.returncode == 3


@pytest.mark.parametrize("value", ["0", "-1", "x", "", "1s", "nan", "86401", "1e9"])
@pytest.mark.parametrize("place", ["before", "after"])
def test_an_invalid_timeout_is_named(value, place):
    option = f"--timeout={value}"
    done = prserv(option, "ping") if place == "before" else prserv("ping", option)
    assert done.returncode == 2
    assert (
        f"--timeout takes seconds, from 0.001 to 86400, not '{value}'; see prserv"
        in done.stderr
    )
    assert len(done.stderr.splitlines()) == 1


def test_bench_takes_the_timeout_before_or_after_its_name(server):
    words = ("--work", "ping", "--requests", 1)
    assert bench(server.address, *words)["parameters"]["timeout_s"] == 120
    after = bench(server.address, *words, "--timeout", 2.5)
    assert after["parameters"]["timeout_s"] == 2.5
    before = bench(server.address, *words, before=("--timeout", "2.5"))
    assert before["parameters"]["timeout_s"] == 2.5


def send_rows_without_an_end(listener):
    """Answers an export with rows, as long as the client reads."""
    peer = listener.accept()[0]
    received = b""
    while not received.endswith(b"}\n"):
        received += peer.recv(4096)
    row = b'{"version":"v","pkgarch":"a","checksum":"c","value":"1"},'
    with contextlib.suppress(OSError), peer:
        peer.sendall(b'{"chunk-stream": null}\n{"metainfo":{},"datainfo":[\n')
        while True:
            peer.sendall(row * 100 + b"\n")


def test_an_export_that_never_ends_is_given_up(silent, tmp_path):
    sender = threading.Thread(target=send_rows_without_an_end, args=[silent])
    sender.start()
    words = ("export", tmp_path / "rows.csv", "--max-time", "0.5")
    done = prserv("--server", address(silent), *words)
    sender.join()
    assert done.returncode == 3
    assert (
        "the answer has not ended in 0.5 s, the longest time for an export"
        in done.stderr
    )
    assert not (tmp_path / "rows.csv").exists()
