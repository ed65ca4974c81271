# SPDX-License-Identifier: MIT
"""Faults of BitBake's own server that prservd does not have (F1 to F15 of doc/semantics.md)."""

import json
import os
import re
import select
import signal
import socket
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from harness import (
    BUILD,
    TIMEOUT_S,
    Client,
    Refused,
    needs_preload,
    poll,
    run_prservd,
)
from postgres_cluster import both_kinds
from rows import M4

WORDS = ("version", "pkgarch", "checksum")
HOLD_SYNC = BUILD / "tests" / "preload" / "libhold_sync.so"


@pytest.fixture
def upstream(serve):
    return serve(folder="upstream")


@pytest.fixture
def local(serve, upstream):
    """A server with this upstream."""
    return serve("--upstream", upstream.address, folder="local")


def new_content(server, count, first=0):
    """Asks for new contents one after the other, and returns their values."""
    with server.client() as client:
        return [
            client.get_pr(*M4, f"content {number}")
            for number in range(first, first + count)
        ]


def import_values(server, *values):
    """Imports each value for a content named after it."""
    with server.client() as client:
        for value in values:
            client.import_one(*M4, f"content of {value}", value)


@both_kinds
def test_revision_10_is_greater_than_revision_9(server):
    """F1: BitBake compares them as text, so that answers go down after the tenth revision."""
    assert new_content(server, 11) == [str(number) for number in range(11)]
    assert server.get_pr(*M4, "content 10") == "10"
    assert server.get_pr(*M4, "content 9") == "11"
    assert server.get_pr(*M4, "content 10") == "12"


@both_kinds
def test_1_is_smaller_than_1_0_in_any_order_of_rows(serve):
    """F2: BitBake finds both 1 > 1.0 and 1.0 > 1."""
    for folder, values in ("shorter first", ["1", "1.0"]), ("last", ["1.0", "1"]):
        server = serve(folder=folder)
        import_values(server, *values)
        with server.client() as client:
            assert client.max_pr(*M4) == "1.0"
            exported = client.export(history=False)["datainfo"]
            assert [row["value"] for row in exported] == ["1.0"]
            assert client.get_pr(*M4, "content of 1.0") == "1.0"
            assert client.get_pr(*M4, "new content") == "1.1"


@both_kinds
def test_a_package_that_the_upstream_lacks_counts_locally(local):
    """F3: BitBake closes the connection at the second request for such a package."""
    assert new_content(local, 3) == ["0", "1", "2"]


@both_kinds
def test_new_content_gets_more_than_any_local_revision(upstream, local):
    """F4: BitBake answers umax.y although a greater revision was given here."""
    import_values(upstream, "1")
    assert new_content(local, 2) == ["1.0", "1.1"]
    import_values(local, "3")
    assert new_content(local, 1, first=2) == ["4"]


@both_kinds
def test_content_of_the_upstream_is_raised_above_local_revisions(upstream, local):
    """F5: BitBake answers uval although a revision as great or greater was given here."""
    import_values(upstream, "0", "1")
    assert local.get_pr(*M4, "new content") == "1.0"
    assert local.get_pr(*M4, "content of 1") == "1.1"
    assert local.get_pr(*M4, "content of 0") == "1.2"
    import_values(local, "7")
    import_values(upstream, "7")
    assert local.get_pr(*M4, "content of 1") == "8"


@both_kinds
def test_the_upstream_is_asked_in_the_mode_of_the_request(serve, upstream):
    """F6: With history, BitBake asks the upstream for the greatest revision, not the first one."""
    with upstream.client() as client:
        for value in ("2", "5", "10"):
            client.import_one(*M4, "checksum", value)
    with_history = serve("--upstream", upstream.address, folder="with history")
    without = serve("--upstream", upstream.address, folder="without")
    assert with_history.get_pr(*M4, "checksum", history=True) == "2"
    assert without.get_pr(*M4, "checksum", history=False) == "10"


@both_kinds
def test_an_export_without_history_holds_the_greatest_number(server):
    """F7: BitBake exports 9 instead of 10."""
    new_content(server, 11)
    with server.client() as client:
        for arguments in ({"history": False}, {}):
            (row,) = client.export(**arguments)["datainfo"]
            assert (row["checksum"], row["value"]) == ("content 10", "10")


@both_kinds
def test_two_servers_on_one_database_never_give_a_value_twice(serve, new_database):
    """F8: BitBake gives one value to two checksums, or fails with "database is locked"."""
    database = new_database()
    servers = [serve("--file", database, folder=f"server-{n}") for n in range(2)]
    each = 25

    def ask(worker):
        return new_content(servers[worker % 2], each, first=worker * each)

    with ThreadPoolExecutor(4) as pool:
        values = [value for answers in pool.map(ask, range(4)) for value in answers]
    assert sorted(values, key=int) == [str(number) for number in range(4 * each)]


