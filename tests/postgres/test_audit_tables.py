# SPDX-License-Identifier: MIT
"""The audit log's tables in PostgreSQL: missing, removed, locked, forbidden. Whatever happens to
them, requests are answered, and the audit log is written again by itself."""

import pytest

from harness import ROOT, Refused, poll
from postgres_cluster import holding, name_of
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
