# SPDX-License-Identifier: MIT
"""Feeds that are damaged, huge or malicious: a clear error, and nothing outside them is read."""

import gzip
import json
import lzma
import os
import re
import resource
import subprocess
import sys
import time

import pytest

from feed_maker import (
    FEED_PROGRAM,
    IPK,
    RPM,
    Package,
    make_ipk,
    make_rpm,
    make_rpm_index,
    needs_feed,
    needs_tool,
    replace_primary,
)
from harness import COVERAGE, SANITIZER, clean_environment
from prserv_command import prserv, prserv_on

pytestmark = needs_feed
M4 = Package("m4", "1.4.19", "r0", "12", arch="i686")
GOOD = (
    "Package: m4\nVersion: 1.4.19-r0.12\nArchitecture: i686\nOE: m4\nFilename: m4.ipk\n"
)


def list_feed(*words, status=0):
    """Runs prserv feed list. Returns the output as JSON, and the messages."""
    done = prserv("--json", "feed", "list", *words)
    assert done.returncode == status, done
    assert "\x1b" not in done.stdout + done.stderr
    return json.loads(done.stdout), done.stderr


def write_index(folder, text):
    folder.mkdir(exist_ok=True)
    (folder / "Packages").write_bytes(
        text if isinstance(text, bytes) else text.encode()
    )
    return folder


# ---- entries ----


@pytest.mark.parametrize(
    "stanza, line, reason",
    [
        ("Package: x\nArchitecture: all\n", 7, "the package has no Version"),
        ("Version: 1-r0.1\nArchitecture: all\n", 7, "the package has no name"),
        ("Package: x\nVersion: 1-r0.1\n", 7, "the package has no Architecture"),
        ("Package: x\nrubbish\n", 8, "the line is not a name, a colon and a value"),
        ("Package: x\nPackage: y\n", 8, "the field Package is there twice"),
        ("Package: \x1b[31mx\n", 7, "the field Package is not UTF-8"),
        (b"Package: \xff\n", 7, "the field Package is not UTF-8"),
        ("Package: " + "x" * 5000 + "\n", 7, "the field Package is too long"),
        (
            f"Package: {'x' * 300}\nVersion: 1-r0.1\nArchitecture: a\n",
            7,
            "the package has a name, version or architecture that is too long or can't be shown",
        ),
        (
            "Package: x\nVersion: 1\u202e-r0.1\nArchitecture: a\n",
            7,
            "the package has a name, version or architecture that is too long or can't be shown",
        ),
        (
            "Package: x\nVersion: 1\nArchitecture: a\nFilename: ../../x.ipk\n",
            7,
            "Filename leads out of the feed",
        ),
        (
            "Package: x\nVersion: 1\nArchitecture: a\nFilename: /etc/passwd\n",
            7,
            "Filename leads out of the feed",
        ),
    ],
)
def test_a_damaged_entry_is_named_and_left_out(tmp_path, stanza, line, reason):
    stanza = stanza if isinstance(stanza, bytes) else stanza.encode()
    feed = write_index(
        tmp_path / "feed", f"{GOOD}\n".encode() + stanza + b"\n" + GOOD.encode()
    )
    found, said = list_feed(feed, status=4)
    assert f"feed/Packages:{line}: {reason}" in said
    assert (found["packages"], found["unreadable_entries"]) == (2, 1)


def test_long_lines_that_nobody_needs_are_passed_over(tmp_path):
    feed = write_index(
        tmp_path / "feed", "Depends: " + "libc, " * 1_000_000 + "\n" + GOOD
    )
    assert list_feed(feed)[0]["packages"] == 1


@pytest.mark.parametrize(
    "version",
    ["1:", "-", "1-", ":-", "1-r0.", "1-.5", "1-r0..5", "1-..5", "r0.5"],
)
def test_a_version_without_a_revision(tmp_path, version):
    feed = write_index(tmp_path / "feed", GOOD.replace("1.4.19-r0.12", version))
    found, _ = list_feed(feed)
    assert (found["entries"], len(found["without_revision"])) == ([], 1)


def test_numbers_that_are_no_revision(tmp_path):
    feed = write_index(tmp_path / "feed", GOOD.replace("r0.12", "r0.007"))
    _, said = list_feed(feed, status=4)
    assert "Packages:1: r0.007 does not end with a revision" in said


def test_a_revision_of_any_size(tmp_path):
    revision = "9" * 900
    feed = write_index(tmp_path / "feed", GOOD.replace("r0.12", f"r0.{revision}"))
    assert list_feed(feed)[0]["entries"][0]["revision"] == revision


