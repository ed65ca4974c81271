# SPDX-License-Identifier: MIT
"""Fixtures of tests of libprserv."""

import pytest
from fake_upstream import FakeUpstream
from library import Talk


@pytest.fixture
def talk():
    talk = Talk()
    yield talk
    talk.close()


@pytest.fixture
def fake():
    """A server that behaves as a test tells it to."""
    with FakeUpstream(umax="7", uval="3") as fake:
        yield fake
