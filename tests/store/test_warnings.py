# SPDX-License-Identifier: MIT
"""What the log says of the database: at the start, and while clients wait or get errors."""

import os
import re
import sqlite3
from contextlib import closing

import pytest

from bitbake_database import make_legacy
from fake_upstream import reserve_port
from harness import QUICK, Refused, get_pr_request, needs_preload, poll
from rows import M4, ZIP, locked, make_large_database
from test_disk import damage
from test_slow_disk import SlowDisk

FIELDS = f" request=get-pr version={M4[0]} pkgarch={M4[1]}"


def errors(server):
    return [line for line in server.log.splitlines() if " ERROR " in line]


# ---- the start ----


def test_the_start_says_that_the_database_is_new_and_where(serve, tmp_path):
    server = serve("--file", "folder/rows.sqlite3")
    path = tmp_path / "server" / "folder" / "rows.sqlite3"
    says = f"The database {path} is new: every package starts at revision 0\n"
    assert says in server.log


def test_the_start_says_how_much_the_database_holds(serve):
    server = serve(*QUICK)
    path = server.folder / "prserv.sqlite3"
    with server.client() as client:
        for n in range(3):
            client.get_pr(*M4, f"{n}")
            client.get_pr(*ZIP, f"{n}")
    server.restart()
    assert f"The database {path} holds 2 packages (table PRMAIN)\n" in server.log
    assert "is new" not in server.log
    server.command.append("--read-only")
    server.restart()
    assert f"The database {path} holds 2 packages (table PRMAIN)\n" in server.log


def test_the_start_says_which_tables_were_found(serve, tmp_path):
    make_legacy(tmp_path / "old.sqlite3")
    server = serve("--file", tmp_path / "old.sqlite3", *QUICK)
    text = r"holds \d+ packages? \(table PRMAIN, which has the rows of tables of BitBake 2\.8"
    assert re.search(text, server.log)
    assert "is new" not in server.log


# ---- errors ----


@pytest.fixture
def damaged(serve, tmp_path):
    """A server whose database is damaged."""
    path = tmp_path / "rows.sqlite3"
    make_large_database(path, 5000)
    server = serve("--file", path)
    damage(server, path)
    return server


def test_each_error_of_the_database_is_in_the_log_with_its_request(damaged):
    requests = {
        "get-pr": get_pr_request(*ZIP, "new"),
        "test-pr": {"test-pr": {**get_pr_request(*ZIP, "none")["get-pr"]}},
        "export": {"export": {"history": True}},
    }
    with damaged.client() as client:
        host, port = client.socket.getsockname()
        for name, request in requests.items():
            with pytest.raises(Refused) as refused:
                client.ask(request)
            lines = [
                line for line in errors(damaged) if f" request={name} " in f"{line} "
            ]
            assert len(lines) == 1, name
            assert f"{refused.value} peer={host}:{port} " in lines[0]


def test_errors_that_repeat_are_counted(damaged):
    with damaged.client() as client:
        for n in range(40):
            with pytest.raises(Refused):
                client.test_pr(*ZIP, f"none-{n}")
    damaged.stop()
    assert sum("none-" in line for line in errors(damaged)) == 20
    assert "... and 20 more like it" in damaged.log


def test_an_upstream_that_is_down_is_in_the_log_with_each_request(serve):
    with reserve_port() as holder:
        address = "127.0.0.1:%d" % holder.getsockname()[1]
        server = serve("--upstream", address, "--patience", "0", *QUICK)
        with server.client() as client:
            for n in range(3):
                with pytest.raises(Refused):
                    client.get_pr(*M4, f"{n}")
    lines = [line for line in errors(server) if FIELDS in line]
    assert len(lines) == 3 and all("upstream" in line for line in lines)


def test_an_invalid_request_is_no_error_in_the_log(server):
    with server.client() as client:
        for request in ({"get-pr": {}}, {"nonsense": {}}):
            with pytest.raises(Refused):
                client.ask(request)
    assert errors(server) == []


def test_without_patience_each_error_is_in_the_log(serve, path):
    server = serve("--file", path, "--patience", "0")
    with server.client() as client, locked(path):
        for n in range(3):
            with pytest.raises(Refused, match="is locked by another process"):
                client.get_pr(*M4, "new")
    assert sum(FIELDS in line for line in errors(server)) == 3


# ---- locks ----


def test_the_log_names_the_process_that_holds_the_lock(serve, path):
    server = serve("--file", path)
    with server.client() as client:
        with locked(path):
            client.post(get_pr_request(*ZIP, "a"))
            waits = re.compile(
                rf"WARNING .* wait, for 90 s at most: the database {path} is locked by another "
                rf"process: \S.* \(process {os.getpid()}\)\n"
            )
            poll(lambda: waits.search(server.log), "the warning")
        assert client.receive() == {"value": "0"}
        poll(lambda: "no longer wait, after" in server.log, "the end")


# ---- commits ----


@needs_preload
def test_a_slow_commit_is_reported_while_it_runs_and_when_it_is_done(serve, tmp_path):
    disk = SlowDisk(serve, tmp_path)
    server = disk.server
    running = re.compile(
        r"WARNING .* A commit has been waiting for the disk for [5-9]\d* s; clients give up after "
        r"30 s; the kernel syncs \S+/prserv\.sqlite3-wal\n"
    )
    done = re.compile(
        r"WARNING .* The commit that waited for the disk is done, after \d+ s\n"
    )
    with server.client() as client:
        with disk.held(client, *M4, "new"):
            poll(lambda: running.search(server.log), "the warning")
            assert not done.search(server.log)
        assert client.receive() == {"value": "2"}
        poll(lambda: done.search(server.log), "the end")
    assert len(running.findall(server.log)) == 1


# ---- the WAL ----


def test_the_log_names_who_keeps_the_wal_growing(serve, path):
    server = serve("--file", path, "--max-message-bytes", "4000000", *QUICK)
    with server.client() as client, closing(sqlite3.connect(path)) as reader:
        client.get_pr(*M4, "first")
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM PRMAIN").fetchone() == (1,)
        for n in range(150):
            client.get_pr(*M4, f"{n:04}" * 250_000)
        grown = re.compile(
            rf"WARNING .* The WAL {path}-wal has grown to \d+ MB, because somebody has been "
            rf"reading from the database for long: \S.* \(process {os.getpid()}\)\n"
        )
        poll(lambda: grown.search(server.log), "the warning")
        assert len(grown.findall(server.log)) == 1
        reader.rollback()
