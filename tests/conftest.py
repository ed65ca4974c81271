import itertools
import os
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import postgres  # noqa: E402
from harness import Server  # noqa: E402

NUMBERS = itertools.count()

# A shell's background jobs ignore it, and so would all that tests start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_cluster():
    """A PostgreSQL for those tests of a worker that don't break it."""
    postgres.require()
    with postgres.Cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster():
    """A PostgreSQL of the test's own."""
    postgres.require()
    with postgres.Cluster() as cluster:
        yield cluster


@pytest.fixture
def database(shared_cluster):
    """The URI of an empty database."""
    return shared_cluster.create(f"test_{os.getpid()}_{next(NUMBERS)}")


@pytest.fixture
def databases(shared_cluster):
    """Makes empty databases; gives their URIs."""
    return lambda: shared_cluster.create(f"test_{os.getpid()}_{next(NUMBERS)}")


@pytest.fixture
def kind():
    """Of databases that a test does not name; postgres.both_kinds says otherwise."""
    return "sqlite"


@pytest.fixture
def new_database(request, kind, tmp_path):
    """Makes names of empty databases of that kind."""
    if kind == "postgresql":
        return request.getfixturevalue("databases")
    return lambda: tmp_path / f"database-{next(NUMBERS)}" / "rows.sqlite3"


@pytest.fixture
def serve(kind, new_database, tmp_path):
    """Starts servers that are stopped, and checked, at the end of the test."""
    servers = []

    def start(*options, folder="server", **more):
        if kind == "postgresql" and "--file" not in options:
            options += ("--file", new_database())
        server = Server(tmp_path / folder, *options, **more)
        servers.append(server)
        return server

    yield start
    for server in reversed(servers):
        server.__exit__(None, None, None)


@pytest.fixture
def server(serve):
    return serve()
