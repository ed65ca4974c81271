"""What hostile clients get, what it costs, and that the others hardly notice.

doc/security.md has the same as a table. Framing and errors byte for byte are in
test_protocol.py, limits that are options in test_options.py."""

import contextlib
import json
import re
import resource
import select
import socket
import statistics
import struct
import threading
import time
from concurrent import futures

import pytest
from harness import OPENING, SANITIZER, Client, open_files, poll

PING = b'{"ping": {}}\n'
ALIVE = {"alive": True}
ROW = {"version": "v", "pkgarch": "a", "checksum": "c"}
MIB = 1 << 20


def memory(server, name):
    """A figure of /proc/PID/status in bytes."""
    with open(f"/proc/{server.process.pid}/status") as status:
        return int(re.search(rf"^{name}:\s+(\d+) kB", status.read(), re.M)[1]) * 1024


class Bystander:
    """A client that goes on asking, and takes the time of each answer."""

    def __init__(self, server):
        self.client = server.client()
        self.times = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.ask)

    def ask(self):
        with contextlib.suppress(OSError, EOFError):
            while not self.over.wait(0.001):
                start = time.monotonic()
                assert self.client.ask({"ping": {}}) == ALIVE
                self.times.append(time.monotonic() - start)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            poll(lambda: len(self.times) >= 20, "answers to the bystander")
        self.over.set()
        self.thread.join()
        self.client.close()
        if kind is None:
            median = statistics.median(self.times)
            assert median < 0.05 * (4 if SANITIZER else 1), median


@contextlib.contextmanager
def harmless(server, grows_by):
    """What is done inside costs so many bytes at most, and keeps nobody waiting."""
    before = memory(server, "VmRSS")
    with open(f"/proc/{server.process.pid}/clear_refs", "w") as peak:
        peak.write("5")  # VmHWM from here on
    with Bystander(server):
        yield
    grown = memory(server, "VmHWM") - before
    print(f"grew by {grown // 1024} KiB of {grows_by // 1024}")
    assert SANITIZER or grown < grows_by, grown


