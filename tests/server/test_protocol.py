# SPDX-License-Identifier: MIT
"""The protocol, byte for byte: handshakes, messages, chunk streams, errors."""

import json
import os
import random
import re
import resource
import socket
import sqlite3
import string
import threading
import xmlrpc.client
from pathlib import Path

import pytest

from harness import HANDSHAKE, Client, Refused, poll
from postgres_cluster import both_kinds
from rows import make_large_database

PING = b'{"ping": {}}\n'
ALIVE = {"alive": True}

HANDSHAKES = {
    "BitBake 1.52 to 2.6": b"PRSERVICE 1.0\n\n",
    "BitBake 2.8 and newer": b"PRSERVICE 1.0\nneeds-headers: false\n\n",
    "no need for headers, spelled otherwise": b"PRSERVICE 1.0\nNeeds-Headers:false\n\n",
    "carriage returns": b"PRSERVICE 1.0\r\nneeds-headers: false\r\n\r\n",
    "other headers": b"PRSERVICE 1.0\nx: y\nempty:\nz: \xc3\xa4\n\n",
    "a hundred headers": b"PRSERVICE 1.0\n" + b"x: y\n" * 100 + b"\n",
    "a header of 8 KiB": b"PRSERVICE 1.0\nx:" + b"y" * 8190 + b"\n\n",
}

INVALID_HANDSHAKES = {
    "another version": b"PRSERVICE 2.0\n\n",
    "a longer version": b"PRSERVICE 1.00\n\n",
    "another protocol": b"OEHASHEQUIV 1.1\n\n",
    "HTTP": b"GET / HTTP/1.1\nHost: x\n\n",
    "nothing": b"\n\n",
    "a message": PING,
    "too many headers": b"PRSERVICE 1.0\n" + b"x: y\n" * 101 + b"\n",
    "a header that is too long": b"PRSERVICE 1.0\nx:" + b"y" * 8191 + b"\n\n",
    "an endless line": b"P" * 100_000,
    "a header without a colon": b"PRSERVICE 1.0\nneeds-headers\n\n",
    "a header that is not UTF-8": b"PRSERVICE 1.0\nx: \xff\xfe\n\n",
}


@pytest.mark.parametrize("handshake", HANDSHAKES.values(), ids=HANDSHAKES)
def test_a_handshake_is_followed_by_messages(server, handshake):
    with server.client(handshake=handshake) as client:
        assert client.ask({"ping": {}}) == ALIVE


@pytest.mark.parametrize(
    "handshake", INVALID_HANDSHAKES.values(), ids=INVALID_HANDSHAKES
)
def test_an_invalid_handshake_gets_an_error_and_is_closed(server, handshake):
    with server.client(handshake=handshake) as client:
        assert client.receive()["invoke-error"]["message"]
        assert client.is_closed()
    assert server.ask({"ping": {}}) == ALIVE


def test_a_client_that_speaks_xml_rpc_is_told_that_it_is_too_old(server):
    """BitBake 1.50 and older calls getPR of http://HOST:PORT with xmlrpc.client."""
    for path in "/RPC2", "/", "":
        with xmlrpc.client.ServerProxy(f"http://{server.address}{path}") as proxy:
            with pytest.raises(
                xmlrpc.client.Fault, match="this client is too old: it speaks"
            ):
                proxy.getPR("m4-1", "all", "a" * 10_000)
    said = r"Refused a client that is too old: 127\.0\.0\.1:\d+ speaks XML-RPC"
    assert len(re.findall(said, server.log)) == 1
    assert server.ask({"ping": {}}) == ALIVE


def test_a_client_of_a_unix_socket_that_speaks_xml_rpc_is_logged(serve, tmp_path):
    path = tmp_path / "socket"
    server = serve("--bind", f"unix://{path}")
    with Client(path, handshake=b"POST /RPC2 HTTP/1.1\r\n") as client:
        assert client.receive_line() == b"HTTP/1.1 200 OK\r\n"
    assert "too old: a unix socket speaks XML-RPC" in server.log


