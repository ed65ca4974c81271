"""What seldom happens to a server, and to those who ask it: found by looking at what no other
test went through."""

import contextlib
import os
import resource
import signal
import socket
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest
from fake_upstream import FakeUpstream
from harness import Refused, Server, poll, run_prservd
from test_activation import Activated, takes_sockets
from test_legacy import HIST, NOHIST, make_database
from test_move import fill, make_odd_database, rows_of
from test_prserv import PACKAGE, prserv

NO_NAME = "a..b"  # nobody is asked for its address: a name has no empty part
NO_PLACE = "255.255.255.255"  # nothing is sent: it is not allowed to connect there

# ---- the start ----


def test_the_addresses_that_it_listens_on_are_as_many_and_as_long_as_they_may_be(
    tmp_path,
):
    many = [word for port in range(64) for word in ("--bind", f"127.0.0.1:{port}")]
    done = run_prservd(*many, cwd=tmp_path)
    assert done.returncode == 2 and "too many addresses" in done.stderr
    done = run_prservd("--bind", "x" * 1000 + ":1", cwd=tmp_path)
    assert done.returncode == 2 and "the address is too long" in done.stderr


def test_a_name_that_has_no_address_is_said(tmp_path):
    done = run_prservd("--host", NO_NAME, "--port", "0", cwd=tmp_path)
    assert done.returncode == 1 and f"can't listen on {NO_NAME}: " in done.stderr
    done = run_prservd("--stop", "--host", NO_NAME, "--port", "1", cwd=tmp_path)
    assert done.returncode == 1 and NO_NAME in done.stderr


@pytest.mark.skipif(not takes_sockets(), reason="built without systemd")
def test_sockets_that_cannot_be_taken_over_are_said(tmp_path):
    for told, what in (("some", "LISTEN_FDS"), ("65", "65 are too many")):
        environment = {"LISTEN_FDS": told, "LISTEN_FDNAMES": ":".join("x" * 65)}
        with contextlib.ExitStack() as stack:
            held = [stack.enter_context(socket.socket()) for _ in range(65)]
            with pytest.raises(AssertionError, match=what):
                Activated(
                    tmp_path / told,
                    {each: "x" for each in held},
                    environment=environment,
                )