def start_with_sync_held(serve, tmp_path, *options):
    """Starts a server that has a WAL, and lets its syncs block from now on."""
    assert HOLD_SYNC.exists()
    hold = tmp_path / "hold"
    environment = {"LD_PRELOAD": str(HOLD_SYNC), "HOLD_SYNC": str(hold)}
    server = serve(*options, environment=environment)
    assert server.get_pr(*M4, "content before") == "0"
    hold.touch()
    return server, hold


def has_answer(client):
    return bool(select.select([client.socket], [], [], 0)[0])


@needs_preload
def test_an_answer_is_sent_only_after_its_row_is_durable(serve, tmp_path):
    """F9: BitBake answers before the row is on the disk: a power cut can lose it."""
    server, hold = start_with_sync_held(serve, tmp_path)
    waiting = tmp_path / "hold.waiting"
    request = dict(zip(WORDS, (*M4, "content")))
    try:
        with server.client() as client, server.client() as other:
            client.post({"get-pr": request})
            poll(waiting.exists, "the sync")
            # An answer that was ready would have been sent before these.
            assert other.test_pr(*M4, "content before") == "0"
            assert other.ask({"ping": {}}) == {"alive": True}
            assert not has_answer(client)
            assert waiting.exists()
            hold.unlink()
            assert client.receive() == {"value": "1"}
    finally:
        hold.unlink(missing_ok=True)


@needs_preload
def test_with_sync_off_an_answer_does_not_wait_for_the_disk(serve, tmp_path):
    """F9: With --sync off, prservd does as BitBake does."""
    server, hold = start_with_sync_held(serve, tmp_path, "--sync", "off")
    try:
        assert server.get_pr(*M4, "content") == "1"
        assert not (tmp_path / "hold.waiting").exists()
    finally:
        hold.unlink()


def refusal(client, message):
    """Returns the error message for a message that is refused."""
    client.send(message)
    return client.receive()["invoke-error"]["message"]


def test_errors_say_what_is_wrong(serve):
    """F10: BitBake drops the connection without an answer."""
    with socket.socket() as nobody:  # bound but not listening
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        local = serve("--upstream", address, "--patience", "0", folder="local")
        with local.client() as client:
            with pytest.raises(Refused, match=re.escape(address)):
                client.get_pr(*M4, "checksum")
            without = {"version": M4[0], "checksum": "checksum"}
            with pytest.raises(Refused, match="pkgarch"):
                client.ask({"get-pr": without})
            assert "no-such-request" in refusal(client, b'{"no-such-request": {}}\n')
            assert client.ask({"ping": {}}) == {"alive": True}
            assert refusal(client, b"{this is no JSON\n")
            assert client.is_closed()


@both_kinds
def test_a_request_without_history_means_false(server):
    """F11: BitBake drops the connections of BitBake 2.8 and older, which never send it."""
    with server.client() as client:

        def ask(request, checksum):
            arguments = dict(zip(WORDS, (*M4, checksum)))
            return client.ask({request: arguments})["value"]

        assert [ask("get-pr", checksum) for checksum in "aba"] == ["0", "1", "2"]
        assert ask("test-pr", "a") == "2"


@both_kinds
def test_import_refuses_a_value_that_is_not_a_revision(server):
    """F12: BitBake stores any text, after which get-pr for the package fails for good."""
    with server.client() as client:
        assert client.get_pr(*M4, "a") == "0"
        for text in "", "abc", "1.", ".1", "1..2", "1.a", "-1", "+1", " 1", "007":
            with pytest.raises(Refused, match="value"):
                client.import_one(*M4, "b", text)
        assert client.test_pr(*M4, "b") is None
        exported = client.export(history=True)["datainfo"]
        assert [row["value"] for row in exported] == ["0"]
        assert client.get_pr(*M4, "b") == "1"


def test_a_database_of_an_older_bitbake_is_taken_over(serve, tmp_path):
    """F13: BitBake ignores PRMAIN_nohist, and every package starts at 0 again."""
    database = tmp_path / "prserv.sqlite3"
    with closing(sqlite3.connect(database)) as legacy:
        legacy.execute(
            "CREATE TABLE PRMAIN_nohist (version TEXT, pkgarch TEXT, checksum TEXT, "
            "value INTEGER, PRIMARY KEY (version, pkgarch, checksum))"
        )
        rows = [(*M4, f"content {value}", value) for value in range(11)]
        legacy.executemany("INSERT INTO PRMAIN_nohist VALUES (?, ?, ?, ?)", rows)
        legacy.commit()
    server = serve("--file", database)
    assert server.get_pr(*M4, "content 10") == "10"
    assert server.get_pr(*M4, "content 3", history=True) == "3"
    assert server.get_pr(*M4, "new content") == "11"


