# SPDX-License-Identifier: MIT
"""libprserv: errors, timeouts, and connections that break."""

import contextlib
import socket

import pytest

from fake_upstream import FullBacklog, reserve_port
from harness import BUILD, QUICK, SANITIZER, poll
from library import (
    ARGUMENT,
    CONNECTION,
    LONG_MS,
    PROTOCOL,
    REFUSED,
    ROW,
    SHORT_MS,
    STOPPED,
    TIMEOUT,
    Talk,
    export_message,
    in_chunks,
    takes,
)
from rows import M4


# ---- errors ----


def test_a_refusal_names_server_request_and_reason(server, talk):
    talk.connect(server.address)
    text = talk.fails(REFUSED, "import_one", *M4, "x", "no revision")
    assert text.startswith(f"{server.address}: import-one: argument 'value'")
    assert "not a revision" in text


def test_invalid_arguments_are_not_sent(server, talk):
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
def test_an_invalid_address_is_refused(talk, address):
    text = talk.fails(ARGUMENT, "connect", address, LONG_MS)
    assert text.startswith(f"{address}: can't connect: ")


def test_a_refused_connection_is_reported(talk, tmp_path):
    with reserve_port() as holder:
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        text = talk.fails(CONNECTION, "connect", address, LONG_MS)
        assert text == f"{address}: can't connect: Connection refused"
    address = f"unix://{tmp_path}/none"
    text = talk.fails(CONNECTION, "connect", address, LONG_MS)
    assert text == f"{address}: can't connect: No such file or directory"


def test_a_lost_server_is_a_connection_error(serve, talk):
    server = serve()
    talk.connect(server.address)
    server.kill()
    text = talk.fails(CONNECTION, "ping")
    assert text.startswith(f"{server.address}: ping: ")
    talk.fails(CONNECTION, "get_pr", *M4, "x")
    server.restart()
    talk.done("ping")


