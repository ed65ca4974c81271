# SPDX-License-Identifier: MIT
"""Requests wait for an upstream that is away (doc/semantics.md, "Patience")."""

import re
import socket
import struct
import time

import pytest

from fake_upstream import HOLD, FakeUpstream, FullBacklog
from harness import QUICK, paused, poll
from rows import M4
from upstream_checks import (
    REFUSAL,
    assert_ends_while_it_waits,
    assert_refused,
    assert_serves_the_rest,
    get_pr,
    open_clients,
    post_at_once,
    warnings,
    within,
)


@pytest.fixture
def below(serve, upstream):
    """Starts a server below the upstream, with this patience in seconds."""

    def start(patience=90):
        options = ("--upstream", upstream.address, "--patience", patience)
        return serve(*options, *QUICK, folder="local")

    return start


@pytest.fixture
def away(upstream, below):
    """Starts a server that has answered requests, and whose upstream is away now."""

    def start(patience=90):
        upstream.umax = "2"
        server = below(patience)
        assert server.get_pr(*M4, "former") == "2.0"
        assert server.get_pr(*M4, "latest") == "2.1"
        upstream.refuse()
        return server

    return start


def waiting(server):
    """Returns the number of requests that wait for the upstream."""
    return server.ask({"get-stats": {}})["upstream"]["waiting"]


# ---- an upstream that refuses connections ----


@pytest.mark.parametrize("checksum", ["new", "former", "latest"])
@pytest.mark.parametrize("history", [False, True])
def test_requests_wait_until_the_upstream_is_back(upstream, away, checksum, history):
    server = away()
    with server.client() as client:
        client.post(get_pr(M4, checksum, history))
        if history and checksum != "new":  # needs no upstream
            assert client.receive() == {
                "value": "2.0" if checksum == "former" else "2.1"
            }
            return
        poll(lambda: waiting(server) == 1, "the request")
        with server.client() as other:
            assert_serves_the_rest(other)
        upstream.listen()
        expected = "2.1" if checksum == "latest" else "2.2"
        assert client.receive() == {"value": expected}


def test_a_request_right_after_the_return_is_answered(upstream, away):
    server = away()
    for number in range(5):
        with server.client() as client:
            client.post(get_pr(M4, f"waits {number}"))
            poll(lambda: waiting(server) == 1, "the request")
            upstream.listen()
            assert server.get_pr(*M4, f"new {number}")
            assert client.receive()["value"]
        upstream.refuse()


def test_an_outage_is_reported_with_its_numbers(upstream, away):
    server = away()
    clients = open_clients(server, 3)
    for number, client in enumerate(clients):
        client.post(get_pr(M4, f"new {number}"))
    poll(
        lambda: "wait, for 90 s at most: connection refused" in server.log, "the report"
    )
    upstream.listen()
    for client in clients:
        assert client.receive()["value"]
    lines = [line for line in warnings(server) if "no longer wait" in line]
    assert len(lines) == 1
    assert f"the upstream {upstream.address} no longer wait" in lines[0]
    assert "3 requests waited, 0 of them got an error" in lines[0]


def test_the_error_comes_at_the_end_of_the_patience(upstream, away):
    server = away(patience=2)
    began = time.monotonic()
    assert_refused(server, upstream, get_pr(M4, "new"), "refused")
    assert time.monotonic() - began > 1.5
    upstream.listen()
    poll(lambda: "1 requests waited, 1 of them got an error" in server.log, "the end")


def test_content_that_needs_no_new_revision_gets_its_own_at_the_end(upstream, away):
    server = away(patience=2)
    assert server.get_pr(*M4, "latest") == "2.1"
    upstream.listen()
    poll(lambda: "1 requests waited, 0 of them got an error" in server.log, "the end")


@pytest.mark.slow
def test_patience_counts_from_the_start_of_the_outage(upstream, away):
    server = away(patience=12)
    assert_refused(server, upstream, get_pr(M4, "new"), "refused")
    began = time.monotonic()
    assert_refused(server, upstream, get_pr(M4, "newer"), "refused")
    # 5 s, and not the patience of a request that is the first.
    assert 4 < time.monotonic() - began < 10


