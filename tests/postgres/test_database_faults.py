# SPDX-License-Identifier: MIT
"""PostgreSQL is killed, stopped, cut off or fails over: nothing is lost or given twice, clients get
an error in time, and servers reconnect by themselves."""

import random
import shutil
import signal
import subprocess
import threading
import time

import pytest

import postgres_cluster
from harness import TIMEOUT_S, Client, Refused, asking, get_pr_at_last, poll
from harness import run_prservd
from postgres_cluster import holding, name_of, primary_and_standby
from rows import M4, assert_no_value_twice, rows_of
from tcp_proxy import Proxy

PACKAGES = [(f"recipe-{n}-r0", "all") for n in range(6)]
PATIENCE = ("--patience", "3")
IN_TIME = 3 + 12  # seconds to an error, and time for a busy machine


class Load:
    """Clients that ask for new content, and sometimes for known content."""

    def __init__(self, servers, clients=8):
        self.ports = [server.port for server in servers]
        self.stopping = False
        self.answers = []  # (version, pkgarch, checksum, value)
        self.refused = []
        self.wrong = []
        self.threads = [
            threading.Thread(target=self.run, args=(n,)) for n in range(clients)
        ]

    def run(self, number):
        chance = random.Random(number)
        mine = {}  # the latest content of each package
        first = {}  # the first value of each content with history
        turn = 0
        while not self.stopping:
            turn += 1
            package = chance.choice(PACKAGES)
            history = package in mine and chance.random() < 0.3
            checksum = mine[package] if history else f"{number}-{turn}"
            try:
                with Client(("127.0.0.1", chance.choice(self.ports))) as client:
                    value = client.get_pr(*package, checksum, history)
            except Refused as error:
                self.refused.append(str(error))
            except (OSError, EOFError):
                continue  # the server was killed
            else:
                mine[package] = checksum
                self.answers.append((*package, checksum, value))
                if history and first.setdefault((package, checksum), value) != value:
                    self.wrong.append((package, checksum, value))

    def count(self):
        return len(self.answers)

    def more(self, n=20):
        """Waits for this many more answers."""
        target = self.count() + n
        poll(lambda: self.count() >= target, "answers under load", TIMEOUT_S * 2)

    def check(self, server):
        self.stopping = True
        for thread in self.threads:
            thread.join()
        assert not self.wrong
        assert_no_value_twice(self.answers)
        rows = rows_of(server)
        assert_no_value_twice(rows)
        assert set(self.answers) <= set(rows)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        for thread in self.threads:
            thread.join()


@pytest.mark.slow
def test_ten_kills_of_servers_and_the_database_lose_nothing(serve, cluster):
    uri = cluster.create("rows")
    servers = [serve("--file", uri, folder=f"server-{n}", port=0) for n in range(4)]
    chance = random.Random(1)
    with Load(servers, clients=64) as load:
        for kill in range(10):
            load.more()
            if kill % 2 == 0:
                cluster.kill()
                cluster.start()
            else:
                server = chance.choice(servers)
                port = server.port
                server.kill()
                server.command[server.command.index("--port") + 1] = str(port)
                server.start()
        load.more(100)
        load.check(servers[0])


def test_clients_do_not_notice_terminated_backends(serve, shared_cluster, database):
    servers = [serve("--file", database, folder=f"server-{n}") for n in range(2)]
    with Load(servers) as load:
        for _ in range(8):
            load.more()
            shared_cluster.psql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                f"WHERE datname = '{name_of(database)}' AND pid <> pg_backend_pid()"
            )
        load.more()
        load.check(servers[0])
    assert not load.refused


def test_clients_wait_for_a_restart_of_the_database(serve, cluster):
    uri = cluster.create("rows")
    server = serve("--file", uri)
    assert server.get_pr(*M4, "a") == "0"
    cluster.stop()
    with asking(server, *M4, "b") as answers:
        with server.client() as client:
            client.post({"test-pr": {**dict(version="v", pkgarch="a", checksum="c")}})
            cluster.start()
            assert client.receive() == {"value": None}
    assert answers == ["1"]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["down", "paused", "silent"])