# ---- files ----


@pytest.mark.parametrize("cut", [10, 40, -10])
@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress])
def test_an_index_that_is_cut(tmp_path, compress, cut):
    name = "Packages.gz" if compress is gzip.compress else "Packages.xz"
    (tmp_path / name).write_bytes(compress((GOOD + "\n").encode() * 2000)[:cut])
    found, said = list_feed(tmp_path, status=2)
    assert f"{name}: " in said
    assert found["unreadable_files"] == 1


def test_an_index_that_is_random(tmp_path):
    write_index(tmp_path, bytes(range(256)) * 100)
    found, said = list_feed(tmp_path, status=4)
    assert "Packages:1: " in said
    assert found["packages"] == 0


@pytest.mark.parametrize("kind", ["ipk", "deb", "rpm"])
@pytest.mark.parametrize("content", [b"", b"!<arch>\n", b"rubbish" * 1000])
def test_a_file_that_is_no_package(tmp_path, kind, content):
    (tmp_path / f"x.{kind}").write_bytes(content)
    _, said = list_feed(tmp_path, status=2)
    assert f"x.{kind}: it is not a" in said


def test_a_package_that_is_cut(tmp_path):
    file = make_ipk(tmp_path, M4)
    data = file.read_bytes()
    for length in range(0, len(data), 37):
        file.write_bytes(data[:length])
        done = prserv("feed", "list", file)
        assert done.returncode in (0, 2), (length, done)


@pytest.mark.skipif(bool(SANITIZER), reason="libsolv keeps memory of a damaged rpm")
@needs_tool(*RPM.tools)
def test_an_rpm_that_is_cut(tmp_path):
    file = make_rpm(tmp_path, M4)
    data = file.read_bytes()
    for length in range(0, len(data), 211):
        file.write_bytes(data[:length])
        done = prserv("feed", "list", file)
        assert done.returncode in (0, 2), (length, done)


def test_a_package_without_a_control_file(tmp_path):
    for name in ("debian-binary", "control.tar"):
        (tmp_path / name).write_bytes(b"\0" * 10240 if "tar" in name else b"2.0\n")
    subprocess.run(
        ["ar", "-rc", "x.ipk", "debian-binary", "control.tar"], cwd=tmp_path, check=True
    )
    _, said = list_feed(tmp_path / "x.ipk", status=2)
    assert "it has no readable control file" in said


# ---- repositories ----


@pytest.fixture
def repository(tmp_path):
    """A repository of rpm with one package."""
    folder = tmp_path / "feed"
    make_rpm(folder, M4)
    make_rpm_index(folder)
    return folder


@needs_tool(*RPM.tools)
def test_a_repository_with_another_primary(repository):
    (primary,) = (repository / "repodata").glob("*primary.xml.gz")
    primary.write_bytes(gzip.compress(gzip.decompress(primary.read_bytes()) + b"\n"))
    found, said = list_feed(repository, status=2)
    assert "its digest is not the one that repomd.xml names" in said
    assert found["unreadable_files"] == 1


@needs_tool(*RPM.tools)
@pytest.mark.parametrize("href", ["../../primary.xml", "/etc/passwd"])
def test_a_repository_whose_primary_is_elsewhere(repository, href):
    repomd = repository / "repodata" / "repomd.xml"
    text = repomd.read_text()
    (primary,) = (repository / "repodata").glob("*primary.xml.gz")
    repomd.write_text(text.replace(f"repodata/{primary.name}", href))
    _, said = list_feed(repository, status=2)
    assert "primary.xml lies outside of the feed" in said


BOMB = b"""<?xml version="1.0"?>
<!DOCTYPE m [<!ENTITY a "aaaaaaaaaa">%s]>
<metadata xmlns="http://linux.duke.edu/metadata/common" packages="1">
<package type="rpm"><name>&x9;</name><arch>i686</arch></package></metadata>
""" % b"".join(
    b'<!ENTITY x%d "%s">' % (i, (b"&x%d;" % (i - 1) if i else b"&a;") * 10)
    for i in range(10)
)


@pytest.mark.skipif(bool(SANITIZER), reason="expat and a sanitizer take minutes")
def test_entities_that_grow(tmp_path):
    (tmp_path / "primary.xml").write_bytes(BOMB)
    begin = time.monotonic()
    _, said = list_feed(tmp_path / "primary.xml", status=2)
    assert "primary.xml: " in said
    assert time.monotonic() - begin < 30


