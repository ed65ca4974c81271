# SPDX-License-Identifier: MIT
"""What no client can do: write through a read-only listener, forge or fill the log, make the
server open other files."""

import json
import os
import re
import sqlite3
from contextlib import closing

import pytest
from fake_upstream import FakeUpstream
from harness import Client, Refused, open_files

ROW = {"version": "v", "pkgarch": "a", "checksum": "c"}

# Every request of the protocol, with arguments that would be stored.
REQUESTS = {
    "ping": {},
    "get-pr": {**ROW, "checksum": "new"},
    "test-pr": ROW,
    "test-package": ROW,
    "max-package-pr": ROW,
    "import-one": {**ROW, "value": "77"},
    "export": {"history": True, "colinfo": True},
    "is-readonly": {},
    "get-stats": {},
    "get-log": {},
    "get-why": {"version": "v", "pkgarch": "a"},
    "get-churn": {},
}


def is_every_request(server):
    return set(REQUESTS) == set(server.ask({"get-stats": {}})["requests"])


def contents(folder):
    """Returns the content of the database files, except the WAL index, which readers write too."""
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.iterdir())
        if "sqlite3" in path.name and not path.name.endswith("-shm")
    }


def try_everything(client):
    """Sends each request in each mode, alone and with others in one message."""
    for name, arguments in REQUESTS.items():
        for history in (False, True):
            client.ask_raw({name: {**arguments, "history": history}})
        client.ask_raw({name: {**arguments, "read_only": False, "readonly": False}})
    client.ask_raw(REQUESTS)
    client.ask_raw(dict(reversed(REQUESTS.items())))
    client.send(
        b"".join(
            json.dumps({name: REQUESTS[name]}).encode() + b"\n" for name in REQUESTS
        )
    )
    for _ in REQUESTS:
        client.receive()


@pytest.mark.parametrize("layout", ["a read-only server", "a listener with ,ro"])
def test_a_read_only_listener_stores_nothing(serve, layout):
    writer = serve("--bind", "127.0.0.1:0,ro")
    writer.get_pr(*ROW.values())
    assert is_every_request(writer)
    port = int(writer.addresses[1].rpartition(":")[2])
    if layout == "a read-only server":
        reader = serve("--read-only", "--file", "../server/prserv.sqlite3", folder="ro")
        port = reader.port
    before = contents(writer.folder)
    with Client(("127.0.0.1", port)) as client:
        try_everything(client)
        assert client.export(history=True)["datainfo"] == [{**ROW, "value": "0"}]
    assert contents(writer.folder) == before
    with writer.client() as client:
        try_everything(client)
    assert contents(writer.folder) != before  # the read-write listener does store it


# ---- the log ----

LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING|ERROR|CRITICAL) "
    r"prservd\[\d+\]: [ -~]*"
)
FORGED = "2026-01-01 00:00:00,000 CRITICAL prservd[1]: the database is lost"
EVIL = f"\n{FORGED}\n\r\x1b[2J\x00\x07\x08\x7f\x85\x9b\u2028\u202e\U0001f600"


NAME = EVIL.replace("\0", "")  # a NUL in a name is a different error


def check_log(server, *words):
    """Checks that all lines have the log's form, and that none is the forged one."""
    log = server.log
    for word in words:
        assert word in log
    for line in log.rstrip("\n").split("\n"):
        assert LINE.fullmatch(line), line
    assert not re.search(f"^{re.escape(FORGED)}", log, re.M)


def test_requests_cannot_forge_log_lines(server):
    with server.client() as client:
        for request in (
            {NAME: {}},
            {"get-pr": EVIL},
            {"get-pr": {NAME: EVIL}},
            {"import-one": {**ROW, "value": EVIL}},
            {"export": {"history": EVIL}},
            EVIL,
        ):
            with pytest.raises(Refused):
                client.ask(request)
        for field in ROW:
            client.get_pr(*{**ROW, field: EVIL}.values())
            client.export(**{field: EVIL})
    for data in (b"\n" + EVIL.encode() + b"\n", b'{"' + EVIL.encode() + b'": {}}\n'):
        with server.client() as client:
            client.send(data)
            assert client.receive()["invoke-error"]
    with server.client(handshake=EVIL.encode() + b"\n\n") as client:
        assert client.receive()["invoke-error"]
    check_log(server, "Refused a message", "unknown request")


