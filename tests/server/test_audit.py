# SPDX-License-Identifier: MIT
"""The audit log: who got which revision, when, and why a package bumped (doc/audit.md)."""

import json
import subprocess
import time

import pytest

from harness import BUILD, Client, Refused, poll
from postgres_cluster import both_kinds
from prserv_command import prserv_on

VERSION, PKGARCH = "m4-1.4.19-r0", "core2-64"
ANNOTATED = (
    b"PRSERVICE 1.0\nneeds-headers: false\nX-Build-Host: h1\nx-build-name: n\xc3\xa9\n"
    b"x-unknown: no\nx-machine: \nx-layers: " + b"\xc3\xa9" * 600 + b"\n\n"
)


def read_log(server, **arguments):
    return server.ask({"get-log": arguments})["log"]


def wait_for(server, n, **arguments):
    """Returns the audit log once it has n records."""

    def read():
        log = read_log(server, **arguments)
        return log if len(log) >= n else None

    return poll(read, f"{n} records")


def wait_for_count(server, checksum, count):
    """Returns what is known of a package once a content of it was asked for so often."""

    def read():
        why = get_why(server)
        counts = {row["checksum"]: row["count"] for row in why["revisions"]}
        return why if counts.get(checksum, 0) >= count else None

    return poll(read, f"{count} requests")


def get_why(server, version=VERSION, pkgarch=PKGARCH):
    return server.ask({"get-why": {"version": version, "pkgarch": pkgarch}})


@both_kinds
def test_the_log_has_each_new_row_newest_first(serve):
    server = serve()
    with server.client() as client:
        client.get_pr(VERSION, PKGARCH, "a")
        client.get_pr(VERSION, PKGARCH, "a")
        client.get_pr(VERSION, PKGARCH, "b")
        client.get_pr(VERSION, PKGARCH, "a")
        client.import_one("x-1-r0", "all", "c", "7")
        client.import_one("x-1-r0", "all", "floor:9", "9")
    log = wait_for(server, 5)
    assert [
        (r["version"], r["checksum"], r["value"], r["request"], r["return"])
        for r in log
    ] == [
        ("x-1-r0", "floor:9", "9", "floor", False),
        ("x-1-r0", "c", "7", "import-one", False),
        (VERSION, "a", "2", "get-pr", True),
        (VERSION, "b", "1", "get-pr", False),
        (VERSION, "a", "0", "get-pr", False),
    ]
    assert {(r["peer"], r["rights"]) for r in log} == {("127.0.0.1", "rw")}
    assert all(abs(parse(r["time"]) - time.time()) < 600 for r in log)


