# SPDX-License-Identifier: MIT
"""An upstream that is down, restarts or is silent, below which requests don't wait for it
(--patience 0). test_upstream_patience.py has those that wait."""

import shutil
import subprocess

import pytest

from fake_upstream import FakeUpstream, FullBacklog
from harness import QUICK, SANITIZER, Client, Refused, paused, poll
from rows import M4
from upstream_checks import (
    RECOVERY,
    REFUSAL,
    SILENCE,
    STOP,
    assert_ends_while_it_waits,
    assert_recovers,
    assert_refused,
    assert_serves_the_rest,
    get_pr,
    has_arrived,
    warnings,
    within,
)


IMPATIENT = ("--patience", "0", *QUICK)


# ---- an upstream that refuses connections ----


def test_unchanged_content_gets_its_revision_again(upstream, cut_off):
    assert cut_off.get_pr(*M4, "latest") == "2.1"
    assert cut_off.get_pr(*M4, "latest") == "2.1"


def test_an_answer_without_the_upstream_is_logged_as_a_warning(upstream, cut_off):
    cut_off.get_pr(*M4, "latest")
    assert [
        line
        for line in warnings(cut_off)
        if upstream.address in line and "2.1" in line and M4[0] in line
    ]


@pytest.mark.parametrize(
    "request_",
    [
        get_pr(M4, "new"),
        get_pr(M4, "new", history=True),
        get_pr(M4, "former"),
        get_pr(("unheard-of-1.0-r0", "all"), "new"),
    ],
    ids=["new", "new with history", "not the latest", "new package"],
)
def test_a_request_that_needs_a_new_number_is_refused(upstream, cut_off, request_):
    assert_refused(cut_off, upstream, request_, "refused")
    assert len(cut_off.ask({"export": {"history": True}})["datainfo"]) == 2


def test_errors_come_at_once(upstream, cut_off):
    with within(REFUSAL, "ten errors"):
        for number in range(10):
            assert_refused(cut_off, upstream, get_pr(M4, f"new {number}"), "refused")


# Connecting to the broadcast address is not permitted.
BROADCAST = "255.255.255.255"


def test_an_upstream_that_cannot_be_connected_to_is_an_error(serve):
    server = serve("--upstream", f"{BROADCAST}:1", *IMPATIENT)
    with pytest.raises(Refused, match=BROADCAST):
        server.get_pr(*M4, "a")


def test_an_upstream_may_be_down_at_the_start(serve, port):
    server = serve("--upstream", f"127.0.0.1:{port}", *IMPATIENT)
    with within(REFUSAL, "the error"), pytest.raises(
        Refused, match=f":{port}.*refused"
    ):
        server.get_pr(*M4, "new")


def test_known_content_with_history_gets_its_first_value(cut_off):
    assert cut_off.get_pr(*M4, "former", history=True) == "2.0"


def test_requests_that_need_no_upstream_are_served(upstream, cut_off):
    with cut_off.client() as client:
        client.post(get_pr(M4, "new"))
        assert "invoke-error" in client.receive()
        assert_serves_the_rest(client)


def test_errors_come_in_the_order_of_the_requests(upstream, cut_off):
    with cut_off.client() as client:
        for request in (get_pr(M4, "new"), {"ping": {}}, get_pr(M4, "latest")):
            client.post(request)
        assert upstream.address in client.receive()["invoke-error"]["message"]
        assert client.receive() == {"alive": True}
        assert client.receive() == {"value": "2.1"}


def test_questions_under_way_fail_when_the_upstream_ends(upstream, local):
    upstream.hold()
    with local.client() as client:
        client.post(get_pr(M4, "new"))
        poll(lambda: len(upstream.requests) == 2, "the questions")
        with within(REFUSAL, "the error"):
            upstream.refuse()
            assert upstream.address in client.receive()["invoke-error"]["message"]


# ---- recovery ----