def test_headers_are_sent_to_a_client_that_needs_them(server):
    with server.client(
        handshake=b"PRSERVICE 1.0\nNEEDS-headers:  true \n\n" + PING
    ) as client:
        assert client.receive_line() == b"\n"
        assert client.receive() == ALIVE


def test_nothing_is_sent_before_the_client_has_spoken(server):
    with server.client(handshake=b"") as client:
        client.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.socket.recv(1)
        client.send(HANDSHAKE)
        with pytest.raises(TimeoutError):
            client.socket.recv(1)


def test_a_handshake_may_arrive_byte_by_byte(server):
    with server.client(handshake=b"") as client:
        for byte in HANDSHAKE + PING:
            client.send(bytes([byte]))
        assert client.receive() == ALIVE


# ---- requests ----

ARGUMENTS = {"version": "m4-1.4.19-r0", "pkgarch": "core2-64", "checksum": "c0ffee"}


@both_kinds
def test_every_request_has_the_documented_answer(server):
    package = {"version": "m4-1.4.19-r0", "pkgarch": "core2-64"}
    row = {**ARGUMENTS, "value": "0"}
    with server.client() as client:
        assert client.ask({"ping": {}}) == ALIVE
        assert client.ask({"is-readonly": {}})["readonly"] is False
        assert client.ask({"test-package": package}) == {"value": False}
        assert client.ask({"max-package-pr": package}) == {"value": None}
        assert client.ask({"test-pr": {**ARGUMENTS, "history": False}}) == {
            "value": None
        }
        assert client.ask({"get-pr": {**ARGUMENTS, "history": False}}) == {"value": "0"}
        assert client.ask({"test-pr": {**ARGUMENTS, "history": True}}) == {"value": "0"}
        assert client.ask({"test-package": package}) == {"value": True}
        assert client.ask({"max-package-pr": package}) == {"value": "0"}
        assert client.export() == {"metainfo": {}, "datainfo": [row]}
        assert client.import_one(*ARGUMENTS.values(), "1.2") == {"value": "1.2"}
        assert client.import_one(*ARGUMENTS.values(), 7) == {"value": 7}
        assert client.max_pr(*package.values()) == "7"


@both_kinds
def test_read_only_listeners_answer_and_store_nothing(serve):
    server = serve("--bind", "127.0.0.1:0,ro", bind=True)
    port = int(server.addresses[1].rpartition(":")[2])
    with server.client() as writer, Client(("127.0.0.1", port)) as reader:
        assert reader.ask({"is-readonly": {}})["readonly"] is True
        assert writer.ask({"is-readonly": {}})["readonly"] is False
        assert reader.get_pr("v", "a", "one") == "0"
        assert reader.get_pr("v", "a", "two") == "0"
        assert reader.ask_raw({"import-one": {**ARGUMENTS, "value": "3"}}) is None
        with pytest.raises(Refused):
            reader.import_one(*ARGUMENTS.values(), "x")
        assert writer.export(history=True)["datainfo"] == []
        assert writer.get_pr("v", "a", "one") == "0"
        assert reader.get_pr("v", "a", "two") == "1"


def test_column_info_describes_the_four_columns(server):
    info = server.ask({"export": {"colinfo": True}})["metainfo"]
    assert info["tbl_name"] == "PRMAIN"
    assert info["core_ver"]
    assert [c["name"] for c in info["col_info"]] == [
        "version",
        "pkgarch",
        "checksum",
        "value",
    ]
    assert all(
        set(c) == {"name", "type", "notnull", "dflt_value", "pk"}
        for c in info["col_info"]
    )


