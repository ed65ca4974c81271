# SPDX-License-Identifier: MIT
"""prserv feed check: feeds that the tools of each format have made, compared with a server."""

import gzip
import json
import os

import pytest

from fake_upstream import fake_server
from feed_maker import (
    COMPRESSIONS,
    DEB,
    FORMATS,
    IPK,
    RPM,
    Package,
    compress_index,
    make_buildhistory,
    make_deb,
    make_ipk,
    make_opkg_index,
    make_pkgdata,
    make_rpm,
    make_rpm_index,
    needs_feed,
    needs_tool,
    replace_primary,
    with_compressions,
)
from prserv_command import prserv, prserv_on
from rows import store

pytestmark = needs_feed
M4 = Package("m4", "1.4.19", "r0", "12")


def check(server, *words, status=0):
    """Runs prserv feed check and returns what it prints."""
    done = prserv_on(server, "feed", "check", *words)
    assert done.returncode == status, done
    return done.stdout


def check_json(server, *words, status=0):
    done = prserv_on(server, "--json", "feed", "check", *words)
    assert done.returncode == status, done
    return json.loads(done.stdout)


def keys(list_of_json):
    return [(one["version"], one["pkgarch"], one["feed"]) for one in list_of_json]


# ---- each kind ----


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("indexed", [True, False])
def test_a_feed_is_behind_even_or_ahead(server, tmp_path, kind, indexed):
    behind = Package("m4", "1.4.19", "r0", "12")
    even = Package("zip", "3.0", "r2", "0.3", arch="all")
    ahead = Package("bash", "5.2", "r0", "1.2", pe="1")
    feed = kind.feed(tmp_path / "feed", behind, even, ahead, indexed=indexed)
    store(
        server,
        [(*behind.key, "a", "9"), (*even.key, "a", "0.3"), (*ahead.key, "a", "1.10")],
    )
    found = check_json(server, "--verbose", feed, status=1)
    assert keys(found["behind"]) == [(*behind.key, "12")]
    assert found["behind"][0]["server"] == "9"
    assert keys(found["even"]) == [(*even.key, "0.3")]
    assert keys(found["ahead"]) == [(*ahead.key, "1.2")]
    assert (found["packages"], found["unknown"], found["unmapped"]) == (3, [], [])


def test_the_line_says_what_will_happen(server, tmp_path):
    feed = IPK.feed(tmp_path / "feed", M4)
    store(server, [(*M4.key, "a", "9")])
    assert check(server, feed, status=1).splitlines()[0] == (
        "BEHIND   m4-1.4.19-r0 core2-64: the feed has r0.12, the server's greatest is 9:"
        " the next build goes backwards"
    )


def test_the_greatest_of_several_packages_counts(server, tmp_path):
    feed = IPK.feed(
        tmp_path / "feed", M4, Package("m4", "1.4.19", "r0", "9", name="m4-doc")
    )
    store(server, [(*M4.key, "a", "11")])
    assert keys(check_json(server, feed, status=1)["behind"]) == [(*M4.key, "12")]
    store(server, [(*M4.key, "b", "12")])
    assert check_json(server, feed)["behind"] == []


def test_what_the_server_has_never_heard_of_is_unknown(server, tmp_path):
    feed = IPK.feed(tmp_path / "feed", M4, Package("zip", "3.0", "r2", "1"))
    store(server, [("zip-3.0-r2", "core2-64", "a", "1")])
    assert keys(check_json(server, feed)["unknown"]) == [(*M4.key, "12")]
    assert check(server, "--strict", feed, status=1).startswith(
        "UNKNOWN  m4-1.4.19-r0 core2-64"
    )


def test_a_server_that_knows_nothing_is_mentioned(server, tmp_path):
    done = prserv_on(server, "feed", "check", IPK.feed(tmp_path / "feed", M4))
    assert done.returncode == 0
    assert "the server has no revision of any package of the feed" in done.stderr


def test_a_package_without_a_pr_server_is_not_compared(server, tmp_path):
    feed = IPK.feed(tmp_path / "feed", Package("m4", "1.4.19", "r0", ""))
    found = check_json(server, feed)
    assert (found["packages"], found["without_revision"], found["keys"]) == (1, 1, 0)


