# SPDX-License-Identifier: MIT
"""A full disk: requests for new content wait for space. A database that is removed, replaced or
damaged: clients get an error that says so. Nothing is lost, and the server continues when the cause
is gone."""

import contextlib
import errno
import os
import resource
import sqlite3

import pytest

from fake_upstream import FakeUpstream
from harness import (
    BUILD,
    SANITIZER,
    Refused,
    asking,
    free_port,
    paused,
    poll,
    run_prservd,
)
from rows import M4, make_large_database

LIMIT = 256 * 1024


def start_with_fault(serve, folder, call):
    """Starts a server; its calls fail while the file exists, with the errno in it."""
    preload = BUILD / "tests" / "preload" / "libfail_disk.so"
    assert preload.exists()
    fault = folder / "fault"
    server = serve(environment={"LD_PRELOAD": str(preload), call: str(fault)})
    assert server.get_pr(*M4, "known") == "0"
    return server, fault


def rows(path):
    with contextlib.closing(sqlite3.connect(path)) as database:
        return set(database.execute("SELECT checksum, value FROM PRMAIN"))


class Asker:
    """Asks for new content, and remembers the answers."""

    def __init__(self, server):
        self.server = server
        self.given = {}
        self.client = server.client()

    def ask(self, number):
        checksum = f"{number}-{'x' * 2000}"
        self.given[checksum] = self.client.get_pr(*M4, checksum)

    def ask_until_refused(self, match):
        with pytest.raises(Refused, match=match) as refusal:
            for number in range(10000):
                self.ask(number)
        return str(refusal.value)

    def check(self, path):
        """Checks that no row was lost, no value given twice, and known content is answered."""
        checksum, value = next(iter(self.given.items()))
        assert self.client.test_pr(*M4, checksum) == value
        assert set(self.given.items()) <= rows(path)
        values = [int(value) for value in self.given.values()]
        assert len(values) == len(set(values))

    def check_continues(self, path):
        greatest = max(int(value) for value in self.given.values())
        self.ask("afterwards")
        assert max(int(value) for value in self.given.values()) > greatest
        self.check(path)


def test_new_content_waits_for_room_on_a_full_disk(small_disk, serve):
    """Known content is answered meanwhile, and nobody has to restart the server."""
    path = small_disk / "rows.sqlite3"
    ballast = small_disk / "ballast"
    server = serve("--file", path, "--max-message-bytes", "2000000")
    asker = Asker(server)
    asker.ask("before")
    with contextlib.suppress(OSError), open(ballast, "wb", 0) as file:
        while True:
            file.write(bytes(4096))
    with asking(server, *M4, "x" * 1_100_000) as answers:  # the WAL has room for less
        poll(lambda: "the disk is full" in server.log, "the warning")
        asker.check(path)
        with server.client() as client:
            assert client.get_pr(*M4, next(iter(asker.given))) == "0"
            assert client.max_pr(*M4) == "0"
            assert len(client.export(history=True)["datainfo"]) == 1
        assert not answers
        ballast.unlink()
    assert answers == ["1"]
    poll(lambda: "1 requests waited, 0 of them got an error" in server.log)
    asker.check(path)


def test_patience_with_a_full_disk_ends_with_an_error(small_disk, serve):
    """The server continues once there is room, without a restart and after one."""
    path = small_disk / "rows.sqlite3"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1024 * 1024))
    server = serve("--file", path, "--patience", "1")
    asker = Asker(server)
    message = asker.ask_until_refused("disk is full")
    assert "nothing was stored" in message and str(path) in message
    assert "the disk is full" in server.log
    asker.check(path)
    asker.ask_until_refused("disk is full")
    ballast.unlink()
    asker.check_continues(path)
    server.kill()
    server.start()
    assert set(asker.given.items()) <= rows(path)


def test_a_server_starts_on_a_full_disk_if_its_database_exists(small_disk, serve):
    """Known content is answered. Without a database the start fails with a clear message."""
    path = small_disk / "rows.sqlite3"
    server = serve("--file", path)
    asker = Asker(server)
    asker.ask("known")
    server.kill()
    with contextlib.suppress(OSError), open(small_disk / "ballast", "wb", 0) as ballast:
        while True:
            ballast.write(bytes(4096))
    server.start()
    asker.client = server.client()
    asker.check(path)
    words = ("--file", small_disk / "other.sqlite3", "--port", free_port())
    other = run_prservd(*words, cwd=small_disk.parent)
    assert other.returncode == 1 and "disk is full" in other.stderr


