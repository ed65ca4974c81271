"""The promises that BitBake's own server breaks: one test for each finding."""

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

from harness import BUILD, PATIENCE, SANITIZER, Client, Refused, poll, run_prservd
from postgres import both_kinds

PACKAGE = ("m4-1.4.19-r0", "core2-64")
WORDS = ("version", "pkgarch", "checksum")
HOLD_SYNC = BUILD / "tests" / "preload" / "libhold_sync.so"

needs_preload = pytest.mark.skipif(
    bool(SANITIZER), reason="sanitizers want to be loaded first"
)


@pytest.fixture
def upstream(serve):
    return serve(folder="upstream")


@pytest.fixture
def local(serve, upstream):
    """A server on top of upstream."""
    return serve("--upstream", upstream.address, folder="local")


def new_content(server, count, first=0):
    """Asks for contents that nobody has seen, one after the other."""
    with server.client() as client:
        return [
            client.get_pr(*PACKAGE, f"content {number}")
            for number in range(first, first + count)
        ]


def import_values(server, *values):
    """Gives each value to a content of its name."""
    with server.client() as client:
        for value in values:
            client.import_one(*PACKAGE, f"content of {value}", value)


@both_kinds
def test_F1_ten_is_more_than_nine(server):
    """The latest content keeps its revision 10, and no answer goes down."""
    assert new_content(server, 11) == [str(number) for number in range(11)]
    assert server.get_pr(*PACKAGE, "content 10") == "10"
    assert server.get_pr(*PACKAGE, "content 9") == "11"
    assert server.get_pr(*PACKAGE, "content 10") == "12"


@both_kinds
def test_F2_a_prefix_is_smaller(serve):
    """1 < 1.0, in whatever order the rows came."""
    for folder, values in ("shorter first", ["1", "1.0"]), ("last", ["1.0", "1"]):
        server = serve(folder=folder)
        import_values(server, *values)
        with server.client() as client:
            assert client.max_pr(*PACKAGE) == "1.0"
            exported = client.export(history=False)["datainfo"]
            assert [row["value"] for row in exported] == ["1.0"]
            assert client.get_pr(*PACKAGE, "content of 1.0") == "1.0"
            assert client.get_pr(*PACKAGE, "new content") == "1.1"


@both_kinds
def test_F3_what_upstream_does_not_know_follows_local_rules(local):
    """A package that exists only here counts 0, 1, 2, on one connection."""
    assert new_content(local, 3) == ["0", "1", "2"]


@both_kinds
def test_F4_new_content_gets_more_than_was_given_here(upstream, local):
    """Where lmax is greater than umax, new content gets increase(lmax)."""
    import_values(upstream, "1")
    assert new_content(local, 2) == ["1.0", "1.1"]
    import_values(local, "3")
    assert new_content(local, 1, first=2) == ["4"]


@both_kinds
def test_F5_content_of_upstream_is_raised_above_what_was_given_here(upstream, local):
    """Content that upstream knows never gets less than was given here."""
    import_values(upstream, "0", "1")
    assert local.get_pr(*PACKAGE, "new content") == "1.0"
    assert local.get_pr(*PACKAGE, "content of 1") == "1.1"
    assert local.get_pr(*PACKAGE, "content of 0") == "1.2"
    import_values(local, "7")
    import_values(upstream, "7")
    assert local.get_pr(*PACKAGE, "content of 1") == "8"


@both_kinds
def test_F6_upstream_is_asked_in_the_same_mode(serve, upstream):
    """With history a checksum gets upstream's smallest value, else its largest."""
    with upstream.client() as client:
        for value in ("2", "5", "10"):
            client.import_one(*PACKAGE, "checksum", value)
    with_history = serve("--upstream", upstream.address, folder="with history")
    without = serve("--upstream", upstream.address, folder="without")
    assert with_history.get_pr(*PACKAGE, "checksum", history=True) == "2"
    assert without.get_pr(*PACKAGE, "checksum", history=False) == "10"


@both_kinds
def test_F7_an_export_without_history_holds_the_greatest_number(server):
    """Of 0 to 10 it is 10 that is exported."""
    new_content(server, 11)
    with server.client() as client:
        for arguments in ({"history": False}, {}):
            (row,) = client.export(**arguments)["datainfo"]
            assert (row["checksum"], row["value"]) == ("content 10", "10")


@both_kinds
def test_F8_two_servers_on_one_database_give_no_value_twice(serve, new_database):
    """Whoever is asked, each content gets a value of its own, and nobody an error."""
    database = new_database()
    servers = [serve("--file", database, folder=f"server-{n}") for n in range(2)]
    each = 25

    def ask(worker):
        return new_content(servers[worker % 2], each, first=worker * each)

    with ThreadPoolExecutor(4) as pool:
        values = [value for answers in pool.map(ask, range(4)) for value in answers]
    assert sorted(values, key=int) == [str(number) for number in range(4 * each)]


def start_with_sync_held(serve, tmp_path, *options):
    """A server with a WAL under way that can't sync from now on."""
    assert HOLD_SYNC.exists()
    hold = tmp_path / "hold"
    environment = {"LD_PRELOAD": str(HOLD_SYNC), "HOLD_SYNC": str(hold)}
    server = serve(*options, environment=environment)
    assert server.get_pr(*PACKAGE, "content before") == "0"
    hold.touch()
    return server, hold


def has_answer(client):
    return bool(select.select([client.socket], [], [], 0)[0])


