# SPDX-License-Identifier: MIT
"""Requests wait for PostgreSQL while it is away, and get an error at once when it refuses for good
(doc/semantics.md, Patience)."""

import select
import shutil
import signal
from contextlib import ExitStack

import pytest

import postgres_cluster
from harness import Refused, asking, get_pr_at_last, get_pr_request, poll
from postgres_cluster import name_of, primary_and_standby
from rows import M4, ZIP
from test_database_faults import APPLIED, make_certificates

PACKAGE = dict(zip(("version", "pkgarch"), M4))
NEW = "Requests that need a new revision wait, for 90 s at most: "


def refuse_new_connections(cluster, sql, database):
    """Runs a statement after which nobody gets in, and ends the connections that there are."""
    cluster.psql(sql)
    cluster.psql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        f"WHERE datname = '{name_of(database)}' AND pid <> pg_backend_pid()"
    )


def serve_as_a_role(serve, cluster, database):
    """Starts a server whose role is no superuser, so that limits and rights hold for it. The role has
    the name of the database."""
    name = name_of(database)
    cluster.psql(f'CREATE ROLE "{name}" LOGIN')
    cluster.psql("GRANT ALL ON SCHEMA public TO public", name)
    server = serve("--file", database.replace("prservd@", f"{name}@"))
    assert server.get_pr(*M4, "a") == "0"
    return server


def test_all_requests_wait_while_the_database_is_away(serve, cluster):
    uri = cluster.create("rows")
    server = serve("--file", uri)
    assert server.get_pr(*M4, "a") == "0"
    requests = [
        (get_pr_request(*M4, "new"), {"value": "1"}),
        (get_pr_request(*ZIP, "new"), {"value": "0"}),
        ({"test-pr": {**PACKAGE, "checksum": "a"}}, {"value": "0"}),
        ({"test-package": PACKAGE}, {"value": True}),
    ]
    cluster.stop()
    with ExitStack() as stack:
        clients = [stack.enter_context(server.client()) for _ in range(7)]
        for client, (request, _) in zip(clients, requests):
            client.post(request)
        clients[4].post({"export": {"history": True}})
        clients[5].post({"export": {}})
        clients[6].post({"get-stats": {}})
        for what in NEW, "Look-ups wait, for 90 s", "Exports and counts of rows wait":
            poll(lambda: what in server.log, what)
        assert "can't connect to the database" in server.log
        assert server.ask({"ping": {}}) == {"alive": True}
        assert not select.select([client.socket for client in clients], [], [], 0)[0]
        cluster.start()
        for client, (_, answer) in zip(clients, requests):
            assert client.receive() == answer
        for client in clients[4:6]:
            assert len(client.receive()["datainfo"]) >= 1
        assert clients[6].receive()["database"]["rows"] >= 1
    poll(lambda: server.log.count("no longer wait, after ") == 3, "the end")
    assert "got an error" in server.log and " 0 of them got an error" in server.log


def test_without_patience_nothing_waits(serve, cluster):
    uri = cluster.create("rows")
    server = serve("--file", uri, "--patience", "0")
    assert server.get_pr(*M4, "a") == "0"
    cluster.stop()
    with pytest.raises(Refused, match="database"):
        server.get_pr(*M4, "b")
    with pytest.raises(Refused, match="database"):
        server.ask({"export": {}})
    assert server.log.count("database") >= 2
    cluster.start()

    assert get_pr_at_last(server, *M4, "b") == "1"


@pytest.mark.parametrize(
    "refuse, allow, message",
    [
        (
            'ALTER DATABASE "{0}" RENAME TO "{0}-gone"',
            'ALTER DATABASE "{0}-gone" RENAME TO "{0}"',
            "does not exist",
        ),
        (
            'ALTER ROLE "{0}" NOLOGIN',
            'ALTER ROLE "{0}" LOGIN',
            "not permitted to log in",
        ),
        (
            'ALTER ROLE "{0}" RENAME TO "{0}-gone"',
            'ALTER ROLE "{0}-gone" RENAME TO "{0}"',
            "does not exist",
        ),
        (
            'REVOKE CONNECT ON DATABASE "{0}" FROM public',
            'GRANT CONNECT ON DATABASE "{0}" TO public',
            "permission denied",
        ),
    ],
)
def test_a_database_that_refuses_for_good_is_an_error_at_once(
    serve, shared_cluster, database, refuse, allow, message
):
    name = name_of(database)
    server = serve_as_a_role(serve, shared_cluster, database)
    shared_cluster.psql(
        f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'
    )  # RENAME needs that nobody is connected
    refuse_new_connections(shared_cluster, "SELECT 1", database)
    shared_cluster.psql(refuse.format(name))
    gone = f"{name}-gone" if "DATABASE" in refuse and "RENAME" in refuse else name
    shared_cluster.psql(f'ALTER DATABASE "{gone}" ALLOW_CONNECTIONS true')
    for ask in (
        lambda: server.get_pr(*M4, "b"),
        lambda: server.ask({"test-pr": {**PACKAGE, "checksum": "a"}}),
        lambda: server.ask({"export": {}}),
    ):
        with pytest.raises(Refused, match=message):
            ask()
    assert message in server.log
    shared_cluster.psql(allow.format(name))

    assert get_pr_at_last(server, *M4, "b") == "1"