@contextlib.contextmanager
def open_files_of_mine(count):
    """As many files may be open here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip("the limit of open files is too low")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def error(client):
    return client.receive()["invoke-error"]["message"]


# ---- what is sent once ----

ENDLESS = {
    "a line": (OPENING + b"x" * MIB, "a line is longer than 65536 bytes"),
    "headers": (
        b"PRSERVICE 1.0\n" + b"x: y\n" * 100_000,
        "the opening has more than 100 header lines",
    ),
    "a header": (
        b"PRSERVICE 1.0\nx: " + b"y" * MIB,
        "a line is longer than 8192 bytes",
    ),
    "a first line": (b"P" * MIB, "a line is longer than 8192 bytes"),
    "nesting": (
        OPENING + b'{"ping": ' + b"[" * 5000 + b"\n",
        "the message is not JSON in UTF-8: maximum parsing depth reached",
    ),
    "nesting in chunks": (
        OPENING + b'{"chunk-stream": null}\n' + (b'{"a":' * 6000 + b"\n") * 40 + b"\n",
        "the message holds more than 10000 values",
    ),
    "a chunk": (
        OPENING + b'{"chunk-stream": null}\n' + b"x" * MIB,
        "a line is longer than 65536 bytes",
    ),
}


@pytest.mark.parametrize("data,reason", ENDLESS.values(), ids=ENDLESS)
def test_what_does_not_end_is_refused_and_closed(server, data, reason):
    with harmless(server, grows_by=4 * MIB), server.client(opening=b"") as client:
        with contextlib.suppress(OSError):  # closed before all of it was sent
            client.send(data)
        assert reason in error(client)
        assert client.is_closed()


def test_a_chunk_stream_without_end_is_refused_at_the_limit(server):
    line = b"x" * 65_535 + b"\n"
    with harmless(server, grows_by=12 * MIB), server.client() as client:
        client.send(b'{"chunk-stream": null}\n')
        with contextlib.suppress(OSError):
            for _ in range(80):
                client.send(line)
        assert error(client) == "a message is longer than 4194304 bytes"
        assert client.is_closed()
    poll(lambda: SANITIZER or memory(server, "VmRSS") < 40 * MIB, "the memory back")


# ---- text ----

NO_UTF8 = {
    "a continuation alone": b"\x80",
    "the last continuation alone": b"\xbf",
    "a start alone, 2 bytes": b"\xc3",
    "a start alone, 3 bytes": b"\xe4\xb8",
    "a start alone, 4 bytes": b"\xf0\x9f\x98",
    "a start before a letter": b"\xc3x",
    "too long, 2 bytes": b"\xc1\xbf",
    "too long, NUL": b"\xc0\x80",
    "too long, 3 bytes": b"\xe0\x9f\xbf",
    "too long, 4 bytes": b"\xf0\x8f\xbf\xbf",
    "the first surrogate": b"\xed\xa0\x80",
    "the last surrogate": b"\xed\xbf\xbf",
    "a pair of surrogates": b"\xed\xa0\xbd\xed\xb8\x80",
    "beyond U+10FFFF": b"\xf4\x90\x80\x80",
    "a start that is none": b"\xf5\x80\x80\x80",
    "5 bytes": b"\xf8\x88\x80\x80\x80",
    "6 bytes": b"\xfc\x84\x80\x80\x80\x80",
    "FE": b"\xfe",
    "FF": b"\xff",
    "Latin-1": "für".encode("latin-1"),
    "UTF-16": "x".encode("utf-16"),
}
PLACES = {
    "version": b'{"get-pr": {"version": "%s", "pkgarch": "a", "checksum": "c"}}\n',
    "pkgarch": b'{"test-pr": {"version": "v", "pkgarch": "%s", "checksum": "c"}}\n',
    "checksum": b'{"get-pr": {"version": "v", "pkgarch": "a", "checksum": "%s", '
    b'"history": false}}\n',
    "the value of import-one": b'{"import-one": {"version": "v", "pkgarch": "a", '
    b'"checksum": "c", "value": "%s"}}\n',
    "a filter of export": b'{"export": {"version": "%s"}}\n',
    "the name of a request": b'{"%s": {}}\n',
    "the name of an argument": b'{"ping": {"%s": 1}}\n',
    "what is ignored": b'{"ping": {"x": ["%s"]}}\n',
}


@pytest.mark.parametrize("place", PLACES)
def test_what_is_not_utf8_is_refused_and_closed(server, place):
    for kind, text in NO_UTF8.items():
        with server.client() as client:
            client.send(PLACES[place].replace(b"%s", text))
            assert "not JSON in UTF-8" in error(client), kind
            assert client.is_closed(), kind
    assert server.ask({"export": {"history": True}})["datainfo"] == []


def test_headers_that_are_not_utf8_are_refused_and_closed(server):
    for kind, text in NO_UTF8.items():
        with server.client(opening=b"PRSERVICE 1.0\nx: " + text + b"\n\n") as client:
            assert error(client) == "a header line is not UTF-8", kind
            assert client.is_closed(), kind


NUMBERS = [b"1e999", b"-1e999", b"9" * 60_000, b"-" + b"9" * 40, b"1" + b"0" * 19]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:20].decode())
def test_huge_numbers_are_refused_and_the_connection_stays(server, number):
    with server.client() as client:
        for request in (
            b'{"ping": {"x": %s}}\n',
            b'{"import-one": {"version": "v", "pkgarch": "a", "checksum": "c", '
            b'"value": %s}}\n',
        ):
            client.send(request % number)
            assert "a number that is too large" in error(client)
        assert client.ask({"ping": {}}) == ALIVE


def test_a_revision_of_a_million_digits_is_one(server):
    digits = "9" * 1_000_000
    with harmless(server, grows_by=40 * MIB), server.client() as client:
        assert client.import_one("v", "a", "c", digits) == {"value": digits}
        assert client.get_pr("v", "a", "d") == "1" + "0" * 1_000_000


def test_a_revision_of_a_million_numbers_is_one(server):
    numbers = "1" + ".0" * 1_000_000
    with harmless(server, grows_by=40 * MIB), server.client() as client:
        assert client.import_one("v", "a", "c", numbers) == {"value": numbers}
        assert client.get_pr("v", "a", "d") == numbers[:-1] + "1"


# Requests as BitBake writes them go a short way; the last member here is what keeps the
# second one from it.
@pytest.mark.parametrize("rest", [b"", b', "x": 1'], ids=["short way", "long way"])
def test_of_duplicate_keys_the_last_counts_as_in_python(server, rest):
    with server.client() as client:
        client.send(
            b'{"get-pr": {"version": "first", "pkgarch": "a", "checksum": "c", '
            b'"version": "last"' + rest + b"}}\n"
        )
        assert client.receive() == {"value": "0"}
        (row,) = client.export()["datainfo"]
        assert row["version"] == "last"


def test_of_duplicate_requests_the_last_counts_as_in_python(server):
    with server.client() as client:
        client.send(b'{"import-one": 1, "ping": [], "import-one": 2, "ping": {}}\n')
        assert client.receive() == ALIVE


NAMES_WITH_NUL = [
    (b'{"ping\\u0000": {}}\n', "NUL byte in object key"),
    (b'{"ping": {}, "x\\u0000": 1}\n', "NUL byte in object key"),
    (b'{"ping": {}}\0\n', "it holds a NUL"),
    (b"\0\n", "it holds a NUL"),
]


@pytest.mark.parametrize("data,reason", NAMES_WITH_NUL)
def test_a_nul_in_a_name_or_between_is_refused_and_closed(server, data, reason):
    with server.client() as client:
        client.send(data)
        assert reason in error(client)
        assert client.is_closed()


def test_what_stands_behind_a_nul_is_not_lost(server):
    with server.client() as client:
        assert client.get_pr("v", "a", "x\0one") == "0"
        assert client.get_pr("v", "a", "x\0two") == "1"
        assert client.get_pr("v\0", "a", "x") == "0"
        assert client.test_pr("v", "a", "x") is None
        assert client.max_pr("v", "a\0") is None


SQL = [
    "'; DROP TABLE PRMAIN; --",
    "' OR '1'='1",
    "x' UNION SELECT name, sql, 1, 1 FROM sqlite_master --",
    '"; ATTACH DATABASE "/tmp/x" AS y; --',
    "%",
    "_",
    "*",
    "?1",
    ":version",
    "@x",
    "$x",
    "x') ON CONFLICT DO UPDATE SET value = '0' --",
]


def test_sql_in_any_field_is_text(server):
    with server.client() as client:
        assert client.get_pr(*ROW.values()) == "0"
        for text in SQL:
            for field in ROW:
                arguments = {**ROW, field: text}
                assert client.test_pr(*arguments.values()) is None
                if field != "checksum":
                    assert client.max_pr(*list(arguments.values())[:2]) is None
                assert client.export(**{field: text})["datainfo"] == []
            client.send(b'{"export": {"history": true}}\n')
            assert client.receive()["datainfo"] == [{**ROW, "value": "0"}]
            client.post({"import-one": {**ROW, "value": text}})
            assert "is no revision" in error(client)
            client.post({text: {}})
            assert "unknown request" in error(client)
        for number, text in enumerate(SQL):
            assert client.get_pr(text, text, text) == "0"
            assert client.get_pr("v", "a", text) == str(number + 1)
            (row,) = client.export(version=text, pkgarch=text)["datainfo"]
            assert row == dict.fromkeys(ROW, text) | {"value": "0"}
        assert len(client.export(history=True)["datainfo"]) == 1 + 2 * len(SQL)


# ---- slowness ----


def test_clients_that_trickle_cost_little(server):
    """Each has sent a part of a request, and sends one byte more now and then."""
    request = b'{"get-pr": {"version": "v", "pkgarch": "a", "checksum": "c"}}\n'
    with contextlib.ExitStack() as stack:
        with harmless(server, grows_by=10 * MIB):
            crowd = [stack.enter_context(server.client()) for _ in range(300)]
            for byte in request[:-1]:
                for client in crowd:
                    client.send(bytes([byte]))
        crowd[7].send(b"\n")
        assert crowd[7].receive() == {"value": "0"}


def test_clients_that_never_read_cost_what_is_made_ahead_of_them(server):
    count = 30
    text = "x" * 60_000
    with server.client() as client:
        for number in range(20):
            client.get_pr(str(number), "a", text)
    with contextlib.ExitStack() as stack:
        # 256 KiB and a piece of an export are made ahead, in buffers that double, and an
        # export that has begun keeps a connection to the database.
        with harmless(server, grows_by=2 * count * MIB):
            for _ in range(count):
                deaf = stack.enter_context(server.client())
                deaf.socket.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    for _ in range(10_000):
                        deaf.socket.send(b'{"export": {"history": true}}\n' * 10)


HALVES = {
    "of a request": (
        [b'{"test-pr": {"version": "v", "pk'],
        [b'garch": "a", '],
        8 * MIB,
    ),
    "of a chunk stream": (
        [b'{"chunk-stream": null}\n', b'{"test-pr": {"x": "' + b"x" * 30_000 + b"\n"],
        [b'", "version": "v", "pkgarch": "a", '],
        80 * MIB,
    ),
}


def leave_halves(server, first, second, grows_by, silence_s):
    """Nobody who stays silent is closed for that, or holds others up."""
    end = b'"checksum": "c"}}\n' + (b"\n" if len(first) > 1 else b"")
    with open_files_of_mine(2000), contextlib.ExitStack() as stack:
        heard = select.poll()
        with harmless(server, grows_by):
            crowd = [stack.enter_context(server.client()) for _ in range(1000)]
            for client in crowd:
                client.send(b"".join(first))
                heard.register(client.socket, select.POLLIN)
            poll(lambda: connections(server)["open"] >= 1000, "all of them")
            assert server.get_pr("v", "a", "c") == "0"
            assert not heard.poll(silence_s * 1000)  # neither an answer nor an end
        for client in crowd:
            client.send(b"".join(second) + end)
        for client in crowd:
            assert client.receive() == {"value": "0"}


@pytest.mark.parametrize("first,second,grows_by", HALVES.values(), ids=HALVES)
def test_a_thousand_halves_of_messages_are_kept_and_answered_when_whole(
    server, first, second, grows_by
):
    leave_halves(server, first, second, grows_by, silence_s=0)


@pytest.mark.torture
@pytest.mark.timeout(300)
def test_halves_of_messages_are_kept_longer_than_any_deadline(server):
    leave_halves(server, *HALVES["of a request"], silence_s=75)


# ---- memory and exports, of all clients together ----

BUDGET = 16 * MIB
USED_UP = "the memory for requests and answers"


def overruns(server):
    return server.ask({"get-stats": {}})["memory"]["overruns"]


def start_message(client, size):
    """A message of so many bytes, but for its end."""
    client.send(b'{"chunk-stream": null}\n')
    for _ in range(size // 32_768):
        client.send(b"x" * 32_767 + b"\n")


def test_unfinished_messages_of_all_clients_have_a_budget(serve):
    """The one that holds most is closed; who holds little, and who comes then, is not."""
    server = serve("--max-memory-bytes", BUDGET)
    request = json.dumps({"test-pr": ROW}).encode() + b"\n"
    with contextlib.ExitStack() as stack:
        small = stack.enter_context(server.client())
        small.send(request[:20])
        with harmless(server, grows_by=2 * BUDGET):
            for _ in range(24):
                client = stack.enter_context(server.client())
                with contextlib.suppress(OSError):
                    start_message(client, 3 * MIB)
            poll(lambda: overruns(server) >= 16, "the closed ones")
            assert server.get_pr("v", "a", "c") == "0"
        small.send(request[20:])
        assert small.receive() == {"value": "0"}
    assert USED_UP in server.log


def test_a_client_hears_that_it_holds_most(serve):
    server = serve("--max-memory-bytes", BUDGET)
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(server.client()) for _ in range(6)]
        for client in crowd:
            with contextlib.suppress(OSError):
                start_message(client, 3 * MIB)
        poll(lambda: overruns(server) >= 1, "one to be closed")
        assert USED_UP in error(crowd[0])
        assert crowd[0].is_closed()


def test_long_answers_that_wait_have_a_budget(serve):
    server = serve("--max-memory-bytes", BUDGET)
    question = json.dumps({"test-pr": ROW}).encode() + b"\n"
    with server.client() as client, server.client() as other:
        client.import_one(*ROW.values(), "9" * MIB)
        with harmless(server, grows_by=2 * BUDGET):
            client.send(question * 128)
            assert other.get_pr("w", "a", "c") == "0"
        answers = [client.receive() for _ in range(128)]
    good = [answer for answer in answers if "value" in answer]
    assert 1 <= len(good) < 128
    assert all(
        USED_UP in answer["invoke-error"]["message"]
        for answer in answers
        if "value" not in answer
    )


def test_exports_wait_for_their_turn(server):
    text = "x" * 60_000
    with server.client() as client:
        for number in range(100):
            client.get_pr(str(number), "a", text)
    path = str(server.folder / "prserv.sqlite3")

    def opened():
        return open_files(server.process).count(path)

    before = opened()
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(server.client()) for _ in range(64)]
        with harmless(server, grows_by=64 * MIB):
            for client in crowd:
                client.post({"export": {"history": True}})
            poll(lambda: opened() - before == 16, "as many as there may be")
            assert server.get_pr("v", "a", "c") == "0"
            assert opened() - before == 16
        for client in crowd[:52]:  # who leaves makes room
            client.close()
        with futures.ThreadPoolExecutor(len(crowd)) as pool:  # all read at once
            for answer in pool.map(Client.receive, crowd[52:]):
                assert len(answer["datainfo"]) in (100, 101)
    # SQLite keeps descriptors of closed connections for the next ones.
    assert opened() - before <= 16


# ---- many ----


def hang_up(client):
    """Closes with a reset, which leaves no port in TIME_WAIT."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def come_and_go(server, count):
    said = [b"", b"PRSERVICE 1.0\n", OPENING, OPENING + b'{"pi', OPENING + PING * 3]
    address = ("127.0.0.1", server.port)  # read from the log: once
    for number in range(count):
        client = socket.create_connection(address)
        with contextlib.suppress(OSError):
            client.sendall(said[number % len(said)])
        hang_up(client)