def test_without_a_server_the_status_is_3(tmp_path):
    feed = IPK.feed(tmp_path / "feed", M4)
    done = prserv("--server", f"unix://{tmp_path}/nobody", "feed", "check", feed)
    assert (done.returncode, done.stdout) == (3, "")


@pytest.mark.parametrize("words", [[], ["--frob", "."], ["/nonexistent"]])
def test_a_command_line_that_can_not_be_used(server, words):
    assert prserv_on(server, "feed", "check", *words).returncode == 2


def test_a_folder_without_packages_is_an_error(server, tmp_path):
    done = prserv_on(server, "feed", "check", tmp_path)
    assert done.returncode == 2
    assert "no index, package or data of a build was found" in done.stderr


# ---- compressions ----


@pytest.mark.parametrize("ending", with_compressions(COMPRESSIONS))
def test_each_compression_of_an_index(server, tmp_path, ending):
    feed = IPK.feed(tmp_path / "feed", M4)
    compress_index(feed / "core2-64", ending)
    assert keys(check_json(server, feed)["unknown"]) == [(*M4.key, "12")]
    index = feed / "core2-64" / f"Packages{ending}"
    assert keys(check_json(server, index)["unknown"]) == [(*M4.key, "12")]


@needs_tool(*RPM.tools)
@pytest.mark.parametrize("compression", with_compressions(["gz", "xz", "bz2", "zst"]))
def test_each_compression_of_a_repository(server, tmp_path, compression):
    package = Package("m4", "1.4.19", "r0", "12", arch="i686")
    make_rpm(tmp_path / "feed", package)
    make_rpm_index(tmp_path / "feed", "gz" if compression == "zst" else compression)
    if compression == "zst":  # not every createrepo_c can write it
        replace_primary(tmp_path / "feed", compress=COMPRESSIONS[".zst"], ending=".zst")
    for name in ("feed", "feed/repodata/repomd.xml"):
        assert keys(check_json(server, tmp_path / name)["unknown"]) == [
            (*package.key, "12")
        ]


@pytest.mark.parametrize("compression", with_compressions(["gz", "xz", "zst"]))
def test_each_compression_of_an_ipk(server, tmp_path, compression):
    file = make_ipk(tmp_path / "feed", M4, compression=compression)
    assert keys(check_json(server, file)["unknown"]) == [(*M4.key, "12")]


@needs_tool("dpkg-deb")
@pytest.mark.parametrize("compression", ["gzip", "xz", "zstd", "none"])
def test_each_compression_of_a_deb(server, tmp_path, compression):
    file = make_deb(tmp_path / "feed", M4, compression=compression)
    assert keys(check_json(server, file)["unknown"]) == [(*M4.key, "12")]


# ---- files that contradict each other ----


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("indexed", [True, False])
def test_two_contents_of_one_package(server, tmp_path, kind, indexed):
    folders = [tmp_path / "one", tmp_path / "two", tmp_path / "same"]
    for folder, content in zip(folders, ("x", "y", "x")):
        kind.make(folder, M4, content=content)
        if indexed:
            kind.index(folder)
    os.utime(folders[2], (0, 0))
    found = check_json(server, folders[0], folders[1], status=1)
    (twice,) = found["twice"]
    assert "1.4.19-r0.12" in twice["package"]
    assert ["/one/" in twice["files"][0], "/two/" in twice["files"][1]] == [True, True]
    if kind is IPK:
        assert check_json(server, folders[0], folders[0])["twice"] == []


def test_an_index_is_compared_with_a_file(server, tmp_path):
    make_ipk(tmp_path / "one", M4, content="x")
    make_opkg_index(tmp_path / "one")
    make_ipk(tmp_path / "two", M4, content="y")
    assert (
        len(check_json(server, tmp_path / "one", tmp_path / "two", status=1)["twice"])
        == 1
    )


@needs_tool(*DEB.tools)
def test_formats_are_not_compared_with_each_other(server, tmp_path):
    make_ipk(tmp_path, M4, content="x")
    make_deb(tmp_path, M4, content="y")
    found = check_json(server, tmp_path)
    assert (found["twice"], found["packages"]) == ([], 2)


# ---- the data of a build ----


