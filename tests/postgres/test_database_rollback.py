# SPDX-License-Identifier: MIT
"""A PostgreSQL database that went back to an older state."""

import re

import pytest

from harness import Refused, poll, run_prservd
from postgres_cluster import PROGRAMS, Cluster, name_of, run_as_owner, wait_for
from prserv_command import prserv, prserv_on
from rows import M4, ZIP

REFUSED = "the database went back to an older state"


def refuses(server, *arguments):
    with pytest.raises(Refused, match=REFUSED):
        server.get_pr(*arguments)


def rollback(server):
    return server.ask({"get-stats": {}})["rollback"]


def name_of_rollback(server):
    return poll(lambda: re.search(r"--accept-rollback=(\S+)", server.log))[1]


class Dump:
    """A copy of a database, as pg_dump makes it."""

    def __init__(self, cluster, uri):
        self.cluster = cluster
        self.uri = uri
        self.file = cluster.folder / f"{name_of(uri)}.dump"
        run_as_owner(f"{PROGRAMS}/pg_dump", "-Fc", "-f", self.file, "-d", uri)

    def restore(self):
        """Replaces the tables, also while servers use them."""
        run_as_owner(
            f"{PROGRAMS}/pg_restore",
            "--clean",
            "--if-exists",
            "--single-transaction",
            *("-d", self.uri, self.file),
        )


@pytest.fixture
def dump(shared_cluster, database):
    return lambda: Dump(shared_cluster, database)


def test_each_server_has_a_row_whose_counter_grows(serve, shared_cluster, database):
    servers = [serve("--file", database, folder=f"s{i}") for i in range(2)]
    for n in range(3):
        for server in servers:
            server.get_pr(*M4, f"c{n}-{server.port}")
    servers[0].get_pr(*M4, "last")
    counters = shared_cluster.psql(
        "SELECT counter FROM prserv_mark ORDER BY 1", name_of(database)
    )
    assert counters.split() == ["3", "4"]
    assert (
        shared_cluster.psql("SELECT version FROM prserv_schema", name_of(database))
        == "1"
    )


def test_an_older_dump_that_is_restored_under_running_servers_is_noticed(
    serve, database, dump
):
    first = serve("--file", database, folder="first")
    second = serve("--file", database, folder="second")
    first.get_pr(*M4, "a")
    second.get_pr(*ZIP, "a")
    copy = dump()
    assert first.get_pr(*M4, "lost") == "1"
    copy.restore()
    refuses(first, *M4, "new")
    assert "Added 1 rows again that the database had lost" in first.log
    refuses(second, *ZIP, "new")
    assert first.get_pr(*M4, "lost") == second.get_pr(*M4, "lost") == "1"
    assert rollback(first)["counter"] == 1
    done = prserv_on(second, "floor", "--all", "--margin", "10")
    assert done.returncode == 0 and "is over" in done.stdout, done
    assert second.get_pr(*M4, "new") == "12"
    poll(lambda: rollback(first) is None, "the end of the rollback")
    assert first.get_pr(*M4, "newer") == "13"


def test_a_new_server_refuses_as_long_as_another_one_has_found_a_rollback(
    serve, database, dump, tmp_path
):
    first = serve("--file", database, folder="first")
    copy = dump()
    first.get_pr(*M4, "lost")
    copy.restore()
    refuses(first, *M4, "new")
    name = name_of_rollback(first)
    second = serve("--file", database, folder="second")
    refuses(second, *M4, "new")
    assert name_of_rollback(second) == name
    done = prserv("verify", database)
    assert done.returncode == 1
    assert f"a server's mark was {name}, and its counter is 0" in done.stdout
    done = prserv("migrate", database, tmp_path / "rows.sqlite3")
    assert done.returncode == 0
    assert "went back to an older state, and a server on" in done.stderr
    third = serve("--file", database, "--accept-rollback", name, folder="third")
    assert third.get_pr(*M4, "new") == "1"
    poll(lambda: rollback(first) is None and rollback(second) is None)


def test_a_server_that_notices_after_the_rollback_was_accepted_goes_on(
    serve, database, dump
):
    first = serve("--file", database, folder="first")
    late = serve("--file", database, folder="late")
    copy = dump()
    first.get_pr(*M4, "lost")
    late.get_pr(*ZIP, "lost")
    copy.restore()
    refuses(first, *M4, "new")
    done = prserv_on(first, "floor", "--all", "--margin", "10")
    assert done.returncode == 0, done
    assert late.get_pr(*M4, "new") == "11"
    assert "CRITICAL" not in late.log


