# SPDX-License-Identifier: MIT
"""FILE-audit beside an SQLite database: removed, renamed, damaged, shared, not writable. Whatever
happens to it, requests are answered."""

import contextlib
import os
import sqlite3

import pytest

from bitbake_database import make_legacy
from harness import SANITIZER, poll
from rows import M4


def audit_of(path):
    return path.with_name(path.name + "-audit")


def records(path):
    """Returns the checksums in an audit log that servers may be writing."""
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as database:
        try:
            rows = database.execute("SELECT checksum FROM revision ORDER BY id")
            return [checksum for (checksum,) in rows]
        except sqlite3.DatabaseError:  # no table yet, or damaged
            return []


def wait_for(path, *checksums):
    poll(
        lambda: path.exists() and set(checksums) <= set(records(path)),
        f"{checksums} in {path}",
    )


@pytest.fixture
def server(serve, path):
    return serve("--file", path)


def ask(server, checksum):
    assert server.get_pr(*M4, checksum).isdigit()


def test_a_removed_audit_log_is_begun_anew(server, path):
    ask(server, "a")
    wait_for(audit_of(path), "a")
    audit_of(path).unlink()
    ask(server, "b")
    wait_for(audit_of(path), "b")
    assert records(audit_of(path)) == ["b"]
    assert "WARNING" not in server.log


def test_a_renamed_audit_log_is_complete(server, path):
    ask(server, "a")
    wait_for(audit_of(path), "a")
    old = audit_of(path).rename(path.parent / "old")
    ask(server, "b")
    wait_for(audit_of(path), "b")
    assert records(old) == ["a"] and records(audit_of(path)) == ["b"]
    assert not list(path.parent.glob("*-journal"))


def test_the_audit_log_of_a_running_server_can_be_rotated_again_and_again(serve, path):
    """Two servers share it; no record is in two files or in none."""
    servers = [serve("--file", path, folder=f"s{n}") for n in range(2)]
    asked = []
    for round in range(4):
        for n, server in enumerate(servers):
            asked.append(f"{round}-{n}")
            ask(server, asked[-1])
        wait_for(audit_of(path), *asked[-2:])
        audit_of(path).rename(path.parent / f"old{round}")
    found = [c for old in sorted(path.parent.glob("old*")) for c in records(old)]
    assert sorted(found) == sorted(asked)


def test_two_servers_share_an_audit_log(serve, path):
    servers = [serve("--file", path, folder=f"s{n}") for n in range(2)]
    for n in range(20):
        ask(servers[n % 2], f"c{n}")
    wait_for(audit_of(path), *[f"c{n}" for n in range(20)])
    log = servers[0].ask({"get-log": {}})["log"]
    assert {r["checksum"] for r in log} == {f"c{n}" for n in range(20)}


def test_a_damaged_audit_log_is_put_aside(server, path):
    ask(server, "a")
    wait_for(audit_of(path), "a")
    with open(audit_of(path), "r+b") as file:
        file.write(os.urandom(8192))
    ask(server, "b")
    wait_for(audit_of(path), "b")
    assert len(list(path.parent.glob("*-audit-damaged-*"))) == 1
    assert server.log.count("is damaged: it was renamed to") == 1


def test_a_file_that_is_not_an_audit_log_is_left_alone(serve, path):
    with contextlib.closing(sqlite3.connect(audit_of(path))) as database:
        database.execute("CREATE TABLE mine (x)")
    server = serve("--file", path)
    ask(server, "a")
    poll(lambda: "is not an audit log" in server.log, "the warning")
    ask(server, "b")
    with contextlib.closing(sqlite3.connect(audit_of(path))) as database:
        assert list(database.execute("SELECT name FROM sqlite_master")) == [("mine",)]
    audit_of(path).unlink()
    wait_for(audit_of(path), "a", "b")


def test_a_locked_audit_log_delays_no_answer(server, path):
    ask(server, "a")
    wait_for(audit_of(path), "a")
    with contextlib.closing(sqlite3.connect(audit_of(path))) as database:
        database.execute("BEGIN EXCLUSIVE")
        ask(server, "b")
        poll(lambda: "database is locked" in server.log, "the warning")
        ask(server, "c")
        database.rollback()
    wait_for(audit_of(path), "b", "c")
    poll(lambda: "The audit log is written again; 0 records" in server.log)
    assert server.log.count("WARNING") == 1


def test_an_audit_log_that_can_not_be_opened_costs_records_alone(serve, path):
    audit_of(path).mkdir()
    server = serve("--file", path)
    ask(server, "a")
    poll(lambda: "can't use the audit log" in server.log, "the warning")
    ask(server, "b")
    audit_of(path).rmdir()
    wait_for(audit_of(path), "a", "b")
    assert server.log.count("WARNING") == 1


