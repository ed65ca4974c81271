"""What a client may do, and what no client can: write through a read-only door, forge or
fill the log, make the server open something else."""

import json
import os
import re
import sqlite3
from contextlib import closing

import pytest
from fake_upstream import FakeUpstream
from harness import Client, Refused, open_files

ROW = {"version": "v", "pkgarch": "a", "checksum": "c"}

# Every request of the protocol, with what would be stored if it could be.
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
}


def is_every_request(server):
    return set(REQUESTS) == set(server.ask({"get-stats": {}})["requests"])


def contents(folder):
    """The database's files, but for the index of its journal, which readers use too."""
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.iterdir())
        if "sqlite3" in path.name and not path.name.endswith("-shm")
    }


def try_everything(client):
    """Each request in each mode, as it is and among others in one message."""
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
def test_nothing_is_written_through_a_read_only_door(serve, layout):
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
    assert contents(writer.folder) != before  # the same through the other door does


# ---- the log ----

LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING|ERROR|CRITICAL) "
    r"prservd\[\d+\]: [ -~]*"
)
FORGED = "2026-01-01 00:00:00,000 CRITICAL prservd[1]: the database is lost"
EVIL = f"\n{FORGED}\n\r\x1b[2J\x00\x07\x08\x7f\x85\x9b\u2028\u202e\U0001f600"


NAME = EVIL.replace("\0", "")  # a NUL in a name is another error


def check_log(server, *words):
    """Nothing but lines of the log's own form, none of them the forged one."""
    log = server.log
    for word in words:
        assert word in log
    for line in log.rstrip("\n").split("\n"):
        assert LINE.fullmatch(line), line
    assert not re.search(f"^{re.escape(FORGED)}", log, re.M)


def test_no_request_forges_the_log(server):
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
    with server.client(opening=EVIL.encode() + b"\n\n") as client:
        assert client.receive()["invoke-error"]
    check_log(server, "Refused a message", "unknown request")


def test_names_in_a_warning_forge_no_log(serve):
    with FakeUpstream() as upstream:
        upstream.umax = "2"
        server = serve("--upstream", upstream.address)
        arguments = {"version": EVIL, "pkgarch": EVIL, "checksum": EVIL}
        assert server.get_pr(*arguments.values()) == "2.0"
        upstream.refuse()
        assert server.get_pr(*arguments.values()) == "2.0"
        check_log(server, "keeps revision 2.0: \\x0a2026-01-01")


@pytest.mark.parametrize("form", ["an error", "no answer", "no revision"])
def test_an_upstream_forges_no_log(serve, form):
    with FakeUpstream() as upstream:
        said = {
            "an error": {"invoke-error": {"message": EVIL}},
            "no answer": EVIL,
            "no revision": {"value": EVIL},
        }[form]
        upstream.behave = lambda talk, name, arguments: talk.answer(said) or True
        server = serve("--upstream", upstream.address)
        with pytest.raises(Refused):
            server.get_pr(*ROW.values())
        check_log(server)


def test_rows_of_another_program_forge_no_log(server):
    server.stop()
    with closing(sqlite3.connect(server.folder / "prserv.sqlite3")) as database:
        row = [NAME] * 4
        database.execute("INSERT INTO PRMAIN VALUES (?, ?, ?, ?)", row)
        database.commit()
    server.start()
    server.ask({"max-package-pr": {"version": row[0], "pkgarch": row[0]}})
    check_log(server, "which is no revision")


def test_clients_cannot_fill_the_log(serve):
    """Each of these requests is a warning: 20 of them are written, the rest counted."""
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
        said = r"WARNING prservd\[\d+\]: \.\.\. and (\d+) more like it, the last: .*"
        (left_out,) = re.findall(said + "keeps revision 2.0: v, a\n", server.log)
        assert int(left_out) == 480


# ---- files ----


def test_what_is_open_is_what_was_named(serve, tmp_path):
    """After every request, with names of files in every field; what is ignored keeps a request
    from the short way that BitBake's go."""
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
    files.discard(os.readlink("/proc/self/fd/1"))  # standard output, which it inherits
    assert {
        os.path.relpath(name, server.folder)
        for name in files
        if not name.startswith(("/dev/", "/proc/"))
    } == own
    assert {path.name for path in server.folder.iterdir()} == own
    assert not (tmp_path / "evil").exists()


def test_a_symbolic_link_is_no_unix_socket(serve, tmp_path):
    """What it points to is neither asked, nor removed, nor bound."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    for name, target in ("to-a-file", precious), ("to-nothing", tmp_path / "nothing"):
        (tmp_path / name).symlink_to(target)
        with pytest.raises(AssertionError, match="address is in use"):
            serve("--bind", f"unix://{tmp_path / name}", folder=f"server-{name}")
        assert (tmp_path / name).is_symlink()
    assert precious.read_text() == "precious"
    assert not (tmp_path / "nothing").exists()


def test_a_symbolic_link_to_a_socket_that_was_left_is_kept(serve, tmp_path):
    left = tmp_path / "left"
    first = serve("--bind", f"unix://{left}")
    first.kill()
    assert left.is_socket()
    (tmp_path / "link").symlink_to(left)
    with pytest.raises(AssertionError, match="address is in use"):
        serve("--bind", f"unix://{tmp_path / 'link'}", folder="second")
    assert (tmp_path / "link").is_symlink() and left.is_socket()
