# SPDX-License-Identifier: MIT
"""A server answers only from a primary that can still commit to its synchronous standbys."""

import contextlib
import threading

import pytest

import postgres_cluster
from harness import TIMEOUT_S, Client, Refused, get_pr_at_last, poll
from postgres_cluster import holding, name_of, primary_and_standby
from rows import M4

NO_STANDBY = "has no synchronous standby"


def both(*clusters):
    hosts = ",".join(f"127.0.0.1:{cluster.port}" for cluster in clusters)
    return f"postgresql://prservd@{hosts}/rows?target_session_attrs=read-write"


def promote(standby):
    """Promotes a standby, while its primary goes on."""
    standby.psql("ALTER SYSTEM SET synchronous_standby_names = ''")
    standby.psql("SELECT pg_reload_conf()")
    standby.promote()
    postgres_cluster.wait_for(
        "the promotion", lambda: standby.psql("SELECT pg_is_in_recovery()") == "f"
    )


class Asking:
    """Asks one thing again and again, each time on a new connection."""

    def __init__(self, server, request):
        self.server, self.request = server, request
        self.answers = []
        self.stopping = False
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.stopping:
            try:
                with Client(("127.0.0.1", self.server.port)) as client:
                    self.answers.append(client.ask(self.request)["value"])
            except Refused:
                continue

    def counts_up(self, seconds):
        """Whether another answer comes within this time."""
        n = len(self.answers)
        with contextlib.suppress(AssertionError):
            return poll(lambda: len(self.answers) > n, "an answer", seconds)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.thread.join()


def get_pr(checksum):
    return {"get-pr": dict(version=M4[0], pkgarch=M4[1], checksum=checksum)}


def test_pr(checksum):
    return {"test-pr": dict(version=M4[0], pkgarch=M4[1], checksum=checksum)}


test_pr.__test__ = False


# ---- connecting ----


def test_connecting_waits_for_no_lock(serve, shared_cluster, database):
    """Neither at the start nor later."""
    name = name_of(database)
    assert serve("--file", database, folder="first").get_pr(*M4, "a") == "0"
    lock = "SELECT version FROM prserv_schema FOR UPDATE"
    with holding(database, lock) as release:
        server = serve("--file", database, folder="second")
        assert server.get_pr(*M4, "b") == "1"
        shared_cluster.psql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{name}' AND application_name = 'prservd'"
        )
        assert server.get_pr(*M4, "c") == "2"
        release()


@pytest.mark.parametrize("level", ["minimal", "replica", "logical"])
def test_every_wal_level_is_good_enough(serve, cluster, level):
    cluster.settings += [("wal_level", level), ("max_wal_senders", 0)]
    cluster.restart()
    cluster.psql("ALTER ROLE prservd SET default_transaction_read_only = off")
    server = serve("--file", cluster.uri())
    assert [server.get_pr(*M4, c) for c in "aba"] == ["0", "1", "2"]
    server.stop()


# ---- while serving ----


@pytest.mark.slow
@pytest.mark.parametrize("request_of", [get_pr, test_pr])
def test_known_content_is_not_answered_while_no_standby_confirms(
    serve, cluster, request_of
):
    """The writer and the reader have a connection each. Idle servers write nothing."""
    cluster.create("rows")
    with primary_and_standby(cluster) as standby:
        server = serve("--file", cluster.uri("rows"))
        assert server.get_pr(*M4, "a") == "0"
        with Asking(server, request_of("a")) as load:
            poll(lambda: len(load.answers) > 10, "answers")
            assert NO_STANDBY not in server.log
            standby.pause()
            poll(
                lambda: "answering nothing from it" in server.log,
                "the server to notice",
            )
            assert not load.counts_up(1)
            standby.resume()
            assert load.counts_up(TIMEOUT_S)
        assert set(load.answers) == {"0"}
        server.stop()


