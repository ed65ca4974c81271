# SPDX-License-Identifier: MIT
"""A server that is its own upstream, directly or through others, gives no new revisions: each would
be a level deeper."""

import itertools

import pytest

from fake_upstream import FakeUpstream, reserve_port
from harness import QUICK, Refused, poll
from rows import M4
from upstream_checks import REFUSAL, within


@pytest.fixture
def ports():
    holders = [reserve_port() for _ in range(3)]
    yield [holder.getsockname()[1] for holder in holders]
    for holder in holders:
        holder.close()


def serve_loop(serve, ports):
    """Starts servers each of which has the next one as its upstream, and the last one the first."""
    return [
        serve("--upstream", f"127.0.0.1:{above}", *QUICK, port=port, folder=f"{port}")
        for port, above in zip(ports, ports[1:] + ports[:1])
    ]


def instances(server):
    return server.ask({"is-readonly": {}})["instances"]


def error_of(server, checksum):
    """Returns the error of a get-pr, or "" if it was answered."""
    try:
        server.get_pr(*M4, checksum)
    except Refused as refused:
        return str(refused)
    return ""


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_loop_is_refused(serve, ports, length):
    servers = serve_loop(serve, ports[:length])
    for turn in range(30):
        errors = [error_of(server, f"turn {turn}") for server in servers]
        if all(errors):
            break
    assert all("loop" in error for error in errors)
    for server in servers:
        with within(REFUSAL, "the error"):
            assert "loop" in error_of(server, "new")
        assert server.log.count("is this server, or a server below it") == 1
        assert server.ask({"get-stats": {}})["upstream"]["state"] == "loop"
        # A few may have been given before all servers had found each other.
        assert all(row["value"].count(".") <= 10 for row in rows(server))


def rows(server):
    return server.ask({"export": {"history": True}})["datainfo"]


def test_a_server_above_itself_gives_no_revision_at_all(serve, ports):
    (server,) = serve_loop(serve, ports[:1])
    assert "loop" in error_of(server, "new")
    assert rows(server) == []


def test_known_content_keeps_its_revision_in_a_loop(serve, ports):
    (server,) = serve_loop(serve, ports[:1])
    with server.client() as client:
        client.import_one(*M4, "known", "4")
        assert client.get_pr(*M4, "known") == "4"
        assert client.get_pr(*M4, "known", history=True) == "4"


def test_two_servers_on_one_database_are_one_instance(serve, path):
    top = serve("--file", path, *QUICK, folder="top")
    reader = serve("--file", path, "--read-only", folder="reader")
    assert instances(top) == instances(reader)
    assert len(instances(top)) == 1
    below = serve("--file", path, "--upstream", reader.address, *QUICK, folder="below")
    assert "loop" in error_of(below, "new")


def test_databases_have_names_of_their_own(serve):
    names = {tuple(instances(serve(folder=f"{n}"))) for n in range(3)}
    assert len(names) == 3
    assert all(len(name) == 1 and len(name[0]) == 32 for name in names)


def test_a_database_keeps_its_name_over_a_restart(serve):
    server = serve(*QUICK)
    before = instances(server)
    server.restart()
    assert instances(server) == before


def test_a_read_only_server_learns_the_name_of_a_database_that_is_made_later(
    serve, path
):
    reader = serve("--file", path, "--read-only", folder="reader")
    assert instances(reader) == []
    writer = serve("--file", path, *QUICK, folder="writer")
    reader.ask({"test-package": {"version": "v", "pkgarch": "a"}})
    assert instances(reader) == instances(writer)


def test_a_chain_names_all_its_databases(serve):
    top = serve(*QUICK, folder="top")
    middle = serve("--upstream", top.address, *QUICK, folder="middle")
    bottom = serve("--upstream", middle.address, *QUICK, folder="bottom")
    assert middle.get_pr(*M4, "new") == "0"
    assert bottom.get_pr(*M4, "newer") == "0.0"
    assert instances(bottom)[1:] == instances(middle)
    assert instances(middle)[1:] == instances(top)


def test_a_repaired_loop_works_without_a_restart(serve, ports):
    local, other = serve_loop(serve, ports[:2])
    number = itertools.count()
    poll(
        lambda: all([error_of(each, f"new {next(number)}") for each in (local, other)]),
        "the loop",
    )
    other.stop()
    top = serve(*QUICK, port=ports[1], folder="repaired")
    assert top.get_pr(*M4, "published") == "0"
    assert local.get_pr(*M4, "new")
    assert "is not this server any more" in local.log


def test_an_upstream_that_does_not_name_its_database_is_allowed(serve):
    with FakeUpstream(umax="3") as upstream:
        server = serve("--upstream", upstream.address, *QUICK)
        assert server.get_pr(*M4, "new") == "3.0"
        assert upstream.talks[0].headers == [
            b"needs-headers: false",
            b"x-prserv-upstream: 1",
        ]


@pytest.mark.parametrize(
    "answer",
    [
        {"invoke-error": {"message": "unknown request"}},
        {"readonly": True, "instances": "none"},
        {"readonly": False, "instances": [None, 7, {}, "", "x" * 500, "ü", "a b"]},
        {"readonly": False, "instances": [f"{n}" for n in range(500)]},
    ],
    ids=["refusal", "no list", "odd names", "many"],
)
def test_odd_answers_about_databases_are_ignored(serve, answer):
    with FakeUpstream(umax="3") as upstream:
        upstream.says = answer
        server = serve("--upstream", upstream.address, *QUICK)
        assert server.get_pr(*M4, "new") == "3.0"
        assert len(instances(server)) <= 32


def test_a_stale_upstream_is_reported_once(serve):
    with FakeUpstream() as upstream:
        upstream.says = {"readonly": True, "stale": True}
        refusal = {"invoke-error": {"message": "this server reads from a standby"}}
        upstream.behave = lambda talk, *_: talk.answer(refusal) or True
        server = serve("--upstream", upstream.address, *QUICK)
        for number in range(3):
            assert "standby" in error_of(server, f"new {number}")
            upstream.cut()
        assert server.log.count("reads from a standby, whose revisions may be old") == 1
