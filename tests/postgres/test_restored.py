# SPDX-License-Identifier: MIT
"""Databases that were restored or copied incompletely are refused, with the cure."""

import re

import pytest

from harness import ROOT, Refused, run_prservd
from postgres_cluster import name_of, run_as_owner, PROGRAMS
from rows import M4, ZIP


def cure_of(text):
    """Returns the SQL that a message says to run."""
    return re.search(r"run (SELECT .*\)\)|DELETE .*\(1\))", text, re.IGNORECASE)[1]


def refused_start(uri):
    refused = run_prservd("--file", uri, "--port", "0", cwd="/")
    assert refused.returncode == 1
    return refused.stderr


def test_a_sequence_that_was_not_copied_prevents_the_start(
    serve, shared_cluster, databases
):
    """As after logical replication, which copies rows only."""
    old, new = databases(), databases()
    server = serve("--file", old, folder="old")
    for package in (M4, ZIP[:2]):
        assert server.get_pr(*package, "a") == "0"
    serve("--file", new, folder="new").stop()
    dump = run_as_owner(f"{PROGRAMS}/pg_dump", "--data-only", "-d", old).stdout
    rows = re.sub(r"(?m)^SELECT .*setval.*$|^.*1\n(?=\\\.$)", "", dump)
    copy = "".join(
        re.findall(r"(?ms)^COPY public\.prserv_(?:row|package).*?^\\\.\n", rows)
    )
    assert copy.count("COPY") == 2
    run_as_owner(f"{PROGRAMS}/psql", "-q", "-d", new, input=copy)
    text = refused_start(new)
    assert "sequence of prserv_package" in text
    shared_cluster.psql(cure_of(text), name_of(new))
    server = serve("--file", new, folder="new")
    assert server.get_pr(*M4, "b") == "1"
    assert server.get_pr("new", "all", "a") == "0"


def test_a_role_that_may_not_read_the_sequence_gets_the_cure_at_a_new_package(
    serve, shared_cluster, database
):
    name = name_of(database)
    role = f"limited_{name}"
    assert serve("--file", database, folder="owner").get_pr(*M4, "a") == "0"
    shared_cluster.psql(
        f"CREATE ROLE {role} LOGIN;"
        f"GRANT SELECT, INSERT, UPDATE ON prserv_package TO {role};"
        f"GRANT SELECT, INSERT ON prserv_row TO {role};"
        f"GRANT SELECT ON prserv_schema TO {role};"
        "ALTER SEQUENCE prserv_package_id_seq RESTART",
        name,
    )
    server = serve("--file", database.replace("prservd@", f"{role}@"))
    assert server.get_pr(*M4, "b") == "1"
    with pytest.raises(Refused, match="23505.*setval") as refused:
        server.get_pr("new", "all", "a")
    shared_cluster.psql(cure_of(str(refused.value)), name)
    assert server.get_pr("new", "all", "a") == "0"


def test_a_second_row_in_prserv_schema_prevents_the_start(
    serve, shared_cluster, database
):
    """As after a restore of the rows alone, into tables that prservd had made."""
    serve("--file", database).stop()
    shared_cluster.psql("INSERT INTO prserv_schema VALUES (1)", name_of(database))
    text = refused_start(database)
    assert "has 2 rows instead of one" in text
    shared_cluster.psql(cure_of(text), name_of(database))
    assert serve("--file", database).get_pr(*M4, "a") == "0"


def test_the_rights_in_postgres_sql_are_enough(serve, shared_cluster, database):
    schema = (ROOT / "src" / "store" / "postgres" / "schema.sql").read_text()
    name = name_of(database)
    role = f"granted_{name}"
    grants = re.findall(r"(?m)^--     (GRANT .*?;)", schema)
    assert len(grants) == 8
    shared_cluster.psql(f"CREATE ROLE {role} LOGIN; {schema}", name)
    shared_cluster.psql(" ".join(grants).replace("TO prservd", f"TO {role}"), name)
    server = serve("--file", database.replace("prservd@", f"{role}@"))
    assert [server.get_pr(*M4, c) for c in "aba"] == ["0", "1", "2"]
