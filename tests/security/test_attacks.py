# SPDX-License-Identifier: MIT
"""Hostile clients: the errors that they get, the memory that they cost, and how little they
delay others.

doc/security.md has the same as a table. test_protocol.py tests framing and errors byte for
byte, test_options.py the limits that are options."""

import contextlib
import json
import os
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
from harness import HANDSHAKE, SANITIZER, Client, open_files, poll

PING = b'{"ping": {}}\n'
ALIVE = {"alive": True}
ROW = {"version": "v", "pkgarch": "a", "checksum": "c"}
MIB = 1 << 20
LOAD = max(
    1, os.getloadavg()[0] / os.cpu_count()
)  # what clients wait for the processor


def memory(server, name):
    """Returns a value of /proc/PID/status in bytes."""
    with open(f"/proc/{server.process.pid}/status") as status:
        return int(re.search(rf"^{name}:\s+(\d+) kB", status.read(), re.M)[1]) * 1024


class Bystander:
    """A client that asks without a pause and measures the time of each answer."""

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
def costs_little(server, grows_by):
    """Checks that the block costs at most this many bytes of memory, and delays nobody."""
    before = memory(server, "VmRSS")
    with open(f"/proc/{server.process.pid}/clear_refs", "w") as peak:
        peak.write("5")  # resets VmHWM
    with Bystander(server):
        yield
    grown = memory(server, "VmHWM") - before
    print(f"grew by {grown // 1024} KiB of {grows_by // 1024}")
    assert SANITIZER or grown < grows_by, grown


@contextlib.contextmanager
def open_file_limit_raised(count):
    """Raises the limit of open files of this process."""
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


# ---- endless input ----

ENDLESS = {
    "a line": (HANDSHAKE + b"x" * MIB, "a line is longer than 65536 bytes"),
    "headers": (
        b"PRSERVICE 1.0\n" + b"x: y\n" * 100_000,
        "the handshake has more than 100 header lines",
    ),
    "a header": (
        b"PRSERVICE 1.0\nx: " + b"y" * MIB,
        "a line is longer than 8192 bytes",
    ),
    "a first line": (b"P" * MIB, "a line is longer than 8192 bytes"),
    "nesting": (
        HANDSHAKE + b'{"ping": ' + b"[" * 5000 + b"\n",
        "the message is not JSON in UTF-8: objects and lists nested too deeply",
    ),
    "nesting in chunks": (
        HANDSHAKE + b'{"chunk-stream": null}\n' + b'{"a":' * 6000 + b"\n" + b"\n",
        "the message is not JSON in UTF-8: objects and lists nested too deeply",
    ),
    "a chunk": (
        HANDSHAKE + b'{"chunk-stream": null}\n' + b"x" * MIB,
        "a line is longer than 65536 bytes",
    ),
}


@pytest.mark.parametrize("data,reason", ENDLESS.values(), ids=ENDLESS)
def test_endless_input_is_refused_and_closed(server, data, reason):
    with costs_little(server, grows_by=4 * MIB), server.client(handshake=b"") as client:
        with contextlib.suppress(OSError):  # closed before everything was sent
            client.send(data)
        assert reason in error(client)
        assert client.is_closed()


def test_an_endless_chunk_stream_is_refused_at_the_limit(server):
    line = b"x" * 65_535 + b"\n"
    with costs_little(server, grows_by=4 * MIB), server.client() as client:
        client.send(b'{"chunk-stream": null}\n')
        with contextlib.suppress(OSError):
            for _ in range(20):
                client.send(line)
        assert error(client) == (
            "a message is longer than 262144 bytes; the limit is --max-message-bytes"
        )
        assert client.is_closed()
    poll(
        lambda: SANITIZER or memory(server, "VmRSS") < 40 * MIB,
        "the memory to be released",
    )


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
def test_a_message_that_is_not_utf8_is_refused_and_closed(server, place):
    for kind, text in NO_UTF8.items():
        with server.client() as client:
            client.send(PLACES[place].replace(b"%s", text))
            assert "not JSON in UTF-8" in error(client), kind
            assert client.is_closed(), kind
    assert server.ask({"export": {"history": True}})["datainfo"] == []


