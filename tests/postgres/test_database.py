# SPDX-License-Identifier: MIT
"""Databases of PostgreSQL: their tables, texts and errors."""

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import ROOT, Refused, poll, run_prservd
from postgres_cluster import name_of
from rows import M4, TEXTS, assert_no_value_twice, rows_of


# ---- tables ----


def test_the_first_server_creates_the_tables(serve, database):
    with ThreadPoolExecutor(8) as pool:
        servers = list(
            pool.map(
                lambda n: serve("--file", database, folder=f"server-{n}"), range(8)
            )
        )
    values = [server.get_pr(*M4, f"checksum-{n}") for n, server in enumerate(servers)]
    assert values == [str(n) for n in range(8)]
    assert sum("Made the tables" in server.log for server in servers) == 1


def test_tables_may_be_created_by_an_administrator(serve, shared_cluster, databases):
    uri = databases()
    name = name_of(uri)
    role = f"limited_{name}"
    limited = uri.replace("prservd@", f"{role}@")
    shared_cluster.psql(f"CREATE ROLE {role} LOGIN", name)
    shared_cluster.psql("REVOKE CREATE ON SCHEMA public FROM public", name)
    refused = run_prservd("--file", limited, "--port", "0", cwd="/")
    assert refused.returncode == 1
    assert "permission denied" in refused.stderr and "postgres.sql" in refused.stderr
    schema = (ROOT / "src" / "store" / "postgres" / "schema.sql").read_text()
    shared_cluster.psql(schema, name)
    shared_cluster.psql(
        f"GRANT SELECT, INSERT, UPDATE ON prserv_package TO {role};"
        f"GRANT SELECT, INSERT ON prserv_row TO {role};"
        f"GRANT SELECT, UPDATE ON prserv_schema TO {role}",
        name,
    )
    server = serve("--file", limited)
    assert [server.get_pr(*M4, c) for c in "aba"] == ["0", "1", "2"]
    reader = f"reader_{name}"
    shared_cluster.psql(
        f"CREATE ROLE {reader} LOGIN;"
        f"GRANT SELECT ON prserv_package, prserv_row, prserv_schema TO {reader}",
        name,
    )
    reading = serve(
        *("--read-only", "--file", uri.replace("prservd@", f"{reader}@")),
        folder="reader",
    )
    assert reading.get_pr(*M4, "b", history=True) == "1"


def test_a_reader_may_get_its_permissions_later(serve, shared_cluster, databases):
    uri = databases()
    name = name_of(uri)
    role = f"late_{name}"
    shared_cluster.psql(f"CREATE ROLE {role} LOGIN", name)
    reader = serve("--read-only", "--file", uri.replace("prservd@", f"{role}@"))
    assert reader.get_pr(*M4, "a") == "0"
    shared_cluster.psql(
        (ROOT / "src" / "store" / "postgres" / "schema.sql").read_text(), name
    )
    with pytest.raises(Refused, match="permission denied"):
        reader.get_pr(*M4, "a")
    shared_cluster.psql(
        f"GRANT SELECT ON prserv_package, prserv_row, prserv_schema TO {role}", name
    )
    assert reader.get_pr(*M4, "a") == "0"


def test_tables_of_a_later_version_are_refused(serve, shared_cluster, database):
    serve("--file", database).stop()
    shared_cluster.psql("UPDATE prserv_schema SET version = 2", name_of(database))
    refused = run_prservd("--file", database, "--port", "0", cwd="/")
    assert refused.returncode == 1
    assert "version 2" in refused.stderr and "newer" in refused.stderr


def test_an_encoding_that_is_not_utf8_is_refused(shared_cluster):
    uri = shared_cluster.create(
        f"latin_{time.monotonic_ns()}",
        "ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
    )
    refused = run_prservd("--file", uri, "--port", "0", cwd="/")
    assert refused.returncode == 1
    assert "UTF8" in refused.stderr


def test_a_start_that_cannot_connect_is_reported(shared_cluster):
    secret = shared_cluster.uri("nothing_here").replace("prservd@", "prservd:secret@")
    for file in (secret, f"host=127.0.0.1 port={shared_cluster.port} dbname=none"):
        refused = run_prservd("--file", file, "--port", "0", cwd="/")
        assert refused.returncode == 1
        assert "does not exist" in refused.stderr
        assert "secret" not in refused.stderr


