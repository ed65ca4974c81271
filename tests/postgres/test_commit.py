# SPDX-License-Identifier: MIT
"""Connections to PostgreSQL that break at a COMMIT."""

import os
import subprocess
import time

import pytest

import postgres_cluster
from harness import asking, poll
from postgres_cluster import name_of
from postgres_proxy import Proxy
from rows import M4, rows_of


def psql(uri, *statements, seconds=30):
    """Runs each statement separately, on one connection."""
    words = [word for statement in statements for word in ("-c", statement)]
    return subprocess.run(
        [
            f"{postgres_cluster.PROGRAMS}/psql",
            "-X",
            "-q",
            "-t",
            "-A",
            "-d",
            uri,
            *words,
        ],
        env={k: v for k, v in os.environ.items() if not k.startswith("PG")},
        capture_output=True,
        text=True,
        timeout=seconds,
    )


@pytest.fixture
def table(shared_cluster, database):
    """The name of a database with an empty table."""
    shared_cluster.psql("CREATE TABLE t (n int)", name_of(database))
    return name_of(database)


@pytest.fixture
def count(shared_cluster, table):
    return lambda: int(shared_cluster.psql("SELECT count(*) FROM t", table))


TRANSACTION = ("BEGIN", "INSERT INTO t VALUES (1)", "COMMIT")


@pytest.fixture
def proxy(shared_cluster):
    with Proxy(shared_cluster.port) as proxy:
        yield proxy


def through(proxy, database):
    return f"postgresql://prservd@127.0.0.1:{proxy.port}/{database}"


def test_the_proxy_forwards_transactions(table, proxy, count):
    assert psql(through(proxy, table), *TRANSACTION).returncode == 0
    assert (count(), proxy.commits, proxy.cuts) == (1, 1, 0)


def test_the_proxy_can_cut_before_a_commit(table, proxy, count):
    proxy.cut_at_commit("before")
    assert psql(through(proxy, table), *TRANSACTION).returncode != 0
    assert (count(), proxy.cuts) == (0, 1)
    assert psql(through(proxy, table), *TRANSACTION).returncode == 0
    assert count() == 1


def test_the_proxy_can_cut_after_a_commit(table, proxy, count):
    proxy.cut_at_commit("after")
    assert psql(through(proxy, table), *TRANSACTION).returncode != 0
    assert (count(), proxy.cuts, proxy.commits) == (1, 1, 1)


def test_the_proxy_can_deliver_a_commit_late(table, proxy, count):
    proxy.cut_at_commit("late")
    assert psql(through(proxy, table), *TRANSACTION).returncode != 0
    assert (count(), proxy.cuts) == (0, 1)
    poll(lambda: any(talk.late for talk in proxy.connections), "the cut")
    assert count() == 0
    assert proxy.release() == 1
    poll(lambda: count() == 1, "the commit")


def test_the_proxy_can_lose_everything(table, proxy):
    proxy.drop_everything()
    with pytest.raises(subprocess.TimeoutExpired):
        psql(through(proxy, table), "SELECT 1", seconds=0.3)
    proxy.heal()
    assert psql(through(proxy, table), "SELECT 1").stdout == "1\n"
    proxy.refuse()
    assert "refused" in psql(through(proxy, table), "SELECT 1").stderr
    proxy.heal()
    assert psql(through(proxy, table), "SELECT 1").stdout == "1\n"


def test_the_proxy_can_delay_everything(table, shared_cluster):
    with Proxy(shared_cluster.port, delay_s=0.1) as slow:
        start = time.monotonic()
        assert psql(through(slow, table), "SELECT 1").stdout == "1\n"
        assert time.monotonic() - start >= 0.2


# ---- a server behind the proxy ----


@pytest.mark.parametrize("how", ["before", "after", "late", "lost"])
def test_the_outcome_of_an_interrupted_commit_is_found_out(
    serve, shared_cluster, database, proxy, how
):
    """late: the COMMIT arrives after the server has reconnected and asked; lost: the database
    then notices that it never arrives."""
    server = serve("--file", through(proxy, name_of(database)))
    other = serve("--file", database, folder="other")
    assert server.get_pr(*M4, "a") == "0"
    proxy.cut_at_commit("late" if how == "lost" else how)
    seen = proxy.accepted
    with asking(server, *M4, "b") as answers:
        poll(lambda: proxy.cuts == 1, "the cut")
        if how in ("late", "lost"):
            poll(lambda: proxy.accepted > seen, "the server to come back")
            time.sleep(
                0.2
            )  # time for the server to ask; the result must be the same if it has not
            assert proxy.release(is_lost=how == "lost") == 1
    assert answers == ["1"]
    assert other.get_pr(*M4, "c") == "2"
    assert server.get_pr(*M4, "c") == "2"
    contents = sorted(row[2:] for row in rows_of(other))
    assert contents == [("a", "0"), ("b", "1"), ("c", "2")]