@pytest.mark.slow
def test_after_10_s_the_latest_content_gets_its_revision_at_once(upstream, away):
    server = away()
    began = time.monotonic()
    with server.client() as client:
        client.post(get_pr(M4, "new"))
        assert server.get_pr(*M4, "latest") == "2.1"
        assert time.monotonic() - began > 8
        with within(REFUSAL, "more of them"):
            for _ in range(20):
                assert server.get_pr(*M4, "latest") == "2.1"
        assert waiting(server) == 1
        upstream.listen()
        assert client.receive() == {"value": "2.2"}
        assert server.get_pr(*M4, "latest") == "2.3"


def test_a_request_whose_connection_broke_waits(upstream, below):
    server = below()
    upstream.umax = "2"
    upstream.hold()
    with server.client() as client:
        client.post(get_pr(M4, "new"))
        poll(lambda: len(upstream.requests) == 2, "the questions")
        upstream.refuse()
        poll(lambda: server.ask({"get-stats": {}})["upstream"]["state"] == "down", "it")
        upstream.release()
        upstream.listen()
        assert client.receive() == {"value": "2.0"}


def test_a_name_that_cannot_be_resolved_is_an_outage(serve):
    server = serve("--upstream", "no-such-host.invalid:8585", "--patience", "2")
    began = time.monotonic()
    with server.client() as client:
        client.post(get_pr(M4, "new"))
        answer = client.receive()
    assert "no-such-host.invalid" in answer["invoke-error"]["message"]
    assert time.monotonic() - began > 1.5


def test_requests_wait_for_a_connection_attempt(serve):
    with FakeUpstream(umax="2") as upstream:
        server = serve("--upstream", upstream.address)
        upstream.refuse()
        backlog = FullBacklog(upstream.bind())
        with server.client() as client:
            client.post(get_pr(M4, "new"))
            poll(lambda: "wait, for 90 s" in server.log, "the outage")
            backlog.empty()
            upstream.start_accepting()
            assert client.receive() == {"value": "2.0"}


# ---- errors at once ----


def test_an_error_of_the_upstream_comes_at_once(upstream, below):
    server = below()
    refusal = {"invoke-error": {"message": "the disk is full"}}
    upstream.behave = lambda talk, *_: talk.answer(refusal) or True
    with within(REFUSAL, "the error"):
        assert_refused(server, upstream, get_pr(M4, "new"), "the disk is full")


@pytest.mark.parametrize("where", ["check", "question"])
def test_an_invalid_reply_is_an_error_at_once(upstream, below, where):
    server = below()
    if where == "check":
        upstream.check = lambda talk: talk.send(b"HTTP/1.1 400 Bad Request\r\n") or True
    else:
        upstream.behave = lambda talk, *_: talk.send(b"<html>\n") or True
    with within(REFUSAL, "the errors"):
        for number in range(3):
            assert_refused(server, upstream, get_pr(M4, f"new {number}"), "invalid")
    upstream.recover()
    upstream.umax = "2"
    assert server.get_pr(*M4, "new") == "2.0"


# ---- an upstream that is silent ----


def behave_slowly(talk, name, arguments):
    return HOLD if arguments["version"].startswith("slow") else False


def test_a_silent_question_does_not_hold_up_later_ones(upstream, below):
    server = below()
    upstream.umax = "2"
    upstream.behave = behave_slowly
    with server.client() as slow:
        slow.post(get_pr(("slow", "all"), "new"))
        poll(lambda: upstream.asked("test-pr"), "the question")
        for number in range(3):
            assert server.get_pr(*M4, f"new {number}") == f"2.{number}"
        assert waiting(server) == 1
        upstream.behave = None
        upstream.release()
        assert slow.receive() == {"value": "2.0"}


def test_a_silent_question_does_not_hold_up_those_behind_it(upstream, below):
    server = below()
    upstream.umax = "2"
    upstream.behave = behave_slowly
    names = ["slow 1", "quick 1", "slow 2", "quick 2"]
    clients = open_clients(server, len(names))
    post_at_once(
        server, [(c, get_pr((n, "all"), "new")) for c, n in zip(clients, names)]
    )
    assert clients[1].receive() == {"value": "2.0"}
    assert clients[3].receive() == {"value": "2.0"}
    assert waiting(server) == 2
    upstream.behave = None
    upstream.release()
    assert clients[0].receive() == {"value": "2.0"}
    assert clients[2].receive() == {"value": "2.0"}


