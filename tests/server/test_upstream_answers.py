# SPDX-License-Identifier: MIT
"""An upstream whose answers are invalid, or whose connection breaks."""

import json
import re

import pytest

from fake_upstream import FakeUpstream
from harness import QUICK, TIMEOUT_S, Refused, paused, poll
from rows import M4
from upstream_checks import (
    REFUSAL,
    assert_recovers,
    assert_refused,
    assert_serves_the_rest,
    get_pr,
    has_arrived,
    open_clients,
    post_at_once,
    warnings,
    within,
)

INVALID_VALUES = {
    "dot at the end": b'{"value": "1."}',
    "letters": b'{"value": "abc"}',
    "leading zero": b'{"value": "007"}',
    "empty": b'{"value": ""}',
    "NUL inside": b'{"value": "1\\u00002"}',
    "number": b'{"value": 7}',
    "object": b'{"value": {}}',
    "flag": b'{"value": true}',
    "refusal": b'{"invoke-error": {"message": "out of order"}}',
}
INVALID_MESSAGES = {
    "no JSON": b"hello",
    "list": b'["1"]',
    "string": b'"1"',
    "null": b"null",
    "other member": b'{"alive": true}',
    "empty object": b"{}",
    "empty line": b"",
    "broken refusal": b'{"invoke-error": "out of order"}',
    "no UTF-8": b'{"value": "\xff\xfe"}',
    "UTF-8 that may be cut": b"x" + "ü".encode() * 200,
    "control characters": b"\x1b[31m\x00\r\x07",
    "deep": b"[" * 60000,
    "too long line": b'{"value": "' + b"1" * 70000 + b'"}',
    "too long stream": b'{"chunk-stream": null}\n' + (b"1" * 30000 + b"\n") * 40,
}
INVALID_ANSWERS = {**INVALID_VALUES, **INVALID_MESSAGES}


@pytest.mark.parametrize("question", ["max-package-pr", "test-pr"])
@pytest.mark.parametrize("kind", INVALID_ANSWERS)
def test_an_invalid_answer_is_refused(upstream, local, kind, question):
    upstream.umax = "2"
    local.get_pr(*M4, "latest")

    def answer_invalidly(talk, name, arguments):
        return name == question and (talk.send(INVALID_ANSWERS[kind] + b"\n") or True)

    upstream.behave = answer_invalidly
    with local.client() as client:
        with within(REFUSAL, "the answers"):
            client.post(get_pr(M4, "new"))
            assert upstream.address in client.receive()["invoke-error"]["message"]
            assert client.get_pr(*M4, "latest") == "2.0"
            assert_serves_the_rest(client)
        assert [line for line in warnings(local) if M4[0] in line]
        upstream.behave = None
        assert client.get_pr(*M4, "new") == "2.1"


def test_an_error_of_the_upstream_is_passed_on(upstream, local):
    refusal = {"invoke-error": {"message": "the disk is full"}}
    upstream.behave = lambda talk, *_: talk.answer(refusal) or True
    assert_refused(local, upstream, get_pr(M4, "new"), "the disk is full")


def test_an_invalid_answer_about_one_package_does_not_affect_others(upstream, local):
    upstream.umax = lambda arguments: arguments["version"]
    upstream.hold()
    clients = open_clients(local, 9)
    for number, client in enumerate(clients):
        client.post(get_pr(("no revision" if number == 4 else str(number), "all"), "x"))
        poll(lambda: len(upstream.requests) == 2 * number + 2, "the questions")
    upstream.release()
    for number, client in enumerate(clients):
        answer = client.receive()
        if number == 4:
            assert upstream.address in answer["invoke-error"]["message"]
        else:
            assert answer == {"value": f"{number}.0"}