@pytest.mark.parametrize(
    "file",
    [
        "postgresql://user:secret@[::1/rows",
        "postgresql://user:%secret@host/rows",
        "postgresql://user:at@secret@127.0.0.1:1/rows",
        "postgresql://user:Zk/secret@127.0.0.1/rows",
        "postgresql://user:1/secret@127.0.0.1:1/rows",
        "host=127.0.0.1 port=secret",
        "host=127.0.0.1 passwd=secret",
    ],
)
def test_an_invalid_database_name_is_refused_at_once_and_not_shown(file):
    refused = run_prservd("--file", file, "--port", "0", cwd="/")
    assert refused.returncode == 1
    assert "secret" not in refused.stderr


def test_a_replica_is_for_postgresql_only():
    refused = run_prservd("--file", "rows.sqlite3", "--file-read", "x", cwd="/")
    assert refused.returncode == 2
    assert "PostgreSQL" in refused.stderr


def test_a_reader_can_start_before_the_tables_exist(serve, database):
    reader = serve("--read-only", "--file", database, folder="reader")
    assert reader.get_pr(*M4, "a") == "0"
    with reader.client() as client:
        assert client.max_pr(*M4) is None
        assert client.export()["datainfo"] == []
    writer = serve("--file", database, folder="writer")
    assert [writer.get_pr(*M4, c) for c in "ab"] == ["0", "1"]
    assert reader.get_pr(*M4, "a", history=True) == "0"
    assert reader.get_pr(*M4, "new") == "2"
    with reader.client() as client:
        assert client.max_pr(*M4) == "1"
        assert client.import_one(*M4, "c", "9") is None
    assert len(rows_of(writer)) == 2


# ---- texts ----


@pytest.mark.parametrize("number", range(len(TEXTS)))
def test_every_text_is_kept(serve, database, number):
    text = TEXTS[number]
    server = serve("--file", database)
    with server.client() as client:
        assert client.get_pr(text, "a", "b") == "0"
        assert client.get_pr("a", text, "b") == "0"
        assert client.get_pr("v", "a", text) == "0"
        assert client.get_pr("v", "a", "another") == "1"
        assert client.get_pr("v", "a", text) == "2"
        assert client.test_pr("v", "a", text, history=True) == "0"
        assert client.test_pr("v", "a", text) == "2"
        assert client.max_pr(text, "a") == "0"
        some = client.export(version="v", pkgarch="a", checksum=text, history=True)
    expected = {
        (text, "a", "b", "0"),
        ("a", text, "b", "0"),
        ("v", "a", text, "0"),
        ("v", "a", "another", "1"),
        ("v", "a", text, "2"),
    }
    assert set(rows_of(server)) == expected
    assert {row["checksum"] for row in some["datainfo"]} == (
        {text} if text else {"", "another"}
    )


def test_the_encoding_of_a_connection_is_always_utf8(serve, database):
    other = serve("--file", f"{database}?client_encoding=LATIN1", folder="other")
    assert other.get_pr("v\u00e4\u20ac", "a", "c") == "0"
    assert serve("--file", database).get_pr("v\u00e4\u20ac", "a", "d") == "1"


def test_a_nul_is_refused_and_affects_nobody_else(serve, database):
    server = serve("--file", database)
    fields = [("a\0b", "a", "c"), ("v", "\0", "c"), ("v", "a", "c\0")]
    with server.client() as client, server.client() as other:
        for field in fields:
            for name in ("get-pr", "test-pr"):
                request = dict(zip(("version", "pkgarch", "checksum"), field))
                client.post({name: request})
                assert other.get_pr(*M4, f"{name}{field}")
                answer = client.receive()
                assert "NUL" in answer["invoke-error"]["message"]
        with pytest.raises(Refused, match="NUL"):
            client.import_one("v", "a", "c\0", "7")
        with pytest.raises(Refused, match="NUL"):
            client.export(version="\0")
        assert client.get_pr("v", "a", "c") == "0"