def test_names_in_a_warning_cannot_forge_log_lines(serve):
    with FakeUpstream() as upstream:
        upstream.umax = "2"
        server = serve("--upstream", upstream.address)
        arguments = {"version": EVIL, "pkgarch": EVIL, "checksum": EVIL}
        assert server.get_pr(*arguments.values()) == "2.0"
        upstream.refuse()
        assert server.get_pr(*arguments.values()) == "2.0"
        check_log(server, "keeps revision 2.0: \\x0a2026-01-01")


@pytest.mark.parametrize("form", ["an error", "no answer", "no revision"])
def test_an_upstream_cannot_forge_log_lines(serve, form):
    with FakeUpstream() as upstream:
        answer = {
            "an error": {"invoke-error": {"message": EVIL}},
            "no answer": EVIL,
            "no revision": {"value": EVIL},
        }[form]
        upstream.behave = lambda talk, name, arguments: talk.answer(answer) or True
        server = serve("--upstream", upstream.address)
        with pytest.raises(Refused):
            server.get_pr(*ROW.values())
        check_log(server)


def test_rows_of_another_program_cannot_forge_log_lines(server):
    server.stop()
    with closing(sqlite3.connect(server.folder / "prserv.sqlite3")) as database:
        row = [NAME] * 4
        database.execute("INSERT INTO PRMAIN VALUES (?, ?, ?, ?)", row)
        database.commit()
    server.start()
    server.ask({"max-package-pr": {"version": row[0], "pkgarch": row[0]}})
    check_log(server, "which is not a revision")


def test_clients_cannot_fill_the_log(serve):
    """Each of these requests causes a warning: 20 are written, the others counted."""
    with FakeUpstream() as upstream:
        upstream.umax = "2"
        server = serve("--upstream", upstream.address)
        with server.client() as client:
            assert client.get_pr(*ROW.values()) == "2.0"
            upstream.refuse()
            for _ in range(500):
                assert client.get_pr(*ROW.values()) == "2.0"
        assert server.log.count("keeps revision 2.0: v, a\n") == 20
        server.stop()
        pattern = r"WARNING prservd\[\d+\]: \.\.\. and (\d+) more like it, the last: .*"
        (left_out,) = re.findall(pattern + "keeps revision 2.0: v, a\n", server.log)
        assert int(left_out) == 480


# ---- files ----


def test_requests_cannot_open_files(serve, tmp_path):
    """Every request is sent with file names in every field. An unknown member keeps the request
    off the fast path for BitBake's requests."""
    server = serve("--file", "rows.db", "--pidfile", "own.pid")
    evil = [str(tmp_path / "evil"), "../evil", "file:evil?mode=rwc", "/etc/passwd"]
    with server.client() as client:
        for name in evil:
            for request, arguments in REQUESTS.items():
                for field in ROW:
                    client.ask_raw({request: {**arguments, field: name}})
                    client.ask_raw({request: {**arguments, field: name, "x": name}})
            client.ask_raw({name: {}})
        try_everything(client)
        files = {name for name in open_files(server.process) if name.startswith("/")}
    own = {"rows.db", "rows.db-wal", "rows.db-shm", "own.pid"}
    own |= {server.log_path.name}
    files.discard(os.readlink("/proc/self/fd/1"))  # inherited standard output
    assert {
        os.path.relpath(name, server.folder)
        for name in files
        if not name.startswith(("/dev/", "/proc/"))
    } - {
        "rows.db-mark"
    } == own  # which is open while it is written
    assert {path.name for path in server.folder.iterdir()} == own | {"rows.db-mark"}
    assert not (tmp_path / "evil").exists()


def test_a_symbolic_link_is_not_used_as_a_unix_socket(serve, tmp_path):
    """Its target is neither connected to, nor removed, nor bound."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    for name, target in ("to-a-file", precious), ("to-nothing", tmp_path / "nothing"):
        (tmp_path / name).symlink_to(target)
        with pytest.raises(AssertionError, match="address is in use"):
            serve("--bind", f"unix://{tmp_path / name}", folder=f"server-{name}")
        assert (tmp_path / name).is_symlink()
    assert precious.read_text() == "precious"
    assert not (tmp_path / "nothing").exists()


def test_a_symbolic_link_to_a_stale_socket_is_kept(serve, tmp_path):
    left = tmp_path / "left"
    first = serve("--bind", f"unix://{left}")
    first.kill()
    assert left.is_socket()
    (tmp_path / "link").symlink_to(left)
    with pytest.raises(AssertionError, match="address is in use"):
        serve("--bind", f"unix://{tmp_path / 'link'}", folder="second")
    assert (tmp_path / "link").is_symlink() and left.is_socket()