def test_an_unexpected_line_is_not_taken_for_an_answer(upstream, local):
    upstream.umax = "2"

    def add_a_line(talk, name, arguments):
        if name != "test-pr":
            return False
        return talk.send(b'{"value": null}\n{"value": "99"}\n') or True

    upstream.behave = add_a_line
    with local.client() as client:
        for number in range(5):
            assert client.get_pr(*M4, f"new {number}") == f"2.{number}"


def test_an_unexpected_line_on_an_idle_connection_is_harmless(upstream, local):
    upstream.umax = "2"
    assert local.get_pr(*M4, "new") == "2.0"
    upstream.talks[0].send(b'{"value": "99"}\n')
    upstream.talks[0].thread.join(TIMEOUT_S)  # the server closes the connection
    assert local.get_pr(*M4, "newer") == "2.1"
    assert upstream.connections == 2


def test_an_endless_answer_is_refused(serve):
    with FakeUpstream(umax="1") as upstream:
        upstream.behave = lambda talk, *_: talk.send(b"x" * (1 << 20)) or True
        server = serve("--upstream", upstream.address)
        with pytest.raises(Refused):
            server.get_pr(*M4, "a")
        upstream.behave = None


# ---- a connection that breaks ----


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize(
    "reply",
    [b"", b'{"val', b'{"value": "1"}\n', b'{"value": "1"}\n{"value"'],
    ids=["nothing", "half an answer", "one answer", "one and a half"],
)
def test_unanswered_questions_are_asked_again(upstream, local, reply, reset):
    """Both questions are asked again, since their answers have to be of the same moment."""

    def cut(talk, name, arguments):
        if talk.number > 0:
            return False
        if name == "test-pr":
            talk.send(reply)
            talk.close(reset)
        return True

    upstream.umax = "2"
    upstream.behave = cut
    assert local.get_pr(*M4, "new") == "2.0"
    assert upstream.connections == 2
    assert len(upstream.requests) == 4


def test_clients_do_not_notice_a_break_among_many_answers(upstream, local):
    upstream.umax = lambda arguments: arguments["version"]
    answered = []

    def cut(talk, name, arguments):
        answered.append(name)
        if talk.number == 0 and len(answered) == 12:
            talk.send(b'{"value": ')
            talk.close()
            return True
        return False

    upstream.behave = cut
    upstream.hold()
    clients = open_clients(local, 10)
    for number, client in enumerate(clients):
        client.post(get_pr((str(number), "all"), "new"))
    poll(lambda: len(upstream.requests) == 20, "the questions")
    upstream.release()
    answers = [client.receive() for client in clients]
    assert answers == [{"value": f"{number}.0"} for number in range(10)]


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_clients_do_not_notice_a_break_while_idle(upstream, local, reset):
    upstream.umax = "2"
    for number in range(4):
        assert local.get_pr(*M4, f"new {number}") == f"2.{number}"
        upstream.cut(reset)


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_clients_do_not_notice_a_break_at_the_moment_of_asking(upstream, local, reset):
    upstream.umax = "2"
    with local.client() as client:
        for number in range(4):
            assert client.get_pr(*M4, f"new {number}") == f"2.{2 * number}"
            with paused(local):
                client.post(get_pr(M4, f"newer {number}"))
                poll(lambda: has_arrived(client), "the request's arrival")
                upstream.cut(reset)
            assert client.receive() == {"value": f"2.{2 * number + 1}"}


def test_an_upstream_that_closes_every_connection_is_an_error(upstream, local):
    upstream.umax = "2"
    upstream.greet = lambda talk: talk.close()
    with within(REFUSAL, "the errors"):
        for number in range(3):
            assert_refused(local, upstream, get_pr(M4, f"new {number}"))
    upstream.greet = None
    assert_recovers(local, get_pr(M4, "new"), "2.0")


# ---- one question must not fail others ----


def break_on_poison(talk, name, arguments):
    """Closes the connection on some questions, as a server does that can't read on."""
    if "poison" in arguments["version"]:
        talk.close()
        return True
    return False


