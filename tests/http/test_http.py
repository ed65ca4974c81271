# SPDX-License-Identifier: MIT
"""--http: where it is served, and what every answer has in common."""

import json

import pytest

from harness import error_line, needs_ipv6, run_prservd
from http_client import fetch, fetch_json, http_address, metrics, needs_http

pytestmark = needs_http


def test_health_and_three_figures(http_server):
    assert fetch(http_server, "/healthz").text == "healthy\n"
    http_server.get_pr("m4-1.4.19-r0", "core2-64", "a")
    http_server.get_pr("m4-1.4.19-r0", "core2-64", "b")
    found = metrics(http_server)
    assert found["prservd_revisions_assigned_total"] == 2
    assert found['prservd_requests_total{request="get-pr",result="ok"}'] == 2
    assert found["prservd_connections_accepted_total"] == 2
    assert found["prservd_database_rolled_back"] == 0
    assert "prservd_audit_dropped_total" not in found  # there is no audit log


def test_what_the_audit_log_misses_is_counted(serve):
    assert metrics(serve("--http", "127.0.0.1:0"))["prservd_audit_dropped_total"] == 0


def test_http_is_off_by_default(server):
    assert "Serving HTTP" not in server.log
    maps = open(f"/proc/{server.process.pid}/maps").read()
    assert "prservd-http" not in maps and "microhttpd" not in maps


def test_several_addresses_from_the_environment(serve, tmp_path):
    path = tmp_path / "http.socket"
    server = serve(environment={"PRSERVD_HTTP": f"127.0.0.1:0 unix://{path}"})
    assert http_address(server, 0).startswith("127.0.0.1:")
    assert http_address(server, 1) == f"unix://{path}"
    for number in (0, 1):
        assert fetch(server, "/healthz", number=number).status == 200
    server.stop()
    assert not path.exists()


@needs_ipv6
def test_an_ipv6_address(serve):
    assert fetch(serve("--http", "[::1]:0"), "/healthz").status == 200


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:x", "unix:/relative", ""])
def test_an_invalid_address_is_refused(tmp_path, address):
    result = run_prservd("--http", address, cwd=tmp_path)
    assert "--http: " in error_line(result, 2)


def test_an_address_in_use_fails_the_start_before_the_database_is_made(
    http_server, tmp_path
):
    result = run_prservd(
        *("--host", "127.0.0.1", "--port", "0", "--http", http_address(http_server)),
        *("--file", "other.sqlite3"),
        cwd=tmp_path,
    )
    assert "the address is in use" in result.stderr and result.returncode == 1
    assert not (tmp_path / "other.sqlite3").exists()


def test_an_address_that_others_can_reach_warns(serve):
    server = serve("--http", "0.0.0.0:0")
    assert "shows names and addresses of build hosts" in server.log


@pytest.mark.parametrize("address", ["127.0.0.1:0", "unix:///{}/socket"])
def test_a_local_address_does_not_warn(serve, tmp_path, address):
    server = serve("--http", address.format(tmp_path))
    assert fetch(server, "/healthz").status == 200
    assert "build hosts" not in server.log


def test_head_has_the_headers_of_get_and_no_body(http_server):
    for target in ("/healthz", "/api/v1/status", "/"):
        response = fetch(http_server, target, method="HEAD")
        assert response.status == 200
        assert response.text == ""
        assert int(response.headers["Content-Length"]) > 0


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BAD"])
def test_other_methods_are_refused(http_server, method):
    response = fetch(http_server, "/healthz", method=method)
    assert response.status == 405
    assert response.headers["Allow"] == "GET, HEAD"
    assert json.loads(response.text) == {"error": "only GET and HEAD are allowed"}


@pytest.mark.parametrize(
    "target",
    ["/nothing", "/healthz/", "/HEALTHZ", "/api/v1", "/api/v2/status", "//healthz"],
)
def test_an_unknown_path_is_not_found(http_server, target):
    assert "doc/http.md" in fetch_json(http_server, target, 404)["error"]


@pytest.mark.parametrize(
    "target, reason",
    [
        ("/api/v1/packages?serach=m4", "unknown field"),
        ("/api/v1/status?x=1", "unknown field"),
        ("/api/v1/packages?limit=1&limit=2", "twice"),
        ("/api/v1/packages?limit=0", "limit is not a number from 1 to 200"),
        ("/api/v1/packages?limit=201", "limit is not a number from 1 to 200"),
        ("/api/v1/packages?limit=99999999999999999999", "limit is not a number"),
        ("/api/v1/packages?limit=-1", "limit is not a number"),
        ("/api/v1/packages?limit=", "limit is not a number"),
        ("/api/v1/packages?limit=1x", "limit is not a number"),
        ("/api/v1/packages?after=m4", "after is not a key"),
        ("/api/v1/packages?after=99:m4", "after is not a key"),
        ("/api/v1/packages?after=:m4", "after is not a key"),
        ("/api/v1/package", "version and pkgarch are needed"),
        ("/api/v1/package?version=a", "version and pkgarch are needed"),
        ("/api/v1/packages?search=%", "percent sign"),
        ("/api/v1/packages?search=%4", "percent sign"),
        ("/api/v1/packages?search=%zz", "percent sign"),
        ("/%2", "percent sign"),
        ("/api/v1/packages?search=%ff", "not valid UTF-8"),
        ("/%c0%af", "not valid UTF-8"),
        ("/?" + "&".join(f"f{i}=1" for i in range(9)), "more than 8 fields"),
    ],
)
def test_an_invalid_query_is_refused(http_server, target, reason):
    assert reason in fetch_json(http_server, target, 400)["error"]


def test_a_path_may_be_percent_encoded(http_server):
    assert fetch(http_server, "/%68ealthz").status == 200


def test_answers_may_not_be_used_by_other_sites(http_server):
    for target in ("/", "/healthz", "/api/v1/status", "/nothing"):
        headers = fetch(http_server, target).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in headers
        assert "Set-Cookie" not in headers


def test_the_page_is_compressed_and_not_sent_twice(http_server):
    import gzip

    from http_client import connect

    plain = fetch(http_server, "/")
    connection = connect(http_server)
    connection.request("GET", "/", headers={"Accept-Encoding": "gzip, br"})
    response = connection.getresponse()
    assert response.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(response.read()).decode() == plain.text
    known = fetch(http_server, "/", headers={"If-None-Match": plain.headers["ETag"]})
    assert (known.status, known.text) == (304, "")
    connection.close()


def test_a_connection_is_kept_for_the_next_request(http_server):
    from http_client import connect

    connection = connect(http_server)
    connection.request("GET", "/healthz")
    connection.getresponse().read()
    socket = connection.sock
    for target in ("/metrics", "/api/v1/status", "/"):
        connection.request("GET", target)
        assert connection.getresponse().read()
        assert connection.sock is socket
    connection.close()
