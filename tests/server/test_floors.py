# SPDX-License-Identifier: MIT
"""Floors: rows that raise the greatest revision of a package and are not contents."""

import pytest

from harness import Refused
from postgres_cluster import both_kinds
from rows import M4, rows_of

pytestmark = both_kinds

MODES = pytest.mark.parametrize("history", [False, True], ids=["no history", "history"])


def add_floor(server, value):
    with server.client() as client:
        client.import_one(*M4, f"floor:{value}", value)


@MODES
def test_new_content_gets_more_than_the_floor(server, history):
    assert server.get_pr(*M4, "a", history) == "0"
    add_floor(server, "7")
    assert server.get_pr(*M4, "b", history) == "8"


@MODES
def test_a_floor_is_enough_for_a_package_without_contents(server, history):
    add_floor(server, "1.9")
    assert server.get_pr(*M4, "a", history) == "1.10"


def test_content_that_is_below_the_floor_is_raised_without_history(server):
    assert server.get_pr(*M4, "a") == "0"
    add_floor(server, "7")
    assert server.get_pr(*M4, "a") == "8"
    assert server.get_pr(*M4, "a") == "8"


def test_content_keeps_its_first_revision_with_history(server):
    assert server.get_pr(*M4, "a", history=True) == "0"
    add_floor(server, "7")
    assert server.get_pr(*M4, "a", history=True) == "0"


@MODES
def test_content_keeps_its_revision_if_a_floor_has_the_same_value(server, history):
    assert server.get_pr(*M4, "a", history) == "0"
    add_floor(server, "0")
    assert server.get_pr(*M4, "a", history) == "0"
    assert server.get_pr(*M4, "b", history) == "1"


@MODES
def test_get_pr_of_a_floor_is_refused(server, history):
    add_floor(server, "7")
    expected = "get-pr: argument 'checksum' must not begin with \"floor:\""
    with server.client() as client:
        for checksum in "floor:7", "floor:8", "floor:":
            with pytest.raises(Refused, match=expected):
                client.get_pr(*M4, checksum, history)
        assert client.get_pr(*M4, "Floor:7", history) == "8"
        assert client.get_pr(*M4, "floor", history) == "9"


@MODES
def test_a_read_only_server_refuses_and_counts_floors_too(serve, shared, history):
    add_floor(serve("--file", shared), "7")
    reader = serve("--file", shared, "--read-only", folder="reader")
    with pytest.raises(Refused, match="floor:"):
        reader.get_pr(*M4, "floor:7", history)
    assert reader.get_pr(*M4, "a", history) == "8"


@MODES
def test_look_ups_and_exports_show_floors(server, history):
    server.get_pr(*M4, "a")
    add_floor(server, "7")
    with server.client() as client:
        assert client.max_pr(*M4) == "7"
        assert client.test_pr(*M4, "floor:7", history) == "7"
    contents = [(*M4, "a", "0")] if history else []
    assert rows_of(server, history) == contents + [(*M4, "floor:7", "7")]


# ---- with an upstream ----


@pytest.fixture
def upstream(serve):
    """A server whose contents a, b and c have 0, 1 and 2."""
    server = serve(folder="upstream")
    assert [server.get_pr(*M4, checksum) for checksum in "abc"] == ["0", "1", "2"]
    return server


@pytest.fixture
def local(serve, upstream):
    return serve("--upstream", upstream.address, folder="local")


@MODES
def test_a_floor_of_the_upstream_raises_the_servers_below(local, upstream, history):
    add_floor(upstream, "7")
    assert local.get_pr(*M4, "new", history) == "7.0"


def test_a_revision_of_the_upstream_up_to_the_floor_is_not_given(local):
    """It may have been given to a content whose row was lost. Only history would give it."""
    add_floor(local, "1")
    assert local.get_pr(*M4, "a", history=True) == "2"
    assert local.get_pr(*M4, "b", history=True) == "3"


def test_the_greatest_floor_counts_also_below_newer_contents(local):
    add_floor(local, "1")
    assert local.get_pr(*M4, "new", history=True) == "2.0"
    assert local.get_pr(*M4, "a", history=True) == "2.1"
    assert local.get_pr(*M4, "c", history=True) == "2"


def test_a_revision_of_the_upstream_above_the_floor_is_given(local):
    add_floor(local, "0")
    assert local.get_pr(*M4, "c", history=True) == "2"
    assert local.get_pr(*M4, "b", history=True) == "1"
