# SPDX-License-Identifier: MIT
"""A server that runs as an unprivileged user."""

import contextlib
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

import pytest

import harness
from harness import Refused, Server, error_line, run_prservd


NOBODY = 65534

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root starts servers as another user"
)


@pytest.fixture
def folder(monkeypatch):
    """A folder of root that everybody can read, with a program that everybody can run."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        program = shutil.copy(harness.PRSERVD, folder / "prservd")
        Path(program).chmod(0o755)
        monkeypatch.setattr(harness, "PRSERVD", Path(program))
        (folder / "home").mkdir()
        os.chown(folder / "home", NOBODY, -1)
        (folder / "feed").mkdir(mode=0o755)
        yield folder


def leave_database(folder):
    """Leaves the database of a stopped server: m4-1 has 0 for a and 1 for b."""
    with Server(folder / "feed", "--file", "rows.db") as writer:
        for name in "ab":
            writer.get_pr("m4-1", "all", name)
    return folder / "feed" / "rows.db"


def as_nobody(folder, *options):
    return Server(folder / "home", *options, user=NOBODY)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def start_as_nobody(folder, *options):
    words = ["--host", "127.0.0.1", "--port", "0", *options]
    return run_prservd(*words, cwd=folder / "home", user=NOBODY)


def check_answers(server):
    assert server.ask({"is-readonly": {}})["readonly"] is True
    with server.client() as client:
        assert client.max_pr("m4-1", "all") == "1"
        assert client.test_pr("m4-1", "all", "a") == "0"
        assert client.get_pr("m4-1", "all", "new") == "2"
        assert len(client.export(history=True)["datainfo"]) == 2


def test_the_server_serves_as_an_unprivileged_user(folder):
    with as_nobody(folder) as server:
        assert server.get_pr("m4-1", "all", "a") == "0"
    assert (folder / "home" / "prserv.sqlite3").stat().st_uid == NOBODY


def test_read_only_serves_a_file_in_a_read_only_folder(folder):
    file = leave_database(folder)
    with as_nobody(folder, "--read-only", "--file", file) as reader:
        check_answers(reader)


def test_read_only_changes_nothing(folder):
    file = leave_database(folder)
    names = set(os.listdir(folder / "feed"))
    before = file.read_bytes()
    with as_nobody(folder, "--read-only", "--file", file) as reader:
        check_answers(reader)
    assert set(os.listdir(folder / "feed")) == names
    assert file.read_bytes() == before


def test_read_only_serves_a_read_only_file_in_a_read_only_folder(folder):
    file = leave_database(folder)
    for path in (folder / "feed").iterdir():
        path.chmod(0o444)
    (folder / "feed").chmod(0o555)
    with as_nobody(folder, "--read-only", "--file", file) as reader:
        check_answers(reader)


def test_read_only_sees_rows_that_another_users_server_answered(folder):
    file = folder / "feed" / "rows.db"
    with Server(folder / "feed", "--file", file) as writer:
        with as_nobody(folder, "--read-only", "--file", file) as reader:
            with writer.client() as asks, reader.client() as sees:
                for n in range(20):
                    assert asks.get_pr("m4-1", "all", str(n)) == str(n)
                    assert sees.test_pr("m4-1", "all", str(n)) == str(n)


def test_read_only_survives_a_restart_of_the_writer(folder):
    file = folder / "feed" / "rows.db"
    with Server(folder / "feed", "--file", file) as writer:
        writer.get_pr("m4-1", "all", "a")
        with as_nobody(folder, "--read-only", "--file", file) as reader:
            assert reader.ask(max_pr()) == {"value": "0"}
            writer.stop()
            assert reader.ask(max_pr()) == {"value": "0"}
            writer.restart()
            writer.get_pr("m4-1", "all", "b")
            assert reader.ask(max_pr()) == {"value": "1"}


def max_pr():
    return {"max-package-pr": {"version": "m4-1", "pkgarch": "all"}}


def test_read_only_waits_for_a_database_of_another_user(folder):
    file = folder / "feed" / "rows.db"
    with as_nobody(folder, "--read-only", "--file", file) as reader:
        assert reader.ask(max_pr()) == {"value": None}
        leave_database(folder)
        assert reader.ask(max_pr()) == {"value": "1"}


@pytest.mark.parametrize("options", [[], ["--read-only"]], ids=["writing", "read-only"])
def test_an_unreadable_database_is_reported_in_one_line(folder, options):
    file = leave_database(folder)
    for path in (folder / "feed").iterdir():
        path.chmod(0o600)
    before = contents(folder / "feed")
    line = error_line(start_as_nobody(folder, "--file", file, *options), 1)
    assert str(file) in line and "permission" in line
    assert contents(folder / "feed") == before


def test_a_read_only_database_file_is_reported_in_one_line(folder):
    file = leave_database(folder)
    before = contents(folder / "feed")
    line = error_line(start_as_nobody(folder, "--file", file), 1)
    assert str(file) in line and "permission" in line
    assert contents(folder / "feed") == before


def test_a_read_only_folder_is_reported_in_one_line(folder):
    line = error_line(start_as_nobody(folder, "--file", folder / "feed" / "new.db"), 1)
    assert "feed/new.db" in line and "permission" in line
    assert list((folder / "feed").iterdir()) == []


def test_a_folder_that_may_not_be_entered_is_reported_in_one_line(folder):
    file = leave_database(folder)
    (folder / "feed").chmod(0o700)
    before = contents(folder / "feed")
    for options in [], ["--read-only"]:
        line = error_line(start_as_nobody(folder, "--file", file, *options), 1)
        assert str(file) in line
    assert contents(folder / "feed") == before


def test_a_folder_that_may_not_be_created_is_reported_in_one_line(folder):
    file = folder / "feed" / "missing" / "rows.db"
    line = error_line(start_as_nobody(folder, "--file", file), 1)
    assert "feed/missing" in line and "ermission" in line
    assert list((folder / "feed").iterdir()) == []


def test_a_log_without_permission_is_reported_in_one_line(folder):
    line = error_line(start_as_nobody(folder, "--log", folder / "feed" / "log"), 1)
    assert "feed/log" in line and "ermission" in line
    assert list((folder / "home").iterdir()) == []


def test_a_privileged_port_is_reported_in_one_line(folder):
    limit = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    if int(limit.read_text()) <= 1:
        pytest.skip("everybody may bind every port")
    line = error_line(start_as_nobody(folder, "--port", "1"), 1)
    assert "127.0.0.1:1" in line and "ermission" in line


def test_a_database_that_loses_its_permissions_causes_errors_not_silence(folder):
    """Each client gets an answer or an error, and the server continues."""
    file = folder / "home" / "prserv.sqlite3"
    with as_nobody(folder) as server:
        server.get_pr("m4-1", "all", "a")
        file.chmod(0o000)
        with server.client() as client, contextlib.suppress(Refused):
            client.get_pr("m4-1", "all", "b")
        assert server.ask({"ping": {}}) == {"alive": True}
    file.chmod(0o600)
    with contextlib.closing(sqlite3.connect(file)) as database:
        stored = database.execute("SELECT value FROM PRMAIN").fetchall()
    assert ("0",) in stored


def test_folders_that_may_only_be_traversed_do_not_prevent_a_start(folder):
    """They can't be opened to be synced, but the server did not create them either."""
    own = folder / "passage" / "own"
    own.mkdir(parents=True)
    os.chown(own, NOBODY, -1)
    own.parent.chmod(0o711)
    with as_nobody(folder, "--file", own / "new" / "rows.db") as server:
        assert server.get_pr("m4-1", "all", "a") == "0"
