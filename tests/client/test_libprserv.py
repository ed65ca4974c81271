# SPDX-License-Identifier: MIT
"""The functions of libprserv, with real servers and fake ones."""

import json
import subprocess
import threading

import pytest

from harness import BUILD, QUICK, SANITIZER, has_ipv6
from library import (
    ARGUMENT,
    CONNECTION,
    PROTOCOL,
    REFUSED,
    ROW,
    STOPPED,
    TIMEOUT,
    export_message,
    in_chunks,
    takes,
)
from rows import M4

SLOW = pytest.mark.slow


UNUSUAL_TEXTS = [
    "a\0b",
    "\0",
    "\"quoted\" 'too' \\ back",
    "two\nlines\r\nand\ttabs",
    "häßlich 道 \U0001f600",
    "}],{[:",
    " blanks at the ends ",
    "$a$b$",
    "c" * 100_000,
    "é\n" * 10_000,
]


# ---- every function ----


def test_get_pr_returns_revisions(server, talk):
    talk.connect(server.address)
    assert talk.done("get_pr", *M4, "x") == "0"
    assert talk.done("get_pr", *M4, "y") == "1"
    assert talk.done("get_pr", *M4, "x", True) == "0"
    assert talk.done("get_pr", *M4, "x", False) == "2"


def test_test_pr_returns_known_revisions(server, talk):
    talk.connect(server.address)
    assert talk.done("test_pr", *M4, "x") is None
    server.get_pr(*M4, "x")
    server.get_pr(*M4, "y")
    server.get_pr(*M4, "x")
    assert talk.done("test_pr", *M4, "x") == "2"
    assert talk.done("test_pr", *M4, "x", True) == "0"


def test_test_package_and_max_package_pr_look_up_a_package(server, talk):
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


def test_connect_takes_names_ipv6_and_unix_sockets(serve, talk, tmp_path):
    port = serve().port
    talk.connect(f"localhost:{port}").done("ping")
    path = f"unix://{tmp_path}/socket"
    serve("--bind", path, folder="unix", bind=False)
    talk.connect(path).done("ping")
    assert talk.call("address") == path
    if has_ipv6():
        six = serve("--bind", "[::1]:0", folder="six", bind=False)
        talk.connect(six.address).done("ping")


# ---- export ----


def test_export_has_filters_and_returns_metainfo(server, talk):
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


def test_a_callback_can_stop_an_export(serve, talk):
    server = serve(*QUICK)
    talk.connect(server.address)
    for count in (3, 2000):  # an answer of one line, then a long one
        requests = [[*M4, str(i), str(i), False] for i in range(count)]
        talk.done("batch", *requests)
        rows, answer = talk.export(history=True, stop_after=2)
        assert len(rows) == 2 and answer["code"] == STOPPED
        assert answer["text"].startswith(f"{server.address}: export: ")
        talk.done("ping")
        assert talk.export(stop_at_metainfo=True, colinfo=True)[1]["code"] == STOPPED
        assert len(talk.export(history=True)[0]) == count


def test_unusual_texts_come_back_unchanged(serve, talk):
    talk.connect(serve(*QUICK).address)
    rows = [[f, f[:50], f, str(i)] for i, f in enumerate(UNUSUAL_TEXTS)]
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


@pytest.mark.skipif(bool(SANITIZER), reason="sanitizers keep freed memory")
@pytest.mark.parametrize("count", [20_000, pytest.param(200_000, marks=SLOW)])
def test_an_export_takes_constant_memory(fake, talk, count):
    many = in_chunks(export_message([ROW % number for number in range(count)]))
    few = in_chunks(export_message([ROW % number for number in range(1000)]))
    messages = iter([few, many])
    fake.behave = lambda connection, *_: connection.send(next(messages))
    talk.connect(fake.address)
    before = talk.export(count=True)[1]
    after = talk.export(count=True)[1]
    assert (before["rows"], after["rows"], after["code"]) == (1000, count, 0)
    assert after["peak_kib"] - before["peak_kib"] < 1024  # a row has some 80 bytes


