# SPDX-License-Identifier: MIT
"""/healthz and /readyz: what they say while something is away, and that the server becomes ready
again by itself."""

import contextlib
import errno
import json
import signal
import sqlite3

import pytest

from harness import BUILD, SANITIZER, Refused, asking, poll
from http_client import fetch, metrics, needs_http
from postgres_cluster import both_kinds

pytestmark = needs_http

HTTP = ("--http", "127.0.0.1:0")
needs_preload = pytest.mark.skipif(
    bool(SANITIZER), reason="sanitizers want to be loaded first"
)


def wait_until_ready(server):
    poll(lambda: fetch(server, "/readyz").status == 200, "readiness")


def wait_until_unready(server, reason):
    def is_unready():
        response = fetch(server, "/readyz")
        return response.status == 503 and reason in response.text and response

    return poll(is_unready, f"unready: {reason}")


@both_kinds
def test_a_server_that_can_be_asked_is_healthy_and_ready(serve):
    server = serve(*HTTP)
    assert fetch(server, "/healthz").status == 200
    wait_until_ready(server)
    assert fetch(server, "/readyz").text == "ready\n"
    assert metrics(server)["prservd_ready"] == 1
    assert metrics(server)["prservd_database_up"] == 1


@needs_preload
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_commit_that_failed_makes_it_unready_until_one_works(serve, tmp_path, number):
    """Nobody has to ask again: the server tries a commit itself."""
    preload = BUILD / "tests" / "preload" / "libfail_disk.so"
    fault = tmp_path / "fault"
    environment = {"LD_PRELOAD": str(preload), "FAIL_WRITE": str(fault)}
    server = serve(*HTTP, "--patience", "0", environment=environment)
    server.get_pr("m4", "all", "before")
    wait_until_ready(server)
    fault.write_text(str(number))
    with pytest.raises(Refused):
        server.get_pr("m4", "all", "while it fails")
    response = wait_until_unready(server, "commits have failed")
    assert "prserv.sqlite3" in response.text
    assert metrics(server)["prservd_ready"] == 0
    assert server.get_pr("m4", "all", "before") == "0"  # which says nothing of commits
    assert fetch(server, "/readyz").status == 503
    fault.unlink()
    wait_until_ready(server)
    assert server.get_pr("m4", "all", "after") == "1"


@needs_preload
def test_a_commit_that_hangs_makes_it_unready(serve, tmp_path):
    preload = BUILD / "tests" / "preload" / "libhold_sync.so"
    hold = tmp_path / "hold"
    environment = {"LD_PRELOAD": str(preload), "HOLD_SYNC": str(hold)}
    server = serve(*HTTP, environment=environment)
    server.get_pr("m4", "all", "before")
    hold.touch()
    try:
        with asking(server, "m4", "all", "after") as answers:
            wait_until_unready(server, "a commit has been waiting")
            assert fetch(server, "/healthz").status == 200
            assert not answers
            hold.unlink()
    finally:
        hold.unlink(missing_ok=True)
    wait_until_ready(server)


def test_requests_that_wait_for_a_lock_make_it_unready(serve, path):
    server = serve(*HTTP, "--file", path)
    server.get_pr("m4", "all", "before")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with asking(server, "m4", "all", "after") as answers:
            wait_until_unready(server, "have waited")
            other.execute("ROLLBACK")
    assert answers == ["1"]
    wait_until_ready(server)


def test_an_audit_log_that_can_not_be_written_is_in_the_body(serve, tmp_path):
    path = tmp_path / "rows.sqlite3"
    audit = path.with_name(path.name + "-audit")
    audit.mkdir()
    server = serve(*HTTP, "--file", path)
    server.get_pr("m4", "all", "a")
    response = poll(
        lambda: (r := fetch(server, "/readyz")) and "audit log: " in r.text and r
    )
    assert response.status == 200 and str(audit) in response.text
    assert metrics(server)["prservd_audit_up"] == 0
    audit.rmdir()
    poll(lambda: metrics(server)["prservd_audit_up"] == 1, "the audit log")
    assert fetch(server, "/readyz").text == "ready\n"


def test_an_upstream_that_is_down_is_in_the_body(serve):
    top = serve(folder="top")
    server = serve(*HTTP, "--upstream", top.address, "--patience", "0")
    server.get_pr("m4", "all", "before")
    wait_until_ready(server)
    assert fetch(server, "/readyz").text == "ready\nupstream: up\n"
    top.stop()
    with pytest.raises(Refused):
        server.get_pr("m4", "all", "after")
    response = poll(
        lambda: (r := fetch(server, "/readyz")) and "upstream: down" in r.text and r
    )
    assert response.status == 200
    assert metrics(server)["prservd_upstream_up"] == 0


def test_a_rollback_makes_it_unready(serve, path):
    server = serve("--file", path)
    for number in range(3):
        server.get_pr("m4", "all", f"first-{number}")
    server.stop()
    old = path.read_bytes()
    server.start()
    for number in range(3):
        server.get_pr("m4", "all", f"second-{number}")
    server.stop()
    path.write_bytes(old)
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    server = serve(*HTTP, "--file", path, folder="again")
    wait_until_unready(server, "went back to an older state")
    assert metrics(server)["prservd_database_rolled_back"] == 1


def test_a_database_that_is_away(serve, cluster):
    """The server says so although nobody asks it, and is ready again when the database is."""
    server = serve(*HTTP, "--file", cluster.create("away"))
    wait_until_ready(server)
    cluster.stop()
    wait_until_unready(server, "the database")
    assert fetch(server, "/healthz").status == 200
    assert metrics(server)["prservd_database_up"] == 0
    cluster.start()
    wait_until_ready(server)


def test_a_read_only_server_is_ready_while_others_can_not_commit(serve, path):
    writer = serve("--file", path)
    writer.get_pr("m4", "all", "x")
    server = serve(*HTTP, "--read-only", "--file", path, folder="reader")
    wait_until_ready(server)
    assert "prservd_revisions_assigned_total" not in metrics(server)


def test_a_status_is_that_of_get_stats(http_server):
    http_server.get_pr("m4", "all", "x")
    over_http = json.loads(fetch(http_server, "/api/v1/status").text)
    asked = http_server.ask({"get-stats": {}})
    assert over_http.keys() == asked.keys()
    assert over_http["requests"]["get-pr"] == asked["requests"]["get-pr"]
    assert over_http["batches"] == asked["batches"]
    figures = metrics(http_server)
    assert figures["prservd_database_rows"] == asked["database"]["rows"] == 1


def test_http_is_served_until_the_server_has_stopped(http_server):
    with http_server.client() as client:
        client.get_pr("m4", "all", "x")
        assert fetch(http_server, "/healthz").status == 200
        http_server.process.send_signal(signal.SIGTERM)
    http_server.process.wait(10)
    assert http_server.process.returncode == 0
