"""libprserv: what its header promises, asked of real servers and of odd ones."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time

import pytest

from fake_upstream import FakeUpstream, FullBacklog, reserve_port
from harness import BUILD, COVERAGE, ROOT, SANITIZER, Server, clean_environment, poll

MEMORY, ARGUMENT, CONNECTION, TIMEOUT, PROTOCOL, REFUSED, STOPPED = range(-1, -8, -1)

M4 = ("m4-1.4.19-r0", "core2-64")
LONG_MS = 60_000
SHORT_MS = 150  # of a server that stays silent
QUICK = ("--sync", "off")
SLOW = pytest.mark.slow

FUNCTIONS = (
    "address batch close connect export get_pr get_stats import_one is_readonly "
    "max_package_pr ping set_timeout test_package test_pr"
)

ODD_FIELDS = [
    "a\0b",
    "\0",
    "\"quoted\" 'too' \\ back",
    "two\nlines\r\nand\ttabs",
    "häßlich 道 \U0001f600",
    "}],{[:",
    " blanks at the ends ",
    "$a$b$",
    "c" * 100_000,
    "é\n" * 50_000,
]


class Talk:
    """A C program that calls the library as it is told (tests/lib/talk.c)."""

    def __init__(self, **environment):
        self.process = subprocess.Popen(
            [BUILD / "tests/lib/lib_talk"],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self, function, *arguments):
        self.process.stdin.write(json.dumps([function, *arguments]) + "\n")
        self.process.stdin.flush()

    def end(self):
        line = self.process.stdout.readline()
        assert line, "the program has ended"
        return json.loads(line)

    def call(self, function, *arguments):
        self.begin(function, *arguments)
        return self.end()

    def done(self, function, *arguments):
        """A call that succeeds; its value, if it has one."""
        answer = self.call(function, *arguments)
        assert answer["code"] == 0 and answer["text"] == "", answer
        return answer.get("value")

    def fails(self, code, function, *arguments):
        """A call that fails with this code; its text."""
        answer = self.call(function, *arguments)
        assert answer["code"] == code, answer
        return answer["text"]

    def connect(self, address, timeout_ms=LONG_MS):
        self.done("connect", address, timeout_ms)
        return self

    def hurry(self, address, timeout_ms=SHORT_MS):
        """Connects, in no hurry, and is in one from then on."""
        self.connect(address).call("set_timeout", timeout_ms)

    def export(self, *filters, **how):
        """The rows that came, and the answer."""
        filters = [*filters, None, None, None][:3]
        self.begin("export", *filters, how)
        rows = []
        while isinstance(line := self.end(), list):
            rows.append(line)
        return rows, line

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(60) == 0
        self.process.stdout.close()


@pytest.fixture
def talk():
    talk = Talk()
    yield talk
    talk.close()


@pytest.fixture
def odd():
    """A server that does what a test tells it to."""
    with FakeUpstream(umax="7", uval="3") as fake:
        yield fake


@contextlib.contextmanager
def takes(seconds):
    """So long (less a clock tick), or, on a busy machine, somewhat longer."""
    start = time.monotonic()
    yield
    assert seconds - 0.01 <= time.monotonic() - start < seconds + 20


# ---- every function ----


def test_get_pr_gives_revisions(server, talk):
    talk.connect(server.address)
    assert talk.done("get_pr", *M4, "x") == "0"
    assert talk.done("get_pr", *M4, "y") == "1"
    assert talk.done("get_pr", *M4, "x", True) == "0"
    assert talk.done("get_pr", *M4, "x", False) == "2"


def test_test_pr_tells_what_is_known(server, talk):
    talk.connect(server.address)
    assert talk.done("test_pr", *M4, "x") is None
    server.get_pr(*M4, "x")
    server.get_pr(*M4, "y")
    server.get_pr(*M4, "x")
    assert talk.done("test_pr", *M4, "x") == "2"
    assert talk.done("test_pr", *M4, "x", True) == "0"


def test_test_package_and_max_package_pr_tell_of_a_package(server, talk):
    talk.connect(server.address)
    assert talk.done("test_package", *M4) is False
    assert talk.done("max_package_pr", *M4) is None
    server.get_pr(*M4, "x")
    server.get_pr(*M4, "y")
    assert talk.done("test_package", *M4) is True
    assert talk.done("max_package_pr", *M4) == "1"


def test_import_one_stores_a_row(server, talk):
    talk.connect(server.address)
    talk.done("import_one", *M4, "x", "1.7")
    talk.done("import_one", *M4, "x", "1.7")
    assert talk.export(history=True)[0] == [[*M4, "x", "1.7"]]


def test_ping_is_readonly_get_stats_and_address(server, talk):
    talk.connect(server.address)
    talk.done("ping")
    assert talk.done("is_readonly") is False
    assert json.loads(talk.done("get_stats"))["requests"]["ping"]["count"] == 1
    assert talk.call("address") == server.address


def test_a_read_only_server_refuses_imports(serve, talk):
    serve().stop()
    talk.connect(serve("--read-only").address)
    assert talk.done("is_readonly") is True
    text = talk.fails(REFUSED, "import_one", *M4, "x", "1")
    assert "import-one: the server is read-only" in text
    talk.done("ping")


def test_it_connects_to_names_ipv6_and_unix_sockets(serve, talk, tmp_path):
    port = serve().port
    talk.connect(f"localhost:{port}").done("ping")
    path = f"unix://{tmp_path}/socket"
    serve("--bind", path, folder="unix", bind=False)
    talk.connect(path).done("ping")
    assert talk.call("address") == path
    if has_ipv6():
        six = serve("--bind", "[::1]:0", folder="six", bind=False)
        talk.connect(six.address).done("ping")


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as six:
            six.bind(("::1", 0))
    except OSError:
        return False
    return True


# ---- export ----


def test_an_export_filters_and_gives_metainfo(server, talk):
    talk.connect(server.address)
    rows = [["v", "a", "x", "1"], ["v", "a", "y", "2"], ["w", "b", "x", "3"]]
    for row in rows:
        talk.done("import_one", *row)
    assert sorted(talk.export(history=True)[0]) == rows
    assert sorted(talk.export()[0]) == rows[1:]
    assert talk.export("v", history=True)[0] == rows[:2]
    assert talk.export(None, "b", history=True)[0] == rows[2:]
    assert talk.export(None, None, "y", history=True)[0] == rows[1:2]
    assert talk.export("none")[0] == []
    assert talk.export(colinfo=True)[1]["metainfo"]["tbl_name"] == "PRMAIN"
    assert talk.export()[1]["metainfo"] == {}
    assert talk.export(colinfo=True, no_metainfo=True)[1]["metainfo"] is None


def test_a_callback_stops_an_export(serve, talk):
    server = serve(*QUICK)
    talk.connect(server.address)
    for count in (3, 2000):  # an answer of one line, a long one
        requests = [[*M4, str(i), str(i), False] for i in range(count)]
        talk.done("batch", *requests)
        rows, answer = talk.export(history=True, stop_after=2)
        assert len(rows) == 2 and answer["code"] == STOPPED
        assert answer["text"].startswith(f"{server.address}: export: ")
        talk.done("ping")
        assert talk.export(stop_at_metainfo=True, colinfo=True)[1]["code"] == STOPPED
        assert len(talk.export(history=True)[0]) == count


def test_odd_fields_come_back_as_they_went(serve, talk):
    talk.connect(serve(*QUICK).address)
    rows = [[f, f[:50], f, str(i)] for i, f in enumerate(ODD_FIELDS)]
    for row in rows:
        talk.done("import_one", *row)
        assert talk.done("get_pr", *row[:3]) == row[3]
        assert talk.done("test_pr", *row[:3]) == row[3]
        assert talk.done("max_package_pr", *row[:2]) == row[3]
        assert talk.done("test_package", *row[:2]) is True
    assert sorted(talk.export(history=True)[0]) == sorted(rows)
    for row in rows:
        assert talk.export(*row[:3])[0] == [row]
    answers = talk.call("batch", *[[*row[:3], None, False] for row in rows])["answers"]
    assert [answer["value"] for answer in answers] == [row[3] for row in rows]


def export_message(row_texts):
    return b'{"metainfo":{},"datainfo":[' + b",".join(row_texts) + b"]}"


def in_chunks(message):
    chunks = [message[at : at + 32767] for at in range(0, len(message), 32767)]
    return b"\n".join([b'{"chunk-stream": null}', *chunks, b"\n"])


ROW = b'{"version":"m4-1.4.19-r0","pkgarch":"core2-64","checksum":"%d","value":"1"}'


@pytest.mark.skipif(bool(SANITIZER), reason="sanitizers keep freed memory")
@pytest.mark.parametrize("count", [20_000, pytest.param(200_000, marks=SLOW)])
def test_an_export_takes_constant_memory(odd, talk, count):
    many = in_chunks(export_message([ROW % number for number in range(count)]))
    few = in_chunks(export_message([ROW % number for number in range(1000)]))
    messages = iter([few, many])
    odd.behave = lambda connection, *_: connection.send(next(messages))
    talk.connect(odd.address)
    before = talk.export(count=True)[1]
    after = talk.export(count=True)[1]
    assert (before["rows"], after["rows"], after["code"]) == (1000, count, 0)
    assert after["peak_kib"] - before["peak_kib"] < 1024  # of some 80 bytes a row


def test_rows_without_a_value_are_handed_on(odd, talk):
    row = b'{"version":"v","pkgarch":"a","checksum":"x","value":null}'
    odd.behave = lambda connection, *_: connection.send(export_message([row]) + b"\n")
    assert talk.connect(odd.address).export()[0] == [["v", "a", "x", None]]


def test_servers_of_old_answer_integers(odd, talk):
    row = b'{"version":"v","pkgarch":"a","checksum":"x","value":12}'
    odd.behave = lambda connection, name, *_: (
        connection.send(export_message([row]) + b"\n")
        if name == "export"
        else connection.answer({"value": 12})
    )
    talk.connect(odd.address)
    assert talk.done("get_pr", *M4, "x") == "12"
    assert talk.done("max_package_pr", *M4) == "12"
    assert talk.export()[0] == [["v", "a", "x", "12"]]
    talk.done("import_one", *M4, "x", "12")
    odd.behave = lambda connection, *_: connection.answer({"value": -1})
    assert "no revision" in talk.fails(REFUSED, "get_pr", *M4, "x")


STRANGE_EXPORTS = [
    b'{"metainfo":@@@,"datainfo":[]}',
    b'{"metainfo":7,"datainfo":[]}',
    b'{"metainfo":[],"datainfo":[]}',
    b'{"metainfo":{},"metainfo":{},"datainfo":[]}',
    b'{"metainfo":{},"datainfo":{}}',
    b'{"metainfo":{},"datainfo":[],"datainfo":[]}',
    b'{"metainfo":{},"datainfo":[],}',
    b'{"' + b"x" * 2000,
]


@pytest.mark.parametrize("message", STRANGE_EXPORTS, ids=range(len(STRANGE_EXPORTS)))
def test_an_export_that_is_none(odd, talk, message):
    odd.behave = lambda connection, *_: connection.send(message + b"\n")
    rows, answer = talk.connect(odd.address).export()
    assert (rows, answer["code"]) == ([], PROTOCOL), answer


def test_a_server_that_sends_without_end_is_left(odd, talk):
    def flood(connection, *_):
        while connection.is_open:
            connection.send(b'{"value":"1"}\n' * 100_000)

    odd.behave = flood
    talk.connect(odd.address)
    ask = [*M4, "x" * 10_000_000, None]
    answer = talk.call("batch", [*M4, "x", None], ask, ask, ask)
    assert answer["code"] == PROTOCOL and "more than it was asked" in answer["text"]


def test_connecting_again_is_named(serve, talk, tmp_path):
    path = tmp_path / "socket"
    server = serve("--bind", f"unix://{path}", bind=False)
    talk.connect(f"unix://{path}").done("ping")
    server.stop()
    text = talk.fails(CONNECTION, "ping")
    assert text.startswith(f"unix://{path}: ping: can't connect: ")


def test_controls_of_terminals_are_no_part_of_a_reason(odd, talk):
    hostile = "\x1b[2J \x9b31m \u202e\u2028 \x7f gr\u00fcn \U0001f600"
    odd.behave = lambda connection, *_: connection.answer(
        {"invoke-error": {"message": hostile}}
    )
    text = talk.connect(odd.address).fails(REFUSED, "ping")
    assert text == f"{odd.address}: ping: ?[2J ?31m ?? ? gr\u00fcn \U0001f600"


def test_a_refused_export_has_the_servers_reason(odd, talk):
    odd.behave = lambda connection, *_: connection.answer(
        {"invoke-error": {"message": "not today"}}
    )
    answer = talk.connect(odd.address).export()[1]
    assert (answer["code"], answer["rows"]) == (REFUSED, 0)
    assert answer["text"] == f"{odd.address}: export: not today"
    talk.call("ping")
    assert odd.connections == 1


def test_an_export_that_breaks_midway_keeps_the_rows_that_came(odd, talk):
    def half(connection, *_):
        message = in_chunks(export_message([ROW % number for number in range(2000)]))
        connection.send(message[: len(message) // 2])
        connection.close()

    odd.behave = half
    rows, answer = talk.connect(odd.address).export()
    assert 500 < len(rows) < 1000 and answer["code"] == CONNECTION
    assert odd.connections == 1, "what was heard in part is not asked again"


def test_the_time_of_an_export_counts_from_piece_to_piece(odd, talk):
    more = threading.Event()

    def stall(connection, *_):
        message = in_chunks(export_message([ROW % number for number in range(2000)]))
        connection.send(message[:100_000])
        more.wait(60)

    odd.behave = stall
    talk.hurry(odd.address, 1000)
    with takes(1):
        rows, answer = talk.export()
    more.set()
    assert answer["code"] == TIMEOUT and len(rows) > 1000


# ---- errors ----


def test_a_refusal_names_host_request_and_reason(server, talk):
    talk.connect(server.address)
    text = talk.fails(REFUSED, "import_one", *M4, "x", "no revision")
    assert text.startswith(f"{server.address}: import-one: argument 'value'")
    assert "no revision" in text


def test_what_cant_be_asked_is_not(server, talk):
    talk.connect(server.address)
    for call in (
        ("get_pr", "hex:ff", "a", "x"),
        ("get_pr", "v", "hex:c3", "x"),
        ("test_pr", "v", "a", "hex:eda080"),
        ("import_one", "v", "a", "x", "hex:80"),
        ("max_package_pr", "v", "hex:ff"),
        ("test_package", "hex:ff", "a"),
    ):
        text = talk.fails(ARGUMENT, *call)
        name = call[0].replace("_", "-")
        assert text.startswith(f"{server.address}: {name}: the "), text
        assert text.endswith("is not UTF-8")
    text = talk.fails(ARGUMENT, "import_one", *M4, "x", None)
    assert text == f"{server.address}: import-one: a row needs a value"
    assert talk.export("hex:ff")[1]["code"] == ARGUMENT
    assert talk.export(history=True)[0] == []


@pytest.mark.parametrize(
    "address", ["", "host", "host:", "host:70000", "::1:80", "unix://relative", "a b:1"]
)
def test_an_address_that_is_none(talk, address):
    text = talk.fails(ARGUMENT, "connect", address, LONG_MS)
    assert text.startswith(f"{address}: can't connect: ")


def test_nobody_listens(talk, tmp_path):
    with reserve_port() as holder:
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        text = talk.fails(CONNECTION, "connect", address, LONG_MS)
        assert text == f"{address}: can't connect: Connection refused"
    address = f"unix://{tmp_path}/none"
    text = talk.fails(CONNECTION, "connect", address, LONG_MS)
    assert text == f"{address}: can't connect: No such file or directory"


def test_a_server_that_is_gone(serve, talk):
    server = serve()
    talk.connect(server.address)
    server.kill()
    text = talk.fails(CONNECTION, "ping")
    assert text.startswith(f"{server.address}: ping: ")
    talk.fails(CONNECTION, "get_pr", *M4, "x")
    server.restart()
    talk.done("ping")


NONSENSE = [
    b"nonsense\n",
    b"{}\n",
    b"[1]\n",
    b"null\n",
    b'"alive"\n',
    b"\n",
    b"\xff\xfe\n",
    b'{"other": 1}\n',
    b'{"value": tru}\n',
    b'{"invoke-error": 7}\n',
    b'{"chunk-stream": null}\n{"value":\n\n',
    b"x" * 70_000 + b"\n",
]


@pytest.mark.parametrize("answer", NONSENSE, ids=range(len(NONSENSE)))
def test_an_answer_that_is_none(odd, talk, answer):
    silly = True
    odd.behave = lambda connection, *_: silly and connection.send(answer)
    talk.connect(odd.address)
    calls = [("ping",), ("is_readonly",), ("get_stats",), ("get_pr", *M4, "x")]
    calls += [("test_pr", *M4, "x"), ("max_package_pr", *M4), ("test_package", *M4)]
    for call in calls:
        text = talk.fails(PROTOCOL, *call)
        name = call[0].replace("_", "-")
        assert text.startswith(f"{odd.address}: {name}: "), text
        assert talk.process.poll() is None
    if answer != b"null\n":  # a read-only server's no
        talk.fails(PROTOCOL, "import_one", *M4, "x", "1")
    if b"invoke-error" not in answer:
        exported = talk.export()[1]
        assert exported["code"] == PROTOCOL, exported
    answer_of_batch = talk.call("batch", [*M4, "x", None], [*M4, "y", None])
    assert answer_of_batch["code"] == PROTOCOL
    assert [each["code"] for each in answer_of_batch["answers"]] == [PROTOCOL] * 2
    assert answer_of_batch["text"].count(odd.address) == 1
    silly = False
    odd.behave = None
    talk.done("ping")


@pytest.mark.parametrize("value", ["", "1.", "x", "1\0", True, 1.5, [1], {}])
def test_a_value_that_is_no_revision_is_not_handed_out(odd, talk, value):
    odd.uval = value
    talk.connect(odd.address)
    assert "no revision" in talk.fails(REFUSED, "get_pr", *M4, "x")
    assert "no revision" in talk.fails(REFUSED, "test_pr", *M4, "x")
    odd.uval = "3"
    assert talk.done("get_pr", *M4, "x") == "3"
    assert odd.connections == 1


def test_a_get_pr_without_a_revision_is_refused(odd, talk):
    odd.uval = None
    talk.connect(odd.address)
    talk.fails(REFUSED, "get_pr", *M4, "x")
    answer = talk.call("batch", [*M4, "x", None])["answers"][0]
    assert answer["code"] == REFUSED and answer["text"].startswith(odd.address)
    assert talk.done("test_pr", *M4, "x") is None


def test_a_reason_that_does_not_fit_is_cut_between_characters(odd, talk):
    odd.behave = lambda connection, *_: connection.answer(
        {"invoke-error": {"message": "\U0001f600" * 1000}}
    )
    for connected in (f"localhost:{odd.port}", odd.address):
        text = talk.connect(connected).fails(REFUSED, "ping")
        assert text.rstrip("?").endswith("\U0001f600") and len(text.encode()) > 400


def test_a_reason_that_does_not_fit_is_cut(odd, talk):
    odd.behave = lambda connection, *_: connection.answer(
        {"invoke-error": {"message": "long " * 1000}}
    )
    text = talk.connect(odd.address).fails(REFUSED, "ping")
    assert text.startswith(f"{odd.address}: ping: long ") and 400 < len(text) < 512


def test_a_request_over_the_servers_limit_is_refused_with_its_reason(serve, talk):
    server = serve("--max-message-bytes", "10000")
    talk.connect(server.address)
    text = talk.fails(REFUSED, "get_pr", *M4, "x" * 8_000_000)
    assert "longer than 10000 bytes" in text
    assert talk.done("get_pr", *M4, "x") == "0"


# ---- time ----


def test_a_silent_server_is_waited_for_as_long_as_said(odd, talk):
    odd.hold()
    talk.hurry(odd.address)
    with takes(SHORT_MS / 1000):
        text = talk.fails(TIMEOUT, "get_pr", *M4, "x")
    assert text == f"{odd.address}: get-pr: no answer in time"
    assert talk.call("batch", [*M4, "x", None])["answers"][0]["code"] == TIMEOUT
    assert talk.export()[1]["code"] == TIMEOUT


def test_an_answer_that_comes_too_late_is_not_the_next_ones(odd, talk):
    odd.hold()
    odd.uval = lambda arguments: arguments["checksum"]
    talk.hurry(odd.address)
    talk.fails(TIMEOUT, "get_pr", *M4, "1")
    talk.call("set_timeout", LONG_MS)
    odd.release()
    assert talk.done("get_pr", *M4, "2") == "2"


def test_a_timeout_may_be_as_long_as_a_number_goes(odd, talk):
    odd.hold()
    talk.connect(odd.address, 2**32 - 1)
    talk.begin("ping")
    poll(lambda: odd.pings, "the ping")
    odd.release()
    assert talk.end()["code"] == 0


def test_a_timeout_of_nothing_is_over_at_once(odd, talk):
    talk.connect(odd.address)
    odd.hold()
    talk.call("set_timeout", 0)
    talk.fails(TIMEOUT, "ping")


def test_connecting_takes_no_longer_than_said(talk):
    with FullBacklog() as full, takes(SHORT_MS / 1000):
        text = talk.fails(TIMEOUT, "connect", full.address, SHORT_MS)
        assert text == f"{full.address}: can't connect: no answer in time"


@pytest.mark.skipif(bool(SANITIZER), reason="a sanitizer wants to be loaded first")
def test_a_silent_address_leaves_the_other_ones_of_a_name_their_time(serve):
    listener = socket.socket()
    listener.bind(("127.0.0.2", 0))
    port = listener.getsockname()[1]
    library = BUILD / "tests/preload/libtwo_addresses.so"
    talk = Talk(LD_PRELOAD=str(library))
    with FullBacklog(listener), takes(2):
        serve(*QUICK, "--bind", f"127.0.0.1:{port}", bind=False)
        talk.connect(f"two.example:{port}", timeout_ms=4000).done("ping")
    talk.close()


@pytest.fixture
def full_socket(tmp_path):
    """A unix socket whose queue is full; empty it to let another one in."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(tmp_path / "full"))
        listener.listen(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                filler = stack.enter_context(socket.socket(socket.AF_UNIX))
                filler.setblocking(False)
                filler.connect(str(tmp_path / "full"))
        yield listener


def test_a_busy_unix_socket_is_waited_for(full_socket, talk):
    address = f"unix://{full_socket.getsockname()}"
    with takes(SHORT_MS / 1000):
        talk.fails(TIMEOUT, "connect", address, SHORT_MS)
    talk.begin("connect", address, LONG_MS)
    full_socket.accept()[0].close()
    assert talk.end()["code"] == 0


# ---- the connection comes and goes ----


def test_a_restart_while_nothing_is_asked_goes_unnoticed(server, talk):
    talk.connect(server.address)
    assert talk.done("get_pr", *M4, "x") == "0"
    for function in ("ping", "export", "batch"):
        server.restart()
        if function == "export":
            assert talk.export()[0] == [[*M4, "x", "0"]]
        elif function == "batch":
            answer = talk.call("batch", [*M4, "x", None], [*M4, "y", None])
            assert [each["value"] for each in answer["answers"]] == ["0", "1"]
        else:
            talk.done(function)


def test_a_connection_that_breaks_under_a_request_is_opened_again_once(odd, talk):
    odd.behave = lambda connection, *_: connection.close() or True
    talk.connect(odd.address)
    text = talk.fails(CONNECTION, "ping")
    assert text == f"{odd.address}: ping: the server closed the connection"
    assert odd.connections == 2
    talk.fails(CONNECTION, "ping")
    assert odd.connections == 3, "a new connection is not tried twice"


def test_a_request_whose_answer_began_is_not_asked_again(odd, talk):
    def begin(connection, *_):
        connection.send(b'{"ali')
        connection.close()

    odd.behave = begin
    talk.connect(odd.address).fails(CONNECTION, "ping")
    assert odd.connections == 1


def test_what_is_left_of_a_stopped_export_is_nobodys_answer(odd, talk):
    message = in_chunks(export_message([ROW % number for number in range(2000)]))
    odd.behave = lambda connection, *_: connection.send(message[:100_000])
    talk.connect(odd.address)
    assert talk.export(stop_after=2)[1]["code"] == STOPPED
    odd.behave = None
    talk.done("ping")
    assert odd.connections == 2


def test_the_second_try_has_no_time_of_its_own(odd, talk):
    odd.behave = lambda connection, *_: (
        connection.close() or True if connection.number == 0 else True
    )
    talk.hurry(odd.address)
    with takes(SHORT_MS / 1000):
        talk.fails(TIMEOUT, "ping")


def test_what_comes_unasked_is_nobodys_answer(odd, talk):
    odd.uval = lambda arguments: arguments["checksum"]
    odd.behave = lambda connection, *_: (
        connection.send(b'{"value": "1"}\n{"value": "666"}\n')
        if connection.number == 0
        else False
    )
    talk.connect(odd.address)
    assert talk.done("get_pr", *M4, "1") == "1"
    assert talk.done("get_pr", *M4, "2") == "2"
    assert odd.connections == 2


def test_a_handle_is_usable_after_each_error(odd, talk):
    talk.connect(odd.address, LONG_MS)
    good = [b'{"invoke-error": {"message": "no"}}\n', b"nonsense\n"]
    for answer, code, connections in zip(good, (REFUSED, PROTOCOL), (1, 2)):
        odd.behave = lambda connection, *_: connection.send(answer)
        talk.fails(code, "ping")
        odd.behave = None
        talk.done("ping")
        assert odd.connections == connections
    talk.fails(ARGUMENT, "get_pr", "hex:ff", "a", "x")
    talk.done("ping")
    assert odd.connections == 2
    talk.call("set_timeout", SHORT_MS)
    odd.hold()
    talk.fails(TIMEOUT, "ping")
    odd.release()
    talk.call("set_timeout", LONG_MS)
    talk.done("ping")
    odd.refuse()
    talk.fails(CONNECTION, "ping")
    odd.listen()
    talk.done("ping")


# ---- batches ----


def test_a_batch_of_thousands_mixes_what_it_asks(serve, talk):
    talk.connect(serve(*QUICK).address)
    requests, expected = [], []
    for number in range(5000):
        package = (f"v{number % 50}", "all")
        if number % 10 == 7:
            requests.append([*package, f"bad{number}", "nonsense", False])
            expected.append((REFUSED, None))
        elif number % 10 == 8:
            requests.append(["hex:ff", "all", "x", None, False])
            expected.append((ARGUMENT, None))
        elif number % 2:
            requests.append([*package, str(number), f"{number}.5", False])
            expected.append((0, None))
        else:
            requests.append([f"n{number % 40}", "all", str(number), None, True])
            ones_before = [r for r in range(number % 40, number, 40) if r % 10 != 8]
            expected.append((0, str(len(ones_before))))
    answer = talk.call("batch", *requests)
    assert answer["code"] == 0, answer["text"]
    assert [(each["code"], each["value"]) for each in answer["answers"]] == expected
    for request, each in zip(requests, answer["answers"]):
        kind = "import-one" if request[3] else "get-pr"
        assert each["code"] == 0 or f": {kind}: " in each["text"], each
    rows = talk.export(history=True)[0]
    assert len(rows) == sum(code == 0 for code, _ in expected)


def test_a_batch_of_nothing_and_one_of_what_cant_be_asked(odd, talk):
    talk.connect(odd.address)
    assert talk.call("batch")["code"] == 0
    answer = talk.call("batch", ["hex:ff", "a", "x", None, False])
    assert answer["code"] == 0 and answer["answers"][0]["code"] == ARGUMENT
    assert odd.requests == []


def test_a_batch_that_breaks_midway_keeps_the_answers_that_came(odd, talk):
    def until_200(connection, *_):
        if len(odd.requests) < 200:
            return False
        return connection.close() or True

    odd.behave = until_200
    talk.connect(odd.address)
    answer = talk.call("batch", *[[*M4, str(i), None, False] for i in range(1000)])
    assert answer["code"] == CONNECTION
    assert answer["text"] == f"{odd.address}: get-pr: the server closed the connection"
    codes = [each["code"] for each in answer["answers"]]
    values = [each["value"] for each in answer["answers"]]
    assert codes == [0] * 199 + [CONNECTION] * 801
    assert values == ["3"] * 199 + [None] * 801
    assert {each["text"] for each in answer["answers"][199:]} == {answer["text"]}
    odd.behave = None
    talk.done("ping")


def test_a_request_over_the_limit_ends_a_batch_with_its_reason(serve, talk):
    talk.connect(serve("--max-message-bytes", "10000").address)
    requests = [[*M4, "x", None], [*M4, "y" * 8_000_000, None], [*M4, "z", None]]
    answer = talk.call("batch", *requests)
    assert [each["code"] for each in answer["answers"]] == [0, REFUSED, CONNECTION]
    assert "longer than 10000 bytes" in answer["answers"][1]["text"]
    talk.done("ping")


def test_two_sides_that_send_before_they_read_dont_wait_for_each_other(odd, talk):
    long = in_chunks(b'{"value": "3", "more": "%s"}' % (b"x" * 100_000))
    odd.behave = lambda connection, *_: connection.send(long)
    talk.connect(odd.address)
    answer = talk.call("batch", *[[*M4, "x" * 50_000, None] for _ in range(120)])
    assert [each["value"] for each in answer["answers"]] == ["3"] * 120


# ---- threads ----


def test_threads_share_a_handle(serve):
    server = serve(*QUICK)
    rounds = "5" if SANITIZER else "20"
    subprocess.run(
        [BUILD / "tests/lib/lib_threads", server.address, "6", rounds],
        check=True,
        timeout=100,
    )


# ---- as it is installed ----


def symbols(*command):
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    names = {line.split()[-1] for line in done.stdout.splitlines() if " T " in line}
    others = [
        line
        for line in done.stdout.splitlines()
        if len(line.split()) == 3 and line.split()[1] not in "TA"
    ]
    return names, others


def test_only_the_api_can_be_seen(tmp_path):
    library = BUILD / "src/client/libprserv.so.0"
    names, others = symbols("nm", "-D", "--defined-only", library)
    ours = {f"prserv_{name}" for name in FUNCTIONS.split()}
    assert {name for name in names if "san" not in name} == {
        f"{name}@@PRSERV_1" for name in ours
    }
    assert not others
    if SANITIZER:
        return
    names, others = symbols(
        "nm", "-g", "--defined-only", BUILD / "src/client/libprserv.a"
    )
    assert names == ours and not others


needs_an_install = pytest.mark.skipif(
    bool(SANITIZER) or not shutil.which("meson") or not shutil.which("pkg-config"),
    reason="needs meson, pkg-config, and a build without sanitizers",
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Where `meson install` put the tree."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run(
        ["meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", folder],
        check=True,
        capture_output=True,
    )
    return folder


def compile_as_a_stranger(installed, source, program, static):
    (description,) = installed.rglob("prserv.pc")
    environment = clean_environment(
        PKG_CONFIG_PATH=str(description.parent), PKG_CONFIG_SYSROOT_DIR=str(installed)
    )
    flags = subprocess.run(
        ["pkg-config", *["--static"] * static, "--cflags", "--libs", "prserv"],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    options = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"]
    options += ["-static"] * static
    command = ["cc", *options, source, *flags, "-o", program]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {"LD_LIBRARY_PATH": str(description.parent.parent)}


@needs_an_install
@pytest.mark.parametrize(
    "static",
    [
        False,
        pytest.param(
            True,
            marks=pytest.mark.skipif(
                COVERAGE, reason="strangers don't link what counts for coverage"
            ),
        ),
    ],
    ids=["shared", "static"],
)
def test_a_strangers_program_is_compiled_and_runs(installed, server, tmp_path, static):
    source = ROOT / "examples/ask_revision.c"
    program = tmp_path / "stranger"
    extra = compile_as_a_stranger(installed, source, program, static)
    for checksum, revision in (("x", "0"), ("y", "1")):
        done = subprocess.run(
            [program, server.address, *M4, checksum],
            env=clean_environment(**extra),
            capture_output=True,
            text=True,
        )
        assert (done.stdout, done.stderr) == (f"{revision}\n", "")
    needed = subprocess.run(
        ["readelf", "-d", program], check=True, capture_output=True, text=True
    ).stdout
    assert ("libprserv.so.0" in needed) is not static


@needs_an_install
@pytest.mark.skipif(not shutil.which("groff"), reason="needs groff")
def test_the_program_of_the_manual_page_runs_as_printed(installed, server, tmp_path):
    (page,) = installed.rglob("libprserv.3")
    command = ["groff", "-man", "-Tascii", "-P-cbou", page]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (printed,) = re.findall(r"^EXAMPLES\n(.*?)^NOTES", text, re.M | re.S)
    source = tmp_path / "printed.c"
    source.write_text(printed.replace("127.0.0.1:8585", server.address))
    extra = compile_as_a_stranger(installed, source, tmp_path / "printed", False)
    done = subprocess.run(
        [tmp_path / "printed"],
        env=clean_environment(**extra),
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("0\n", "")


@needs_an_install
def test_the_installed_command_finds_its_library(installed, server):
    (program,) = (path for path in installed.rglob("bin/prserv"))
    environment = clean_environment(PRSERV_HOST=server.address)
    environment.pop("LD_LIBRARY_PATH", None)
    subprocess.run([program, "ping"], env=environment, check=True, capture_output=True)


@needs_an_install
def test_what_is_installed_has_a_man_page(installed):
    (page,) = installed.rglob("libprserv.3")
    text = page.read_text()
    for name in FUNCTIONS.split():
        assert f"prserv_{name}" in text


@pytest.mark.skipif(not shutil.which("c++"), reason="needs a C++ compiler")
def test_cxx_programs_can_include_the_header(tmp_path):
    source = tmp_path / "program.cpp"
    source.write_text(
        "#include <prserv.h>\n"
        'struct prserv_text hello() { return prserv_text("hello"); }\n'
    )
    options = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I", ROOT / "src/client"]
    subprocess.run(
        ["c++", *options, "-c", source, "-o", tmp_path / "program.o"], check=True
    )


# ---- the examples ----


def run_example(name, *arguments, text=None):
    return subprocess.run(
        [BUILD / "examples" / name, *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        env=dict(os.environ),
    )


def test_the_examples_ask_import_and_print(server: Server):
    assert run_example("ask_revision", server.address, *M4, "x").stdout == "0\n"
    text = "".join(f"v{number} all x {number}.1\n" for number in range(500))
    done = run_example("import_batch", server.address, text=text)
    assert (done.returncode, done.stdout) == (0, "500 imported, 0 refused\n")
    done = run_example("import_batch", server.address, text="v all x 1\nv all y no\n")
    assert (done.returncode, done.stdout) == (1, "1 imported, 1 refused\n")
    assert done.stderr.startswith(f"row 2: {server.address}: import-one: ")
    done = run_example("print_export", server.address)
    assert len(done.stdout.splitlines()) == 502
    done = run_example("print_export", server.address, "v7")
    assert done.stdout == "v7\tall\tx\t7.1\n"


def test_the_examples_say_what_is_wrong(odd):
    odd.refuse()
    for name in ("ask_revision", "print_export", "import_batch"):
        assert "Usage" in run_example(name).stderr
        arguments = M4 + ("x",) if name == "ask_revision" else ()
        done = run_example(name, odd.address, *arguments, text="v all x 1\n")
        assert done.returncode != 0
        assert "can't connect: Connection refused" in done.stderr