def test_a_right_that_is_refused_is_an_error_at_once(serve, shared_cluster, database):
    name = name_of(database)
    shared_cluster.psql(f'CREATE ROLE "{name}" LOGIN')
    owner = serve("--file", database)
    assert owner.get_pr(*M4, "a") == "0"
    grant = f'ON ALL TABLES IN SCHEMA public TO "{name}"'
    shared_cluster.psql(f"GRANT SELECT, INSERT, UPDATE {grant}", name)
    shared_cluster.psql(
        f'GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO "{name}"', name
    )
    server = serve("--file", database.replace("prservd@", f"{name}@"), folder="other")
    assert server.get_pr(*M4, "b") == "1"
    shared_cluster.psql(f'REVOKE INSERT ON prserv_row FROM "{name}"', name)
    with pytest.raises(Refused, match="this role lacks a right"):
        server.get_pr(*M4, "c")
    assert "this role lacks a right" in server.log


@pytest.mark.parametrize(
    "refuse, allow, reason",
    [
        (
            'ALTER DATABASE "{0}" CONNECTION LIMIT 0',
            'ALTER DATABASE "{0}" CONNECTION LIMIT -1',
            "too many connections",
        ),
        (
            'ALTER DATABASE "{0}" SET default_transaction_read_only = on',
            'ALTER DATABASE "{0}" RESET default_transaction_read_only',
            "may only be read",
        ),
    ],
)
def test_new_content_waits_for_a_primary_and_for_a_free_connection(
    serve, shared_cluster, database, refuse, allow, reason
):
    name = name_of(database)
    server = serve_as_a_role(serve, shared_cluster, database)
    refuse_new_connections(shared_cluster, refuse.format(name), database)
    with asking(server, *M4, "b") as answers:
        poll(lambda: NEW in server.log and reason in server.log, "the warning")
        assert not answers
        shared_cluster.psql(allow.format(name))
    assert answers == ["1"]


def test_a_certificate_that_cannot_be_verified_is_waited_for(serve, tmp_path, cluster):
    folders = [tmp_path / "right", tmp_path / "wrong"]
    for folder in folders:
        folder.mkdir()
        make_certificates(folder)

    def install(folder):
        cluster.stop(signal.SIGINT)
        for name in ("server.key", "server.crt"):
            shutil.copy(folder / name, cluster.data / name)
            (cluster.data / name).chmod(0o600)
            postgres_cluster.give_to_owner(cluster.data / name)
        cluster.start()

    cluster.settings += [("ssl", "on")]
    install(folders[0])
    server = serve(
        "--file",
        f"postgresql://prservd@localhost:{cluster.port}/postgres?sslmode=verify-full"
        f"&hostaddr=127.0.0.1&sslrootcert={folders[0]}/ca.crt",
    )
    assert server.get_pr(*M4, "a") == "0"
    install(folders[1])
    with asking(server, *M4, "b") as answers:
        poll(lambda: NEW in server.log, "the warning")
        assert "SSL error" in server.log
        assert not answers
        install(folders[0])
    assert answers == ["1"]


@pytest.mark.slow
def test_known_content_does_not_wait_for_a_commit_that_waits_for_a_standby(
    serve, cluster
):
    uri = cluster.create("rows")
    server = serve("--file", uri)
    with primary_and_standby(cluster, **APPLIED) as standby:
        assert server.get_pr(*M4, "first") == "0"
        assert server.get_pr(*M4, "known") == "1"
        assert server.get_pr(*ZIP, "known") == "0"
        standby.pause()
        with asking(server, *M4, "new") as answers:
            waiting = (
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            )
            postgres_cluster.wait_for(
                "the commit to wait", lambda: cluster.psql(waiting) != "0"
            )
            with server.client() as client:
                for _ in range(50):
                    assert client.get_pr(*ZIP, "known") == "0"
                    assert client.get_pr(*M4, "known") == "1"
                    assert client.get_pr(*M4, "first", history=True) == "0"
                    assert client.max_pr(*M4) == "1"
            assert not answers
            standby.resume()
        assert answers == ["2"]
        server.stop()