class Daemon:
    """A server started with --start."""

    def __init__(self, folder, database="rows.sqlite3"):
        self.folder = folder
        self.pidfile = folder / "prservd.pid"
        self.log = folder / "prserv.log"
        address = ["--host", "127.0.0.1", "--port", "0"]
        self.options = [*address, "--pidfile", self.pidfile]
        self.database = database

    def start(self):
        return run_prservd(
            "--start", "--file", self.database, *self.options, cwd=self.folder
        )

    def stop(self):
        return run_prservd("--stop", *self.options, cwd=self.folder)

    @property
    def addresses(self):
        return re.findall(r"Listening on (\S+):(\d+)\n", self.log.read_text())

    def client(self):
        """Connects to the address in the log, which may be written after --start returns."""
        host, port = poll(lambda: self.addresses, "the address in the log")[-1]
        return Client((host, int(port)))


@pytest.fixture
def daemon(tmp_path):
    daemon = Daemon(tmp_path)
    yield daemon
    daemon.stop()


def test_a_server_with_connected_clients_ends_on_sigterm(daemon):
    """F14: BitBake does not exit while a client is connected."""
    assert daemon.start().returncode == 0
    with daemon.client() as idle, daemon.client() as asking:
        assert idle.ask({"ping": {}}) == {"alive": True}
        assert asking.get_pr(*M4, "checksum") == "0"
        stopped = daemon.stop()
        assert stopped.returncode == 0, stopped.stderr
        assert not daemon.pidfile.exists()
        assert idle.is_closed()
        assert asking.is_closed()


def accepts(server):
    try:
        socket.create_connection(("127.0.0.1", server.port)).close()
    except OSError:
        return False
    return True


@needs_preload
def test_requests_that_were_read_are_answered_before_the_end(serve, tmp_path):
    """F14: After SIGTERM, prservd answers what it has read, and exits."""
    server, hold = start_with_sync_held(serve, tmp_path)
    requests = [dict(zip(WORDS, (*M4, f"content {number}"))) for number in range(1, 40)]
    try:
        with server.client() as client:
            client.send(
                b"".join(
                    json.dumps({"get-pr": request}).encode() + b"\n"
                    for request in requests
                )
            )
            poll((tmp_path / "hold.waiting").exists, "the sync")
            server.process.send_signal(signal.SIGTERM)
            poll(lambda: not accepts(server), "the end of accepting")
            hold.unlink()
            for number in range(1, 40):
                assert client.receive() == {"value": str(number)}
            assert client.is_closed()
        assert server.process.wait(TIMEOUT_S) == 0
    finally:
        hold.unlink(missing_ok=True)


def test_start_succeeds_only_once_clients_are_served(daemon):
    """F15: BitBake reports success before it serves."""
    started = daemon.start()
    assert (started.returncode, started.stderr) == (0, "")
    with daemon.client() as client:
        assert client.get_pr(*M4, "checksum") == "0"
    assert daemon.stop().returncode == 0


def test_start_reports_a_database_that_cannot_be_opened(daemon):
    """F15: BitBake reports success; prservd prints one line and exits with 1."""
    database = daemon.folder / daemon.database
    database.write_bytes(b"This is no database, and must stay as it is.\n" * 100)
    before = database.read_bytes()
    started = daemon.start()
    assert started.returncode == 1
    (line,) = started.stderr.splitlines()
    assert daemon.database in line
    assert not daemon.pidfile.exists()
    assert daemon.stop().returncode == 1
    assert database.read_bytes() == before


@pytest.mark.parametrize("content", ["a living process", "a dead process", "", "x\n"])
def test_a_stale_pid_file_does_not_prevent_a_start(daemon, content):
    """F15: BitBake does not start while there is a stale pid file."""
    pids = {"a living process": f"{os.getpid()}\n", "a dead process": "999999999\n"}
    daemon.pidfile.write_text(pids.get(content, content))
    started = daemon.start()
    assert started.returncode == 0, started.stderr
    with daemon.client() as client:
        assert client.ask({"ping": {}}) == {"alive": True}
    again = daemon.start()
    assert again.returncode == 1
    assert "running" in again.stderr
    assert daemon.stop().returncode == 0
    assert not daemon.pidfile.exists()
