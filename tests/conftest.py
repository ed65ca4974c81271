import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness import Server  # noqa: E402


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