def parse(text):
    assert text.endswith("Z")
    return time.mktime(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone


@both_kinds
def test_records_are_filtered_limited_and_read_forward(serve):
    server = serve()
    with server.client() as client:
        for n in range(5):
            client.get_pr(f"p{n % 2}-1-r0", "all", f"c{n}")
        client.get_pr("p0-1-r0", "other", "c9")
    wait_for(server, 6)
    with server.client() as client:
        ask = lambda **arguments: client.ask({"get-log": arguments})
        assert len(ask(limit=2)["log"]) == 2
        assert len(ask(limit=0)["log"]) == 6
        everything = ask()
        ids = [r["id"] for r in everything["log"]]
        assert ids == sorted(ids, reverse=True) and everything["last"] == ids[0]
        forward = ask(after=ids[3])["log"]
        assert [r["id"] for r in forward] == ids[2::-1]
        assert len(ask(version="p0-1-r0")["log"]) == 4
        assert [
            r["checksum"] for r in ask(version="p0-1-r0", pkgarch="all")["log"]
        ] == ["c4", "c2", "c0"]
        assert ask(version="nothing")["log"] == []
        assert ask(since=int(time.time()) + 1000)["log"] == []
        assert len(ask(since=1)["log"]) == 6
        for bad in ({"limit": -1}, {"since": "x"}, {"after": 1.5}, {"version": 7}):
            with pytest.raises(Refused):
                client.ask({"get-log": bad})


@both_kinds
def test_annotations_are_kept_as_text_and_cut_at_a_character(serve):
    server = serve()
    with server.client(handshake=ANNOTATED) as client:
        client.get_pr(VERSION, PKGARCH, "a")
    (record,) = wait_for(server, 1)
    assert record["annotations"] == {
        "build-host": "h1",
        "build-name": "né",
        "layers": "é" * 512,
    }


def test_prserv_get_sends_an_annotation(server):
    done = prserv_on(
        server, "get", VERSION, PKGARCH, "a", "--annotate", "build-name=night=7"
    )
    assert done.stdout == "0\n"
    (record,) = wait_for(server, 1)
    assert record["annotations"] == {"build-name": "night=7"}
    for bad in ("build-name", "=x", "colour=red", "build-name=a\nb"):
        done = prserv_on(server, "get", VERSION, PKGARCH, "a", "--annotate", bad)
        assert done.returncode == 2, bad


@both_kinds
def test_why_says_that_two_contents_share_a_package(serve):
    server = serve()
    with server.client() as client:
        for checksum in "aba":
            client.get_pr(VERSION, PKGARCH, checksum)
        client.import_one(VERSION, PKGARCH, "floor:5", "5")
    why = wait_for_count(server, "a", 2)
    rows = why["revisions"]
    assert [(r["value"], r["checksum"], r["count"]) for r in rows] == [
        ("0", "a", 2),
        ("1", "b", 1),
        ("2", "a", 2),
    ]
    assert all(r["time"] and r["asked"] for r in rows)
    assert why["complete"] is True
    assert why["verdict"] == (
        "r0.2 is asked for by content that had r0.0 before: two builds with different content "
        "share this package (both on 127.0.0.1)"
    )
    assert why["compare"] == ["b", "a"]


@both_kinds
def test_verdicts(serve):
    server = serve()
    assert get_why(server)["verdict"] == "the package is unknown"
    server.get_pr(VERSION, PKGARCH, "a")
    assert get_why(server)["verdict"] == "all builds had the same content"
    server.get_pr(VERSION, PKGARCH, "b")
    wait_for_count(server, "b", 1)
    assert get_why(server)["verdict"].startswith(
        "r0.1 is new content, which differs from that of r0.0"
    )


def test_content_of_history_mode_that_alternates(server):
    """With history nothing gets a new revision when it comes back."""
    server.get_pr(VERSION, PKGARCH, "a")
    server.get_pr(VERSION, PKGARCH, "b")
    wait_for_count(server, "b", 1)
    server.get_pr(VERSION, PKGARCH, "a", history=True)
    why = wait_for_count(server, "a", 2)
    assert why["verdict"].startswith(
        "r0.1 is new content, but that of r0.0 was asked for after it: two builds"
    )


@both_kinds
def test_only_requests_that_may_store_count(serve, shared):
    server = serve("--file", shared)
    reader = serve("--file", shared, "--read-only", folder="reader")
    with server.client() as client:
        for _ in range(3):
            client.get_pr(VERSION, PKGARCH, "a")
        client.test_pr(VERSION, PKGARCH, "a")
    reader.get_pr(VERSION, PKGARCH, "a")
    server.get_pr(VERSION, PKGARCH, "end")
    why = wait_for_count(server, "end", 1)
    assert why["revisions"][0]["count"] == 3


@both_kinds
def test_churn_has_the_packages_that_bump_and_those_that_flap(serve):
    server = serve()
    with server.client() as client:
        for checksum in "abcd":
            client.get_pr("bumps-1-r0", "all", checksum)
        for checksum in "aba":
            client.get_pr("flaps-1-r0", "all", checksum)
    wait_for(server, 7)
    for arguments in ({}, {"since": 1}, {"limit": 5}):
        churn = server.ask({"get-churn": arguments})
        assert [(p["version"], p["revisions"]) for p in churn["revisions"]] == [
            ("bumps-1-r0", 4),
            ("flaps-1-r0", 3),
        ]
        assert [(p["version"], p["returns"]) for p in churn["returns"]] == [
            ("flaps-1-r0", 1)
        ]
    assert len(server.ask({"get-churn": {"limit": 1}})["revisions"]) == 1
    later = server.ask({"get-churn": {"since": int(time.time()) + 1000}})
    assert later["revisions"] == [] and later["returns"] == []


@both_kinds
def test_a_read_only_listener_hides_peers(serve, shared, tmp_path):
    server = serve(
        *("--file", shared, "--bind", f"unix://{tmp_path}/ro,ro"),
        *("--bind", f"unix://{tmp_path}/log,ro,log"),
    )
    with server.client(handshake=ANNOTATED) as client:
        client.get_pr(VERSION, PKGARCH, "a")
        client.get_pr(VERSION, PKGARCH, "b")
        client.get_pr(VERSION, PKGARCH, "a")
    wait_for(server, 3)
    hidden = {"peer", "rights", "annotations"}
    for name, shows in (("ro", False), ("log", True)):
        with Client(tmp_path / name) as client:
            record = client.ask({"get-log": {}})["log"][0]
            assert hidden.issubset(record) is shows, record
            assert hidden.isdisjoint(record) is not shows
            why = client.ask({"get-why": {"version": VERSION, "pkgarch": PKGARCH}})
            assert hidden.isdisjoint(why["revisions"][0]) is not shows
            assert ("127.0.0.1" in why["verdict"]) is shows


def test_a_unix_client_is_known_by_its_user(serve, tmp_path):
    server = serve("--bind", f"unix://{tmp_path}/socket")
    with Client(tmp_path / "socket") as client:
        client.get_pr(VERSION, PKGARCH, "a")
    (record,) = wait_for(server, 1)
    assert record["peer"].startswith("unix:uid=")


@both_kinds
def test_nothing_is_written_with_audit_off(serve, shared, cluster_rows):
    server = serve("--file", shared, "--audit", "off")
    assert server.get_pr(VERSION, PKGARCH, "a") == "0"
    assert read_log(server) == []
    assert get_why(server)["revisions"][0]["time"] is None
    assert server.ask({"get-stats": {}})["audit"] is None
    server.stop()
    assert cluster_rows() == 0


@pytest.fixture
def cluster_rows(kind, shared, request):
    """Counts what the audit log of the shared database holds."""
    if kind == "sqlite":
        return lambda: int((shared.parent / f"{shared.name}-audit").exists())
    cluster = request.getfixturevalue("shared_cluster")
    name = str(shared).rpartition("/")[2]
    return lambda: int(cluster.psql("SELECT count(*) FROM prserv_audit_revision", name))


def test_the_variables_of_the_environment(serve, path):
    server = serve(environment={"PRSERVD_AUDIT": "off", "PRSERVD_FILE": str(path)})
    server.get_pr(VERSION, PKGARCH, "a")
    server.stop()
    assert not path.with_name(path.name + "-audit").exists()


def test_a_long_log_streams(serve, path):
    server = serve("--file", path, "--sync", "off")
    server.get_pr("first-1-r0", "all", "a")
    wait_for(server, 1)
    server.stop()
    fill(path, 200000)
    server = serve("--file", path)
    with server.client() as client:
        client.post({"get-log": {"limit": 0}})
        with server.client() as other:  # is not held up
            other.get_pr(VERSION, PKGARCH, "a")
        log = client.receive()["log"]
    assert len({r["id"] for r in log}) >= 200001
    ids = [r["id"] for r in log]
    assert ids == sorted(ids, reverse=True)


def fill(path, n):
    sql = f"""INSERT INTO revision (time_us, package, checksum, value, request, is_return, source)
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {n})
        SELECT 1700000000000000 + i, 1, 'c' || i, i, 0, 0, 1 FROM n"""
    subprocess.run(["sqlite3", f"{path}-audit", sql], check=True)


# ---- the commands ----


def test_prserv_log_prints_records(server):
    prserv_on(server, "get", VERSION, PKGARCH, "a" * 64)
    prserv_on(
        server,
        "get",
        VERSION,
        PKGARCH,
        "\x1b[31mevil",
        "--annotate",
        "machine=\u202eqemu",
    )
    wait_for(server, 2)
    done = prserv_on(server, "log")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and "\x1b" not in done.stdout and "\u202e" not in done.stdout
    assert lines[1].endswith(f"{VERSION}  {PKGARCH}  0  {'a' * 12}  get-pr  127.0.0.1")
    assert lines[0].endswith("machine=?qemu")
    records = json.loads(prserv_on(server, "log", "--json").stdout)
    assert [r["value"] for r in records["log"]] == ["1", "0"]
    assert prserv_on(server, "log", "other").stdout == ""
    assert len(prserv_on(server, "log", "--limit", "1").stdout.splitlines()) == 1
    assert (
        prserv_on(server, "log", "--since", "2001-01-01T00:00Z").stdout == done.stdout
    )
    for bad in (("--limit", "x"), ("--since", "yesterday"), ("a", "b", "c")):
        assert prserv_on(server, "log", *bad).returncode == 2


def test_prserv_log_follows(server):
    for checksum in "ab":
        server.get_pr(VERSION, PKGARCH, checksum)
    wait_for(server, 2)
    follower = subprocess.Popen(
        [BUILD / "prserv", "--server", server.address, "log", "--follow", "--json"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        read = lambda: json.loads(follower.stdout.readline())["checksum"]
        assert [read(), read()] == ["a", "b"]
        server.get_pr(VERSION, PKGARCH, "c")
        assert read() == "c"
    finally:
        follower.kill()
        follower.wait()


def test_prserv_why_prints_the_command_that_compares(server):
    for checksum in "ab":
        server.get_pr(VERSION, PKGARCH, checksum * 64)
    wait_for(server, 2)
    done = prserv_on(server, "why", VERSION, PKGARCH)
    assert done.returncode == 0
    assert (
        f"bitbake-diffsigs -t m4 do_package -s {'a' * 64} {'b' * 64}\n" in done.stdout
    )
    assert "r0.1 is new content" in done.stdout
    answer = json.loads(prserv_on(server, "why", "--json", VERSION, PKGARCH).stdout)
    assert answer["compare"] == ["a" * 64, "b" * 64]
    assert prserv_on(server, "why", "unknown", "all").returncode == 1


def test_prserv_why_prints_no_command_for_a_hostile_name(server):
    for checksum in "ab":
        server.get_pr("$(reboot)-1-r0", PKGARCH, checksum * 64)
    done = prserv_on(server, "why", "$(reboot)-1-r0", PKGARCH)
    assert done.returncode == 0 and "bitbake-diffsigs" not in done.stdout


def test_prserv_churn(server):
    for checksum in "aba":
        server.get_pr(VERSION, PKGARCH, checksum)
    wait_for(server, 3)
    done = prserv_on(server, "churn", "--since", "1h")
    assert f"{VERSION}  {PKGARCH}" in done.stdout and "came back" in done.stdout
    answer = json.loads(prserv_on(server, "churn", "--json").stdout)
    assert answer["returns"][0]["returns"] == 1
