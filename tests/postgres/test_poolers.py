# SPDX-License-Identifier: MIT
"""Poolers: one that keeps a session for each client works; one that does not is found out."""

import signal
import subprocess

import pytest

import postgres_cluster
from harness import Refused, poll, run_prservd
from postgres_cluster import name_of
from postgres_pooler import PgBouncer, PgPool
from prserv_command import prserv, prserv_on
from rows import M4, rows_of

SHARED = "a pooler shares its sessions between clients"


def refused_start(*options):
    refused = run_prservd(*options, "--port", "0", cwd="/", timeout=60)
    assert refused.returncode == 1
    return refused.stderr


def test_a_pooler_that_keeps_sessions_is_good_enough(serve, shared_cluster, database):
    with PgBouncer(shared_cluster, name_of(database)) as pooler:
        uri = pooler.uri()
        servers = [serve("--file", uri, folder=f"server-{n}") for n in range(2)]
        values = [server.get_pr(*M4, f"{n}") for n, server in enumerate(servers * 3)]
        assert values == ["0", "1", "0", "1", "0", "1"] or len(set(values)) == 6
        with servers[0].client() as client:
            assert client.test_pr(*M4, "0") is not None
        rows = len(rows_of(servers[1]))
        assert servers[0].ask({"get-stats": {}})["database"]["rows"] == rows
        assert prserv_on(servers[0], "status").returncode == 0
        assert prserv("verify", uri).returncode == 0
        reader = serve("--read-only", "--file", uri, folder="reader")
        assert len(rows_of(reader)) == rows
        shared_cluster.terminate_backends()
        assert servers[1].get_pr(*M4, "after") == str(rows)
        for server in (*servers, reader):
            server.stop()


@pytest.mark.parametrize("mode", ["transaction", "statement"])
@pytest.mark.parametrize("options", [(), ("--read-only",)])
def test_a_pooler_that_shares_sessions_prevents_the_start(
    shared_cluster, database, mode, options
):
    """Although one server alone would always get the same session."""
    with PgBouncer(shared_cluster, name_of(database), mode) as pooler:
        text = refused_start("--file", pooler.uri(), *options)
    assert SHARED in text and "pool_mode = session" in text
    assert "tables are not those of prservd" not in text


def test_a_pooler_that_begins_to_share_sessions_is_found_out(
    serve, shared_cluster, database
):
    """Nothing is stored from then on: the session's settings may be those of others."""
    with PgBouncer(shared_cluster, name_of(database)) as pooler:
        uri = pooler.uri()
        server = serve("--file", uri)
        assert server.get_pr(*M4, "a") == "0"
        pooler.configure("transaction")
        pooler.process.send_signal(signal.SIGHUP)
        with subprocess.Popen(
            [f"{postgres_cluster.PROGRAMS}/psql", "-X", "-q", uri],
            stdin=subprocess.PIPE,
            text=True,
        ) as other:
            other.stdin.write("BEGIN; SELECT 1;\n")
            other.stdin.flush()

            def is_refused():
                try:
                    server.get_pr(*M4, "a")
                except Refused as error:
                    return SHARED in str(error)

            poll(is_refused, "the server to notice")
            other.communicate("COMMIT;\n")
        server.stop()
    assert rows_of(serve("--file", database, folder="other")) == [(*M4, "a", "0")]


@pytest.mark.slow
def test_a_pooler_that_sends_reads_elsewhere_prevents_the_start(cluster):
    cluster.create("rows")
    with postgres_cluster.Cluster(copy_of=cluster) as standby:
        with PgPool(cluster, standby) as pooler:
            assert SHARED in refused_start("--file", pooler.uri("rows"))
