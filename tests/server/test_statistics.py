# SPDX-License-Identifier: MIT
"""The request get-stats."""

import pytest

from bitbake_database import HIST, NOHIST, make_database
from harness import Refused
from rows import rows_of


def test_get_stats_counts_what_the_server_has_done(serve):
    top = serve(folder="top")
    server = serve("--upstream", top.address)
    with server.client() as client:
        client.get_pr("v", "a", "x")
        client.get_pr("v", "a", "y")
        client.import_one("v", "a", "z", "7")
        with pytest.raises(Refused):
            client.ask({"get-pr": {}})
        stats = client.ask({"get-stats": {}})
    assert stats["version"] and stats["uptime_s"] >= 0 and stats["read_only"] is False
    assert stats["database"] == {"kind": "sqlite", "rows": 3}
    assert stats["connections"] == {"open": 1, "accepted": 1, "refused": 0}
    assert stats["requests"]["get-pr"] == {"count": 3, "errors": 1}
    assert stats["requests"]["import-one"] == {"count": 1, "errors": 0}
    assert stats["requests"]["get-stats"]["count"] == 1
    batches = stats["batches"]
    assert (batches["count"], batches["requests"], batches["rows"]) == (3, 3, 3)
    assert batches["largest"] == 1
    assert 0 < batches["commit_us"]["p50"] <= batches["commit_us"]["p99"]
    assert batches["commit_us"]["p99"] <= batches["commit_us"]["max"]
    upstream = stats["upstream"]
    assert (upstream["address"], upstream["state"]) == (top.address, "ready")
    assert (upstream["questions"], upstream["errors"]) == (2, 0)
    assert 0 < upstream["round_trip_us"]["p50"] <= upstream["round_trip_us"]["p99"]
    assert top.ask({"get-stats": {}})["upstream"] is None


def test_get_stats_of_a_read_only_server(serve):
    writer = serve()
    writer.get_pr("v", "a", "x")
    reader = serve("--read-only", "--file", "../server/prserv.sqlite3", folder="reader")
    stats = reader.ask({"get-stats": {}})
    assert stats["read_only"] is True
    assert stats["database"]["rows"] == 1
    assert stats["batches"]["count"] == 0


def test_get_stats_counts_rows_of_old_tables(serve, tmp_path):
    path = tmp_path / "old.db"
    make_database(path, nohist=NOHIST, hist=HIST)
    server = serve("--read-only", "--file", path)
    assert server.ask({"get-stats": {}})["database"]["rows"] == len(rows_of(server))