@both_kinds
def test_export_filters_by_each_field_and_null_empty_and_absent_mean_all(server):
    with server.client() as client:
        client.get_pr("v1", "a", "x")
        client.get_pr("v1", "a", "y")
        client.get_pr("v1", "b", "x")
        client.get_pr("v2", "a", "x")

        def rows(**filters):
            data = client.export(**filters)["datainfo"]
            return sorted(
                (r["version"], r["pkgarch"], r["checksum"], r["value"]) for r in data
            )

        newest = [("v1", "a", "y", "1"), ("v1", "b", "x", "0"), ("v2", "a", "x", "0")]
        assert (
            rows()
            == rows(version=None, pkgarch="", checksum=None, history=None)
            == newest
        )
        assert rows(history=True) == [("v1", "a", "x", "0"), *newest]
        assert rows(version="v1", pkgarch="b") == [("v1", "b", "x", "0")]
        assert rows(checksum="x") == [("v1", "b", "x", "0"), ("v2", "a", "x", "0")]
        assert rows(checksum="x", history=True, version="v1", pkgarch="a") == [
            ("v1", "a", "x", "0")
        ]
        assert rows(version="v3") == []


TEXTS = [
    "",
    " ",
    "quotes ' \" and ; -- SQL",
    "back\\slash",
    "line\nend\r\n",
    "nul\0inside",
    "\0",
    "ünïcödé \u4e2d\u6587 \U0001f600",
    "\x7f\x85\xa0\u2028",
    "$#%{}[]",
    "007",
    "x" * 100_000,
    " " * 70_000,
]


@pytest.mark.parametrize("field", ["version", "pkgarch", "checksum"])
def test_any_text_is_kept_as_it_is(server, field):
    with server.client() as client:
        for text in TEXTS:
            arguments = {**ARGUMENTS, field: text}
            first = client.get_pr(*arguments.values())
            assert client.test_pr(*arguments.values()) == first
        kept = {row[field] for row in client.export(history=True)["datainfo"]}
        assert kept == set(TEXTS)
        names = {json.dumps(arguments) for arguments in kept}
        assert len(names) == len(TEXTS)


def test_absent_and_null_history_mean_false(server):
    with server.client() as client:
        assert client.get_pr("v", "a", "x") == "0"
        assert client.get_pr("v", "a", "y") == "1"
        assert client.ask(
            {"get-pr": {"version": "v", "pkgarch": "a", "checksum": "x"}}
        ) == {"value": "2"}
        arguments = {"version": "v", "pkgarch": "a", "checksum": "y", "history": None}
        assert client.ask({"get-pr": arguments}) == {"value": "3"}


def test_unknown_members_are_ignored(server):
    with server.client() as client:
        assert client.ask({"ping": {"x": 1}, "y": [2]}) == ALIVE
        arguments = {**ARGUMENTS, "history": False, "extra": {"deep": [1, 2.5, None]}}
        assert client.ask({"get-pr": arguments}) == {"value": "0"}


def test_of_several_requests_in_a_message_the_first_documented_one_counts(server):
    with server.client() as client:
        assert client.ask({"is-readonly": {}, "ping": {}}) == ALIVE
        both = {"max-package-pr": ARGUMENTS, "test-package": ARGUMENTS}
        assert client.ask(both) == {"value": False}


def test_null_ends_the_connection_after_the_answers(server):
    with server.client() as client:
        client.send(PING + b"null\n" + PING)
        assert client.receive() == ALIVE
        assert client.is_closed()


def test_a_client_that_has_shut_down_sending_gets_its_answers(server):
    with server.client() as client:
        client.send(PING * 300)
        client.socket.shutdown(socket.SHUT_WR)
        assert [client.receive() for _ in range(300)] == [ALIVE] * 300
        assert client.is_closed()


# ---- errors ----

