# SPDX-License-Identifier: MIT
"""prservd behind PgBouncer, which the handbook configures."""

import signal

import pytest

from load import Farm
from postgres_cluster import name_of
from postgres_pooler import PgBouncer
from rows import M4, rows_of


@pytest.fixture
def pooler(shared_cluster, database):
    """A PgBouncer in session mode in front of an empty database."""
    with PgBouncer(shared_cluster, name_of(database)) as pooler:
        yield pooler


def test_revisions_through_session_mode(serve, pooler):
    server = serve("--file", pooler.uri())
    assert [server.get_pr(*M4, checksum) for checksum in "aba"] == ["0", "1", "2"]
    with server.client() as client:
        assert client.max_pr(*M4) == "2"
    assert len(rows_of(server)) == 3


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGKILL])
def test_clients_do_not_notice_restarts_of_pgbouncer(serve, pooler, database, number):
    servers = [serve("--file", pooler.uri(), folder=f"server-{n}") for n in range(2)]
    with Farm(servers) as farm:
        for _ in range(4):
            farm.wait_for_more()
            pooler.restart(number)
        farm.wait_for_more()
        farm.finish()
    farm.check(rows_of(serve("--file", database, folder="direct")))