def test_an_external_entity_is_not_read(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (tmp_path / "primary.xml").write_text(
        f'<?xml version="1.0"?><!DOCTYPE m [<!ENTITY x SYSTEM "file://{secret}">]>'
        '<metadata xmlns="http://linux.duke.edu/metadata/common"><package type="rpm">'
        '<name>&x;</name><arch>i686</arch><version epoch="0" ver="1" rel="r0.1"/>'
        "</package></metadata>"
    )
    done = prserv("--json", "feed", "list", tmp_path / "primary.xml")
    assert "secret" not in done.stdout + done.stderr.replace(str(secret), "")


@needs_tool(*RPM.tools)
def test_a_repository_that_is_cut(repository):
    replace_primary(repository, change=lambda xml: xml[: len(xml) // 2])
    found, said = list_feed(repository, status=2)
    assert "primary.xml: " in said and "line" in said
    assert found["unreadable_files"] == 1


# ---- symbolic links and special files ----


def test_links_that_lead_out_are_not_followed(tmp_path):
    outside = IPK.feed(tmp_path / "outside", M4)
    feed = write_index(tmp_path / "feed", GOOD)
    (feed / "folder").symlink_to(outside)
    (feed / "other").mkdir()
    (feed / "other" / "Packages").symlink_to(outside / "i686" / "Packages")
    found, said = list_feed(feed, status=2)
    assert found["packages"] == 1
    assert "feed/folder: it is a symbolic link that leads out of the feed" in said
    assert (
        "feed/other/Packages: it is a symbolic link that leads out of the feed" in said
    )


def test_links_inside_are_read_once(tmp_path):
    feed = tmp_path / "feed"
    feed.mkdir()
    write_index(feed / "2024", GOOD)
    (feed / "current").symlink_to("2024")
    (feed / "loop").symlink_to(".")
    assert list_feed(feed)[0]["packages"] == 1


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "Packages")
    _, said = list_feed(tmp_path, status=2)
    assert "Packages: it is not a regular file" in said


def test_a_feed_that_can_be_named_by_a_link(tmp_path):
    IPK.feed(tmp_path / "feed", M4)
    (tmp_path / "link").symlink_to("feed")
    assert list_feed(tmp_path / "link")[0]["packages"] == 1


def test_folders_that_are_very_deep(tmp_path):
    write_index(tmp_path / "a", GOOD)
    os.chdir(tmp_path)
    for _ in range(100):
        os.mkdir("d")
        os.chdir("d")
    _, said = list_feed(tmp_path, status=2)
    assert "the folder is too deep in others" in said


@pytest.mark.parametrize("name", [b"a\nBEHIND fake\x1b[31m", b"bad\xff", b"x" * 255])
def test_odd_names_of_folders(server, tmp_path, name):
    folder = tmp_path / "packages" / "all-poky-linux"
    recipe = os.fsencode(folder) + b"/" + name
    os.makedirs(recipe + b"/m4")
    with open(recipe + b"/m4/latest", "w") as file:
        file.write("PV = 1\nPR = r0\nPKGR = r0.1\n")
    for words in (["list"], ["check", "--strict"], ["rows"]):
        done = prserv_on(server, "feed", *words, tmp_path)
        assert "\nBEHIND" not in done.stdout + done.stderr
        assert "\x1b" not in done.stdout + done.stderr
        done = prserv_on(server, "--json", "feed", *words, tmp_path)
        json.loads(done.stdout)
    assert name[0] == ord("x") or done.returncode == 4


def test_a_repository_that_names_a_link(tmp_path):
    repodata = tmp_path / "feed" / "repodata"
    repodata.mkdir(parents=True)
    (repodata / "p.xml").symlink_to("/dev/zero")
    (repodata / "repomd.xml").write_text(
        '<repomd xmlns="http://linux.duke.edu/metadata/repo"><data type="primary">'
        '<location href="repodata/p.xml"/></data></repomd>'
    )
    for name in (tmp_path, repodata / "repomd.xml", repodata):
        assert prserv("feed", "list", name).returncode == 2


def test_many_damaged_entries_are_counted(tmp_path):
    feed = write_index(tmp_path / "feed", "x\n\n" * 10_000)
    found, said = list_feed(feed, status=4)
    assert found["unreadable_entries"] == 10_000
    assert len(said.splitlines()) < 150
    assert "what else is damaged is only counted" in said


def test_an_entry_that_grows_before_the_control_file(tmp_path):
    with open(tmp_path / "junk", "wb") as file:
        file.truncate(64 << 20)
    (tmp_path / "control").write_text(
        "Package: x\nVersion: 1-r0.1\nArchitecture: all\n"
    )
    (tmp_path / "debian-binary").write_text("2.0\n")
    for words in (
        ["tar", "-czf", "control.tar.gz", "junk", "control"],
        ["ar", "-rc", "x.ipk", "debian-binary", "control.tar.gz"],
    ):
        subprocess.run(words, cwd=tmp_path, check=True)
    _, said = list_feed(tmp_path / "x.ipk", status=2)
    assert "it has no readable control file" in said


@needs_tool(*RPM.tools)
def test_a_header_of_rpm_that_claims_much(tmp_path):
    """libsolv itself refuses 256 MiB only, and allocates what is below."""
    file = make_rpm(tmp_path, M4)
    content = bytearray(file.read_bytes())
    signature_header, main_header = (
        match.start() for match in re.finditer(rb"\x8e\xad\xe8\x01\0{4}", content)
    )
    assert signature_header == 96
    content[main_header + 12 : main_header + 16] = (200 << 20).to_bytes(4, "big")
    file.write_bytes(content)
    os.truncate(file, 512 << 20)
    _, _, megabytes = run_measured("list", file, status=2)
    assert megabytes < 100


def test_a_text_in_xml_without_end(tmp_path):
    text = b'<metadata xmlns="http://linux.duke.edu/metadata/common"><package><name>'
    (tmp_path / "primary.xml.gz").write_bytes(gzip.compress(text + b"a" * (8 << 20)))
    _, said = list_feed(tmp_path / "primary.xml.gz", status=2)
    assert "a text in it is too long" in said


# ---- sizes ----


MEASURE = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(status)
"""


def run_measured(*words, status=0):
    """Runs prserv-feed. Returns its output, seconds, and the largest size in memory, in MB.

    A small process starts it: at first, a process has the size of the one that starts it.
    """
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(FEED_PROGRAM), *map(str, words)],
        env=clean_environment(),
        capture_output=True,
        text=True,
    )
    seconds = time.monotonic() - begin
    assert done.returncode == status, done.stderr
    return done.stdout, seconds, int(done.stderr.split()[-1]) / 1024


def large_index(path, packages):
    with open(path, "w") as file:
        for i in range(packages):
            file.write(
                f"Package: package-{i}\nVersion: 1.{i % 7}.{i % 11}-r0.{i % 13}\n"
                f"Depends: libc6 (>= 2.39), update-rc.d, libcrypto3 (>= 3.2), zlib{i}\n"
                f"Section: base\nArchitecture: core2-64\nOE: recipe-{i // 4}\n"
                "Maintainer: Poky <poky@lists.yoctoproject.org>\nPriority: optional\n"
                f"Filename: package-{i}_1.{i % 7}-r0.{i % 13}_core2-64.ipk\nSize: {i}\n"
                f"SHA256sum: {i:064x}\nDescription: A package with number {i}\n\n"
            )


@pytest.mark.slow
def test_a_million_packages(tmp_path):
    large_index(tmp_path / "Packages", 1_000_000)
    run_measured("rows", "--offline", "--output", tmp_path / "rows.json", tmp_path)
    with open(tmp_path / "rows.json") as rows:
        assert sum(1 for _ in rows) == 1_000_000 + 2


@pytest.mark.skipif(bool(SANITIZER) or COVERAGE, reason="figures of a usual build")
def test_fifty_thousand_packages(server, tmp_path):
    """10 s and 200 MB are the limits; a machine that does other things is given three times that."""
    large_index(tmp_path / "Packages", 50_000)
    output, seconds, megabytes = run_measured(
        "--server", server.address, "check", tmp_path
    )
    assert "packages: 50000" in output
    assert seconds < 30
    assert megabytes < 200


@pytest.mark.torture
def test_an_index_of_many_gigabytes(tmp_path):
    """A small file that grows: reading ends at the limit for the packages, or for the bytes."""
    blank = lzma.compress(b"\n" * (64 << 20), preset=0)
    with open(tmp_path / "Packages.xz", "wb") as file:
        for _ in range(80):  # more than 4 GiB
            file.write(blank)
    limit = 4 << 30
    done = subprocess.run(
        [FEED_PROGRAM, "list", tmp_path],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode in (0, 2), done