INVALID_REQUESTS = {
    "a list": [],
    "a number": 3,
    "a string": "ping",
    "true": True,
    "no request": {},
    "an unknown request": {"frobnicate": {}},
    "arguments that are no object": {"get-pr": []},
    "null arguments": {"get-pr": None},
    "version missing": {"get-pr": {"pkgarch": "a", "checksum": "c"}},
    "pkgarch missing": {"get-pr": {"version": "v", "checksum": "c"}},
    "checksum missing": {"get-pr": {"version": "v", "pkgarch": "a"}},
    "version null": {"test-pr": {"version": None, "pkgarch": "a", "checksum": "c"}},
    "version a number": {"max-package-pr": {"version": 1, "pkgarch": "a"}},
    "pkgarch a list": {"test-package": {"version": "v", "pkgarch": ["a"]}},
    "history a string": {"get-pr": {**ARGUMENTS, "history": "false"}},
    "history a number": {"test-pr": {**ARGUMENTS, "history": 0}},
    "colinfo a string": {"export": {"colinfo": "yes"}},
    "filter a number": {"export": {"version": 3}},
    "value missing": {"import-one": ARGUMENTS},
    **{
        f"value {value!r}": {"import-one": {**ARGUMENTS, "value": value}}
        for value in [
            "",
            "1.",
            ".1",
            "1..2",
            "1.a",
            "-1",
            "+1",
            " 1",
            "007",
            "1\0",
            -1,
            1.0,
        ]
        + [True, None, [], {}, 10**30, "٣"]
    },
}


@pytest.mark.parametrize("request_", INVALID_REQUESTS.values(), ids=INVALID_REQUESTS)
def test_an_invalid_request_gets_an_error_and_the_connection_stays(server, request_):
    with server.client() as client:
        with pytest.raises(Refused):
            client.ask(request_)
        assert client.ask({"ping": {}}) == ALIVE
        assert client.export(history=True)["datainfo"] == []


def test_an_error_names_the_request_and_the_argument(server):
    with server.client() as client:
        with pytest.raises(Refused, match="get-pr.*'checksum' is missing"):
            client.ask({"get-pr": {"version": "v", "pkgarch": "a"}})
        with pytest.raises(Refused, match="test-package.*'pkgarch' must be a string"):
            client.ask({"test-package": {"version": "v", "pkgarch": None}})
        with pytest.raises(Refused, match="frobnicate"):
            client.ask({"frobnicate": {}})


INVALID_MESSAGES = {
    "no JSON": b"hello\n",
    "half an object": b'{"ping": {}\n',
    "two values": b'{"ping": {}} {"ping": {}}\n',
    "single quotes": b"{'ping': {}}\n",
    "NaN": b'{"ping": NaN}\n',
    "an empty line": b"\n",
    "a blank line": b"   \n",
    "not UTF-8": b'{"ping": {"x": "\xff"}}\n',
    "an overlong NUL": b'{"ping": {"x": "\xc0\x80"}}\n',
    "half a surrogate": b'{"ping": {"x": "\\ud800"}}\n',
    "deep nesting": b"[" * 30_000 + b"\n",
    "a line over the limit": b'"' + b"x" * 65_536 + b'"\n',
    "an endless line": b"x" * 300_000,
    "an empty chunk stream": b'{"chunk-stream": null}\n\n',
    "no JSON in chunks": b'{"chunk-stream": null}\nhel\nlo\n\n',
    "a chunk over the limit": b'{"chunk-stream": null}\n' + b"x" * 65_537 + b"\n",
}


@pytest.mark.parametrize("data", INVALID_MESSAGES.values(), ids=INVALID_MESSAGES)
def test_an_invalid_message_gets_an_error_and_the_connection_is_closed(server, data):
    with server.client() as other, server.client() as client:
        client.send(PING + data)
        assert client.receive() == ALIVE
        assert client.receive()["invoke-error"]["message"]
        assert client.is_closed()
        assert other.ask({"ping": {}}) == ALIVE


