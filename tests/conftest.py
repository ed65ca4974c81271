import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness import PRSERVD, Server  # noqa: E402
from postgres import Session, newest_binaries  # noqa: E402


@pytest.fixture
def serve(tmp_path):
    """Starts servers that are stopped, and checked, at the end of the test."""
    servers = []

    def start(*options, folder="server", **more):
        server = Server(tmp_path / folder, *options, **more)
        servers.append(server)
        return server

    yield start
    for server in reversed(servers):
        server.__exit__(None, None, None)


@pytest.fixture
def server(serve):
    return serve()


# ---- PostgreSQL ----


def pytest_collection_modifyitems(items):
    """`-k postgres` finds every test that needs it."""
    for item in items:
        if {"postgres", "postgres_session"} & set(item.fixturenames):
            item.add_marker(pytest.mark.postgres)


@pytest.fixture(scope="session")
def postgres_session(tmp_path_factory):
    """Where PostgreSQL is missing the test is skipped, but never in CI."""
    if not newest_binaries():
        missing = "PostgreSQL is not installed: apt-get install postgresql"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing)
    base = tmp_path_factory.getbasetemp()
    return Session(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)


@pytest.fixture(scope="session")
def needs_libpq():
    if b"libpq.so" not in PRSERVD.read_bytes():
        pytest.skip("prservd was built without PostgreSQL")


@pytest.fixture(scope="session")
def shared_cluster(postgres_session):
    return postgres_session.cluster()


@pytest.fixture
def postgres(shared_cluster):
    """An empty database, in the cluster that all tests share."""
    return shared_cluster.create_database()


@pytest.fixture
def cluster(postgres_session):
    """A cluster for the test alone, which may do with it what it likes."""
    cluster = postgres_session.private()
    yield cluster
    cluster.close()
