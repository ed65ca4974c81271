# SPDX-License-Identifier: MIT
"""prserv feed rows and list: a database is lost, and comes back from what was published."""

import csv
import json

import pytest

from feed_maker import (
    FORMATS,
    IPK,
    RPM,
    Package,
    make_buildhistory,
    make_pkgdata,
    needs_feed,
    needs_tool,
)
from prserv_command import prserv, prserv_on
from rows import rows_of, store

pytestmark = needs_feed
M4 = Package("m4", "1.4.19", "r0", "12")
PACKAGES = [
    M4,
    Package("zip", "3.0", "r2", "4.0.3", arch="all"),
    Package("bash", "5.2", "r0", "1.2", pe="1", name="bash-completion"),
    Package("odd", "1", "r0+x", "7"),
    Package("odd", "2", "r3.local", "8.1"),
    Package("linux", "6.6+rc1", "r1", "10", arch="qemux86_64"),
]


def rows_file(server, folder, *words, status=0, name="rows.json"):
    """Runs prserv feed rows, and returns the file."""
    file = folder / name
    done = prserv_on(server, "feed", "rows", "--output", file, *words)
    assert done.returncode == status, done
    return file


def raise_server(server, folder, *words):
    """Writes rows and imports them. Returns how many were new."""
    file = rows_file(server, folder, *words)
    done = prserv_on(server, "--json", "import", file)
    assert done.returncode == 0, done
    return json.loads(done.stdout)["new"]


def number(revision):
    return [int(part) for part in revision.split(".")]


def assert_next_is_greater(server, package, revision=None):
    answer = server.get_pr(*package.key, "new content")
    assert number(answer) > number(revision or package.revision), package.key


# ---- the round trip ----


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("indexed", [True, False])
def test_a_lost_database_comes_back(server, tmp_path, kind, indexed):
    feed = kind.feed(tmp_path / "feed", *PACKAGES, indexed=indexed)
    assert raise_server(server, tmp_path, feed) >= len(PACKAGES)
    assert raise_server(server, tmp_path, feed) == 0
    done = prserv_on(server, "--json", "feed", "check", "--strict", feed)
    assert done.returncode == 0, done
    for package in PACKAGES:
        assert_next_is_greater(server, package)
    assert raise_server(server, tmp_path, feed) == 0


AUTOINC_KEYS = [
    ("foo-2_1.0+gitAUTOINC+0123456789-r1", "AUTOINC-foo-2_1.0+git"),
    ("foo-2_1.0+git-r1", "AUTOINC-foo-2_1.0+git-r"),
    ("foo-2_1.0+git-r1", "AUTOINC-foo-2_1.0+git-"),
]


@pytest.mark.parametrize("kind", FORMATS)
def test_recipes_with_autoinc_come_back_too(server, tmp_path, kind):
    package = Package("foo", "1.0+git3+0123456789", "r1", "5.6", pe="2")
    raise_server(server, tmp_path, kind.feed(tmp_path / "feed", package))
    for key, counter in AUTOINC_KEYS:
        assert server.get_pr(counter, "core2-64", "AUTOINC+abcdef") in ("4", "5")
        assert number(server.get_pr(key, "core2-64", f"c{counter}")) > [5, 6]


@pytest.mark.parametrize("make", [make_pkgdata, make_buildhistory])
@pytest.mark.parametrize("pv", ["1.0+gitAUTOINC+0123456789", "1.0+git"])
def test_the_data_of_a_build_tells_pv(server, tmp_path, make, pv):
    package = Package("foo", pv, "r0+x.1", "5")
    folder = make(tmp_path / "data", package, pkgv="1.0+git3+0123456789")
    raise_server(server, tmp_path, "--pkgarch", "core2-64", folder)
    assert server.get_pr(*package.key, "new content") == "6"
    before = pv.split("AUTOINC")[0]
    assert server.get_pr(f"AUTOINC-foo-{before}", "core2-64", "AUTOINC+abc") == "4"