def test_pkgdata_is_found_by_what_the_server_has(server, tmp_path):
    folder = make_pkgdata(tmp_path / "pkgdata" / "qemux86-64", M4)
    store(server, [(*M4.key, "a", "9")])
    found = check_json(server, folder, status=1)
    assert keys(found["behind"]) == [(*M4.key, "12")]
    assert (
        found["behind"][0]["remark"]
        == "the server has the version for this pkgarch alone"
    )
    assert keys(check_json(server, tmp_path, status=1)["behind"]) == [(*M4.key, "12")]


def test_pkgdata_whose_pkgarch_nobody_knows_is_unmapped(server, tmp_path):
    folder = make_pkgdata(tmp_path / "qemux86-64", M4)
    assert [
        one["keys"] for one in check_json(server, folder, status=4)["unmapped"]
    ] == [[{"version": M4.key[0], "pkgarch": None, "feed": "12", "server": None}]]
    store(server, [(M4.key[0], "core2-64", "a", "1"), (M4.key[0], "armv7", "a", "1")])
    assert len(check_json(server, folder, status=4)["unmapped"]) == 1
    found = check_json(server, "--pkgarch", "core2-64", folder, status=1)
    assert keys(found["behind"]) == [(*M4.key, "12")]


def test_buildhistory(server, tmp_path):
    machine = Package("linux", "6.6", "r1", "3", arch="qemux86_64", name="kernel")
    folder = make_buildhistory(tmp_path / "buildhistory", M4, machine)
    store(server, [(*M4.key, "a", "9"), (*machine.key, "a", "3")])
    found = check_json(server, "--verbose", folder, status=1)
    assert keys(found["behind"]) == [(*M4.key, "12")]
    assert keys(found["even"]) == [(*machine.key, "3")]
    one = folder / "packages" / "core2-64-poky-linux" / "m4"
    assert keys(check_json(server, one, status=1)["behind"]) == [(*M4.key, "12")]
    assert check_json(server, folder / "packages", status=1)["packages"] == 2


# ---- what is in doubt ----


@needs_tool(*RPM.tools)
@pytest.mark.parametrize("pkgarch", ["core2-64", "core2_64"])
def test_the_server_tells_how_an_rpm_architecture_is_written(server, tmp_path, pkgarch):
    make_rpm(tmp_path / "feed", M4)
    store(server, [(M4.key[0], pkgarch, "a", "9")])
    found = check_json(server, tmp_path / "feed", status=1)
    assert keys(found["behind"]) == [(M4.key[0], pkgarch, "12")]
    assert found["behind"][0]["remark"].startswith(
        "of the keys that the packages may have"
    )


@needs_tool(*RPM.tools)
def test_a_dash_that_rpm_has_no_room_for(server, tmp_path):
    package = Package("nano", "2.0-rc1", "r0", "3", arch="i686")
    make_rpm(tmp_path / "feed", package)
    store(server, [(*package.key, "a", "2")])
    assert keys(check_json(server, tmp_path / "feed", status=1)["behind"]) == [
        (*package.key, "3")
    ]


@needs_tool(*RPM.tools)
def test_dashes_and_pluses_in_a_version_of_rpm(server, tmp_path):
    package = Package("uboot", "2024.01-rc4+git", "r0", "9", arch="qemux86_64")
    make_rpm(tmp_path / "feed", package)
    store(server, [(*package.key, "a", "3")])
    assert keys(check_json(server, tmp_path / "feed", status=1)["behind"]) == [
        (*package.key, "9")
    ]


@pytest.mark.parametrize(
    "key, counter",
    [
        ("foo-1.0+gitAUTOINC+0123456789-r1", "AUTOINC-foo-1.0+git"),
        ("foo-1.0+git-r1", "AUTOINC-foo-1.0+git-r"),
        ("foo-1.0+git-r1", "AUTOINC-foo-1.0+git-"),
    ],
)
def test_the_keys_of_autoinc(server, tmp_path, key, counter):
    feed = IPK.feed(tmp_path / "feed", Package("foo", "1.0+git3+0123456789", "r1", "5"))
    found = check_json(server, feed, status=4)
    assert len(found["unmapped"]) == 1
    store(
        server, [(key, "core2-64", "a", "5"), (counter, "core2-64", "AUTOINC+012", "2")]
    )
    found = check_json(server, "--verbose", feed, status=1)
    assert keys(found["even"]) == [(key, "core2-64", "5")]
    assert keys(found["behind"]) == [(counter, "core2-64", "3")]