@pytest.mark.skipif(bool(SANITIZER), reason="sanitizers want to be loaded first")
@pytest.mark.parametrize(
    "call, code",
    [("FAIL_WRITE", errno.EDQUOT), ("FAIL_SYNC", errno.ENOSPC)],
    ids=["quota", "sync"],
)
def test_new_content_waits_for_room_of_other_kinds(serve, tmp_path, call, code):
    """A full quota, and space that a file system finds missing only at a sync."""
    server, fault = start_with_fault(serve, tmp_path, call)
    fault.write_text(str(code))
    with asking(server, *M4, "waits") as answers:
        poll(lambda: "the disk is full" in server.log, "the warning")
        assert server.get_pr(*M4, "known") == "0"
        assert not answers
        fault.unlink()
    assert answers == ["1"]


@pytest.mark.skipif(bool(SANITIZER), reason="sanitizers want to be loaded first")
@pytest.mark.parametrize("call", ["FAIL_WRITE", "FAIL_SYNC"])
def test_a_disk_that_fails_is_an_error_at_once(serve, tmp_path, call):
    server, fault = start_with_fault(serve, tmp_path, call)
    fault.write_text(str(errno.EIO))
    with pytest.raises(Refused, match="disk I/O error"):
        server.get_pr(*M4, "refused")
    assert "disk I/O error" in server.log
    assert server.get_pr(*M4, "known") == "0"
    fault.unlink()
    assert server.get_pr(*M4, "after") == "1"


def test_a_file_at_its_size_limit_is_an_error(server):
    path = server.folder / "prserv.sqlite3"
    limits = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (LIMIT, limits[1]))
    asker = Asker(server)
    message = asker.ask_until_refused("can't write to")
    assert path.name in message
    asker.check(path)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, limits)
    asker.check_continues(path)


def damage(server, path):
    """Overwrites everything after the first page, as a disk does: the time of writing stays. The
    server must not see the time in between."""
    with paused(server):
        damage_pages(path)


def damage_pages(path):
    status = path.stat()
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(b"\xee" * (status.st_size - 4096))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_damaged_database_ends_an_export(serve, tmp_path):
    path = tmp_path / "rows.db"
    make_large_database(path, 100_000)
    server = serve("--file", path)
    with server.client() as client:
        client.post({"export": {"history": True}})
        poll(lambda: client.unread_bytes(), "the answer")
        damage(server, path)
        with pytest.raises(EOFError):
            client.receive()
    assert "An export broke off: " in server.log


def test_a_damaged_database_is_an_error_before_the_upstream_is_asked(serve, tmp_path):
    """With history, known content need not be asked of the upstream."""
    path = tmp_path / "rows.db"
    make_large_database(path, 5000)
    with FakeUpstream(uval="1") as upstream:
        server = serve("--file", path, "--upstream", upstream.address)
        damage(server, path)
        with pytest.raises(Refused, match="malformed"):
            server.get_pr("p4-1.0-r0", "core2-64", "new", history=True)
        assert not upstream.requests


@pytest.mark.skipif(bool(SANITIZER), reason="sanitizers want to be loaded first")
def test_a_start_syncs_folders_that_a_killed_one_created(serve, tmp_path):
    """That start was killed after it had created `there`, before the folder was durable."""
    preload = BUILD / "tests" / "preload" / "libnote_sync.so"
    assert preload.exists()
    notes = tmp_path / "notes"
    folder = tmp_path / "there" / "new" / "newer"
    folder.parent.parent.mkdir()
    environment = {"LD_PRELOAD": str(preload), "NOTE_SYNC": str(notes)}
    server = serve("--file", folder / "rows.db", environment=environment)
    synced = notes.read_text().splitlines()
    for holder in tmp_path, tmp_path / "there", tmp_path / "there" / "new":
        assert str(holder) in synced
    assert server.get_pr(*M4, "a") == "0"
