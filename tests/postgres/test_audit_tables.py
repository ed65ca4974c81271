# SPDX-License-Identifier: MIT
"""The audit log's tables in PostgreSQL: missing, removed, locked, forbidden. Whatever happens to
them, requests are answered, and the audit log is written again by itself."""

import pytest

from harness import ROOT, SANITIZER, Refused, poll
from postgres_cluster import holding, name_of
from postgres_proxy import Proxy
from prserv_command import bench
from rows import M4

TABLES = "prserv_audit_revision, prserv_audit_package, prserv_audit_content"


def checksums(server):
    try:
        answer = server.ask({"get-log": {}})
    except Refused:  # the tables are made anew with the next record
        return []
    return [record["checksum"] for record in answer["log"]]


def wait_for(server, *expected):
    poll(lambda: set(expected) <= set(checksums(server)), f"{expected}")


def test_removed_tables_are_made_anew(serve, shared_cluster, database):
    server = serve("--file", database)
    server.get_pr(*M4, "a")
    wait_for(server, "a")
    shared_cluster.psql(f"DROP TABLE {TABLES}", name_of(database))
    assert server.get_pr(*M4, "b") == "1"
    wait_for(server, "b")


def test_locked_tables_delay_no_answer(serve, shared_cluster, database):
    server = serve("--file", database)
    server.get_pr(*M4, "a")
    wait_for(server, "a")
    lock = f"LOCK TABLE {TABLES} IN ACCESS EXCLUSIVE MODE"
    with holding(database, lock) as release:
        for number in range(50):
            assert server.get_pr(*M4, f"c{number}") == str(number + 1)
        poll(lambda: "the audit log is written later" in server.log, "the warning")
        assert server.get_pr(*M4, "b") == "51"
        release()
    wait_for(server, "b", *(f"c{number}" for number in range(50)))
    assert server.log.count("the audit log is written later") == 1


@pytest.mark.parametrize("how", ["before", "after", "late", "lost"])
def test_a_batch_is_stored_once_though_its_commit_is_interrupted(
    serve, shared_cluster, database, how
):
    """late: the COMMIT arrives after the server has connected again."""
    with Proxy(shared_cluster.port) as proxy:
        uri = f"postgresql://prservd@127.0.0.1:{proxy.port}/{name_of(database)}"
        server = serve("--file", uri)
        server.get_pr(*M4, "a")
        wait_for(server, "a")
        server.get_pr(*M4, "b")
        seen = proxy.accepted
        proxy.cut_at_commit("late" if how == "lost" else how)
        poll(lambda: proxy.cuts == 1, "the commit of the record")
        if how in ("late", "lost"):
            poll(lambda: proxy.accepted > seen, "the server to come back")
            assert proxy.release(is_lost=how == "lost") == 1
        poll(lambda: "The audit log is written again" in server.log, "the next try")
        server.get_pr(*M4, "c")
        wait_for(server, "c")
        assert checksums(server) == ["c", "b", "a"]
        churn = server.ask({"get-churn": {}})
        assert str(churn).count("'revisions': 3") == 1, churn


def test_a_new_database_grows_fast(serve, shared_cluster, database):
    """PostgreSQL plans the statements while the tables are nearly empty: no plan may read all
    packages, or all records of a batch for each package."""
    n_requests, n_packages = 20000, 16000
    server = serve("--file", database)
    for number in range(3):
        server.get_pr(f"p{number}-1", "all", "a")
    wait_for(server, "a")
    words = ("--work", "new", "--packages", n_packages, "--requests", n_requests)
    bench(server.address, *words, "--connections", 64)

    def ask(sql):
        return int(shared_cluster.psql(sql, name_of(database)))

    count = "SELECT count(*) FROM prserv_audit_revision"
    poll(lambda: ask(count) == n_requests + 3, "the audit log")
    assert SANITIZER or "the audit log is written later" not in server.log
    read = "SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'prserv_package'"
    poll(lambda: ask(read) > n_requests, "the statistics")
    assert ask(read) < 30 * n_requests


def test_a_record_that_takes_too_long_ends_in_the_database_too(
    serve, shared_cluster, database
):
    server = serve("--file", database)
    server.get_pr(*M4, "a")
    wait_for(server, "a")
    name = name_of(database)
    shared_cluster.psql(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(100); RETURN new; END $$;"
        "CREATE TRIGGER slow BEFORE INSERT ON prserv_audit_revision "
        "FOR EACH ROW EXECUTE FUNCTION wait()",
        name,
    )
    server.get_pr(*M4, "b")
    active = "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%audit_add%'"
    active += f" AND datname = '{name}' AND pid <> pg_backend_pid()"
    first = poll(lambda: shared_cluster.psql(active), "the record").split()[0]
    poll(lambda: first not in shared_cluster.psql(active).split(), "its end")
    poll(lambda: "the audit log is written later" in server.log, "the warning")
    shared_cluster.psql("DROP TRIGGER slow ON prserv_audit_revision", name)
    wait_for(server, "a", "b")


def test_a_role_without_rights_serves_without_an_audit_log(
    serve, shared_cluster, databases
):
    uri = databases()
    name = name_of(uri)
    role = f"limited_{name}"
    schema = (ROOT / "src" / "store" / "postgres" / "schema.sql").read_text()
    shared_cluster.psql(schema, name)
    shared_cluster.psql(
        f"CREATE ROLE {role} LOGIN;"
        f"GRANT SELECT, INSERT, UPDATE ON prserv_package TO {role};"
        f"GRANT SELECT, INSERT ON prserv_row TO {role};"
        f"GRANT SELECT, UPDATE ON prserv_schema TO {role}",
        name,
    )
    server = serve("--file", uri.replace("prservd@", f"{role}@"))
    assert server.get_pr(*M4, "a") == "0"
    poll(lambda: "the audit log is written later" in server.log, "the warning")
    assert server.get_pr(*M4, "b") == "1"
    with pytest.raises(Refused, match="permission denied"):
        server.ask({"get-log": {}})
    assert server.ask({"ping": {}}) == {"alive": True}
    shared_cluster.psql(
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {TABLES} TO {role};"
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}",
        name,
    )
    wait_for(server, "a", "b")
