# SPDX-License-Identifier: MIT
"""Fixtures of tests of the server."""

import pytest

from fake_upstream import FakeUpstream, reserve_port
from harness import QUICK, variable
from rows import M4


@pytest.fixture(params=["option", "environment"])
def setting(request):
    """Passes settings on the command line, or in the environment."""

    def say(*names_and_values):
        pairs = list(zip(names_and_values[::2], names_and_values[1::2]))
        if request.param == "environment":
            return [], {variable(name): str(value) for name, value in pairs}
        options = [(f"--{name}", value) for name, value in pairs]
        return [word for pair in options for word in pair], {}

    return say


@pytest.fixture
def upstream():
    with FakeUpstream() as fake:
        yield fake


@pytest.fixture
def local(serve, upstream):
    """A server below the upstream, whose requests don't wait while that is away."""
    options = ("--upstream", upstream.address, "--patience", "0")
    return serve(*options, *QUICK, folder="local")


@pytest.fixture
def port():
    """A port for an upstream that ends and comes back; it refuses connections meanwhile."""
    with reserve_port() as holder:
        yield holder.getsockname()[1]


@pytest.fixture
def cut_off(upstream, local):
    """A local server that has answered requests, and whose upstream is down now."""
    upstream.umax = "2"
    with local.client() as client:
        assert client.get_pr(*M4, "former") == "2.0"
        assert client.get_pr(*M4, "latest") == "2.1"
    upstream.refuse()
    return local