def test_pkgdata_of_several_architectures(server, tmp_path):
    packages = PACKAGES[:2] + PACKAGES[5:]
    folder = make_pkgdata(tmp_path / "data", *packages)
    words = (folder, "--pkgarch", "all,core2-64,qemux86_64")
    raise_server(server, tmp_path, *words)
    for package in packages:
        assert_next_is_greater(server, package)
    assert raise_server(server, tmp_path, *words) == 0
    done = prserv_on(server, "--json", "feed", "check", "--strict", *words)
    assert done.returncode == 0, done


def test_a_pr_with_a_dot_comes_back(server, tmp_path):
    package = Package("foo", "1.0", "r5.2", "7")
    raise_server(server, tmp_path, IPK.feed(tmp_path / "feed", package))
    assert_next_is_greater(server, package)


@needs_tool(*RPM.tools)
def test_versions_of_rpm_with_dashes_come_back(server, tmp_path):
    packages = [
        Package("uboot", "2024.01-rc4+git", "r0", "9", arch="qemux86_64"),
        Package("tun", "1.0", "r0", "9", arch="a-b-c_d"),
    ]
    raise_server(server, tmp_path, RPM.feed(tmp_path / "feed", *packages))
    for package in packages:
        assert_next_is_greater(server, package)


def test_what_may_have_another_key_is_said(server, tmp_path):
    feed = tmp_path / "feed"
    feed.mkdir()
    (feed / "Packages").write_text(
        "Package: libq1\nVersion: 1.0-r0.9\nArchitecture: all\n"
    )
    done = prserv_on(server, "feed", "rows", feed)
    assert done.returncode == 4
    assert "libq1-1.0-r0: the package does not tell enough" in done.stderr


def test_all_keys_for_another_release(server, tmp_path):
    package = Package("foo", "1.0+git3+0123456789", "r1", "5.6", pe="2")
    key, counter = AUTOINC_KEYS[0]
    store(server, [(key, "core2-64", "a", "5.6"), (counter, "core2-64", "b", "3")])
    feed = IPK.feed(tmp_path / "feed", package)
    assert raise_server(server, tmp_path, feed) == 0
    assert raise_server(server, tmp_path, feed, "--all-keys") > 0
    for key, counter in AUTOINC_KEYS:
        assert server.get_pr(counter, "core2-64", "AUTOINC+abcdef") in ("4", "5")
        assert number(server.get_pr(key, "core2-64", f"c{counter}")) > [5, 6]


def test_a_check_after_rows_is_quick(server, tmp_path):
    """Each key has a floor then; which of them builds use is asked for all together."""
    feed = tmp_path / "feed"
    feed.mkdir()
    (feed / "Packages").write_text(
        "\n".join(
            Package(f"p{i}", "1.0+git3+0123456789", "r1", "5").control("all")
            for i in range(2000)
        )
    )
    raise_server(server, tmp_path, feed)
    done = prserv_on(server, "--json", "feed", "check", "--strict", feed)
    assert done.returncode == 0, done
    with server.client() as client:
        requests = client.ask({"get-stats": {}})["requests"]
    assert requests["export"]["count"] < 20


def test_a_margin_is_added_to_the_last_number(server, tmp_path):
    feed = IPK.feed(tmp_path / "feed", M4, PACKAGES[1])
    raise_server(server, tmp_path, feed, "--margin", "5")
    assert server.get_pr(*M4.key, "new") == "18"
    assert server.get_pr(*PACKAGES[1].key, "new") == "4.0.9"


def test_nothing_is_lowered(server, tmp_path):
    store(server, [(*M4.key, "a", "12"), ("zip-3.0-r2", "all", "b", "9")])
    feed = IPK.feed(tmp_path / "feed", M4, PACKAGES[1])
    assert raise_server(server, tmp_path, feed) == 0
    assert server.get_pr(*M4.key, "new") == "13"