def test_unread_input_does_not_destroy_the_error(server):
    with server.client() as client:

        def send_much():
            try:
                client.send(b"not JSON\n" + b"x" * 20_000_000)
            except OSError:
                pass  # closed after the error

        sender = threading.Thread(target=send_much)
        sender.start()
        assert "JSON" in client.receive()["invoke-error"]["message"]
        sender.join()


def test_a_refused_client_that_still_sends_is_not_reset(server):
    with server.client() as client:
        client.send(b"not JSON\n" + b"x" * 2_000_000)
        assert "JSON" in client.receive()["invoke-error"]["message"]
        assert client.receive_line() == b""  # a reset would raise


# ---- long messages ----


def test_a_line_of_64_KiB_is_accepted(server):
    frame = len(json.dumps({"ping": {"x": ""}}))
    with server.client() as client:
        client.send(
            json.dumps({"ping": {"x": "y" * (65_536 - frame)}}).encode() + b"\n"
        )
        assert client.receive() == ALIVE


@pytest.mark.parametrize("length", [1, 100, 32_767, 40_000])
def test_chunks_of_any_length_are_joined(server, length):
    text = json.dumps({"get-pr": {**ARGUMENTS, "checksum": "é x" * 20_000}}).encode()
    if length < 100:
        text = json.dumps({"get-pr": ARGUMENTS}).encode()
    chunks = b"".join(
        text[at : at + length] + b"\n" for at in range(0, len(text), length)
    )
    with server.client() as client:
        for start in (b'{"chunk-stream": null}', b' { "chunk-stream" :null}\r'):
            client.send(start + b"\n" + chunks + b"\n" + PING)
            assert client.receive() == {"value": "0"}
            assert client.receive() == ALIVE


@both_kinds
def test_long_answers_are_sent_in_chunks_that_survive_stripping(server):
    with server.client() as client:
        rows = {}
        for length in [*range(32_500, 32_720, 20), 100_000]:
            checksum = " " * length + "." + str(length)
            rows[checksum] = client.get_pr("v", "a", checksum)
            data = client.export(checksum=checksum, history=True)["datainfo"]
            assert [(r["checksum"], r["value"]) for r in data] == [
                (checksum, rows[checksum])
            ]
        data = client.export(history=True)["datainfo"]
        assert {row["checksum"]: row["value"] for row in data} == rows


def test_an_option_limits_the_length_of_messages(serve):
    server = serve("--max-message-bytes", "200000")
    with server.client() as client:
        client.get_pr("v", "a", "x" * 190_000)
        client.post({"get-pr": {**ARGUMENTS, "checksum": "x" * 210_000}})
        assert "200000" in client.receive()["invoke-error"]["message"]
        assert client.is_closed()


# ---- pipelining ----


def test_answers_come_in_the_order_of_the_requests(server):
    count = 2_000
    lines = []
    for i in range(count):
        arguments = {"version": "v", "pkgarch": "a", "checksum": str(i)}
        lines.append(json.dumps({"get-pr": arguments}))
        lines.append(json.dumps({"test-pr": arguments}))
        lines.append(json.dumps({"ping": {}}))
    with server.client() as client:
        sender = threading.Thread(
            target=client.send, args=(("\n".join(lines) + "\n").encode(),)
        )
        sender.start()
        for i in range(count):
            assert client.receive() == {"value": str(i)}
            assert client.receive() == {"value": str(i)}
            assert client.receive() == ALIVE
        sender.join()