INVALID_ANSWERS = [
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


@pytest.mark.parametrize("answer", INVALID_ANSWERS, ids=range(len(INVALID_ANSWERS)))
def test_an_invalid_answer_is_a_protocol_error(fake, talk, answer):
    silly = True
    fake.behave = lambda connection, *_: silly and connection.send(answer)
    talk.connect(fake.address)
    calls = [("ping",), ("is_readonly",), ("get_stats",), ("get_pr", *M4, "x")]
    calls += [("test_pr", *M4, "x"), ("max_package_pr", *M4), ("test_package", *M4)]
    for call in calls:
        text = talk.fails(PROTOCOL, *call)
        name = call[0].replace("_", "-")
        assert text.startswith(f"{fake.address}: {name}: "), text
        assert talk.process.poll() is None
    if answer != b"null\n":  # the error of a read-only server
        talk.fails(PROTOCOL, "import_one", *M4, "x", "1")
    if b"invoke-error" not in answer:
        exported = talk.export()[1]
        assert exported["code"] == PROTOCOL, exported
    answer_of_batch = talk.call("batch", [*M4, "x", None], [*M4, "y", None])
    assert answer_of_batch["code"] == PROTOCOL
    assert [each["code"] for each in answer_of_batch["answers"]] == [PROTOCOL] * 2
    assert answer_of_batch["text"].count(fake.address) == 1
    silly = False
    fake.behave = None
    talk.done("ping")


@pytest.mark.parametrize("value", ["", "1.", "x", "1\0", True, 1.5, [1], {}])
def test_a_value_that_is_not_a_revision_is_not_returned(fake, talk, value):
    fake.uval = value
    talk.connect(fake.address)
    assert "not a revision" in talk.fails(REFUSED, "get_pr", *M4, "x")
    assert "not a revision" in talk.fails(REFUSED, "test_pr", *M4, "x")
    fake.uval = "3"
    assert talk.done("get_pr", *M4, "x") == "3"
    assert fake.connections == 1


def test_a_get_pr_without_a_revision_is_refused(fake, talk):
    fake.uval = None
    talk.connect(fake.address)
    talk.fails(REFUSED, "get_pr", *M4, "x")
    answer = talk.call("batch", [*M4, "x", None])["answers"][0]
    assert answer["code"] == REFUSED and answer["text"].startswith(fake.address)
    assert talk.done("test_pr", *M4, "x") is None


def test_a_long_reason_is_cut_between_characters(fake, talk):
    fake.behave = lambda connection, *_: connection.answer(
        {"invoke-error": {"message": "\U0001f600" * 1000}}
    )
    for connected in (f"localhost:{fake.port}", fake.address):
        text = talk.connect(connected).fails(REFUSED, "ping")
        assert text.rstrip("?").endswith("\U0001f600") and len(text.encode()) > 400


def test_a_long_reason_is_cut(fake, talk):
    fake.behave = lambda connection, *_: connection.answer(
        {"invoke-error": {"message": "long " * 1000}}
    )
    text = talk.connect(fake.address).fails(REFUSED, "ping")
    assert text.startswith(f"{fake.address}: ping: long ") and 400 < len(text) < 512


def test_a_request_over_the_limit_of_the_server_is_refused(serve, talk):
    server = serve("--max-message-bytes", "10000")
    talk.connect(server.address)
    text = talk.fails(REFUSED, "get_pr", *M4, "x" * 8_000_000)
    assert "longer than 10000 bytes; the limit is --max-message-bytes" in text
    assert talk.done("get_pr", *M4, "x") == "0"


# ---- timeouts ----


def test_a_silent_server_is_a_timeout(fake, talk):
    fake.hold()
    talk.hurry(fake.address)
    with takes(SHORT_MS / 1000):
        text = talk.fails(TIMEOUT, "get_pr", *M4, "x")
    assert text == f"{fake.address}: get-pr: no answer in time"
    assert talk.call("batch", [*M4, "x", None])["answers"][0]["code"] == TIMEOUT
    assert talk.export()[1]["code"] == TIMEOUT


def test_a_late_answer_is_not_taken_for_the_next_one(fake, talk):
    fake.hold()
    fake.uval = lambda arguments: arguments["checksum"]
    talk.hurry(fake.address)
    talk.fails(TIMEOUT, "get_pr", *M4, "1")
    talk.call("set_timeout", LONG_MS)
    fake.release()
    assert talk.done("get_pr", *M4, "2") == "2"


def test_the_longest_timeout_is_accepted(fake, talk):
    fake.hold()
    talk.connect(fake.address, 2**32 - 1)
    talk.begin("ping")
    poll(lambda: fake.pings, "the ping")
    fake.release()
    assert talk.end()["code"] == 0


def test_a_timeout_of_zero_is_over_at_once(fake, talk):
    talk.connect(fake.address)
    fake.hold()
    talk.call("set_timeout", 0)
    talk.fails(TIMEOUT, "ping")


def test_connecting_has_a_timeout(talk):
    with FullBacklog() as full, takes(SHORT_MS / 1000):
        text = talk.fails(TIMEOUT, "connect", full.address, SHORT_MS)
        assert text == f"{full.address}: can't connect: no answer in time"


@pytest.mark.skipif(bool(SANITIZER), reason="sanitizers have to be loaded first")
def test_a_silent_address_leaves_time_for_the_others_of_a_name(serve):
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
    """A unix socket whose queue is full; accept from it to make room."""
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


def test_connect_waits_for_a_busy_unix_socket(full_socket, talk):
    address = f"unix://{full_socket.getsockname()}"
    with takes(SHORT_MS / 1000):
        talk.fails(TIMEOUT, "connect", address, SHORT_MS)
    talk.begin("connect", address, LONG_MS)
    full_socket.accept()[0].close()
    assert talk.end()["code"] == 0


# ---- broken connections ----


def test_a_restart_between_requests_goes_unnoticed(server, talk):
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


def test_a_request_on_a_broken_connection_is_sent_again_once(fake, talk):
    fake.behave = lambda connection, *_: connection.close() or True
    talk.connect(fake.address)
    text = talk.fails(CONNECTION, "ping")
    assert text == f"{fake.address}: ping: the server closed the connection"
    assert fake.connections == 2
    talk.fails(CONNECTION, "ping")
    assert fake.connections == 3, "a new connection is not tried twice"


def test_a_request_is_not_repeated_once_its_answer_has_begun(fake, talk):
    def begin(connection, *_):
        connection.send(b'{"ali')
        connection.close()

    fake.behave = begin
    talk.connect(fake.address).fails(CONNECTION, "ping")
    assert fake.connections == 1


def test_the_rest_of_a_stopped_export_is_not_taken_for_an_answer(fake, talk):
    message = in_chunks(export_message([ROW % number for number in range(2000)]))
    fake.behave = lambda connection, *_: connection.send(message[:100_000])
    talk.connect(fake.address)
    assert talk.export(stop_after=2)[1]["code"] == STOPPED
    fake.behave = None
    talk.done("ping")
    assert fake.connections == 2


def test_the_second_attempt_shares_the_timeout(fake, talk):
    fake.behave = lambda connection, *_: (
        connection.close() or True if connection.number == 0 else True
    )
    talk.hurry(fake.address)
    with takes(SHORT_MS / 1000):
        talk.fails(TIMEOUT, "ping")


def test_an_unexpected_answer_is_discarded(fake, talk):
    fake.uval = lambda arguments: arguments["checksum"]
    fake.behave = lambda connection, *_: (
        connection.send(b'{"value": "1"}\n{"value": "666"}\n')
        if connection.number == 0
        else False
    )
    talk.connect(fake.address)
    assert talk.done("get_pr", *M4, "1") == "1"
    assert talk.done("get_pr", *M4, "2") == "2"
    assert fake.connections == 2


def test_a_handle_is_usable_after_any_error(fake, talk):
    talk.connect(fake.address, LONG_MS)
    good = [b'{"invoke-error": {"message": "no"}}\n', b"nonsense\n"]
    for answer, code, connections in zip(good, (REFUSED, PROTOCOL), (1, 2)):
        fake.behave = lambda connection, *_: connection.send(answer)
        talk.fails(code, "ping")
        fake.behave = None
        talk.done("ping")
        assert fake.connections == connections
    talk.fails(ARGUMENT, "get_pr", "hex:ff", "a", "x")
    talk.done("ping")
    assert fake.connections == 2
    talk.call("set_timeout", SHORT_MS)
    fake.hold()
    talk.fails(TIMEOUT, "ping")
    fake.release()
    talk.call("set_timeout", LONG_MS)
    talk.done("ping")
    fake.refuse()
    talk.fails(CONNECTION, "ping")
    fake.listen()
    talk.done("ping")
