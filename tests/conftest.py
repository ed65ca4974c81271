# SPDX-License-Identifier: MIT
import itertools
import os
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import postgres_cluster  # noqa: E402
from certificates import Authority  # noqa: E402
from harness import Server  # noqa: E402

NUMBERS = itertools.count()

# Background jobs of a shell ignore these; programs that tests start must not inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def pytest_terminal_summary(terminalreporter):
    """Says why tests were skipped, each reason once."""
    reports = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2] for report in reports)
    for reason, count in reasons.most_common():
        terminalreporter.write_line(
            f"{count} skipped, {reason.removeprefix('Skipped: ')}"
        )


@pytest.fixture(scope="session")
def shared_cluster():
    """A PostgreSQL cluster that the tests of a worker share, as long as they don't break it."""
    postgres_cluster.require()
    with postgres_cluster.Cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster():
    """A PostgreSQL cluster for one test."""
    postgres_cluster.require()
    with postgres_cluster.Cluster() as cluster:
        yield cluster


@pytest.fixture
def database(shared_cluster):
    """The URI of an empty database."""
    return shared_cluster.create(f"test_{os.getpid()}_{next(NUMBERS)}")


@pytest.fixture
def databases(shared_cluster):
    """Creates empty databases and returns their URIs."""
    return lambda: shared_cluster.create(f"test_{os.getpid()}_{next(NUMBERS)}")


@pytest.fixture
def kind():
    """The kind of database that servers use; postgres_cluster.both_kinds overrides it."""
    return "sqlite"


@pytest.fixture
def new_database(request, kind, tmp_path):
    """Returns names of empty databases of this kind."""
    if kind == "postgresql":
        return request.getfixturevalue("databases")
    return lambda: tmp_path / f"database-{next(NUMBERS)}" / "rows.sqlite3"


@pytest.fixture
def path(tmp_path):
    """A database file that does not exist yet, in a folder of its own."""
    (tmp_path / "database").mkdir()
    return tmp_path / "database" / "rows.sqlite3"


@pytest.fixture
def shared(kind, request):
    """A database for several servers: the path of a file, or a URI."""
    return request.getfixturevalue("path" if kind == "sqlite" else "database")


@pytest.fixture
def serve(kind, new_database, tmp_path):
    """Starts servers, and stops and checks them at the end of the test."""
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


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session")
def server_files(authority):
    return authority.issue("server")


@pytest.fixture(scope="session")
def client_files(authority):
    return authority.issue("farm-7", subject="/O=Farm/CN=farm-7", names="DNS:farm-7")
