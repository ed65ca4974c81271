# SPDX-License-Identifier: MIT
"""Signals that arrive while a server is starting and waits for its database."""

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess

import pytest

from harness import (
    PRSERVD,
    clean_environment,
    is_alive,
    poll,
)

SIGNALS = [signal.SIGTERM, signal.SIGINT]
MAX_LISTENERS = 63
WAIT = 30  # seconds; the database stays locked longer


@pytest.fixture
def database(tmp_path):
    """Returns the path of a database that another program has locked."""
    path = tmp_path / "rows.sqlite3"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield path


class Starting:
    """A server that waits for its database: its socket exists, and it does not serve."""

    def __init__(self, folder, *options):
        self.socket = folder / "socket"
        self.pid_file = folder / "own.pid"
        self.log_path = folder / "own.log"
        files = ["--bind", f"unix://{self.socket}", "--pidfile", self.pid_file]
        words = [PRSERVD, *files, "--log", self.log_path, *options]
        self.process = subprocess.Popen(
            [str(word) for word in words],
            cwd=folder,
            env=clean_environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        poll(self.socket.exists, "the socket")
        assert self.process.poll() is None
        assert "Listening" not in self.log

    @property
    def log(self):
        return self.log_path.read_text()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def check_end(server, number):
    server.process.send_signal(number)
    assert server.process.wait(WAIT) == 0, server.log
    assert f"Stopping during the start ({signal.strsignal(number)})" in server.log
    assert ": Stopped\n" in server.log  # the start may still log what it waits for
    assert server.process.stderr.read() == ""
    assert not server.socket.exists()
    assert not server.pid_file.exists()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_start_that_waits_for_a_lock(tmp_path, database, number):
    with Starting(tmp_path, "--file", database) as server:
        check_end(server, number)


def test_a_signal_while_addresses_are_bound_leaves_no_socket(tmp_path):
    binds = [f"unix://{tmp_path}/{i:02}" for i in range(MAX_LISTENERS)]
    for _ in range(10):
        server = subprocess.Popen(
            [PRSERVD, *(word for bind in binds for word in ("--bind", bind))],
            cwd=tmp_path,
            env=clean_environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        poll((tmp_path / "00").exists, "the first socket")
        server.send_signal(signal.SIGTERM)
        errors = server.communicate(timeout=WAIT)[1]
        assert server.returncode == 0, errors
        assert not [path for path in tmp_path.iterdir() if path.is_socket()], errors


def test_a_signal_ends_a_start_that_waits_for_postgresql(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        file = f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/none"
        try:
            with Starting(tmp_path, "--file", file) as server:
                silent.settimeout(WAIT)
                with silent.accept()[0]:
                    check_end(server, signal.SIGTERM)
        except AssertionError:
            if "without PostgreSQL" in (tmp_path / "own.log").read_text():
                pytest.skip("built without PostgreSQL")
            raise


def test_a_start_goes_on_after_sighup_with_a_new_log(tmp_path, database):
    with Starting(tmp_path, "--file", database) as server:
        server.log_path.rename(tmp_path / "old.log")
        server.process.send_signal(signal.SIGHUP)
        poll(server.log_path.exists, "the new log")
        poll(lambda: "Opened the log again (SIGHUP)" in server.log, "the line")
        assert server.process.poll() is None


def test_a_server_serves_after_signals_during_its_start(tmp_path):
    database = tmp_path / "rows.sqlite3"
    other = sqlite3.connect(database, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with contextlib.closing(other), Starting(tmp_path, "--file", database) as server:
        for _ in range(3):
            server.process.send_signal(signal.SIGHUP)
        poll(lambda: "SIGHUP" in server.log, "the line")
        other.close()
        poll(lambda: "Listening" in server.log, "the server")
        assert is_alive(server.socket)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(WAIT) == 0
        assert "Stopping (Terminated)" in server.log


def test_a_foreground_process_reports_a_signal_during_the_start(tmp_path, database):
    path = tmp_path / "socket"
    pid_file = tmp_path / "own.pid"
    options = ["--bind", f"unix://{path}", "--pidfile", pid_file, "--file", database]
    start = subprocess.Popen(
        [str(word) for word in (PRSERVD, "--start", *options)],
        cwd=tmp_path,
        env=clean_environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    poll(lambda: pid_file.exists() and pid_file.read_text(), "the pid file")
    poll(path.exists, "the socket")
    os.kill(int(pid_file.read_text()), signal.SIGTERM)
    errors = start.communicate(timeout=WAIT)[1]
    assert start.returncode == 1
    assert errors == "prservd: the server was stopped by a signal during its start\n"
    assert not pid_file.exists()