def test_clients_get_an_error_in_time_when_the_database_is_away(serve, cluster, way):
    cluster.create("rows")
    proxy = Proxy(cluster.port)
    uri = f"postgresql://prservd@127.0.0.1:{proxy.port}/rows"
    server = serve("--file", uri, *PATIENCE)
    assert server.get_pr(*M4, "a") == "0"
    if way == "down":
        cluster.stop()
    elif way == "paused":
        cluster.pause()
    proxy.is_silent = way == "silent"
    requests = [
        {"get-pr": dict(version="v", pkgarch="a", checksum="new")},
        {"get-pr": dict(version=M4[0], pkgarch=M4[1], checksum="a")},
        {"test-pr": dict(version="v", pkgarch="a", checksum="new")},
        {"max-package-pr": dict(version="v", pkgarch="a")},
        {"export": {}},
    ]
    clients = [server.client() for _ in requests]
    begun = time.monotonic()
    for client, request in zip(clients, requests):
        client.post(request)
    for client in clients:
        assert "database" in client.receive()["invoke-error"]["message"]
    assert time.monotonic() - begun < IN_TIME
    proxy.is_silent = False
    if way == "down":
        cluster.start()
    elif way == "paused":
        cluster.resume()

    assert get_pr_at_last(server, *M4, "b") == "1"
    proxy.close()


@pytest.mark.slow
def test_many_exports_get_an_error_in_time_when_the_database_is_away(serve, cluster):
    cluster.create("rows")
    server = serve("--file", cluster.uri("rows"), *PATIENCE)
    cluster.pause()
    clients = [server.client() for _ in range(8)]
    begun = time.monotonic()
    for client in clients:
        client.post({"export": {}})
    for client in clients:
        assert "database" in client.receive()["invoke-error"]["message"]
    assert time.monotonic() - begun < IN_TIME
    cluster.resume()


@pytest.mark.parametrize("is_stored", [False, True])
def test_a_connection_may_break_at_a_commit(serve, shared_cluster, database, is_stored):
    """The server finds out the outcome: the answer is right, and there is one row."""
    cuts = []

    def before(data):
        if b"COMMIT\0" in data and b"INSERT" not in data and len(cuts) < 3:
            cuts.append(data)
            return None
        return data

    def after(data):
        # Without a row it is one of the commits that a server makes once a second.
        if b"COMMIT\0" in data and b"INSERT" in data and len(cuts) < 3:
            cuts.append(data)
            return None
        return data

    proxy = Proxy(shared_cluster.port)
    uri = f"postgresql://prservd@127.0.0.1:{proxy.port}/{name_of(database)}"
    # The audit log commits, too.
    server = serve("--audit", "off", "--file", uri)
    other = serve("--file", database, folder="other")
    assert server.get_pr(*M4, "a") == "0"
    if is_stored:
        proxy.on_answer = after
    else:
        proxy.on_request = before
    with asking(server, *M4, "b") as answers:
        pass
    assert answers == ["1"]
    # What was stored is known content on the next connection, and needs no commit.
    assert len(cuts) == (1 if is_stored else 3)
    assert other.get_pr(*M4, "c") == "2"
    assert server.get_pr(*M4, "d") == "3"
    assert sorted(row[2:] for row in rows_of(other)) == [
        ("a", "0"),
        ("b", "1"),
        ("c", "2"),
        ("d", "3"),
    ]
    proxy.close()


@pytest.mark.parametrize("state", ["40001", "40P01", "57014"])
def test_transactions_that_postgresql_aborts_are_tried_again(
    serve, shared_cluster, database, state
):
    server = serve("--file", database)
    assert server.get_pr(*M4, "a") == "0"
    shared_cluster.psql(
        "CREATE SEQUENCE turns; GRANT ALL ON turns TO public; "
        "CREATE FUNCTION give_way() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF nextval('turns') <= 5 THEN RAISE EXCEPTION 'give way' "
        f"USING ERRCODE = '{state}'; END IF; RETURN NULL; END $$; "
        "CREATE TRIGGER give_way AFTER INSERT ON prserv_row "
        "FOR EACH STATEMENT EXECUTE FUNCTION give_way()",
        name_of(database),
    )
    assert server.get_pr(*M4, "b") == "1"
    assert shared_cluster.psql("SELECT last_value FROM turns", name_of(database)) == "6"


LOCK_ALL = "SELECT id FROM prserv_package FOR UPDATE"
CREATE_PACKAGE = (
    "INSERT INTO prserv_package (key, version, pkgarch) VALUES "
    "(sha256(int4send(4) || convert_to('heldall', 'UTF8')), 'held', 'all')"
)


def test_a_request_waits_for_a_locked_package(serve, database):
    """Known content needs no lock and is answered meanwhile."""
    server = serve("--file", database)
    assert server.get_pr(*M4, "a") == "0"
    with holding(database, LOCK_ALL) as release, asking(server, *M4, "b") as answers:
        assert server.get_pr(*M4, "a") == "0"
        assert not answers
        release()
    assert answers == ["1"]