@needs_preload
def test_F9_an_answer_is_sent_when_its_row_is_durable(serve, tmp_path):
    """While the disk has not said that the row is there, nor does the server."""
    server, hold = start_with_sync_held(serve, tmp_path)
    waiting = tmp_path / "hold.waiting"
    request = dict(zip(WORDS, (*PACKAGE, "content")))
    try:
        with server.client() as client, server.client() as other:
            client.post({"get-pr": request})
            poll(waiting.exists, "the sync")
            # What had been ready to be sent would be sent before these answers.
            assert other.test_pr(*PACKAGE, "content before") == "0"
            assert other.ask({"ping": {}}) == {"alive": True}
            assert not has_answer(client)
            assert waiting.exists()
            hold.unlink()
            assert client.receive() == {"value": "1"}
    finally:
        hold.unlink(missing_ok=True)


@needs_preload
def test_F9_sync_off_waits_for_no_disk(serve, tmp_path):
    """--sync off trades that for speed: the answer comes without a sync."""
    server, hold = start_with_sync_held(serve, tmp_path, "--sync", "off")
    try:
        assert server.get_pr(*PACKAGE, "content") == "1"
        assert not (tmp_path / "hold.waiting").exists()
    finally:
        hold.unlink()


def refusal(client, message):
    """What the server says to a message that it refuses."""
    client.send(message)
    return client.receive()["invoke-error"]["message"]


def test_F10_what_is_wrong_is_said(serve):
    """Upstream unreachable, missing argument, malformed message: an invoke-error."""
    with socket.socket() as nobody:  # bound, and not listening
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        local = serve("--upstream", address, folder="local")
        with local.client() as client:
            with pytest.raises(Refused, match=re.escape(address)):
                client.get_pr(*PACKAGE, "checksum")
            without = {"version": PACKAGE[0], "checksum": "checksum"}
            with pytest.raises(Refused, match="pkgarch"):
                client.ask({"get-pr": without})
            assert "no-such-request" in refusal(client, b'{"no-such-request": {}}\n')
            assert client.ask({"ping": {}}) == {"alive": True}
            assert refusal(client, b"{this is no JSON\n")
            assert client.is_closed()


@both_kinds
def test_F11_history_absent_is_false(server):
    """BitBake 2.8 and older never send it, and are served without history."""
    with server.client() as client:

        def ask(request, checksum):
            arguments = dict(zip(WORDS, (*PACKAGE, checksum)))
            return client.ask({request: arguments})["value"]

        assert [ask("get-pr", checksum) for checksum in "aba"] == ["0", "1", "2"]
        assert ask("test-pr", "a") == "2"


@both_kinds
def test_F12_import_refuses_what_is_no_revision(server):
    """Such text is not stored, and the package goes on as before."""
    with server.client() as client:
        assert client.get_pr(*PACKAGE, "a") == "0"
        for text in "", "abc", "1.", ".1", "1..2", "1.a", "-1", "+1", " 1", "007":
            with pytest.raises(Refused, match="value"):
                client.import_one(*PACKAGE, "b", text)
        assert client.test_pr(*PACKAGE, "b") is None
        exported = client.export(history=True)["datainfo"]
        assert [row["value"] for row in exported] == ["0"]
        assert client.get_pr(*PACKAGE, "b") == "1"


def test_F13_a_database_of_older_bitbakes_is_taken_over(serve, tmp_path):
    """What was counted in PRMAIN_nohist goes on, and does not start at 0."""
    database = tmp_path / "prserv.sqlite3"
    with closing(sqlite3.connect(database)) as legacy:
        legacy.execute(
            "CREATE TABLE PRMAIN_nohist (version TEXT, pkgarch TEXT, checksum TEXT, "
            "value INTEGER, PRIMARY KEY (version, pkgarch, checksum))"
        )
        rows = [(*PACKAGE, f"content {value}", value) for value in range(11)]
        legacy.executemany("INSERT INTO PRMAIN_nohist VALUES (?, ?, ?, ?)", rows)
        legacy.commit()
    server = serve("--file", database)
    assert server.get_pr(*PACKAGE, "content 10") == "10"
    assert server.get_pr(*PACKAGE, "content 3", history=True) == "3"
    assert server.get_pr(*PACKAGE, "new content") == "11"


class Daemon:
    """A server that --start put into the background; it is ended with the test."""

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
        """The log says where, a moment after --start has returned."""
        host, port = poll(lambda: self.addresses, "the address in the log")[-1]
        return Client((host, int(port)))


@pytest.fixture
def daemon(tmp_path):
    daemon = Daemon(tmp_path)
    yield daemon
    daemon.stop()


def test_F14_a_connected_client_keeps_no_server_from_ending(daemon):
    """On SIGTERM it exits, whoever is connected: --stop waits until it is gone."""
    assert daemon.start().returncode == 0
    with daemon.client() as idle, daemon.client() as asking:
        assert idle.ask({"ping": {}}) == {"alive": True}
        assert asking.get_pr(*PACKAGE, "checksum") == "0"
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
def test_F14_what_was_read_is_answered(serve, tmp_path):
    """Requests that were read before SIGTERM get their answers, then it exits."""
    server, hold = start_with_sync_held(serve, tmp_path)
    requests = [
        dict(zip(WORDS, (*PACKAGE, f"content {number}"))) for number in range(1, 40)
    ]
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
        assert server.process.wait(PATIENCE) == 0
    finally:
        hold.unlink(missing_ok=True)


def test_F15_start_reports_success_when_it_serves(daemon):
    """When --start has returned 0, clients are served."""
    started = daemon.start()
    assert (started.returncode, started.stderr) == (0, "")
    with daemon.client() as client:
        assert client.get_pr(*PACKAGE, "checksum") == "0"
    assert daemon.stop().returncode == 0


def test_F15_start_reports_a_database_that_it_cannot_open(daemon):
    """One clear line, exit status 1, and nothing is left running or behind."""
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
def test_F15_a_stale_pid_file_is_recognised(daemon, content):
    """A pid file that nobody holds keeps no server from starting."""
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