def test_invalid_rows_are_ignored(serve, shared_cluster, database):
    server = serve("--file", database)
    assert server.get_pr(*M4, "a") == "0"
    shared_cluster.psql(
        "INSERT INTO prserv_row SELECT id, sha256('x'), '', '\\x01787878', 'x', 'xxx' "
        "FROM prserv_package; "
        "INSERT INTO prserv_row SELECT id, sha256('y'), '', '\\x00', 'y', NULL "
        "FROM prserv_package",
        name_of(database),
    )
    assert [server.get_pr(*M4, c) for c in "bxy"] == ["1", "2", "3"]
    assert ("m4-1.4.19-r0", "core2-64", "x", "xxx") in rows_of(server)
    assert ("m4-1.4.19-r0", "core2-64", "y", None) in rows_of(server)
    with server.client() as client:
        assert [row["value"] for row in client.export()["datainfo"]] == ["3"]
    assert server.log.count("xxx") == 1


# ---- the order of revisions ----


def test_a_package_that_was_deleted_by_hand_is_made_again(
    serve, shared_cluster, database
):
    server = serve("--file", database)
    for number in range(3):
        assert server.get_pr("m4-1", "all", f"c{number}") == str(number)
    delete = "DELETE FROM prserv_row; DELETE FROM prserv_package"
    shared_cluster.psql(delete, name_of(database))
    for number in range(3):
        assert server.get_pr("m4-1", "all", f"d{number}") == str(number)


def test_revisions_of_every_length_are_in_order(serve, database):
    """Even if they differ only after the part that an index holds."""
    server = serve("--file", database)
    long = "1" + "0" * 600
    values = ["9", "10", "2.3", "2.20", "2", "1" * 240, "1" * 239, long, long + ".4"]
    values += ["2." * 300 + "7", "2." * 300 + "70", "1" + "0" * 599 + "1", long + ".30"]
    with server.client() as client:
        for number, value in enumerate(values):
            client.import_one(*M4, f"checksum-{number}", value)
            seen = [[int(n) for n in v.split(".")] for v in values[: number + 1]]
            assert client.max_pr(*M4) == ".".join(map(str, max(seen)))
        for value in ("3", "7.1", long + ".5", long + ".40"):
            client.import_one("v", "a", "one", value)
        assert client.test_pr("v", "a", "one") == long + ".40"
        assert client.test_pr("v", "a", "one", history=True) == "3"
        client.import_one("v", "a", "one", long + ".40")
    assert len(rows_of(server)) == len(values) + 4


def test_no_query_reads_all_rows_of_a_package(serve, shared_cluster, databases):
    """Even while the tables are new and have no planner statistics."""
    uri = databases()
    name = name_of(uri)
    server = serve("--file", uri)
    assert server.get_pr(*M4, "a") == "0"
    shared_cluster.psql("ALTER TABLE prserv_row SET (autovacuum_enabled = off)", name)

    def ask_for_many(turns):
        requests = [(*M4, f"{turns}-{n}") for n in range(64)]
        with server.client() as client:
            for request in requests:
                fields = dict(zip(("version", "pkgarch", "checksum"), request))
                client.post({"get-pr": fields})
            for _ in requests:
                assert "value" in client.receive()

    for turn in range(12):
        ask_for_many(turn)  # until the plan is generic
    shared_cluster.psql(
        "INSERT INTO prserv_row SELECT id, sha256(int4send(n)), '\\x0131' || int4send(n), '', "
        "n::text, n::text FROM prserv_package, generate_series(1, 5000) n",
        name,
    )
    for turn in range(12, 16):
        ask_for_many(turn)
    server.stop()  # sessions report their statistics when they end
    sessions = f"SELECT FROM pg_stat_activity WHERE datname = '{name}' AND "
    sessions += "application_name = 'prservd'"
    poll(
        lambda: shared_cluster.psql(f"SELECT EXISTS ({sessions})") == "f",
        "the end of the sessions",
    )
    read = shared_cluster.psql(
        "SELECT idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'prserv_row'",
        name,
    )
    assert int(read) < 16 * 64 * 50


# ---- many servers ----