@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_a_server_recovers_within_2_s_after_the_upstream_restarts(serve, port, ending):
    top = serve(port=port, folder="top")
    local = serve("--upstream", top.address, *IMPATIENT, folder="local")
    assert top.get_pr(*M4, "published") == "0"
    assert local.get_pr(*M4, "mine") == "0.0"
    getattr(top, ending)()
    with pytest.raises(Refused):
        local.get_pr(*M4, "new")
    top.restart()
    assert_recovers(local, get_pr(M4, "new"), "0.1")


def test_a_server_recovers_without_being_asked(upstream, cut_off):
    """The server reconnects although no client asks."""
    assert_refused(cut_off, upstream, get_pr(M4, "new"))
    talks = upstream.connections
    upstream.listen()
    poll(lambda: upstream.connections > talks, "a connection", RECOVERY)
    assert_recovers(cut_off, get_pr(M4, "new"), "2.2")
    assert cut_off.get_pr(*M4, "newer") == "2.3"
    assert upstream.connections == talks + 1


def test_clients_do_not_notice_a_restart_between_two_questions(serve, port):
    top = serve(port=port, folder="top")
    local = serve("--upstream", top.address, *IMPATIENT, folder="local")
    top.get_pr(*M4, "published")
    with local.client() as client:
        for number in range(3):
            assert client.get_pr(*M4, f"mine {number}") == f"0.{number}"
            top.restart()


def test_an_upstream_that_returns_with_invalid_answers_is_not_used(upstream, cut_off):
    assert_refused(cut_off, upstream, get_pr(M4, "new"))
    upstream.check = lambda talk: talk.send(b'{"value": "1."}\n') or True
    upstream.listen()
    poll(lambda: "invalid" in cut_off.log, "a sign of life")
    assert_refused(cut_off, upstream, get_pr(M4, "new"), "invalid")
    upstream.recover()
    assert_recovers(cut_off, get_pr(M4, "new"), "2.2")


def revision_or_error(server):
    """Returns the revision of some content, or the error message."""
    try:
        return server.get_pr(*M4, "b")
    except Refused as refused:
        return str(refused)


def test_an_upstream_that_returns_silent_is_not_used(serve):
    with FakeUpstream(umax="1") as upstream:
        server = serve("--upstream", upstream.address, *IMPATIENT)
        upstream.refuse()
        with pytest.raises(Refused):
            server.get_pr(*M4, "a")
        upstream.fall_silent()
        upstream.listen()
        poll(lambda: "does not answer" in revision_or_error(server), "the error")
        upstream.recover()
        poll(lambda: revision_or_error(server) == "1.0", "the upstream")


@pytest.mark.slow
def test_a_server_recovers_within_2_s_after_a_long_outage(upstream, cut_off):
    assert_refused(cut_off, upstream, get_pr(M4, "new"))
    upstream.greet = lambda talk: talk.close()
    upstream.listen()
    poll(lambda: upstream.connections >= 12, "many tries")
    upstream.greet = None
    assert_recovers(cut_off, get_pr(M4, "new"), "2.2")


# ---- an upstream that is silent ----


def assert_costs_one_deadline(local, upstream, client):
    """Checks that client, which has asked already, gets an error after one deadline; that others
    are served meanwhile; and that later requests fail at once."""
    with local.client() as other:
        assert_serves_the_rest(other)
    assert upstream.address in client.receive()["invoke-error"]["message"]
    with within(REFUSAL, "the requests after the first"):
        for number in range(3):
            assert_refused(local, upstream, get_pr(M4, f"newer {number}"))


@pytest.mark.slow
@pytest.mark.parametrize("answers", ["nothing", "one question", "half an answer"])
def test_silence_costs_one_deadline(upstream, local, answers):
    upstream.umax = "2"
    local.get_pr(*M4, "latest")
    upstream.fall_silent()

    def behave(talk, name, arguments):
        if name == "max-package-pr" and answers == "one question":
            talk.answer({"value": "2"})
        elif name == "max-package-pr" and answers == "half an answer":
            talk.send(b'{"value":')

    upstream.behave = lambda *what: behave(*what) or True
    with within(SILENCE, "the error"), local.client() as client:
        client.post(get_pr(M4, "new"))
        assert_costs_one_deadline(local, upstream, client)
    assert local.get_pr(*M4, "latest") == "2.0"
    upstream.recover()
    assert_recovers(local, get_pr(M4, "new"), "2.1")


