# SPDX-License-Identifier: MIT
"""prserv floor --from-audit: what an audit log remembers of a database that was lost."""

import contextlib
import json
import shutil
import sqlite3

from harness import poll
from postgres_cluster import both_kinds
from prserv_command import prserv_on
from rows import M4


def wait_for(server, n):
    poll(lambda: len(server.ask({"get-log": {}})["log"]) >= n, f"{n} records")


def test_a_restored_backup_is_raised_to_what_the_audit_log_has(serve, path, tmp_path):
    server = serve("--file", path)
    server.get_pr(*M4, "a")
    server.get_pr("kept-1-r0", "all", "a")
    server.stop()
    backup = tmp_path / "backup"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(f"VACUUM INTO '{backup}'")
    server.start()
    for checksum in "bcd":
        server.get_pr(*M4, checksum)
    server.get_pr("new-1-r0", "all", "a")
    wait_for(server, 6)
    server.stop()
    for name in ("", "-wal", "-shm"):
        path.with_name(path.name + name).unlink()
    shutil.copy(backup, path)
    server.start()
    assert server.ask({"get-stats": {}})["rollback"]
    audit = path.with_name(path.name + "-audit")
    done = prserv_on(server, "--json", "floor", "--from-audit", audit)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["raised"] == 2
    assert server.ask({"get-stats": {}})["rollback"] is None
    assert server.get_pr(*M4, "e") == "4"
    assert server.get_pr("new-1-r0", "all", "b") == "1"
    assert server.get_pr("kept-1-r0", "all", "b") == "1"
    again = prserv_on(server, "--json", "floor", "--from-audit", audit, "--margin", "5")
    assert json.loads(again.stdout)["raised"] == 0


@both_kinds
def test_another_server_is_raised(serve, kind, shared):
    source = serve("--file", shared)
    for checksum in "ab":
        source.get_pr(*M4, checksum)
    wait_for(source, 2)
    target = serve(folder="target")
    name = f"{shared}-audit" if kind == "sqlite" else shared
    done = prserv_on(target, "floor", "--from-audit", name, "--margin", "10")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 package raised to what the audit log has")
    assert target.get_pr(*M4, "a") == "12"


def test_what_is_no_audit_log_is_an_error(server, tmp_path):
    (tmp_path / "text").write_text("no database\n")
    for name in (tmp_path / "text", tmp_path / "missing"):
        done = prserv_on(server, "floor", "--from-audit", name)
        assert done.returncode == 2 and "audit log" in done.stderr, done
    for bad in (("--all",), ("--margin", "0"), ("a", "b", "1")):
        done = prserv_on(server, "floor", "--from-audit", tmp_path / "x", *bad)
        assert done.returncode == 2