def test_four_servers_never_give_a_number_twice(serve, database):
    servers = [serve("--file", database, folder=f"server-{n}") for n in range(4)]
    packages = [(f"recipe-{n}-r0", "all") for n in range(5)]
    answers = []

    def build(number):
        with servers[number % 4].client() as client:
            for turn in range(30):
                package = packages[(number + turn) % 5]
                checksum = f"{number}-{turn}"
                answers.append((*package, checksum, client.get_pr(*package, checksum)))

    threads = [threading.Thread(target=build, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8 * 30
    assert_no_value_twice(answers)
    assert set(answers) == set(rows_of(servers[0]))
    for package in packages:
        numbers = sorted(int(row[3]) for row in answers if row[:2] == package)
        assert numbers == list(range(len(numbers)))


def test_all_servers_see_what_one_has_answered(serve, database):
    writers = [serve("--file", database, folder=f"server-{n}") for n in range(2)]
    reader = serve("--read-only", "--file", database, folder="reader")
    for turn in range(40):
        value = writers[turn % 2].get_pr(*M4, f"checksum-{turn}")
        assert value == str(turn)
        for server in (*writers, reader):
            with server.client() as client:
                assert client.max_pr(*M4) == value
                assert client.test_pr(*M4, f"checksum-{turn}") == value


def test_statistics_name_the_kind_of_database(serve, database):
    server = serve("--file", database)
    assert server.get_pr(*M4, "a") == "0"
    assert server.ask({"get-stats": {}})["database"] == {
        "kind": "postgresql",
        "rows": 1,
    }


def test_an_export_of_many_rows(serve, shared_cluster, database):
    server = serve("--file", database)
    with server.client() as client:
        for number in range(50):
            client.get_pr(f"recipe-{number}", "all", "x" * 3000)
        shared_cluster.psql(
            "INSERT INTO prserv_row SELECT id, sha256(int4send(n)), '\\x0131', int4send(n), "
            "n::text, '1' FROM prserv_package, generate_series(1, 2000) n",
            name_of(database),
        )
        assert len(client.export(history=True)["datainfo"]) == 50 + 50 * 2000
        assert len(client.export()["datainfo"]) == 50 * 2000
        assert len(client.export(version="recipe-7")["datainfo"]) == 2000


# ---- other requests and settings ----


def test_column_info_is_that_of_the_protocol(serve, database):
    server = serve("--file", database)
    columns = server.ask({"export": {"colinfo": True}})["metainfo"]["col_info"]
    names = [column["name"] for column in columns]
    assert names == ["version", "pkgarch", "checksum", "value"]


def test_libpq_is_loaded_only_when_it_is_needed(serve, database):
    """With libpq and its dependencies, a server on SQLite would be twice as large."""

    def loaded(server):
        maps = Path(f"/proc/{server.process.pid}/maps").read_text()
        return {name for name in ("prservd-postgresql.so", "libpq.so") if name in maps}

    assert loaded(serve()) == set()
    assert len(loaded(serve("--file", database, folder="other"))) == 2


def test_a_reader_counts_no_rows_before_the_tables_exist(serve, database):
    reader = serve("--file", database, "--read-only")
    assert reader.ask({"get-stats": {}})["database"]["rows"] == 0
    assert rows_of(reader) == []


def test_a_database_may_become_read_only(serve, shared_cluster, databases):
    """Writers then wait until their patience ends, and readers continue."""
    uri = databases()
    name = name_of(uri)
    writer = serve("--file", uri, "--patience", "1")
    reader = serve("--file", uri, "--read-only", folder="reader")
    assert writer.get_pr(*M4, "a") == "0"
    shared_cluster.psql(
        f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'
    )
    shared_cluster.terminate_backends()
    poll(lambda: "may only be read" in refusal(writer), "the refusal")
    poll(lambda: reader_sees(reader), "the reader")


def refusal(server):
    try:
        return server.get_pr(*M4, "b")
    except Refused as refused:
        return str(refused)


def reader_sees(server):
    with contextlib.suppress(Refused):
        return server.ask({"get-stats": {}})["database"]["rows"] == 1


def test_synchronous_commit_is_set_by_the_server(serve, shared_cluster, databases):
    """The setting of the database does not matter."""
    uri = databases()
    name = name_of(uri)
    shared_cluster.psql(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    for number, sync in enumerate(("full", "normal", "off")):
        server = serve("--file", uri, "--sync", sync, folder=sync)
        assert server.get_pr(*M4, sync) == str(number)