def test_rows_without_a_value_reach_the_callback(fake, talk):
    row = b'{"version":"v","pkgarch":"a","checksum":"x","value":null}'
    fake.behave = lambda connection, *_: connection.send(export_message([row]) + b"\n")
    assert talk.connect(fake.address).export()[0] == [["v", "a", "x", None]]


def test_integers_of_old_servers_are_accepted(fake, talk):
    row = b'{"version":"v","pkgarch":"a","checksum":"x","value":12}'
    fake.behave = lambda connection, name, *_: (
        connection.send(export_message([row]) + b"\n")
        if name == "export"
        else connection.answer({"value": 12})
    )
    talk.connect(fake.address)
    assert talk.done("get_pr", *M4, "x") == "12"
    assert talk.done("max_package_pr", *M4) == "12"
    assert talk.export()[0] == [["v", "a", "x", "12"]]
    talk.done("import_one", *M4, "x", "12")
    fake.behave = lambda connection, *_: connection.answer({"value": -1})
    assert "not a revision" in talk.fails(REFUSED, "get_pr", *M4, "x")


INVALID_EXPORTS = [
    b'{"metainfo":@@@,"datainfo":[]}',
    b'{"metainfo":7,"datainfo":[]}',
    b'{"metainfo":[],"datainfo":[]}',
    b'{"metainfo":{},"metainfo":{},"datainfo":[]}',
    b'{"metainfo":{},"datainfo":{}}',
    b'{"metainfo":{},"datainfo":[],"datainfo":[]}',
    b'{"metainfo":{},"datainfo":[],}',
    b'{"metainfo":{},"datainfo":[{"version":"v","version":"w","pkgarch":"a","checksum":"c","value":"1"}]}',
    b'{"' + b"x" * 2000,
]


@pytest.mark.parametrize("message", INVALID_EXPORTS, ids=range(len(INVALID_EXPORTS)))
def test_an_invalid_export_is_a_protocol_error(fake, talk, message):
    fake.behave = lambda connection, *_: connection.send(message + b"\n")
    rows, answer = talk.connect(fake.address).export()
    assert (rows, answer["code"]) == ([], PROTOCOL), answer


def test_an_endless_answer_is_a_protocol_error(fake, talk):
    def flood(connection, *_):
        while connection.is_open:
            connection.send(b'{"value":"1"}\n' * 100_000)

    fake.behave = flood
    talk.connect(fake.address)
    ask = [*M4, "x" * 10_000_000, None]
    answer = talk.call("batch", [*M4, "x", None], ask, ask, ask)
    assert answer["code"] == PROTOCOL and "more than it was asked" in answer["text"]


def test_a_failed_reconnection_is_named(serve, talk, tmp_path):
    path = tmp_path / "socket"
    server = serve("--bind", f"unix://{path}", bind=False)
    talk.connect(f"unix://{path}").done("ping")
    server.stop()
    text = talk.fails(CONNECTION, "ping")
    assert text.startswith(f"unix://{path}: ping: can't connect: ")


def test_control_characters_in_a_reason_are_replaced(fake, talk):
    hostile = "\x1b[2J \x9b31m \u202e\u2028 \x7f gr\u00fcn \U0001f600"
    fake.behave = lambda connection, *_: connection.answer(
        {"invoke-error": {"message": hostile}}
    )
    text = talk.connect(fake.address).fails(REFUSED, "ping")
    assert text == f"{fake.address}: ping: ?[2J ?31m ?? ? gr\u00fcn \U0001f600"


def test_a_refused_export_returns_the_reason_of_the_server(fake, talk):
    fake.behave = lambda connection, *_: connection.answer(
        {"invoke-error": {"message": "not today"}}
    )
    answer = talk.connect(fake.address).export()[1]
    assert (answer["code"], answer["rows"]) == (REFUSED, 0)
    assert answer["text"] == f"{fake.address}: export: not today"
    talk.call("ping")
    assert fake.connections == 1


