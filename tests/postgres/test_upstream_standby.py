# SPDX-License-Identifier: MIT
"""Servers below a server that reads from a standby: what the standby has may be old."""

from contextlib import contextmanager

import pytest

import postgres_cluster
from harness import QUICK, Client, Refused
from rows import M4

BELOW = b"PRSERVICE 1.0\nneeds-headers: false\nx-prserv-upstream: 1\n\n"


@contextmanager
def paused_standby(cluster):
    """Yields a standby that applies nothing more."""
    with postgres_cluster.Cluster(copy_of=cluster, settings=()) as standby:
        postgres_cluster.wait_for(
            "the standby",
            lambda: cluster.psql("SELECT state FROM pg_stat_replication")
            == "streaming",
        )
        standby.psql("SELECT pg_wal_replay_pause()")
        yield standby


@pytest.fixture
def lagging(serve, cluster):
    """Starts a server on the primary, and yields it with a standby that lags behind."""
    writer = serve("--file", cluster.create("rows"), folder="writer")
    assert writer.get_pr(*M4, "first") == "0"
    with paused_standby(cluster) as standby:
        assert writer.get_pr(*M4, "second") == "1"
        yield writer, standby.uri("rows")
        writer.stop()


def refusal(ask, *arguments):
    with pytest.raises(Refused) as refused:
        ask(*arguments)
    return str(refused.value)


@pytest.mark.slow
def test_a_server_on_a_standby_answers_no_server_below_it(serve, lagging):
    _, replica = lagging
    reader = serve("--read-only", "--file", replica, folder="reader")
    with reader.client() as client:  # not a server
        assert client.max_pr(*M4) == "0"
        assert client.test_pr(*M4, "second") is None
        assert client.ask({"is-readonly": {}})["stale"] is True
    with Client(("127.0.0.1", reader.port), handshake=BELOW) as below:
        assert "standby" in refusal(below.max_pr, *M4)
        assert "--stale-ok" in refusal(below.test_pr, *M4, "second")
        assert below.ask({"ping": {}}) == {"alive": True}
    local = serve("--upstream", reader.address, *QUICK, folder="local")
    for number in range(2):
        assert "standby" in refusal(local.get_pr, *M4, f"new {number}")
    assert (
        local.log.count("reads from a standby, whose revisions may be old: it ref") == 1
    )
    for server in (local, reader):
        server.stop()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["option", "environment"])
def test_stale_ok_answers_from_a_standby(serve, lagging, how):
    _, replica = lagging
    options = ("--stale-ok",) if how == "option" else ()
    environment = {"PRSERVD_STALE_OK": "1"} if how == "environment" else {}
    reader = serve(
        *("--read-only", "--file", replica, *options),
        environment=environment,
        folder="reader",
    )
    assert "stale" not in reader.ask({"is-readonly": {}})
    local = serve("--upstream", reader.address, *QUICK, folder="local")
    assert local.get_pr(*M4, "new") == "0.0"
    for server in (local, reader):
        server.stop()


@pytest.mark.slow
def test_a_server_below_is_answered_from_the_primary(serve, cluster, lagging):
    _, replica = lagging
    both = serve("--file", cluster.uri("rows"), "--file-read", replica, folder="both")
    with both.client() as client:
        assert client.test_pr(*M4, "second") is None  # an ordinary client
    with Client(("127.0.0.1", both.port), handshake=BELOW) as below:
        assert below.max_pr(*M4) == "1"
        assert below.test_pr(*M4, "second") == "1"
        assert below.test_pr(*M4, "second", history=True) == "1"
        assert below.test_pr(*M4, "unheard of") is None
        assert "stale" not in below.ask({"is-readonly": {}})
    local = serve("--upstream", both.address, *QUICK, folder="local")
    assert local.get_pr(*M4, "second") == "1"
    assert local.get_pr(*M4, "new") == "1.0"
    for server in (local, both):
        server.stop()


@pytest.mark.slow
def test_a_standby_is_the_same_database_as_its_primary(serve, lagging):
    writer, replica = lagging
    reader = serve("--read-only", "--file", replica, "--stale-ok", folder="reader")
    names = [
        server.ask({"is-readonly": {}})["instances"] for server in (writer, reader)
    ]
    assert names[0] == names[1] and len(names[0]) == 1
    reader.stop()
