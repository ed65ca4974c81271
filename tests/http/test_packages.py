# SPDX-License-Identifier: MIT
"""/api/v1/packages and /api/v1/package."""

import contextlib
import json
import urllib.parse

import pytest

from bitbake_database import HIST, NOHIST, make_database
from harness import paused, poll
from http_client import connect, fetch, fetch_json, needs_http
from postgres_cluster import both_kinds

pytestmark = needs_http


def packages(server, **fields):
    query = urllib.parse.urlencode(fields)
    return fetch_json(server, f"/api/v1/packages?{query}")


def names(page):
    return [(p["version"], p["pkgarch"]) for p in page["packages"]]


def package(server, version, pkgarch, **fields):
    query = urllib.parse.urlencode({"version": version, "pkgarch": pkgarch, **fields})
    return fetch_json(server, f"/api/v1/package?{query}")


@both_kinds
def test_a_package_has_its_greatest_revision_and_its_contents(http_server):
    with http_server.client() as client:
        for number in range(12):
            client.get_pr("m4-1.4.19-r0", "core2-64", f"checksum-{number}")
        client.import_one("m4-1.4.19-r0", "core2-64", "checksum-3", "40.2")
        client.import_one("m4-1.4.19-r0", "core2-64", "floor:41", "41")
    assert packages(http_server) == {
        "packages": [
            {
                "version": "m4-1.4.19-r0",
                "pkgarch": "core2-64",
                "greatest": "41",
                "contents": 12,
                "complete": True,
                "last_assigned": None,
            }
        ],
        "next": None,
    }
    found = package(http_server, "m4-1.4.19-r0", "core2-64")
    assert (found["greatest"], found["rows"], found["complete"]) == ("41", 14, True)
    revisions = [r["revision"] for r in found["revisions"]]
    assert revisions[:4] == ["41", "40.2", "11", "10"] and revisions[-1] == "0"
    assert found["why"] is None
    short = package(http_server, "m4-1.4.19-r0", "core2-64", limit=2)
    assert short["revisions"] == found["revisions"][:2] and not short["complete"]


@both_kinds
def test_pages_have_every_package_once_in_order(http_server):
    expected = sorted(
        (version, pkgarch)
        for version in ("a-1", "a-10", "a-2", "b", "é-1", "m4-1.4", "m4-1.4-r1", "zz")
        for pkgarch in ("all", "core2-64", "core2-64-v")
    )
    with http_server.client() as client:
        for version, pkgarch in expected:
            client.get_pr(version, pkgarch, "x")
    expected.sort(key=lambda name: (name[0].encode(), name[1].encode()))
    for limit in (1, 5, 200):
        found, after = [], {}
        while True:
            page = packages(http_server, limit=limit, **after)
            found += names(page)
            if page["next"] is None:
                break
            after = {"after": page["next"]}
        assert found == expected
    assert names(packages(http_server, search="m4-1.4-")) == [
        name for name in expected if name[0].startswith("m4-1.4-")
    ]
    assert names(packages(http_server, search="é")) == [
        name for name in expected if name[0].startswith("é")
    ]
    assert names(packages(http_server, search="c")) == []
    assert names(packages(http_server, search="m4-1.4", after="3:a-1all"))[0] == (
        "m4-1.4",
        "all",
    )


@both_kinds
@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "\"quotes'\\",
        "%_*?[a]",
        "\u202etxt.exe",
        "a\nb\tc",
        "x" * 5000,
        "\U0001f4e6 paket",
        "+ &=#",
    ],
)
def test_any_text_can_be_found(http_server, text):
    http_server.get_pr(text, text, text)
    http_server.get_pr("other", "a", "b")
    found = packages(http_server, search=text[:1000])
    assert names(found) == [(text, text)]
    assert package(http_server, text[:5000], text)["revisions"] == [
        {"revision": "0", "checksum": text}
    ]
    assert names(packages(http_server, limit=1)) in ([(text, text)], [("other", "a")])


def test_a_text_with_nul_can_be_found(http_server):
    http_server.get_pr("a\0b", "c\0", "d")
    assert names(packages(http_server, search="a\0")) == [("a\0b", "c\0")]
    assert package(http_server, "a\0b", "c\0")["greatest"] == "0"


@both_kinds
def test_a_package_that_does_not_exist_is_empty(http_server):
    assert packages(http_server) == {"packages": [], "next": None}
    found = package(http_server, "m4", "core2-64")
    assert (found["greatest"], found["revisions"], found["rows"]) == (None, [], 0)