def test_rows_before_a_broken_connection_are_delivered(fake, talk):
    def half(connection, *_):
        message = in_chunks(export_message([ROW % number for number in range(2000)]))
        connection.send(message[: len(message) // 2])
        connection.close()

    fake.behave = half
    rows, answer = talk.connect(fake.address).export()
    assert 500 < len(rows) < 1000 and answer["code"] == CONNECTION
    assert fake.connections == 1, "a request whose answer has begun is not sent again"


def test_the_timeout_of_an_export_starts_again_with_each_piece(fake, talk):
    more = threading.Event()

    def stall(connection, *_):
        message = in_chunks(export_message([ROW % number for number in range(2000)]))
        connection.send(message[:100_000])
        more.wait(60)

    fake.behave = stall
    talk.hurry(fake.address, 1000)
    with takes(1):
        rows, answer = talk.export()
    more.set()
    assert answer["code"] == TIMEOUT and len(rows) > 1000


# ---- batches ----


def test_a_batch_may_mix_thousands_of_requests(serve, talk):
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


def test_the_greatest_revisions_of_thousands_of_packages(serve, talk):
    talk.connect(serve(*QUICK).address)
    talk.call(
        "batch",
        *[[f"v{number}", "all", "x", f"{number}.1", False] for number in range(9)],
    )
    packages, expected = [], []
    for number in range(5000):
        if number % 10 == 9:
            packages.append(["hex:ff", "all"])
            expected.append((ARGUMENT, None))
        else:
            packages.append([f"v{number % 20}", "all"])
            known = number % 20 < 9
            expected.append((0, f"{number % 20}.1" if known else None))
    answer = talk.call("max_package_prs", *packages)
    assert answer["code"] == 0, answer["text"]
    assert [(each["code"], each["value"]) for each in answer["answers"]] == expected
    assert "max-package-pr: " in answer["answers"][9]["text"]


def test_empty_and_invalid_batches_send_nothing(fake, talk):
    talk.connect(fake.address)
    assert talk.call("batch")["code"] == talk.call("max_package_prs")["code"] == 0
    answer = talk.call("batch", ["hex:ff", "a", "x", None, False])
    assert answer["code"] == 0 and answer["answers"][0]["code"] == ARGUMENT
    assert fake.requests == []


def test_a_broken_batch_keeps_the_answers_before_the_break(fake, talk):
    def until_200(connection, *_):
        if len(fake.requests) < 200:
            return False
        return connection.close() or True

    fake.behave = until_200
    talk.connect(fake.address)
    answer = talk.call("batch", *[[*M4, str(i), None, False] for i in range(1000)])
    assert answer["code"] == CONNECTION
    assert answer["text"] == f"{fake.address}: get-pr: the server closed the connection"
    codes = [each["code"] for each in answer["answers"]]
    values = [each["value"] for each in answer["answers"]]
    assert codes == [0] * 199 + [CONNECTION] * 801
    assert values == ["3"] * 199 + [None] * 801
    assert {each["text"] for each in answer["answers"][199:]} == {answer["text"]}
    fake.behave = None
    talk.done("ping")


def test_a_request_over_the_limit_ends_a_batch(serve, talk):
    talk.connect(serve("--max-message-bytes", "10000").address)
    requests = [[*M4, "x", None], [*M4, "y" * 8_000_000, None], [*M4, "z", None]]
    answer = talk.call("batch", *requests)
    assert [each["code"] for each in answer["answers"]] == [0, REFUSED, CONNECTION]
    assert "longer than 10000 bytes" in answer["answers"][1]["text"]
    talk.done("ping")


def test_a_batch_reads_while_it_sends(fake, talk):
    long = in_chunks(b'{"value": "3", "more": "%s"}' % (b"x" * 100_000))
    fake.behave = lambda connection, *_: connection.send(long)
    talk.connect(fake.address)
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