@pytest.mark.slow
def test_a_locked_package_does_not_delay_others(serve, database):
    server = serve("--file", database, "--patience", "9")
    assert server.get_pr(*M4, "a") == "0"
    with holding(database, LOCK_ALL) as release:
        held = server.client()
        held.post({"get-pr": dict(version=M4[0], pkgarch=M4[1], checksum="b")})
        begun = time.monotonic()
        for turn in range(5):
            assert server.get_pr("other", "all", f"c{turn}") == str(turn)
        for _ in range(100):
            assert server.get_pr("other", "all", "c4") == "4"
        assert time.monotonic() - begun < 7  # the locked one waits for longer
        assert server.get_pr("made-meanwhile", "all", "c") == "0"
        assert (
            "another server holds the package"
            in held.receive()["invoke-error"]["message"]
        )
        held.post({"get-pr": dict(version=M4[0], pkgarch=M4[1], checksum="c")})
        for turn in range(5, 8):
            assert server.get_pr("other", "all", f"c{turn}") == str(turn)
        release()
    assert held.receive() == {"value": "1"}
    assert sorted(row[2:] for row in rows_of(server) if row[0] == M4[0]) == [
        ("a", "0"),
        ("c", "1"),
    ]


@pytest.mark.slow
def test_a_package_that_is_being_created_does_not_delay_others(serve, database):
    server = serve("--file", database)
    assert server.get_pr(*M4, "a") == "0"
    with holding(database, CREATE_PACKAGE) as release, asking(
        server, "held", "all", "a"
    ) as held:
        for turn in range(5):
            assert server.get_pr(*M4, f"c{turn}") == str(turn + 1)
        assert not held
        release()
    assert held == ["0"]


@pytest.mark.slow
def test_a_younger_request_does_not_extend_an_older_one(
    serve, shared_cluster, database
):
    proxy = Proxy(shared_cluster.port)
    uri = f"postgresql://prservd@127.0.0.1:{proxy.port}/{name_of(database)}"
    server = serve("--file", uri, "--patience", "6")
    assert server.get_pr(*M4, "a") == "0"
    new = {"get-pr": dict(version="new", pkgarch="all", checksum="a")}
    held = {"get-pr": dict(version=M4[0], pkgarch=M4[1], checksum="b")}
    with holding(
        database, LOCK_ALL
    ) as release, server.client() as older, server.client() as younger:
        proxy.on_request = lambda data: (
            None if b"COMMIT\0" in data and b"prserv_schema" not in data else data
        )
        begun = time.monotonic()
        older.post(new)
        time.sleep(3)  # not a wait: the test is about the difference of their ages
        younger.post(held)
        assert "database" in older.receive()["invoke-error"]["message"]
        assert time.monotonic() - begun < 6 + 10
        proxy.on_request = lambda data: data
        release()
        assert younger.receive() == {"value": "1"}
    proxy.close()


def test_a_look_up_creates_no_package(serve, shared_cluster, database):
    """Even if it waits in the lock queue together with requests that add rows."""
    server = serve("--file", database)
    assert server.get_pr(*M4, "a") == "0"
    with server.client() as client:
        for _ in range(5):
            shared_cluster.terminate_backends()
            assert client.max_pr("never", "all") is None
    packages = "SELECT version FROM prserv_package"
    assert shared_cluster.psql(packages, name_of(database)) == M4[0]


@pytest.mark.parametrize("attributes", ["", "?target_session_attrs=read-write"])
def test_a_start_waits_until_the_database_is_writable(
    serve, shared_cluster, databases, attributes
):
    uri = databases()
    only_read = f'ALTER DATABASE "{name_of(uri)}" SET default_transaction_read_only ='
    shared_cluster.psql(f"{only_read} on")
    writable = threading.Timer(3, shared_cluster.psql, [f"{only_read} off"])
    writable.start()
    assert serve("--file", uri + attributes).get_pr(*M4, "a") == "0"
    writable.join()


# ---- standbys ----

APPLIED = {"synchronous_commit": "remote_apply"}


@pytest.mark.slow
def test_readers_on_a_standby_see_rows_at_once(serve, cluster):
    """Readers on the standby see at once what the writer has answered."""
    uri = cluster.create("rows")
    writer = serve("--file", uri)
    assert writer.get_pr(*M4, "first") == "0"
    with primary_and_standby(cluster, **APPLIED) as standby:
        replica = standby.uri("rows")
        reader = serve("--read-only", "--file", replica, folder="reader")
        both = serve("--file", uri, "--file-read", replica, folder="both")
        for turn in range(1, 20):
            value = (writer, both)[turn % 2].get_pr(*M4, f"checksum-{turn}")
            assert value == str(turn)
            for server in (reader, both):
                with server.client() as client:
                    assert client.test_pr(*M4, f"checksum-{turn}") == value
            with reader.client() as client:
                assert client.max_pr(*M4) == value
        assert len(rows_of(reader)) == len(rows_of(both)) == 20
        # a server that has to store rows can't use a standby
        with asking(reader, *M4, "proposal") as answers:
            pass
        assert answers == ["20"]
        for server in (reader, both, writer):
            server.stop()


