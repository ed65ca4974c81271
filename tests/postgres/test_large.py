# SPDX-License-Identifier: MIT
"""Databases whose rows take long to count or to read."""

import pytest

from postgres_cluster import name_of
from prserv_command import prserv, prserv_on
from rows import M4, rows_of

LONG = 20000  # such a row is sent at once


@pytest.fixture
def limited(serve, shared_cluster, database):
    """The URI of a database with three rows, with a role that is not a superuser."""
    name = name_of(database)
    role = f"limited_{name}"
    server = serve("--file", database, folder="first")
    for value, letter in enumerate("abc"):
        assert server.get_pr(*M4, letter * LONG) == str(value)
    server.stop()
    shared_cluster.psql(
        f"CREATE ROLE {role} LOGIN;"
        f"GRANT SELECT ON prserv_schema, prserv_package, prserv_row TO {role}",
        name,
    )
    return database.replace("prservd@", f"{role}@")


def make_slow(shared_cluster, uri, seconds):
    """Makes each row take this long for roles other than the owner."""
    shared_cluster.psql(
        "ALTER TABLE prserv_row ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY slow ON prserv_row USING "
        f"(pg_sleep({seconds})::text = '' AND length(checksum) > 0)",
        name_of(uri),
    )


def test_many_rows_are_estimated(serve, shared_cluster, database):
    server = serve("--file", database)
    assert server.get_pr(*M4, "a") == "0"
    exact = server.ask({"get-stats": {}})["database"]
    assert exact == {"kind": "postgresql", "rows": 1}
    shared_cluster.psql(
        "UPDATE pg_class SET relpages = 1, reltuples = 20000000 "
        "WHERE relname = 'prserv_row'",
        name_of(database),
    )
    server.stop()
    server = serve("--file", database, folder="later")  # counts anew
    assert server.ask({"get-stats": {}})["database"] == {
        "kind": "postgresql",
        "rows": 20000000,
        "rows_estimated": True,
    }
    assert "postgresql, about 20000000 rows" in prserv_on(server, "status").stdout


@pytest.mark.slow
def test_rows_that_take_too_long_to_count_are_estimated(serve, shared_cluster, limited):
    make_slow(shared_cluster, limited, 6)
    reader = serve("--read-only", "--file", limited)
    assert reader.ask({"get-stats": {}})["database"]["rows_estimated"] is True


@pytest.mark.slow
def test_a_migration_may_take_longer_than_a_count(
    serve, shared_cluster, limited, tmp_path
):
    """The scan of three rows takes 12 s; a count has 9."""
    make_slow(shared_cluster, limited, 4)
    target = tmp_path / "rows.sqlite3"
    done = prserv("migrate", limited, target)
    assert done.returncode == 0, done.stderr
    assert "canceling" not in done.stderr and "again" not in done.stderr
    assert len(rows_of(serve("--file", target, folder="target"))) == 3


@pytest.mark.slow
def test_an_export_may_take_longer_than_the_role_s_statement_timeout(
    serve, shared_cluster, limited
):
    make_slow(shared_cluster, limited, 0.2)
    role = limited.split("//")[1].split("@")[0]
    shared_cluster.psql(f"ALTER ROLE {role} SET statement_timeout = 300")
    reader = serve("--read-only", "--file", limited)
    assert len(rows_of(reader)) == 3