def test_the_pid_file_of_a_unix_socket_is_named_after_it(tmp_path):
    bind = ["--bind", f"unix://{tmp_path}/socket"]
    try:
        done = run_prservd("--start", *bind, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        name = f"/tmp/PRServer_unix{str(tmp_path).replace('/', '_')}_socket.pid"
        assert os.path.exists(name)
    finally:
        done = run_prservd("--stop", *bind, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not os.path.exists(name)


# ---- the log ----


class LogsAside(Server):
    """It logs in a folder that may be renamed."""

    @property
    def log(self):
        logs = list(self.folder.glob("*/own.log"))
        return logs[0].read_text() if logs else ""


def test_a_log_that_cannot_be_opened_again_goes_on_in_the_old_file(tmp_path):
    (tmp_path / "log").mkdir()
    with LogsAside(tmp_path, "--log", "log/own.log") as server:
        (tmp_path / "log").rename(tmp_path / "aside")
        server.process.send_signal(signal.SIGHUP)
        poll(lambda: "going on with the old file" in server.log, "the error")
    assert "Stopped" in server.log


# ---- connections ----


def test_without_any_descriptor_it_tries_again_by_itself(server):
    """Nobody goes, so that nobody's end tells it that there are descriptors again."""
    pid = server.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    in_use = max(map(int, os.listdir(f"/proc/{pid}/fd"))) + 1
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (in_use, limits[1]))
    with server.client() as client:
        poll(lambda: "Can't accept more connections" in server.log, "the warning")
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        assert client.ask({"ping": {}}) == {"alive": True}


def test_it_stops_while_a_client_looks_at_its_refusal(server):
    """Until the client has closed it, so that the refusal is not lost by a reset."""
    with server.client(opening=b"NO SUCH SERVICE 1.0\n\n") as client:
        while client.receive_line():
            pass
        server.process.send_signal(signal.SIGTERM)
        poll(lambda: "Stopping" in server.log, "the signal")
    server.stop()


def test_who_reads_late_gets_everything(serve, tmp_path):
    """More than the kernel keeps for a client; what it does not take waits for it."""
    path = tmp_path / "rows.db"
    fill(path, 60_000)
    server = serve("--file", path)
    with server.client() as late:
        late.post({"export": {"history": True}})
        queued = poll(lambda: waits_to_be_read(late), "the answer")
        assert server.ask({"ping": {}}) == {"alive": True}
        assert queued > 0
        assert len(late.receive()["datainfo"]) == 60_000


def waits_to_be_read(client):
    return len(client.socket.recv(1 << 20, socket.MSG_PEEK))


def test_who_asks_much_at_once_waits_to_be_let_in(serve):
    """Half of the memory for requests is the most that is under way. The others are asked for
    when there is room again, and nobody is forgotten."""
    text = "x" * 60_000

    def ask_twice(number):
        with server.client() as client:
            for name in "ab":
                client.post(
                    {
                        "get-pr": {
                            "version": f"{number}-{name}-{text}",
                            "pkgarch": "a",
                            "checksum": "c",
                        }
                    }
                )
            return [client.receive() for _ in "ab"]

    with FakeUpstream(umax="1") as upstream, ThreadPoolExecutor(50) as pool:
        upstream.hold()
        server = serve("--max-memory-bytes", 16 << 20, "--upstream", upstream.address)
        answers = [pool.submit(ask_twice, number) for number in range(50)]
        poll(lambda: len(upstream.requests) >= 10, "those that are let in")
        assert len(upstream.requests) < 100
        upstream.release()
        assert {str(each.result()) for each in answers} == {str([{"value": "1.0"}] * 2)}


# ---- the database ----


def test_more_odd_rows_than_the_log_names(serve, tmp_path):
    path = tmp_path / "odd.db"
    make_odd_database(path)
    with contextlib.closing(sqlite3.connect(path)) as database:
        for number in range(300):
            row = (f"v{number}", "a", "c", "odd")
            database.execute("INSERT INTO PRMAIN VALUES (?, ?, ?, ?)", row)
        database.commit()
    server = serve("--file", path)
    with server.client() as client:
        for number in range(300):
            assert client.get_pr(f"v{number}", "a", "c") == "0"
    assert "More such rows will not be named" in server.log
    assert server.log.count("which is no revision") == 256


def test_a_read_only_server_without_a_database_tells_what_will_be_there(
    serve, tmp_path
):
    server = serve("--read-only", "--file", tmp_path / "later.db")
    with server.client() as client:
        answer = client.export(colinfo=True)
        assert answer["datainfo"] == []
        columns = [each["name"] for each in answer["metainfo"]["col_info"]]
        assert columns == ["version", "pkgarch", "checksum", "value"]
        assert client.ask({"get-stats": {}})["database"]["rows"] == 0


def test_rows_of_old_tables_are_counted(serve, tmp_path):
    path = tmp_path / "old.db"
    make_database(path, nohist=NOHIST, hist=HIST)
    server = serve("--read-only", "--file", path)
    assert server.ask({"get-stats": {}})["database"]["rows"] == len(rows_of(server))


def test_statistics_without_a_database(server):
    for file in server.folder.glob("prserv.sqlite3*"):
        file.rename(file.with_name(f"aside-{file.name}"))
    with pytest.raises(Refused, match="prserv.sqlite3"):
        server.ask({"get-stats": {}})


def spoil(path):
    """Everything behind the first page is nonsense."""
    with open(path, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(4096)
        file.write(b"\xee" * (size - 4096))


def test_a_database_that_was_spoilt_ends_an_export_midway(serve, tmp_path):
    path = tmp_path / "rows.db"
    fill(path, 100_000)
    server = serve("--file", path)
    with server.client() as client:
        client.post({"export": {"history": True}})
        poll(lambda: waits_to_be_read(client), "the answer")
        spoil(path)
        with pytest.raises(EOFError):
            client.receive()
    assert "An export broke off: " in server.log


def test_a_database_that_was_spoilt_is_an_error_before_an_upstream_is_asked(
    serve, tmp_path
):
    """With history, what is known here need not be asked there."""
    path = tmp_path / "rows.db"
    fill(path, 5000)
    with FakeUpstream(uval="1") as upstream:
        server = serve("--file", path, "--upstream", upstream.address)
        spoil(path)
        with pytest.raises(Refused, match="malformed"):
            server.get_pr("p4-1.0-r0", "core2-64", "new", history=True)
        assert not upstream.requests


# ---- the upstream ----


def test_an_upstream_whose_answer_has_no_end_is_left(serve):
    with FakeUpstream(umax="1") as upstream:
        upstream.behave = lambda talk, *_: talk.send(b"x" * (1 << 20)) or True
        server = serve("--upstream", upstream.address)
        with pytest.raises(Refused):
            server.get_pr(*PACKAGE, "a")
        upstream.behave = None


def test_an_upstream_that_cannot_even_be_tried_is_an_error(serve):
    server = serve("--upstream", f"{NO_PLACE}:1")
    with pytest.raises(Refused, match=NO_PLACE):
        server.get_pr(*PACKAGE, "a")


def test_an_upstream_that_is_silent_when_it_is_back_is_not_trusted(serve):
    with FakeUpstream(umax="1") as upstream:
        server = serve("--upstream", upstream.address)
        upstream.refuse()
        with pytest.raises(Refused):
            server.get_pr(*PACKAGE, "a")
        upstream.held = True
        upstream.listen()
        poll(lambda: "does not answer" in what_it_gives(server), "that it is noticed")
        upstream.release()
        poll(lambda: what_it_gives(server) == "1.0", "the upstream")


def what_it_gives(server):
    """What it gives for some content: a number, or the reason why not."""
    try:
        return server.get_pr(*PACKAGE, "b")
    except Refused as refused:
        return str(refused)


# ---- clients ----


@pytest.mark.parametrize("host", [NO_NAME, NO_PLACE])
def test_a_server_that_cannot_even_be_tried_is_no_connection(host):
    done = prserv("--server", f"{host}:1", "ping")
    assert done.returncode == 3 and host in done.stderr


def test_a_connection_that_is_reset_is_no_connection():
    with FakeUpstream() as fake:
        fake.behave = lambda talk, *_: talk.close(reset=True) or True
        done = prserv("--server", fake.address, "ping")
    assert done.returncode == 3 and fake.address in done.stderr