@pytest.mark.slow
def test_a_question_that_is_not_answered_ends_with_an_error(upstream, local):
    """The upstream answers pings."""
    upstream.umax = "2"
    upstream.hold()
    with within(SILENCE, "the error"), local.client() as client:
        client.post(get_pr(M4, "new"))
        assert "in time" in client.receive()["invoke-error"]["message"]


@pytest.mark.slow
def test_a_server_recovers_within_2_s_when_a_frozen_upstream_continues(serve):
    top = serve(*QUICK, folder="top")
    local = serve("--upstream", top.address, *IMPATIENT, folder="local")
    top.get_pr(*M4, "published")
    assert local.get_pr(*M4, "latest") == "0.0"
    with paused(top), within(SILENCE, "the answers"), local.client() as client:
        client.post(get_pr(M4, "latest"))
        client.post(get_pr(M4, "new"))
        assert client.receive() == {"value": "0.0"}
        assert_costs_one_deadline(local, top, client)
    assert warnings(local)
    assert_recovers(local, get_pr(M4, "new"), "0.1")


def test_a_server_waits_for_an_upstream_that_freezes_briefly(serve):
    top = serve(*QUICK, folder="top")
    local = serve("--upstream", top.address, *IMPATIENT, folder="local")
    local.get_pr(*M4, "former")
    with local.client() as client:
        with paused(top):
            client.post(get_pr(M4, "new"))
            with local.client() as other:
                assert_serves_the_rest(other)
        assert client.receive() == {"value": "1"}


@pytest.mark.slow
def test_a_connection_attempt_is_given_up_within_5_s(serve):
    with FullBacklog() as nowhere:
        local = serve("--upstream", nowhere.address, *IMPATIENT)
        with within(REFUSAL, "the error"), local.client() as client:
            client.post(get_pr(M4, "new"))
            assert_costs_one_deadline(local, nowhere, client)


# ---- the end of the server ----


def test_sigterm_ends_a_server_that_waits_for_a_silent_upstream(upstream, local):
    upstream.hold()
    with local.client() as client:
        client.post(get_pr(M4, "new"))
        poll(lambda: len(upstream.requests) == 2, "the questions")
        assert_ends_while_it_waits(local, client)


def test_sigterm_ends_a_server_that_waits_for_a_connection(serve):
    with FullBacklog() as nowhere:
        local = serve("--upstream", nowhere.address)
        with local.client() as client:
            client.post(get_pr(M4, "new"))
            poll(lambda: nowhere.is_tried(), "a connection attempt")
            assert_ends_while_it_waits(local, client)


def test_sigterm_ends_a_server_whose_upstream_is_down(upstream, cut_off):
    assert_refused(cut_off, upstream, get_pr(M4, "new"))
    with within(STOP, "the end"):
        cut_off.stop()


SLOW_RESOLVER = """
#include <netdb.h>
#include <unistd.h>
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **result)
{
    sleep(30);
    return EAI_AGAIN;
}
"""


@pytest.mark.skipif(bool(SANITIZER), reason="a sanitizer wants to be loaded first")
@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
def test_sigterm_ends_a_server_that_waits_for_a_host_name(serve, tmp_path):
    library = tmp_path / "slow_resolver.so"
    compiler = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", library]
    subprocess.run(compiler, input=SLOW_RESOLVER.encode(), check=True)
    # It listens on a unix socket, which needs no look-up.
    path = tmp_path / "local.socket"
    local = serve(
        *("--bind", f"unix://{path}", "--upstream", "slow.example:8585"),
        environment={"LD_PRELOAD": str(library)},
        bind=False,
    )
    with Client(path) as client:
        client.post(get_pr(M4, "new"))
        poll(lambda: has_arrived(client), "the request's arrival")
        assert_ends_while_it_waits(local, client)
