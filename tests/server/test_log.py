# SPDX-License-Identifier: MIT
"""The log of prservd: --log, --loglevel and SIGHUP."""

import re
import signal
import subprocess

import pytest

from harness import (
    PRSERVD,
    Server,
    accepts,
    clean_environment,
    error_line,
    free_port,
    is_alive,
    poll,
    run_prservd,
)


class QuietServer(Server):
    """A server that logs to own.log, if at all."""

    @property
    def log(self):
        path = self.folder / "own.log"
        return path.read_text() if path.exists() else ""


def test_the_log_goes_to_standard_error(server):
    assert "Listening on" in (server.log_path).read_text()
    assert not (server.folder / "prserv.log").exists()


@pytest.mark.parametrize("way", ["-l", "--log", "PRSERVD_LOG"])
def test_log_names_the_log_file(tmp_path, way):
    options = [way, "own.log"] if way.startswith("-") else []
    environment = {} if options else {way: "own.log"}
    with QuietServer(tmp_path, *options, environment=environment) as server:
        assert is_alive(("127.0.0.1", server.port))
    assert server.log_path.read_text() == ""
    assert "Stopped" in server.log


def test_an_existing_log_is_appended_to(tmp_path):
    (tmp_path / "own.log").write_text("what was there\n")
    with QuietServer(tmp_path, "--log", "own.log"):
        pass
    text = (tmp_path / "own.log").read_text()
    assert text.startswith("what was there\n") and "Listening on" in text


def test_sighup_reopens_the_log(tmp_path):
    current, old = tmp_path / "own.log", tmp_path / "old.log"
    with QuietServer(tmp_path, "--log", "own.log") as server:
        port = server.port
        current.rename(old)
        server.process.send_signal(signal.SIGHUP)
        poll(lambda: current.exists() and current.read_text(), "the new log")
        before = old.read_text()
        assert is_alive(("127.0.0.1", port))
    assert "Listening on" in before and "Stopped" not in before
    assert old.read_text() == before
    assert "Stopped" in current.read_text()


def test_sighup_without_a_log_file_is_harmless(server):
    server.process.send_signal(signal.SIGHUP)
    poll(lambda: "SIGHUP" in server.log, "the signal")
    assert server.get_pr("m4-1", "all", "a") == "0"


class LogsAside(Server):
    """A server that logs into a folder which may be renamed."""

    @property
    def log(self):
        logs = list(self.folder.glob("*/own.log"))
        return logs[0].read_text() if logs else ""


def test_logging_continues_in_the_old_file_if_it_cannot_be_reopened(tmp_path):
    (tmp_path / "log").mkdir()
    with LogsAside(tmp_path, "--log", "log/own.log") as server:
        (tmp_path / "log").rename(tmp_path / "aside")
        server.process.send_signal(signal.SIGHUP)
        poll(lambda: "going on with the old file" in server.log, "the error")
        server.process.send_signal(signal.SIGHUP)
        poll(lambda: server.log.count("going on with the old file") == 2, "another one")
        assert "Opened the log again" not in server.log
    assert "Stopped" in server.log


def test_a_log_that_cannot_be_opened_is_an_error(tmp_path):
    options = ["--log", "missing/own.log", "--port", "0"]
    line = error_line(run_prservd(*options, cwd=tmp_path), 1)
    assert "missing/own.log" in line
    assert list(tmp_path.iterdir()) == []


# With --sync off, the log has a line of each level up to WARNING.
@pytest.mark.parametrize(
    "level, seen",
    [
        ("debug", {"DEBUG", "INFO", "WARNING"}),
        ("DEBUG", {"DEBUG", "INFO", "WARNING"}),
        ("Info", {"INFO", "WARNING"}),
        ("INFO", {"INFO", "WARNING"}),
        ("wArNiNg", {"WARNING"}),
        ("WARNING", {"WARNING"}),
        ("error", set()),
        ("ERROR", set()),
        ("critical", set()),
        ("CRITICAL", set()),
    ],
)
def test_loglevel_filters_the_log_and_ignores_case(tmp_path, setting, level, seen):
    port = free_port()
    options, environment = setting("loglevel", level)
    log = tmp_path / "stderr"
    command = [PRSERVD, "--host", "127.0.0.1", "--port", str(port), "--sync", "off"]
    with open(log, "wb") as stream:
        process = subprocess.Popen(
            command + options,
            cwd=tmp_path,
            env=clean_environment(**environment),
            stderr=stream,
        )
    try:
        poll(lambda: process.poll() is not None or accepts(port), "the server")
        assert is_alive(("127.0.0.1", port))
    finally:
        process.terminate()
        process.wait()
    assert process.returncode == 0
    levels = "DEBUG|INFO|WARNING|ERROR|CRITICAL"
    assert set(re.findall(rf"\b({levels})\b", log.read_text())) == seen


def test_a_failed_start_is_reported_at_any_loglevel(tmp_path):
    (tmp_path / "text").write_text("no database\n" * 100)
    options = ["--loglevel", "CRITICAL", "--port", "0", "--file", "text"]
    assert "text" in error_line(run_prservd(*options, cwd=tmp_path), 1)


def test_a_failed_start_is_reported_on_standard_error_and_in_the_log(tmp_path):
    (tmp_path / "text").write_text("no database\n" * 100)
    options = ["--log", "own.log", "--port", "0", "--file", "text"]
    assert "text" in error_line(run_prservd(*options, cwd=tmp_path), 1)
    assert "text" in (tmp_path / "own.log").read_text()