def test_a_number_that_is_not_of_autoinc(server, tmp_path):
    package = Package("foo", "1.0+git3+0123456789", "r1", "5")
    feed = IPK.feed(tmp_path / "feed", package)
    store(server, [(*package.key, "a", "5")])
    found = check_json(server, "--verbose", feed)
    assert keys(found["even"]) == [(*package.key, "5")]


def test_floors_of_keys_that_no_build_uses_are_left_out(server, tmp_path):
    feed = IPK.feed(tmp_path / "feed", Package("foo", "1.0+git3+0123456789", "r1", "5"))
    used = ("foo-1.0+git-r1", "core2-64")
    unused = ("foo-1.0+gitAUTOINC+0123456789-r1", "core2-64")
    store(
        server, [(*unused, "floor:4", "4"), (*used, "floor:4", "4"), (*used, "a", "5")]
    )
    found = check_json(server, "--verbose", feed, status=4)
    assert keys(found["even"]) == [(*used, "5")]
    store(server, [(*unused, "a", "4.1")])
    assert keys(check_json(server, feed, status=1)["behind"]) == [(*unused, "5")]


def test_keys_of_longer_versions_are_others(server, tmp_path):
    """A key that is certain is not replaced by one that looks like it."""
    packages = Package("foo", "1.0", "r0", "9"), Package("bar", "2.0+dfsg1", "r0", "9")
    feed = IPK.feed(tmp_path / "feed", *packages)
    others = [("foo-1.0+git5-r0", "core2-64"), ("bar-2.0+dfsg10-r0", "core2-64")]
    store(server, [(*other, "a", "20") for other in others])
    found = check_json(server, "--strict", feed, status=1)
    assert sorted(keys(found["unknown"])) == sorted(
        (*package.key, "9") for package in packages
    )


@pytest.mark.parametrize("pr, revision", [("r5.2", "7"), ("r5", "2.7")])
def test_a_pr_with_a_dot(server, tmp_path, pr, revision):
    package = Package("foo", "1.0", pr, revision)
    feed = IPK.feed(tmp_path / "feed", package)
    store(server, [(*package.key, "a", "2")])
    assert keys(check_json(server, feed, status=1)["behind"]) == [
        (*package.key, revision)
    ]
    history = make_buildhistory(tmp_path / "history", package)
    assert keys(check_json(server, history, status=1)["behind"]) == [
        (*package.key, revision)
    ]


def test_buildhistory_of_recipes_alone(server, tmp_path):
    folder = tmp_path / "packages" / "core2-64-poky-linux" / "m4"
    folder.mkdir(parents=True)
    (folder / "latest").write_text("PV = 1.4.19\nPR = r0.12\n")
    store(server, [(*M4.key, "a", "9")])
    assert keys(check_json(server, tmp_path, status=1)["behind"]) == [(*M4.key, "12")]


def test_an_empty_index(server, tmp_path):
    """OE-core makes one in the folder above those of the architectures."""
    feed = IPK.feed(tmp_path / "feed", M4)
    (feed / "Packages").touch()
    (feed / "Packages.gz").write_bytes(gzip.compress(b""))
    assert check_json(server, feed)["packages"] == 1


@pytest.mark.parametrize("kind", FORMATS)
def test_packages_that_are_in_no_index_are_read(server, tmp_path, kind):
    feed = kind.feed(tmp_path / "feed", Package("m4", "1.4.19", "r0", "1", arch="i686"))
    newer = Package("m4", "1.4.19", "r0", "5", arch="i686")
    kind.make(feed / "i686", newer)
    store(server, [(*newer.key, "a", "1")])
    found = check_json(server, feed, status=1)
    assert (keys(found["behind"]), found["packages"]) == ([(*newer.key, "5")], 2)


def test_indexes_with_different_contents_are_all_read(server, tmp_path):
    feed = IPK.feed(tmp_path / "feed", M4)
    plain = feed / "core2-64" / "Packages"
    text = plain.read_bytes()
    (feed / "core2-64" / "Packages.xz").write_bytes(COMPRESSIONS[".xz"](text))
    assert check_json(server, feed)["packages"] == 1
    newer = text.replace(b"-r0.12\n", b"-r0.77\n")
    (feed / "core2-64" / "Packages.gz").write_bytes(COMPRESSIONS[".gz"](newer))
    found = check_json(server, feed)
    assert (keys(found["unknown"]), found["packages"]) == ([(*M4.key, "77")], 2)