def test_headers_that_are_not_utf8_are_refused_and_closed(server):
    for kind, text in NO_UTF8.items():
        with server.client(handshake=b"PRSERVICE 1.0\nx: " + text + b"\n\n") as client:
            assert error(client) == "a header line is not UTF-8", kind
            assert client.is_closed(), kind


NUMBERS = [b"1e999", b"-1e999", b"9" * 60_000, b"-" + b"9" * 40, b"1" + b"0" * 19]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:20].decode())
def test_huge_numbers_are_refused_as_values_and_the_connection_stays(server, number):
    with server.client() as client:
        client.send(
            b'{"import-one": {"version": "v", "pkgarch": "a", "checksum": "c", '
            b'"value": %s}}\n' % number
        )
        expected = "a revision as" if b"e" in number else "a number that is too large"
        assert expected in error(client)
        client.send(b'{"ping": {"x": %s}}\n' % number)
        assert client.receive() == ALIVE


LARGE = ("--max-message-bytes", 4 * MIB)


def test_millions_of_values_are_read_over(serve):
    server = serve(*LARGE)
    values = b'{"ping": {"x": [' + b"[],{}," * 600_000 + b"0]}}"
    with costs_little(server, grows_by=16 * MIB), server.client() as client:
        client.send(b'{"chunk-stream": null}\n')
        for at in range(0, len(values), 60_000):
            client.send(values[at : at + 60_000] + b"\n")
        client.send(b"\n")
        assert client.receive() == ALIVE


def test_a_revision_may_have_a_million_digits(serve):
    server = serve(*LARGE)
    digits = "9" * 1_000_000
    with costs_little(server, grows_by=40 * MIB), server.client() as client:
        assert client.import_one("v", "a", "c", digits) == {"value": digits}
        assert client.get_pr("v", "a", "d") == "1" + "0" * 1_000_000


def test_a_revision_may_have_a_million_numbers(serve):
    server = serve(*LARGE)
    numbers = "1" + ".0" * 1_000_000
    with costs_little(server, grows_by=40 * MIB), server.client() as client:
        assert client.import_one("v", "a", "c", numbers) == {"value": numbers}
        assert client.get_pr("v", "a", "d") == numbers[:-1] + "1"


def test_of_duplicate_keys_the_last_counts_as_in_python(server):
    with server.client() as client:
        client.send(
            b'{"get-pr": {"version": "first", "pkgarch": "a", "checksum": "c", '
            b'"version": "last"}}\n'
        )
        assert client.receive() == {"value": "0"}
        (row,) = client.export()["datainfo"]
        assert row["version"] == "last"


def test_of_duplicate_requests_the_last_counts_as_in_python(server):
    with server.client() as client:
        client.send(b'{"import-one": 1, "ping": [], "import-one": 2, "ping": {}}\n')
        assert client.receive() == ALIVE


@pytest.mark.parametrize("data", [b'{"ping": {}}\0\n', b'{"ping\0": {}}\n', b"\0\n"])
def test_a_nul_in_a_name_or_between_values_is_refused_and_closed(server, data):
    with server.client() as client:
        client.send(data)
        assert "the message is not JSON" in error(client)
        assert client.is_closed()


def test_a_name_with_an_escaped_nul_is_another_name(server):
    with server.client() as client:
        client.send(b'{"ping\\u0000": {}}\n')
        assert "unknown request" in error(client)
        client.send(b'{"ping": {}, "x\\u0000": 1}\n')
        assert client.receive() == ALIVE


def test_text_after_a_nul_is_not_lost(server):
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
            assert "is not a revision" in error(client)
            client.post({text: {}})
            assert "unknown request" in error(client)
        for number, text in enumerate(SQL):
            assert client.get_pr(text, text, text) == "0"
            assert client.get_pr("v", "a", text) == str(number + 1)
            (row,) = client.export(version=text, pkgarch=text)["datainfo"]
            assert row == dict.fromkeys(ROW, text) | {"value": "0"}
        assert len(client.export(history=True)["datainfo"]) == 1 + 2 * len(SQL)


# ---- slow clients ----