@pytest.mark.slow
def test_silence_is_no_outage_while_pings_are_answered(upstream, below):
    server = below()
    upstream.umax = "2"
    upstream.hold()
    with server.client() as client:
        client.post(get_pr(M4, "new"))
        poll(lambda: upstream.checks >= 4, "pings")
        assert not [line for line in warnings(server) if upstream.address in line]
        upstream.release()
        assert client.receive() == {"value": "2.0"}


def test_silence_without_pings_is_an_outage(upstream, below):
    server = below()
    upstream.umax = "2"
    upstream.fall_silent()
    with server.client() as client:
        client.post(get_pr(M4, "new"))
        poll(
            lambda: "wait, for 90 s at most: it accepts connections" in server.log, "it"
        )
        upstream.recover()
        assert client.receive() == {"value": "2.0"}


def test_a_question_on_a_dead_connection_is_asked_again(upstream, below):
    """The upstream was away without a word, as after a power failure."""
    server = below()
    upstream.umax = "2"
    assert server.get_pr(*M4, "former") == "2.0"
    upstream.fall_silent()
    with server.client() as client:
        client.post(get_pr(M4, "new"))
        poll(lambda: "is down: it accepts connections" in server.log, "the outage")
        upstream.recover()
        assert client.receive() == {"value": "2.1"}


def test_requests_wait_for_a_frozen_upstream(serve):
    top = serve(*QUICK, folder="top")
    server = serve("--upstream", top.address, *QUICK, folder="local")
    assert server.get_pr(*M4, "former") == "0"
    with server.client() as client:
        with paused(top):
            client.post(get_pr(M4, "new"))
            poll(lambda: f"{top.address} is down" in server.log, "the outage")
        assert client.receive() == {"value": "1"}


# ---- the end of waiting ----


def abort(client):
    """Closes the connection with a reset."""
    linger = struct.pack("ii", 1, 0)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    client.close()


def test_a_client_that_leaves_waits_no_longer(upstream, away):
    server = away()
    clients = open_clients(server, 5)
    for number, client in enumerate(clients):
        client.post(get_pr(M4, f"new {number % 2}"))
    poll(lambda: waiting(server) == 5, "the requests")
    for client in clients[:4]:
        abort(client)
    poll(lambda: waiting(server) == 1, "the end of the others")
    upstream.listen()
    assert clients[4].receive()["value"] in ("2.2", "2.3")
    poll(lambda: waiting(server) == 0, "the end of all")


def test_sigterm_refuses_what_waits_for_the_upstream(upstream, away):
    server = away()
    with server.client() as client:
        client.post(get_pr(M4, "new"))
        poll(lambda: waiting(server) == 1, "the request")
        assert_ends_while_it_waits(server, client)


def test_the_statistics_tell_about_an_outage(upstream, away):
    server = away()

    def stats():
        return server.ask({"get-stats": {}})["upstream"]

    poll(lambda: stats()["state"] == "idle", "the end of the connection")
    with server.client() as client:
        client.post(get_pr(M4, "new"))
        poll(
            lambda: stats()["state"] == "down" and stats()["away_s"] >= 1, "the outage"
        )
        assert stats()["waiting"] == 1 and stats()["errors"] == 0
        upstream.listen()
        assert client.receive() == {"value": "2.2"}
    assert stats()["state"] == "ready" and stats()["connections"] == 1
    assert stats()["waiting"] == 0 and stats()["away_s"] == 0


def test_without_patience_nothing_waits(upstream, away):
    server = away(patience=0)
    with within(REFUSAL, "the errors"):
        for number in range(5):
            assert_refused(server, upstream, get_pr(M4, f"new {number}"), "refused")
        assert server.get_pr(*M4, "latest") == "2.1"
    assert not re.search(r"Requests that need the upstream \S+ wait", server.log)