def test_an_epoch_of_zero_is_none(server, tmp_path):
    for folder, epoch in ("one", "0"), ("two", ""):
        make_ipk(
            tmp_path / folder, Package("m4", "1", "r0", "1", pe=epoch), content=folder
        )
    assert len(check_json(server, tmp_path, status=1)["twice"]) == 1


def test_digests_of_different_kinds(server, tmp_path):
    for folder, digest in ("one", "SHA256: aa"), ("two", "MD5Sum: bb"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "Packages").write_text(
            M4.control("core2-64") + digest + "\n"
        )
    assert check_json(server, tmp_path)["not_compared"] == 1
    assert check_json(server, "--strict", tmp_path, status=1)["twice"] == []


@pytest.mark.parametrize("content", ["", "\n\n", "<html><body>404</body></html>\n"])
def test_a_feed_without_packages(server, tmp_path, content):
    (tmp_path / "Packages").write_text(content)
    done = prserv_on(server, "feed", "check", tmp_path)
    assert done.returncode == 4
    assert "the feed has no packages" in done.stderr


@needs_tool(*RPM.tools)
def test_a_repository_can_be_named_in_several_ways(server, tmp_path):
    package = Package("m4", "1.4.19", "r0", "12", arch="i686")
    feed = RPM.feed(tmp_path / "feed", package)
    for name in ("", "repodata", "repodata/repomd.xml"):
        assert check_json(server, feed / name)["packages"] == 1


def test_the_runtime_folders_of_pkgdata(server, tmp_path):
    folder = make_pkgdata(tmp_path / "qemux86-64", M4)
    store(server, [(*M4.key, "a", "9")])
    for name in ("runtime", "runtime-reverse"):
        assert keys(check_json(server, folder / name, status=1)["behind"]) == [
            (*M4.key, "12")
        ]


@pytest.mark.parametrize("names", ["", ",", "a,,b", ",".join(map(str, range(17)))])
def test_pkgarchs_that_can_not_be_used(server, tmp_path, names):
    folder = make_pkgdata(tmp_path / "data", M4)
    done = prserv_on(server, "feed", "check", "--pkgarch", names, folder)
    assert done.returncode == 2
    assert "--pkgarch" in done.stderr


def test_keys_that_a_search_finds_bring_their_counter(server, tmp_path):
    package = Package("foo", "1.0+git", "r0", "5")
    folder = make_pkgdata(tmp_path / "data", package, pkgv="1.0+git7+0123456789")
    store(
        server,
        [(*package.key, "a", "5"), ("AUTOINC-foo-1.0+git-", "core2-64", "b", "6")],
    )
    found = check_json(server, folder, status=1)
    assert keys(found["behind"]) == [("AUTOINC-foo-1.0+git-", "core2-64", "7")]


# ---- servers that are odd ----


@pytest.mark.parametrize(
    "pkgarch, value",
    [("a", "abc"), ("a", "-1"), ("a", "1."), ("\x1b[31m", "1"), ("", "1")],
)
def test_a_row_that_can_not_be_used(tmp_path, pkgarch, value):
    """Another server may have any rows."""
    row = {"version": M4.key[0], "pkgarch": pkgarch, "checksum": "a", "value": value}
    folder = make_pkgdata(tmp_path / "data", M4)

    def answer(request):
        export = {"metainfo": {}, "datainfo": [row]}
        return export if "export" in request else {"value": None}

    with fake_server(answer) as fake:
        done = prserv_on(fake, "feed", "check", folder)
    assert done.returncode == 4, done
    assert "\x1b" not in done.stdout


@needs_tool(*DEB.tools)
def test_a_deb_of_somebody_else(server, tmp_path):
    """Without the fields that OE-core adds, the folder and Debian's names are what is left."""
    package = Package("m4", "1.4.19", "r0", "12")
    package.control = lambda arch, **_: Package.control(
        package, arch, OE="", Source="m4_1.bb"
    )
    feed = DEB.feed(tmp_path / "feed", package)
    assert len(check_json(server, feed, status=4)["unmapped"]) == 1
    store(server, [(*M4.key, "a", "9")])
    assert keys(check_json(server, feed, status=1)["behind"]) == [(*M4.key, "12")]