def test_clients_that_send_byte_by_byte_cost_little(server):
    """Each has sent a part of a request, and sends another byte now and then."""
    request = b'{"get-pr": {"version": "v", "pkgarch": "a", "checksum": "c"}}\n'
    with contextlib.ExitStack() as stack:
        with costs_little(server, grows_by=10 * MIB):
            crowd = [stack.enter_context(server.client()) for _ in range(300)]
            for byte in request[:-1]:
                for client in crowd:
                    client.send(bytes([byte]))
        crowd[7].send(b"\n")
        assert crowd[7].receive() == {"value": "0"}


def test_clients_that_never_read_cost_only_their_buffers(server):
    count = 30
    text = "x" * 60_000
    with server.client() as client:
        for number in range(20):
            client.get_pr(str(number), "a", text)
    with contextlib.ExitStack() as stack:
        # 256 KiB and a piece of an export are made ahead, in buffers that double.
        with costs_little(server, grows_by=2 * count * MIB):
            for _ in range(count):
                deaf = stack.enter_context(server.client())
                deaf.socket.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    for _ in range(10_000):
                        deaf.socket.send(b'{"export": {"history": true}}\n' * 10)


INCOMPLETE = {
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


def send_incomplete_messages(server, first, second, grows_by, silence_s):
    """Checks that silent clients are not closed, and do not delay others."""
    end = b'"checksum": "c"}}\n' + (b"\n" if len(first) > 1 else b"")
    with open_file_limit_raised(2000), contextlib.ExitStack() as stack:
        poller = select.poll()
        with costs_little(server, grows_by):
            crowd = [stack.enter_context(server.client()) for _ in range(1000)]
            for client in crowd:
                client.send(b"".join(first))
                poller.register(client.socket, select.POLLIN)
            poll(lambda: connections(server)["open"] >= 1000, "all of them")
            assert server.get_pr("v", "a", "c") == "0"
            assert not poller.poll(silence_s * 1000)  # neither answered nor closed
        for client in crowd:
            client.send(b"".join(second) + end)
        for client in crowd:
            assert client.receive() == {"value": "0"}


@pytest.mark.parametrize("first,second,grows_by", INCOMPLETE.values(), ids=INCOMPLETE)
def test_a_thousand_incomplete_messages_are_kept_and_answered_once_complete(
    server, first, second, grows_by
):
    send_incomplete_messages(server, first, second, grows_by, silence_s=0)


@pytest.mark.torture
@pytest.mark.timeout(300)
def test_incomplete_messages_are_kept_longer_than_any_deadline(server):
    send_incomplete_messages(server, *INCOMPLETE["of a request"], silence_s=75)


# ---- budgets for all clients together ----

BUDGET = 24 * MIB
USED_UP = "the memory for requests and answers"


def overruns(server):
    return server.ask({"get-stats": {}})["memory"]["overruns"]


def chunks(message):
    """Returns a message as a chunk stream."""
    parts = [message[at : at + 32_767] for at in range(0, len(message), 32_767)]
    return ("\n".join(['{"chunk-stream": null}', *parts, "", ""])).encode()


def is_readable(client):
    return bool(select.select([client.socket], [], [], 0)[0])


def start_message(client, size):
    """Sends a message of this many bytes, without its end."""
    client.send(b'{"chunk-stream": null}\n')
    for _ in range(size // 32_768):
        client.send(b"x" * 32_767 + b"\n")


def test_unfinished_messages_of_all_clients_have_a_budget(serve):
    """The client that holds most is closed; clients that hold little, and new ones, are served."""
    server = serve("--max-memory-bytes", BUDGET, *LARGE)
    request = json.dumps({"test-pr": ROW}).encode() + b"\n"
    with contextlib.ExitStack() as stack:
        small = stack.enter_context(server.client())
        small.send(request[:20])
        with costs_little(server, grows_by=2 * BUDGET):
            for _ in range(24):
                client = stack.enter_context(server.client())
                with contextlib.suppress(OSError):
                    start_message(client, 3 * MIB)
            poll(lambda: overruns(server) >= 16, "the closed ones")
            assert server.get_pr("v", "a", "c") == "0"
        small.send(request[20:])
        assert small.receive() == {"value": "0"}
    assert USED_UP in server.log


def test_the_client_that_holds_most_memory_is_told_so(serve):
    server = serve("--max-memory-bytes", BUDGET, *LARGE)
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(server.client()) for _ in range(8)]
        for client in crowd:
            with contextlib.suppress(OSError):
                start_message(client, 3 * MIB)
        poll(lambda: overruns(server) >= 1, "one to be closed")
        told = [client for client in crowd if is_readable(client)]
        assert told
        for client in told:
            assert USED_UP in error(client)
            assert client.is_closed()


@pytest.mark.parametrize("below_an_upstream", [False, True])
def test_a_client_that_holds_little_is_never_closed(serve, below_an_upstream):
    """However memory is used up: by messages, by requests, or by answers that nobody reads."""
    upstream = serve(folder="upstream").address if below_an_upstream else None
    options = (*LARGE, "--upstream", upstream) if upstream else LARGE
    server = serve("--max-memory-bytes", BUDGET, *options)
    questions = json.dumps({"test-pr": ROW}).encode() + b"\n"
    request = json.dumps({"test-pr": ROW | {"checksum": "x"}}).encode() + b"\n"
    long_request = chunks(
        json.dumps({"get-pr": ROW | {"checksum": "x" * (7 * MIB // 2)}})
    )
    with contextlib.ExitStack() as stack:
        innocent = [stack.enter_context(server.client()) for _ in range(20)]
        innocent[0].import_one(*ROW.values(), "9" * MIB)
        for _ in range(1 if SANITIZER else 5):  # a round takes a sanitizer a minute
            before = overruns(server)
            with contextlib.ExitStack() as attack:
                crowd = [attack.enter_context(server.client()) for _ in range(12)]
                for number, client in enumerate(crowd):
                    for other in innocent:
                        other.send(request[:20])
                    with contextlib.suppress(OSError):
                        if number % 3 == 0:
                            start_message(client, 3 * MIB)
                        else:
                            client.send(
                                questions * 128 if number % 3 == 1 else long_request
                            )
                    for other in innocent:
                        other.send(request[20:])
                    for other in innocent:
                        assert other.receive() == {"value": None}
                poll(lambda: overruns(server) > before, "one to be closed")


def test_long_unread_answers_have_a_budget(serve):
    server = serve("--max-memory-bytes", BUDGET, *LARGE)
    question = json.dumps({"test-pr": ROW}).encode() + b"\n"
    with server.client() as client, server.client() as other:
        client.import_one(*ROW.values(), "9" * MIB)
        with costs_little(server, grows_by=2 * BUDGET):
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


@pytest.mark.slow
@pytest.mark.skipif(bool(SANITIZER), reason="sanitizers keep freed memory")
def test_memory_that_is_free_goes_back_to_the_system(serve):
    server = serve(*LARGE)
    question = json.dumps({"test-pr": ROW}).encode() + b"\n"
    with server.client() as client:
        client.import_one(*ROW.values(), "9" * 100_000)
    before = memory(server, "VmRSS")
    with contextlib.ExitStack() as stack:
        for _ in range(16):
            client = stack.enter_context(server.client())
            client.send(question * 128)
        poll(lambda: memory(server, "VmRSS") > before + 100 * MIB, "the answers")
    poll(lambda: memory(server, "VmRSS") < before + 32 * MIB, "their memory")


@contextlib.contextmanager
def asking_without_delay(server):
    """Checks that another client gets 99 % of its answers within 50 ms meanwhile."""
    with Bystander(server) as bystander:
        yield
        poll(lambda: len(bystander.times) >= 100, "answers to the bystander")
    p99 = statistics.quantiles(bystander.times, n=100)[98]
    print(f"p99 {p99 * 1000:.1f} ms of {len(bystander.times)}")
    assert SANITIZER or p99 < 0.05 * LOAD, p99


def store_large_rows(server, count=100):
    with server.client() as client:
        for number in range(count):
            client.get_pr(str(number), "a", "x" * 60_000)


def test_exports_that_nobody_reads_cost_little(server):
    store_large_rows(server)
    path = str(server.folder / "prserv.sqlite3")
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(server.client()) for _ in range(64)]
        with costs_little(server, grows_by=48 * MIB), asking_without_delay(server):
            for client in crowd:
                client.post({"export": {"history": True}})
            for client in crowd:
                poll(client.unread_bytes, "the beginning of an answer")
            assert server.get_pr("v", "a", "c") == "0"
            with server.client() as last:
                assert len(last.export(history=True)["datainfo"]) == 101
        # one connection for all exports, beside those for other work
        assert open_files(server.process).count(path) < 10
        with futures.ThreadPoolExecutor(16) as pool:
            for answer in pool.map(Client.receive, crowd[:16]):
                assert len(answer["datainfo"]) in (100, 101)


def test_exports_of_one_address_leave_half_to_another(server):
    """The clients of an address share its turns."""
    store_large_rows(server)
    over = threading.Event()

    def export_again_and_again():
        with server.client() as client:
            while not over.is_set():
                client.post({"export": {"history": True}})
                while client.file.readline() != b"\n":
                    pass

    with futures.ThreadPoolExecutor(8) as pool:
        crowd = [pool.submit(export_again_and_again) for _ in range(8)]
        with asking_without_delay(server):
            far = socket.socket()
            far.bind(("127.0.0.2", 0))
            far.settimeout(60)
            far.connect(("127.0.0.1", server.port))
            with far, far.makefile("rb") as file:
                far.sendall(HANDSHAKE + b'{"export": {"history": true}}\n')
                lines = 0
                while file.readline() != b"\n":
                    lines += 1
                assert lines > 100
        over.set()
        for each in crowd:
            each.result()


# ---- many connections ----


def close_with_reset(client):
    """Closes with a reset, which leaves no port in TIME_WAIT."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def connect_and_leave(server, count):
    beginnings = [
        b"",
        b"PRSERVICE 1.0\n",
        HANDSHAKE,
        HANDSHAKE + b'{"pi',
        HANDSHAKE + PING * 3,
    ]
    address = ("127.0.0.1", server.port)  # read from the log only once
    for number in range(count):
        client = socket.create_connection(address)
        with contextlib.suppress(OSError):
            client.sendall(beginnings[number % len(beginnings)])
        close_with_reset(client)


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
def test_clients_that_come_and_go_leak_nothing(server, count):
    connect_and_leave(server, 500)
    poll(lambda: connections(server)["open"] == 1, "the clients to be gone")
    with costs_little(server, grows_by=MIB):
        connect_and_leave(server, count)
    poll(lambda: connections(server)["open"] == 1, "the clients to be gone")
    assert connections(server)["accepted"] >= 500 + count


def check_idle_connections(server, count, grows_by):
    address = ("127.0.0.1", server.port)
    with contextlib.ExitStack() as stack:
        with costs_little(server, grows_by):
            for _ in range(count):
                client = socket.create_connection(address)
                stack.callback(close_with_reset, client)
                client.sendall(HANDSHAKE)
            poll(lambda: connections(server)["open"] >= count, "all of them")
        start = time.monotonic()
        assert server.get_pr("v", "a", "c") == "0"
        assert time.monotonic() - start < 5
    poll(lambda: connections(server)["open"] == 1, "the clients to be gone")


def test_a_thousand_idle_connections_cost_4_MiB(server):
    check_idle_connections(server, 1000, grows_by=4 * MIB)


@pytest.mark.slow
def test_ten_thousand_idle_connections_cost_40_MiB(server):
    with open_file_limit_raised(11_000):
        check_idle_connections(server, 10_000, grows_by=40 * MIB)


def test_connected_clients_are_served_while_descriptors_are_used_up(server):
    """The others wait; test_descriptors.py checks that they are served later."""
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (64, 64))
    with contextlib.ExitStack() as stack:
        inside = stack.enter_context(server.client())
        assert inside.ask({"ping": {}}) == ALIVE
        with costs_little(server, grows_by=4 * MIB):
            for _ in range(200):
                stack.enter_context(server.client())
            poll(lambda: "Can't accept more connections" in server.log, "the warning")
            for number in range(50):
                assert inside.get_pr("v", "a", str(number)) == str(number)
    assert server.log.count("Can't accept more connections") == 1
    assert server.get_pr("v", "a", "later") == "50"
