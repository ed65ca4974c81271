"""What the tests of PostgreSQL stand on: clusters that can be killed, paused and followed, and
the proxy that cuts connections."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import poll
from postgres import GUARDED, PASSWORD, enable_tls, environment, newest_binaries
from postgres import processes_in
from postgres_proxy import Proxy


def psql(uri, *statements, seconds=30, **variables):
    """Each statement by itself, on one connection."""
    words = [word for statement in statements for word in ("-c", statement)]
    return subprocess.run(
        [newest_binaries() / "psql", "-X", "-q", "-t", "-A", "-d", uri, *words],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=seconds,
    )


@pytest.fixture
def table(postgres):
    postgres.psql("CREATE TABLE t (n int); GRANT ALL ON t TO public")
    return postgres


def count(database):
    return int(database.psql("SELECT count(*) FROM t")[0][0])


TRANSACTION = ("BEGIN", "INSERT INTO t VALUES (1)", "COMMIT")


@pytest.fixture
def proxy(postgres):
    with Proxy(postgres.cluster.port) as proxy:
        yield proxy


def through(proxy, database):
    return database.cluster.tcp_uri(database.name, port=proxy.port)


def test_the_proxy_passes_on(table, proxy):
    assert psql(through(proxy, table), *TRANSACTION).returncode == 0
    assert (count(table), proxy.commits, proxy.cuts) == (1, 1, 0)


def test_a_commit_that_the_database_never_saw(table, proxy):
    proxy.cut_at_commit("before")
    assert psql(through(proxy, table), *TRANSACTION).returncode != 0
    assert (count(table), proxy.cuts) == (0, 1)
    assert psql(through(proxy, table), *TRANSACTION).returncode == 0
    assert count(table) == 1


def test_a_commit_whose_answer_is_lost(table, proxy):
    proxy.cut_at_commit("after")
    assert psql(through(proxy, table), *TRANSACTION).returncode != 0
    assert (count(table), proxy.cuts, proxy.commits) == (1, 1, 1)


def test_a_commit_that_is_late(table, proxy):
    proxy.cut_at_commit("late")
    assert psql(through(proxy, table), *TRANSACTION).returncode != 0
    assert (count(table), proxy.cuts) == (0, 1)
    poll(lambda: any(talk.late for talk in proxy.talks), "the cut")
    assert count(table) == 0
    assert proxy.release() == 1
    poll(lambda: count(table) == 1, "the commit")


def test_a_network_that_loses_everything(table, proxy):
    proxy.black_hole()
    with pytest.raises(subprocess.TimeoutExpired):
        psql(through(proxy, table), "SELECT 1", seconds=0.3)
    proxy.heal()
    assert psql(through(proxy, table), "SELECT 1").stdout == "1\n"
    proxy.refuse()
    assert "refused" in psql(through(proxy, table), "SELECT 1").stderr
    proxy.heal()
    assert psql(through(proxy, table), "SELECT 1").stdout == "1\n"


def test_a_network_that_is_slow(table):
    with Proxy(table.cluster.port, delay_s=0.1) as slow:
        start = time.monotonic()
        assert psql(through(slow, table), "SELECT 1").stdout == "1\n"
        assert time.monotonic() - start >= 0.2


def test_faults_are_raised_as_often_as_wanted(table):
    for moment in "INSERT", "COMMIT":
        table.raise_at("t", "40001", 2, moment)
        results = [psql(table.uri, *TRANSACTION[1:2]).returncode for _ in range(3)]
        assert results == [1, 1, 0]
        assert table.raised() == 2


def test_a_role_that_needs_a_password(postgres):
    for uri in (
        postgres.cluster.uri(postgres.name, GUARDED),
        postgres.cluster.tcp_uri(postgres.name, GUARDED),
    ):
        assert psql(uri, "SELECT 1", PGPASSWORD="wrong").returncode != 0
        assert psql(uri, "SELECT 1", PGPASSWORD=PASSWORD).stdout == "1\n"


def states(cluster):
    stats = [Path(f"/proc/{pid}/stat").read_text() for pid in cluster.processes()]
    return {stat.rpartition(")")[2].split()[0] for stat in stats}


def test_a_cluster_can_be_killed_paused_and_encrypted(cluster, tmp_path):
    database = cluster.create_database()
    database.psql("CREATE TABLE t (n int); INSERT INTO t VALUES (1)")
    cluster.kill9()
    assert cluster.processes() == []
    assert psql(database.uri, "SELECT 1").returncode != 0
    cluster.start()
    assert count(database) == 1
    cluster.pause()
    poll(lambda: states(cluster) == {"T"}, "every process to stop")
    with pytest.raises(subprocess.TimeoutExpired):
        psql(database.uri, "SELECT 1", seconds=0.3)
    cluster.resume()
    assert count(database) == 1
    authority = enable_tls(cluster, tmp_path)
    verified = {"sslmode": "verify-full", "sslrootcert": authority}
    uri = cluster.tcp_uri(database.name, **verified)
    assert "does not match" in psql(uri, "SELECT 1").stderr
    uri = uri.replace("127.0.0.1", "localhost")
    is_encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    assert psql(uri, is_encrypted).stdout == "t\n"
    cluster.stop()
    assert cluster.processes() == []


@pytest.mark.slow
def test_a_standby_follows_and_is_promoted(cluster):
    database = cluster.create_database()
    database.psql("CREATE TABLE t (n int)")
    standby = cluster.standby()
    database.psql("INSERT INTO t VALUES (1)")
    assert standby.psql("SELECT n FROM t", database.name) == [["1"]]
    cluster.kill9()
    standby.promote()
    standby.psql("INSERT INTO t VALUES (2)", database.name)


ALONE = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from postgres import Session
session = Session(Path(sys.argv[2]))
session.cluster()
session.private().pause()
print(session.folder, flush=True)
time.sleep(100)
"""


def test_nothing_is_left_when_the_tests_are_killed(postgres_session, tmp_path):
    words = ["-B", "-c", ALONE, Path(__file__).parent, tmp_path]
    alone = {k: v for k, v in os.environ.items() if k != "PYTEST_XDIST_WORKER"}
    with subprocess.Popen([sys.executable, *words], stdout=-1, env=alone) as tests:
        folder = Path(tests.stdout.readline().decode().strip())
        assert folder.is_dir() and len(processes_in(folder)) > 5
        tests.send_signal(signal.SIGKILL)
    poll(lambda: not folder.exists(), "the folder to be removed")
    assert processes_in(folder) == []
