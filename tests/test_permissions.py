"""What a server does as an unprivileged user."""

import contextlib
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

import harness
import pytest
from harness import Refused, Server, run_prservd

NOBODY = 65534

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root starts servers as another user"
)


@pytest.fixture
def folder(monkeypatch):
    """A folder of root's that everybody can read, and a program that they can run."""
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


def fill(folder):
    """The database of a server that was stopped: m4-1 has 0 for a and 1 for b."""
    with Server(folder / "feed", "--file", "rows.db") as writer:
        for name in "ab":
            writer.get_pr("m4-1", "all", name)
    return folder / "feed" / "rows.db"


def by_nobody(folder, *options):
    return Server(folder / "home", *options, user=NOBODY)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def the_line(result, status):
    """What was said: one line on standard error, and the exit status."""
    assert result.returncode == status, result
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    return result.stderr.strip()


def start_by_nobody(folder, *options):
    words = ["--host", "127.0.0.1", "--port", "0", *options]
    return run_prservd(*words, cwd=folder / "home", user=NOBODY)


def check_answers(server):
    assert server.ask({"is-readonly": {}}) == {"readonly": True}
    with server.client() as client:
        assert client.max_pr("m4-1", "all") == "1"
        assert client.test_pr("m4-1", "all", "a") == "0"
        assert client.get_pr("m4-1", "all", "new") == "2"
        assert len(client.export(history=True)["datainfo"]) == 2


def test_the_server_serves_as_an_unprivileged_user(folder):
    with by_nobody(folder) as server:
        assert server.get_pr("m4-1", "all", "a") == "0"
    assert (folder / "home" / "prserv.sqlite3").stat().st_uid == NOBODY


def test_read_only_serves_a_file_in_a_folder_that_it_may_not_write_to(folder):
    file = fill(folder)
    with by_nobody(folder, "--read-only", "--file", file) as reader:
        check_answers(reader)


def test_read_only_changes_nothing_there(folder):
    file = fill(folder)
    names = set(os.listdir(folder / "feed"))
    before = file.read_bytes()
    with by_nobody(folder, "--read-only", "--file", file) as reader:
        check_answers(reader)
    assert set(os.listdir(folder / "feed")) == names
    assert file.read_bytes() == before


def test_read_only_serves_a_file_and_folder_that_nobody_may_write_to(folder):
    file = fill(folder)
    for path in (folder / "feed").iterdir():
        path.chmod(0o444)
    (folder / "feed").chmod(0o555)
    with by_nobody(folder, "--read-only", "--file", file) as reader:
        check_answers(reader)


def test_read_only_sees_what_the_writer_of_another_user_answers(folder):
    file = folder / "feed" / "rows.db"
    with Server(folder / "feed", "--file", file) as writer:
        with by_nobody(folder, "--read-only", "--file", file) as reader:
            with writer.client() as asks, reader.client() as sees:
                for n in range(20):
                    assert asks.get_pr("m4-1", "all", str(n)) == str(n)
                    assert sees.test_pr("m4-1", "all", str(n)) == str(n)


def test_read_only_goes_on_when_the_writer_stops_and_starts(folder):
    file = folder / "feed" / "rows.db"
    with Server(folder / "feed", "--file", file) as writer:
        writer.get_pr("m4-1", "all", "a")
        with by_nobody(folder, "--read-only", "--file", file) as reader:
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
    with by_nobody(folder, "--read-only", "--file", file) as reader:
        assert reader.ask(max_pr()) == {"value": None}
        fill(folder)
        assert reader.ask(max_pr()) == {"value": "1"}


@pytest.mark.parametrize("options", [[], ["--read-only"]], ids=["writing", "read-only"])
def test_a_database_without_permission_is_said_in_one_line(folder, options):
    file = fill(folder)
    for path in (folder / "feed").iterdir():
        path.chmod(0o600)
    before = contents(folder / "feed")
    line = the_line(start_by_nobody(folder, "--file", file, *options), 1)
    assert str(file) in line and "permission" in line
    assert contents(folder / "feed") == before


def test_a_database_that_may_only_be_read_is_said_in_one_line(folder):
    file = fill(folder)
    before = contents(folder / "feed")
    line = the_line(start_by_nobody(folder, "--file", file), 1)
    assert str(file) in line and "permission" in line
    assert contents(folder / "feed") == before


def test_a_folder_without_permission_is_said_in_one_line(folder):
    line = the_line(start_by_nobody(folder, "--file", folder / "feed" / "new.db"), 1)
    assert "feed/new.db" in line and "permission" in line
    assert list((folder / "feed").iterdir()) == []


def test_a_folder_that_may_not_be_entered_is_said_in_one_line(folder):
    file = fill(folder)
    (folder / "feed").chmod(0o700)
    before = contents(folder / "feed")
    for options in [], ["--read-only"]:
        line = the_line(start_by_nobody(folder, "--file", file, *options), 1)
        assert str(file) in line
    assert contents(folder / "feed") == before


def test_a_folder_that_may_not_be_made_is_said_in_one_line(folder):
    file = folder / "feed" / "missing" / "rows.db"
    line = the_line(start_by_nobody(folder, "--file", file), 1)
    assert "feed/missing" in line and "ermission" in line
    assert list((folder / "feed").iterdir()) == []


def test_a_log_without_permission_is_said_in_one_line(folder):
    line = the_line(start_by_nobody(folder, "--log", folder / "feed" / "log"), 1)
    assert "feed/log" in line and "ermission" in line
    assert list((folder / "home").iterdir()) == []


def test_a_privileged_port_is_said_in_one_line(folder):
    limit = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    if int(limit.read_text()) <= 1:
        pytest.skip("everybody may bind every port")
    line = the_line(start_by_nobody(folder, "--port", "1"), 1)
    assert "127.0.0.1:1" in line and "ermission" in line


def test_a_database_that_loses_its_permissions_gives_errors_not_silence(folder):
    """Each client gets an answer or an error, and the server goes on."""
    file = folder / "home" / "prserv.sqlite3"
    with by_nobody(folder) as server:
        server.get_pr("m4-1", "all", "a")
        file.chmod(0o000)
        with server.client() as client, contextlib.suppress(Refused):
            client.get_pr("m4-1", "all", "b")
        assert server.ask({"ping": {}}) == {"alive": True}
    file.chmod(0o600)
    with contextlib.closing(sqlite3.connect(file)) as database:
        stored = database.execute("SELECT value FROM PRMAIN").fetchall()
    assert ("0",) in stored


def test_folders_that_may_only_be_passed_through_are_no_hindrance(folder):
    """They can't be opened to be synced; but nor did the server make them."""
    own = folder / "passage" / "own"
    own.mkdir(parents=True)
    os.chown(own, NOBODY, -1)
    own.parent.chmod(0o711)
    with by_nobody(folder, "--file", own / "new" / "rows.db") as server:
        assert server.get_pr("m4-1", "all", "a") == "0"
