# SPDX-License-Identifier: MIT
"""Packages of many rows: what a request needs comes from an index."""

import pytest

from postgres_cluster import name_of
from rows import M4

N = 50_000
# The order key of a value of n digits begins with a byte n (src/revision/revision.h).
FILL = """
INSERT INTO prserv_row (package, digest, place, rest, checksum, value)
SELECT p.id, sha256(convert_to('c' || n, 'UTF8')), {key}, '', 'c' || n, {value}
FROM prserv_package p, generate_series(10000, 10000 + {n} - 1) AS n
"""
SHARED = FILL.format(n=N, key="'\\x023737'::bytea", value="'77'")
EACH_ITS_OWN = FILL.format(
    n=N, key="'\\x05'::bytea || convert_to(n::text, 'UTF8')", value="n::text"
)


@pytest.fixture
def query(shared_cluster, database):
    return lambda sql: shared_cluster.psql(sql, name_of(database))


def read_rows(query):
    """Returns how many rows all sessions have read from the table of rows."""
    query("SELECT pg_sleep(1.1)")  # until the sessions have reported
    return int(
        query(
            "SELECT coalesce(sum(idx_tup_read), 0) FROM pg_stat_user_indexes "
            "WHERE relname = 'prserv_row'"
        )
    )


@pytest.mark.slow
def test_content_with_one_greatest_value_is_not_read(serve, database, query):
    server = serve("--file", database)
    assert server.get_pr(*M4, "first") == "0"
    query(SHARED)
    before = read_rows(query)
    assert server.get_pr(*M4, "new") == "78"
    assert server.get_pr(*M4, "c10005") == "79"
    assert read_rows(query) - before < 1000


@pytest.mark.slow
def test_floors_are_found_without_the_other_rows(serve, database, query):
    upstream = serve(folder="upstream")
    with upstream.client() as client:
        client.import_one(*M4, "free", "10000.5")
        client.import_one(*M4, "lost", "10000.7")
    server = serve("--file", database, "--upstream", upstream.address)
    assert server.get_pr(*M4, "first", history=True) == "10000.7.0"
    query(EACH_ITS_OWN)
    before = read_rows(query)
    with server.client() as client:
        assert client.get_pr(*M4, "free", history=True) == "10000.5"
        client.import_one(*M4, "floor:10000.8", "10000.8")
        assert client.get_pr(*M4, "lost", history=True) == "60000"
    assert read_rows(query) - before < 1000