@both_kinds
def test_the_work_for_a_large_package_is_limited(http_server, tmp_path, kind):
    with http_server.client() as client:
        for i in range(10050):
            client.send(
                json.dumps(
                    {
                        "import-one": {
                            "version": "big",
                            "pkgarch": "a",
                            "checksum": f"c{i:07}",
                            "value": str(i),
                        }
                    }
                ).encode()
                + b"\n"
            )
            if i % 100 == 99 or i == 10049:
                for _ in range(i % 100 + 1):
                    client.receive()
    http_server.get_pr("small", "a", "x")
    big, small = packages(http_server)["packages"]
    assert big["complete"] is False and 100 < big["contents"] <= 10000
    assert (small["contents"], small["complete"]) == (1, True)
    # The time for one request is limited, too. A loaded machine may need several attempts.
    target = "/api/v1/package?version=big&pkgarch=a"
    poll(lambda: fetch(http_server, target).status == 200, "the package")
    found = package(http_server, "big", "a")
    assert (found["rows"], found["complete"]) == (10000, False)
    # PostgreSQL's index has the order of revisions, SQLite's does not.
    greatest = "10049" if kind == "postgresql" else None
    assert (big["greatest"], found["greatest"]) == (greatest, greatest)


def test_a_package_has_the_greatest_revision_of_the_upstream(serve):
    top = serve(folder="top")
    top.get_pr("m4", "all", "a")
    top.get_pr("m4", "all", "b")
    server = serve("--http", "127.0.0.1:0", "--upstream", top.address)
    assert package(server, "m4", "all")["upstream"] == {"greatest": "1"}
    assert server.get_pr("m4", "all", "c") == "1.0"
    found = package(server, "m4", "all")
    assert (found["greatest"], found["upstream"]) == ("1.0", {"greatest": "1"})
    text = '"\\<script>\u2028\U0001f600' * 200
    for version in "only-here", text:
        server.get_pr(version, "all", "x")
        found = package(server, version, "all")
        assert found["upstream"] == {"greatest": None}
    assert package(top_with_http(serve, top), "m4", "all")["upstream"] is None


def top_with_http(serve, top):
    file = top.folder / "prserv.sqlite3"
    return serve("--read-only", "--file", file, "--http", "127.0.0.1:0")


def test_an_upstream_that_does_not_answer_does_not_keep_a_package_waiting(serve):
    top = serve(folder="top")
    top.get_pr("m4", "all", "a")
    server = serve("--http", "127.0.0.1:0", "--upstream", top.address)
    server.get_pr("m4", "all", "a")
    with paused(top):
        for _ in range(3):
            upstream = package(server, "m4", "all")["upstream"]
            assert upstream["greatest"] is None
            assert "has not answered within 500 ms" in upstream["error"]
    answer = {"greatest": "0"}
    poll(lambda: package(server, "m4", "all")["upstream"] == answer, "the answer")
    top.stop()
    poll(
        lambda: top.address
        in package(server, "m4", "all")["upstream"].get("error", ""),
        "the outage to be known",
    )
    assert package(server, "m4", "all")["upstream"]["greatest"] is None
    top.restart()
    poll(lambda: package(server, "m4", "all")["upstream"] == answer, "the answer")


def test_a_server_ends_while_a_page_waits_for_the_upstream(serve):
    top = serve(folder="top")
    server = serve("--http", "127.0.0.1:0", "--upstream", top.address)
    server.get_pr("m4", "all", "a")
    with paused(top), contextlib.closing(connect(server)) as waiting:
        waiting.request("GET", "/api/v1/package?version=m4&pkgarch=all")
        server.stop()


def test_a_read_only_server_finds_the_packages_of_old_tables(serve, tmp_path):
    path = tmp_path / "old.db"
    make_database(path, nohist=NOHIST, hist=HIST)
    server = serve("--read-only", "--file", path, "--http", "127.0.0.1:0")
    expected = sorted({(row[0], row[1]) for row in (*NOHIST, *HIST)})
    assert names(packages(server)) == expected


def test_a_read_only_server_without_a_database_has_no_packages(serve, tmp_path):
    server = serve("--read-only", "--file", tmp_path / "no", "--http", "127.0.0.1:0")
    assert packages(server) == {"packages": [], "next": None}