def test_a_restart_notices_with_a_state_folder(serve, database, dump, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    server = serve("--file", database, "--state-dir", state)
    server.get_pr(*M4, "a")
    copy = dump()
    server.get_pr(*M4, "lost")
    server.stop()
    server.start()
    assert "CRITICAL" not in server.log
    assert server.get_pr(*M4, "lost") == "1"
    server.stop()
    copy.restore()
    server.start()
    name = name_of_rollback(server)
    refuses(server, *M4, "new")
    server.stop()
    server.command += ["--accept-rollback", name]
    server.start()
    assert server.get_pr(*M4, "new") == "1"
    server.stop()
    server.start()
    assert "CRITICAL" not in server.log
    assert server.get_pr(*M4, "newer") == "2"


def test_two_servers_cannot_share_a_state_folder(serve, database, tmp_path):
    serve("--file", database, "--state-dir", tmp_path)
    done = run_prservd(
        "--file", database, "--state-dir", tmp_path, "--port", "0", cwd=tmp_path
    )
    assert done.returncode == 1
    assert f"another server uses the folder {tmp_path}" in done.stderr


def test_a_state_folder_is_for_postgresql(tmp_path):
    done = run_prservd("--file", "x.sqlite3", "--state-dir", tmp_path, cwd=tmp_path)
    assert done.returncode == 2
    assert "state-dir: only PostgreSQL needs it" in done.stderr


def test_rows_of_servers_that_are_gone_are_removed_after_thirty_days(
    serve, shared_cluster, database
):
    server = serve("--file", database)
    server.get_pr(*M4, "a")
    server.stop()
    shared_cluster.psql(
        "UPDATE prserv_mark SET used = now() - interval '31 days'", name_of(database)
    )
    server.start()
    server.get_pr(*M4, "b")
    assert (
        shared_cluster.psql("SELECT count(*) FROM prserv_mark", name_of(database))
        == "1"
    )
    assert "CRITICAL" not in server.log


def test_a_role_that_may_not_make_the_table_runs_without_it(
    serve, shared_cluster, database
):
    serve("--file", database).stop()
    name = name_of(database)
    role = f"role_{name}"
    shared_cluster.psql(
        f"DROP TABLE prserv_mark; CREATE ROLE {role} LOGIN;"
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC;"
        f"GRANT SELECT, INSERT, UPDATE ON prserv_package TO {role};"
        f"GRANT SELECT, INSERT ON prserv_row TO {role};"
        f"GRANT SELECT, UPDATE ON prserv_schema TO {role}",
        name,
    )
    server = serve("--file", database.replace("prservd@", f"{role}@"), folder="role")
    assert server.log.count("An administrator runs: CREATE TABLE prserv_mark") == 1
    assert server.get_pr(*M4, "a") == "0"
    server.stop()
    sql = re.search(r"CREATE TABLE prserv_mark .*", server.log)[0]
    shared_cluster.psql(sql.replace(" TO ROLE", f" TO {role}"), name)
    server.start()
    assert "prserv_mark" not in server.log
    assert server.get_pr(*M4, "b") == "1"
    assert shared_cluster.psql("SELECT counter FROM prserv_mark", name) == "1"


@pytest.fixture
def standby(cluster):
    """A standby that is not synchronous."""
    with Cluster(copy_of=cluster) as standby:
        yield standby


def uri_of(primary, standby):
    return (
        f"postgresql://prservd@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/pr"
        "?target_session_attrs=read-write"
    )


def wait_for_standby(primary, standby):
    position = primary.psql("SELECT pg_current_wal_lsn()")
    wait_for(
        "the standby",
        lambda: standby.psql(f"SELECT pg_last_wal_replay_lsn() >= '{position}'") == "t",
    )


def test_an_asynchronous_standby_that_is_promoted_is_noticed(serve, cluster, standby):
    cluster.create("pr")
    servers = [
        serve("--file", uri_of(cluster, standby), folder=f"s{i}") for i in range(2)
    ]
    given = {n: servers[n % 2].get_pr(*M4, f"c{n}") for n in range(10)}
    wait_for_standby(cluster, standby)
    standby.psql("ALTER SYSTEM SET primary_conninfo = ''")
    standby.psql("SELECT pg_reload_conf()")
    wait_for(
        "the end of replication",
        lambda: not standby.psql("SELECT pid FROM pg_stat_wal_receiver"),
    )
    given |= {n: servers[n % 2].get_pr(*M4, f"c{n}") for n in range(10, 30)}
    cluster.kill()
    standby.promote()
    wait_for("the promotion", lambda: standby.psql("SELECT pg_is_in_recovery()") == "f")
    for server in servers:
        poll(lambda server=server: was_refused(server), "a refusal")
        assert "went back to an older state" in server.log
    again = {n: servers[n % 2].get_pr(*M4, f"c{n}", history=True) for n in given}
    assert again == given


def was_refused(server):
    try:
        server.get_pr(*M4, "new")
    except Refused as refused:
        return REFUSED in str(refused)
    raise AssertionError("a new revision was given")


def test_a_planned_switchover_passes_unnoticed(serve, cluster, standby):
    cluster.create("pr")
    server = serve("--file", uri_of(cluster, standby))
    for n in range(10):
        server.get_pr(*M4, f"c{n}")
    cluster.stop()
    standby.promote()
    wait_for("the promotion", lambda: standby.psql("SELECT pg_is_in_recovery()") == "f")
    assert poll(lambda: asked(server)) == "10"
    assert "CRITICAL" not in server.log


def asked(server):
    try:
        return server.get_pr(*M4, "new")
    except Refused:
        return None