@pytest.mark.slow
@pytest.mark.parametrize("request_of", [get_pr, test_pr])
def test_a_server_leaves_a_primary_that_was_replaced(serve, cluster, request_of):
    cluster.create("rows")
    with primary_and_standby(cluster) as standby:
        server = serve("--file", both(cluster, standby))
        assert server.get_pr(*M4, "a") == "0"
        with Asking(server, request_of("a")) as load:
            poll(lambda: len(load.answers) > 10, "answers")
            promote(standby)
            other = serve("--file", standby.uri("rows"), folder="other")
            assert [other.get_pr(*M4, c) for c in "ba"] == ["1", "2"]
            poll(lambda: load.answers[-1] == "2", "the other primary", TIMEOUT_S * 2)
        assert get_pr_at_last(server, *M4, "c") == "3"
        for each in (other, server):
            each.stop()


@pytest.mark.slow
def test_a_server_does_not_start_on_a_primary_that_was_replaced(serve, cluster):
    """Although it says that it is read-write, and comes first in the list of hosts."""
    cluster.create("rows")
    with primary_and_standby(cluster) as standby:
        first = serve("--file", cluster.uri("rows"), folder="first")
        assert first.get_pr(*M4, "a") == "0"
        first.stop()
        promote(standby)
        other = serve("--file", standby.uri("rows"), folder="other")
        assert other.get_pr(*M4, "b") == "1"
        server = serve("--file", both(cluster, standby))
        assert server.get_pr(*M4, "c") == "2"
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        postgres_cluster.wait_for(
            "the proofs to be cancelled", lambda: cluster.psql(waiting) == "0"
        )
        for each in (other, server):
            each.stop()


@pytest.mark.slow
def test_read_only_servers_leave_a_primary_that_was_replaced(serve, cluster):
    cluster.create("rows")
    with primary_and_standby(cluster) as standby:
        assert serve("--file", cluster.uri("rows"), folder="first").get_pr(
            *M4, "a"
        ) == ("0")
        cluster.psql(
            "CREATE ROLE reader LOGIN; ALTER ROLE reader SET transaction_read_only = on;"
            "GRANT SELECT ON prserv_package, prserv_row, prserv_schema TO reader",
            "rows",
        )
        uri = both(cluster, standby).replace("prservd@", "reader@")
        reader = serve("--read-only", "--file", uri.partition("?")[0], folder="reader")
        with Asking(reader, test_pr("b")) as load:
            poll(lambda: len(load.answers) > 10, "answers")
            promote(standby)
            other = serve("--file", standby.uri("rows"), folder="other")
            assert other.get_pr(*M4, "b") == "1"
            poll(lambda: load.answers[-1] == "1", "the other primary", TIMEOUT_S * 2)
        for each in (other, reader):
            each.stop()


# ---- what can't be proved ----


def test_a_start_without_a_synchronous_standby_is_warned(serve, database):
    server = serve("--file", database, folder="writer")
    assert server.get_pr(*M4, "a") == "0"
    with server.client() as client:
        assert client.test_pr(*M4, "a") == "0"
    assert server.log.count(NO_STANDBY) == 1
    reader = serve("--read-only", "--file", database, folder="reader")
    assert reader.log.count(NO_STANDBY) == 1
    quick = serve("--sync", "off", "--file", database, folder="quick")
    assert NO_STANDBY not in quick.log


@pytest.mark.slow
@pytest.mark.parametrize("level", ["off", "local", "remote_write"])
def test_commits_wait_for_the_disk_of_the_standby(serve, cluster, level):
    """Whatever synchronous_commit says. (A standby that is paused does not write, either; so this
    looks at the setting, through a function that the insertion calls.)"""
    cluster.create("rows")
    serve("--file", cluster.uri("rows"), folder="first").stop()
    cluster.psql(
        f"ALTER DATABASE rows SET synchronous_commit = {level};"
        "CREATE TABLE seen (level text);"
        "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;"
        "CREATE TRIGGER look AFTER INSERT ON prserv_row EXECUTE FUNCTION look()",
        "rows",
    )
    server = serve("--file", cluster.uri("rows"))
    assert server.get_pr(*M4, "a") == "0"
    assert cluster.psql("SELECT level FROM seen", "rows") == "on"
    server.stop()