@both_kinds
def test_a_request_sees_the_effects_of_earlier_ones_on_its_connection(server):
    rng = random.Random(1)
    with server.client() as client:
        client.get_pr("v", "a", "known")
        for _ in range(50):
            new = "".join(rng.choices(string.ascii_letters, k=12))
            top = int(client.max_pr("v", "a"))
            requests = [
                {"get-pr": {"version": "v", "pkgarch": "a", "checksum": new}},
                {"get-pr": {"version": "v", "pkgarch": "a", "checksum": "known"}},
                {"max-package-pr": {"version": "v", "pkgarch": "a"}},
                {
                    "import-one": {
                        **ARGUMENTS,
                        "version": "v",
                        "pkgarch": "a",
                        "value": top + 7,
                    }
                },
                {"max-package-pr": {"version": "v", "pkgarch": "a"}},
            ]
            client.send(b"".join(json.dumps(r).encode() + b"\n" for r in requests))
            answers = [client.receive()["value"] for _ in requests]
            expected = [str(top + 1), str(top + 2), str(top + 2), top + 7, str(top + 7)]
            assert answers == expected


def test_a_client_that_does_not_read_does_not_disturb_others(server):
    with server.client() as writer:
        for i in range(20):
            writer.get_pr("v", "a", str(i) + "x" * 100_000)
    with server.client() as silent, server.client() as other:
        silent.socket.setblocking(False)
        export = b'{"export": {"history": true}}\n'
        try:
            while True:
                silent.socket.send(export * 100)
        except BlockingIOError:
            pass
        for i in range(50):
            assert other.get_pr("other", "a", str(i)) == str(i)


def test_a_client_that_reads_late_gets_the_whole_answer(serve, tmp_path):
    """The answer is larger than the socket buffers; the rest waits in the server."""
    path = tmp_path / "rows.db"
    make_large_database(path, 60_000)
    server = serve("--file", path)
    with server.client() as late:
        late.post({"export": {"history": True}})
        queued = poll(lambda: late.unread_bytes(), "the answer")
        assert server.ask({"ping": {}}) == {"alive": True}
        assert queued > 0
        assert len(late.receive()["datainfo"]) == 60_000


def test_connections_beyond_the_limit_of_descriptors_wait_and_are_served(serve):
    """None of them is idle: each sends its request at once. test_descriptors.py has idle ones."""
    server = serve()
    limit = 64
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (limit, limit))
    crowd = [server.client() for _ in range(2 * limit)]
    for client in crowd:
        client.post({"ping": {}})
    for client in crowd:
        assert client.receive() == ALIVE
        client.close()
    assert "Can't accept more connections" in server.log


def test_accepting_resumes_once_descriptors_are_free(server):
    """No connection ends, so that only a timer can notice the free descriptors."""
    pid = server.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    in_use = max(map(int, os.listdir(f"/proc/{pid}/fd"))) + 1
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (in_use, limits[1]))
    with server.client() as client:
        poll(lambda: "Can't accept more connections" in server.log, "the warning")
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        assert client.ask({"ping": {}}) == {"alive": True}


def test_many_exports_of_one_client_do_not_keep_others_waiting(server):
    with server.client() as greedy, server.client() as other:
        for i in range(100):
            greedy.get_pr(str(i), "a", "x")
        greedy.send(b'{"export": {"history": true}}\n' * 100)
        assert len(other.export(version="7")["datainfo"]) == 1
        files = list(Path(f"/proc/{server.process.pid}/fd").iterdir())
        assert len(files) < 40  # an export has its own files
        for _ in range(100):
            assert len(greedy.receive()["datainfo"]) == 100


def test_look_ups_at_a_large_package_do_not_keep_others_waiting(server):
    server.stop()
    with sqlite3.connect(server.folder / "prserv.sqlite3") as database:
        rows = ((f"{i:064x}", str(i)) for i in range(100_000))
        database.executemany("INSERT INTO PRMAIN VALUES ('big', 'all', ?, ?)", rows)
    database.close()
    server.start()
    with server.client() as greedy, server.client() as other:
        greedy.send(b'{"max-package-pr": {"version": "big", "pkgarch": "all"}}\n' * 120)
        assert other.max_pr("small", "all") is None
        assert other.get_pr("small", "all", "x") == "0"
        for _ in range(120):
            assert greedy.receive() == {"value": "99999"}