def test_a_question_that_breaks_its_connection_fails_alone(serve, upstream):
    server = serve("--upstream", upstream.address, *QUICK)
    upstream.umax = "2"
    upstream.behave = break_on_poison
    clients = open_clients(server, 30)
    names = [f"{'poison' if n % 10 == 5 else 'good'} {n}" for n in range(30)]
    posts = [(c, get_pr((name, "all"), "new")) for c, name in zip(clients, names)]
    post_at_once(server, posts)
    for name, client in zip(names, clients):
        answer = client.receive()
        if "poison" in name:
            assert "closed the connection" in answer["invoke-error"]["message"]
        else:
            assert answer == {"value": "2.0"}
    assert server.get_pr(*M4, "new") == "2.0"


def test_the_connections_for_suspicious_questions_are_few(serve, upstream):
    server = serve("--upstream", upstream.address, *QUICK)
    upstream.umax = "2"
    upstream.hold()
    clients = open_clients(server, 100)
    for number, client in enumerate(clients):
        client.post(get_pr((f"{number}", "all"), "new"))
    poll(lambda: len(upstream.asked("test-pr")) >= 100, "the questions")
    before = upstream.connections
    upstream.held = False  # what is under way gets no answer all the same
    upstream.cut()
    assert [client.receive() for client in clients] == [{"value": "2.0"}] * 100
    assert upstream.connections - before <= 20


def test_a_request_beyond_the_limit_of_the_upstream_fails_alone(serve):
    top = serve("--max-message-bytes", 4096, *QUICK, folder="top")
    server = serve("--upstream", top.address, *QUICK, folder="local")
    clients = open_clients(server, 20)
    checksums = ["é" * 700 if n == 7 else f"{n}" for n in range(20)]
    post_at_once(
        server, [(c, get_pr(M4, checksum)) for c, checksum in zip(clients, checksums)]
    )
    answers = [client.receive() for client in clients]
    assert "longer than 4096 bytes" in answers.pop(7)["invoke-error"]["message"]
    assert all("value" in answer for answer in answers)


def test_the_own_limit_counts_what_would_be_sent_to_the_upstream(serve):
    """Each é takes 2 bytes as a client sends it, and 6 on its way to the upstream."""
    server = serve("--max-message-bytes", 4096, *QUICK)
    with server.client() as client:
        for name in ("get-pr", "test-pr"):
            arguments = {"version": "v", "pkgarch": "a", "checksum": "é" * 660}
            text = json.dumps({name: arguments}, ensure_ascii=False)
            client.send(text.encode() + b"\n")
            assert "value" in client.receive()
            arguments["checksum"] = "é" * 700
            text = json.dumps({name: arguments}, ensure_ascii=False)
            client.send(text.encode() + b"\n")
            assert "longer than 4096" in client.receive()["invoke-error"]["message"]


@pytest.mark.parametrize("question", ["max-package-pr", "test-pr"])
@pytest.mark.parametrize("length", [256 * 1024, 256 * 1024 + 1, 5 << 20])
def test_a_long_revision_of_the_upstream_fails_alone(upstream, local, question, length):
    def answer_at_length(talk, name, arguments):
        if name != question or arguments["version"] != "long":
            return False
        return talk.answer({"value": "9" * length}) or True

    upstream.behave = answer_at_length
    clients = open_clients(local, 9)
    names = ["long" if number == 4 else f"{number}" for number in range(9)]
    posts = [(c, get_pr((name, "all"), "x")) for c, name in zip(clients, names)]
    post_at_once(local, posts)
    answers = [client.receive() for client in clients]
    answer = answers.pop(4)
    if length > 256 * 1024:
        assert "more than 256 KiB" in answer["invoke-error"]["message"]
        assert re.search("ERROR .* more than 256 KiB", local.log)
    else:
        assert answer["value"].startswith("9999")
    assert answers == [{"value": "0"}] * 8
    assert upstream.connections == 1