def connections(server):
    return server.ask({"get-stats": {}})["connections"]


@pytest.mark.parametrize(
    "count",
    [
        5000,
        pytest.param(100_000, marks=pytest.mark.slow),
        pytest.param(500_000, marks=[pytest.mark.torture, pytest.mark.timeout(1200)]),
    ],
)
def test_clients_that_come_and_go_leave_nothing(server, count):
    come_and_go(server, 500)
    poll(lambda: connections(server)["open"] == 1, "the clients to be gone")
    with harmless(server, grows_by=MIB):
        come_and_go(server, count)
    poll(lambda: connections(server)["open"] == 1, "the clients to be gone")
    assert connections(server)["accepted"] >= 500 + count


def idle(server, count, grows_by):
    address = ("127.0.0.1", server.port)
    with contextlib.ExitStack() as stack:
        with harmless(server, grows_by):
            for _ in range(count):
                client = socket.create_connection(address)
                stack.callback(hang_up, client)
                client.sendall(OPENING)
            poll(lambda: connections(server)["open"] >= count, "all of them")
        start = time.monotonic()
        assert server.get_pr("v", "a", "c") == "0"
        assert time.monotonic() - start < 5
    poll(lambda: connections(server)["open"] == 1, "the clients to be gone")


def test_a_thousand_idle_connections_cost_4_MiB(server):
    idle(server, 1000, grows_by=4 * MIB)


@pytest.mark.slow
def test_ten_thousand_idle_connections_cost_40_MiB(server):
    with open_files_of_mine(11_000):
        idle(server, 10_000, grows_by=40 * MIB)


def test_without_descriptors_who_is_in_is_served(server):
    """The others wait; that they are served later is in test_protocol.py."""
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (64, 64))
    with contextlib.ExitStack() as stack:
        inside = stack.enter_context(server.client())
        assert inside.ask({"ping": {}}) == ALIVE
        with harmless(server, grows_by=4 * MIB):
            for _ in range(200):
                stack.enter_context(server.client())
            poll(lambda: "Can't accept more connections" in server.log, "the warning")
            for number in range(50):
                assert inside.get_pr("v", "a", str(number)) == str(number)
    assert server.log.count("Can't accept more connections") == 1
    assert server.get_pr("v", "a", "later") == "50"
