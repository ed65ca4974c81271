# SPDX-License-Identifier: MIT
"""What the log says of requests, and its forms: --log-format, and the journal of systemd."""

import contextlib
import json
import os
import re
import subprocess
from datetime import datetime, timedelta, timezone

import pytest

from harness import PRSERVD, QUICK, Client, Refused, Server, clean_environment, poll
from harness import run_prservd, error_line
from rows import M4


class JsonServer(Server):
    """A server whose log has an object a line."""

    @property
    def lines(self):
        return [json.loads(line) for line in self.log.splitlines()]

    @property
    def addresses(self):
        return re.findall(r'"Listening on ([^ "]+)', self.log)

    def lines_of(self, message):
        return [line for line in self.lines if line["message"].startswith(message)]


@pytest.fixture
def json_server(tmp_path, setting):
    options, environment = setting("log-format", "json")
    with JsonServer(tmp_path, *options, *QUICK, environment=environment) as server:
        yield server


def test_json_has_an_object_a_line_with_time_level_and_message(json_server):
    for line in json_server.lines:
        assert line["level"] in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
        assert line["pid"] == json_server.process.pid
        assert line["message"]
        assert line["time"].endswith("Z")
        time = datetime.fromisoformat(line["time"].replace("Z", "+00:00"))
        assert abs(datetime.now(timezone.utc) - time) < timedelta(minutes=5)


def test_json_has_an_object_also_for_memory_that_can_not_be_read(json_server):
    os.truncate(json_server.folder / "prserv.sqlite3-shm", 0)
    with contextlib.suppress(EOFError, ConnectionError):
        json_server.get_pr(*M4, "after")
    poll(lambda: json_server.process.poll() is not None, "the end of the server")
    last = json_server.lines[-1]
    assert last["level"] == "CRITICAL" and "SIGBUS" in last["message"]
    assert last["pid"] == json_server.process.pid


def test_json_has_the_fields_of_a_request_as_members(json_server):
    with json_server.client() as client:
        assert client.get_pr(*M4, "a\x1b[31m\"'\\ é\U0001f600") == "0"
        host, port = client.socket.getsockname()
    [line] = json_server.lines_of("Answered a request")
    assert line["level"] == "DEBUG"
    assert line["peer"] == f"{host}:{port}"
    assert line["request"] == "get-pr"
    assert [line["version"], line["pkgarch"]] == list(M4)
    assert line["checksum"] == "a\x1b[31m\"'\\ é\U0001f600"
    assert line["value"] == "0"
    assert 0 < line["duration_us"] < 60_000_000


def test_json_of_any_text_is_valid(json_server):
    with json_server.client() as client:
        for text in (
            "x" * 5000,
            "\U0001f600" * 5000,
            '"' * 5000,
            "\\" * 5000,
            "\0",
        ):
            client.get_pr(text, text, text)
    answered = json_server.lines_of("Answered a request")  # parses each line
    assert len(answered) == 5
    assert all(len(line["version"]) >= 1 for line in answered)


def test_log_format_takes_text_and_json_alone(tmp_path):
    line = error_line(run_prservd("--log-format", "xml", cwd=tmp_path), 2)
    assert "--log-format: 'xml' is neither text nor json" in line


def answered(server):
    return [line for line in server.log.splitlines() if " DEBUG " in line]


def test_debug_has_a_line_for_each_request(server):
    with server.client() as client:
        assert client.get_pr(*M4, "a b") == "0"
        assert client.test_pr(*M4, "none") is None
        assert client.max_pr(*M4) == "0"
        assert client.import_one(*M4, "other", "7") == {"value": "7"}
        assert client.ask({"test-package": {"version": M4[0], "pkgarch": M4[1]}})
        client.ask({"ping": {}})
        assert len(client.export(history=True)["datainfo"]) == 2
        with pytest.raises(Refused):
            client.ask({"get-pr": {}})
        host, port = client.socket.getsockname()
    lines = [line for line in answered(server) if f"peer={host}:{port}" in line]
    package = f"version={M4[0]} pkgarch={M4[1]}"
    expected = [
        rf"Answered a request .* request=get-pr {package} checksum=\"a b\" value=0",
        rf"Answered a request .* request=test-pr {package} checksum=none value=null",
        rf"Answered a request .* request=max-package-pr {package} value=0",
        rf"Answered a request .* request=import-one {package} checksum=other value=7",
        rf"Answered a request .* request=test-package {package} value=true",
        r"Answered a request .* request=ping",
        r"Answered a request .* request=export",
        r"Refused a message: .* request=get-pr",
    ]
    assert len(lines) == len(expected), lines
    for text, line in zip(expected, lines):
        assert re.search(text + r" duration_us=\d+$", line), line


def test_debug_names_the_user_of_a_unix_socket(tmp_path):
    options = ("--bind", f"unix://{tmp_path}/socket", *QUICK)
    with Server(tmp_path, *options) as server:
        with Client(tmp_path / "socket") as client:
            client.ask({"ping": {}})
        assert f"peer=unix:uid={os.getuid()} request=ping" in server.log


def test_info_has_no_line_for_a_request(tmp_path):
    with Server(tmp_path, "--loglevel", "INFO", *QUICK) as server:
        before = server.log
        with server.client() as client:
            for i in range(20):
                client.get_pr(*M4, str(i))
        assert server.log == before


# ---- the journal ----


def journal_lines(folder, *options, stream=None):
    """Returns the log of a server whose standard error is the journal, or another one."""
    log = folder / "journal"
    with open(log, "wb") as file:
        status = os.fstat(file.fileno())
        stream = stream or f"{status.st_dev}:{status.st_ino}"
        process = subprocess.Popen(
            [PRSERVD, "--host", "127.0.0.1", "--port", "0", "--sync", "off", *options],
            cwd=folder,
            env=clean_environment(JOURNAL_STREAM=stream),
            stderr=file,
            stdin=subprocess.DEVNULL,
        )
    try:
        poll(lambda: "Listening on" in log.read_text(), "the server")
    finally:
        process.terminate()
        process.wait()
    return log.read_text().splitlines()


def test_the_journal_gets_priorities_and_no_second_time(tmp_path):
    lines = journal_lines(tmp_path)
    assert all(re.match(r"<[2-7]>[A-Za-z]", line) for line in lines), lines
    assert any(line.startswith("<6>Listening on") for line in lines)
    assert any(line.startswith("<4>With --sync other than full") for line in lines)


def test_the_journal_gets_json_with_priorities(tmp_path):
    for line in journal_lines(tmp_path, "--log-format", "json"):
        assert re.match(r"<[2-7]>{", line)
        json.loads(line[3:])


def test_another_standard_error_than_the_journal_gets_times(tmp_path):
    for line in journal_lines(tmp_path, stream="1:1"):
        assert re.match(r"\d{4}-\d\d-\d\d ", line)


def test_a_log_file_gets_times_also_beside_the_journal(tmp_path):
    log = tmp_path / "own.log"
    with open(tmp_path / "stderr", "wb") as file:
        status = os.fstat(file.fileno())
        result = subprocess.run(
            [PRSERVD, "--log", log, "--port", "0", "--file", "/dev/null/x"],
            cwd=tmp_path,
            env=clean_environment(JOURNAL_STREAM=f"{status.st_dev}:{status.st_ino}"),
            stderr=file,
        )
    assert result.returncode == 1
    assert re.match(r"\d{4}-\d\d-\d\d .* CRITICAL", log.read_text())