def test_only_the_key_that_the_server_has_is_raised(server, tmp_path):
    key, counter = AUTOINC_KEYS[2]
    store(server, [(key, "core2-64", "a", "5"), (counter, "core2-64", "b", "2")])
    package = Package("foo", "1.0+git3+0123456789", "r1", "5.6", pe="2")
    assert raise_server(server, tmp_path, IPK.feed(tmp_path / "feed", package)) == 2
    assert {row[0] for row in rows_of(server)} == {key, counter}


# ---- files ----


@pytest.mark.parametrize("name", ["rows.conf", "rows.csv", "rows.json"])
def test_each_format_can_be_imported(server, tmp_path, name):
    feed = IPK.feed(tmp_path / "feed", *PACKAGES)
    file = rows_file(server, tmp_path, feed, name=name)
    assert prserv_on(server, "import", file).returncode == 0
    for package in PACKAGES:
        assert_next_is_greater(server, package)


def test_csv_has_one_floor_for_each_key(tmp_path):
    feed = IPK.feed(
        tmp_path / "feed", M4, Package("m4", "1.4.19", "r0", "7", name="m4-doc")
    )
    done = prserv("feed", "rows", "--offline", "--format", "csv", feed)
    assert (done.returncode, list(csv.reader(done.stdout.splitlines()))[1:]) == (
        0,
        [[*M4.key, "floor:12", "12"]],
    )


def test_offline_each_key_gets_a_row(tmp_path):
    feed = IPK.feed(tmp_path / "feed", Package("foo", "1.0+git3+0123456789", "r1", "5"))
    done = prserv("--json", "feed", "rows", "--offline", feed)
    assert len(json.loads(done.stdout)["datainfo"]) == 6
    assert "revisions whose key is in doubt: 2" in done.stderr


def test_packages_without_a_row_are_named(server, tmp_path):
    folder = make_pkgdata(tmp_path / "data", M4)
    done = prserv_on(server, "feed", "rows", folder)
    assert done.returncode == 4
    assert "m4-1.4.19-r0: its pkgarch is not known" in done.stderr


@pytest.mark.parametrize(
    "words, reason",
    [
        (["--format", "xml"], "--format is conf, json or csv"),
        (["--margin", "-1"], "--margin takes a number"),
        (["--margin", "1.5"], "--margin takes a number"),
        (["--output", "/nonexistent/rows"], "can't be written"),
    ],
)
def test_options_that_can_not_be_used(server, tmp_path, words, reason):
    done = prserv_on(server, "feed", "rows", *words, IPK.feed(tmp_path / "feed", M4))
    assert (done.returncode, done.stdout) == (2, "")
    assert reason in done.stderr


# ---- list ----


def test_list_needs_no_server(tmp_path):
    feed = IPK.feed(tmp_path / "feed", M4, Package("zip", "3.0", "r2", ""))
    done = prserv("feed", "list", feed)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "m4 m4-1.4.19-r0 core2-64 12"
    assert "core2-64/Packages:1: m4_1.4.19-r0.12_core2-64.ipk" in done.stdout
    found = json.loads(prserv("--json", "feed", "list", feed).stdout)
    (entry,) = found["entries"]
    assert (entry["recipe"], entry["revision"]) == ("m4", "12")
    assert len(entry["files"]) == len(found["without_revision"]) == 1


@pytest.mark.parametrize("kind", FORMATS)
def test_list_finds_the_same_in_each_format(tmp_path, kind):
    feed = kind.feed(tmp_path / "feed", *PACKAGES)
    found = json.loads(prserv("--json", "feed", "list", feed).stdout)
    listed = {
        (entry["keys"][0]["version"].replace("-rc1", "+rc1"), entry["revision"])
        for entry in found["entries"]
    }
    assert listed == {(package.key[0], package.revision) for package in PACKAGES}