def test_a_full_disk_costs_records_of_the_audit_log_alone(small_disk, serve, tmp_path):
    """Here the audit log has a disk of its own: a link leads to it."""
    path = tmp_path / "rows.sqlite3"
    audit_of(path).symlink_to(small_disk / "audit")
    server = serve("--file", path)
    ask(server, "a")
    wait_for(audit_of(path), "a")
    ballast = small_disk / "ballast"
    with contextlib.suppress(OSError), open(ballast, "wb", 0) as file:
        while True:
            file.write(bytes(4096))
    for n in range(40):
        ask(server, f"{n}-{'x' * 4000}")
    poll(lambda: "can't use the audit log" in server.log, "the warning")
    ask(server, "b")
    ballast.unlink()
    wait_for(audit_of(path), "b")
    assert server.log.count("WARNING") == 1


def test_a_stop_writes_what_was_noted(server, path):
    for n in range(50):
        ask(server, f"c{n}")
    server.stop()
    assert set(records(audit_of(path))) == {f"c{n}" for n in range(50)}


def test_a_kill_loses_seconds_at_most_and_damages_nothing(server, path):
    ask(server, "a")
    wait_for(audit_of(path), "a")
    for n in range(200):
        ask(server, f"c{n}")
    server.kill()
    server.start()
    ask(server, "b")
    wait_for(audit_of(path), "a", "b")
    with contextlib.closing(sqlite3.connect(audit_of(path))) as database:
        assert list(database.execute("PRAGMA integrity_check")) == [("ok",)]
    assert not list(path.parent.glob("*-damaged-*"))


def test_a_read_only_server_reads_and_never_writes(serve, path):
    reader = serve("--file", path, "--read-only", folder="reader")
    assert reader.ask({"get-log": {}})["log"] == []
    assert not audit_of(path).exists()
    server = serve("--file", path)
    ask(server, "a")
    wait_for(audit_of(path), "a")
    server.stop()
    before = audit_of(path).stat().st_mtime_ns
    (record,) = reader.ask({"get-log": {}})["log"]
    assert record["checksum"] == "a" and "peer" not in record
    reader.get_pr(*M4, "a")
    reader.stop()
    assert audit_of(path).stat().st_mtime_ns == before


def test_a_take_over_is_one_record(serve, path):
    make_legacy(path)
    server = serve("--file", path)
    log = poll(lambda: server.ask({"get-log": {}})["log"], "the record")
    assert [r["request"] for r in log] == ["takeover"]
    assert int(log[0]["value"]) > 1 and log[0]["version"] == ""


def test_old_records_are_removed(serve, path):
    server = serve("--file", path)
    for n in range(3):
        ask(server, f"c{n}")
    for n in range(3):  # again, with history: nothing is stored
        assert server.get_pr(*M4, f"c{n}", history=True) == str(n)
    wait_for(audit_of(path), "c0", "c1", "c2")
    server.stop()
    with contextlib.closing(sqlite3.connect(audit_of(path))) as database:
        old = "time_us = time_us - 2 * 86400 * 1000000 WHERE id <= 2"
        database.execute(f"UPDATE revision SET {old}")
        database.execute("UPDATE content SET last_us = 1 WHERE checksum = 'c0'")
        database.commit()
    server = serve("--file", path, "--audit-keep", "1")
    poll(lambda: records(audit_of(path)) == ["c2"], "the old records' end")
    with contextlib.closing(sqlite3.connect(audit_of(path))) as database:
        contents = {c for (c,) in database.execute("SELECT checksum FROM content")}
        (n_revisions,) = database.execute("SELECT n_revisions FROM package").fetchone()
    assert contents == {"c1", "c2"} and n_revisions == 1


@pytest.mark.slow
def test_memory_is_bounded_while_nothing_can_be_written(server, path):
    ask(server, "a")
    wait_for(audit_of(path), "a")
    with contextlib.closing(sqlite3.connect(audit_of(path))) as database:
        database.execute("BEGIN EXCLUSIVE")
        with server.client() as client:
            for n in range(240):
                client.import_one(f"p{n}", "all", f"{n}" + "x" * 250_000, "1")
            dropped = client.ask({"get-stats": {}})["audit"]["dropped"]
        assert dropped > 0
        if not SANITIZER:
            status = open(f"/proc/{server.process.pid}/status").read()
            peak_kb = int(status.split("VmHWM:")[1].split()[0])
            assert peak_kb < 200_000, status
        database.rollback()
    poll(lambda: "records are missing in it" in server.log, "the end")