@pytest.mark.slow
def test_servers_fail_over_to_the_standby(serve, cluster):
    cluster.create("rows")
    with primary_and_standby(cluster, **APPLIED) as standby:
        uri = (
            f"postgresql://prservd@127.0.0.1:{cluster.port},127.0.0.1:{standby.port}/rows"
            "?target_session_attrs=read-write"
        )
        servers = [serve("--file", uri, folder=f"server-{n}") for n in range(2)]
        with Load(servers) as load:
            load.more(50)
            cluster.kill()
            standby.psql("ALTER SYSTEM SET synchronous_standby_names = ''")
            standby.psql("SELECT pg_reload_conf()")
            standby.promote()
            load.more(50)
            load.check(servers[0])
        for server in servers:
            server.stop()


@pytest.mark.slow
def test_a_commit_that_is_not_replicated_is_not_answered(serve, cluster):
    """Not even if the wait is cancelled: the row may be lost with the primary."""
    uri = cluster.create("rows")
    server = serve("--file", uri)
    with primary_and_standby(cluster, **APPLIED) as standby:
        assert server.get_pr(*M4, "a") == "0"
        standby.pause()
        with asking(server, *M4, "b") as answers:
            waiting = (
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            )
            postgres_cluster.wait_for(
                "the commit to wait", lambda: cluster.psql(waiting) != "0"
            )
            cluster.psql(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity "
                "WHERE wait_event = 'SyncRep'"
            )
            postgres_cluster.wait_for(
                "the server to wait for the standby again",
                lambda: cluster.psql(waiting) != "0",
            )
            assert not answers
            standby.resume()
        assert answers == ["1"]
        server.stop()


# ---- TLS ----


def make_certificates(folder):
    """Creates a CA, and a certificate of it for localhost."""

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    new = ("-newkey", "rsa:2048", "-nodes", "-days", "2")
    openssl(
        *("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.crt"),
        *("-subj", "/CN=CA"),
    )
    openssl(
        *("req", *new[:3], "-keyout", "server.key", "-out", "server.csr"),
        *("-subj", "/CN=localhost"),
    )
    openssl(
        *("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key"),
        *("-CAcreateserial", "-days", "2", "-out", "server.crt"),
    )


def test_tls_verifies_the_certificate_of_the_database(serve, tmp_path, cluster):
    make_certificates(tmp_path)
    for name in ("server.key", "server.crt"):
        shutil.copy(tmp_path / name, cluster.data / name)
        (cluster.data / name).chmod(0o600)
        if postgres_cluster.USER:
            shutil.chown(
                cluster.data / name, postgres_cluster.USER, postgres_cluster.USER
            )
    (cluster.data / "pg_hba.conf").write_text("hostssl all all all trust\n")
    cluster.stop(signal.SIGINT)
    cluster.settings += [("ssl", "on")]
    uri = (
        f"postgresql://prservd@localhost:{cluster.port}/postgres?sslmode=verify-full"
        f"&hostaddr=127.0.0.1&sslrootcert={tmp_path}/ca.crt"
    )
    cluster.start()  # psql connects without a client certificate
    server = serve("--file", uri)
    assert server.get_pr(*M4, "a") == "0"
    server.stop()
    wrong = uri.replace("localhost", "elsewhere")
    refused = run_prservd("--file", wrong, "--port", "0", cwd="/", timeout=60)
    assert refused.returncode == 1, refused.stderr
    assert "does not match host name" in refused.stderr


def test_new_content_waits_for_room_in_a_full_database(serve, shared_cluster, database):
    """The error is 53100. Without patience it is passed on at once."""
    server = serve("--file", database)
    other = serve("--file", database, "--patience", "0", folder="other")
    assert server.get_pr(*M4, "a") == "0"
    name = name_of(database)
    shared_cluster.psql(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$; "
        "CREATE TRIGGER full_disk BEFORE INSERT ON prserv_row "
        "FOR EACH STATEMENT EXECUTE FUNCTION full_disk()",
        name,
    )
    with asking(server, *M4, "b") as answers:
        poll(lambda: "its disk is full" in server.log, "the warning")
        with pytest.raises(Refused, match="disk is full"):
            other.get_pr(*M4, "b")
        assert server.get_pr(*M4, "a") == other.get_pr(*M4, "a") == "0"
        assert not answers
        shared_cluster.psql("DROP TRIGGER full_disk ON prserv_row", name)
    assert answers == ["1"]
    assert other.get_pr(*M4, "c") == "2"
