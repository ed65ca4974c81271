# SPDX-License-Identifier: MIT
"""The SBOM of a release: a small package is described completely, and twice in the same way."""

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile

import pytest

from harness import ROOT

SBOM = ROOT / "tools" / "sbom.py"

CONTROL = """Package: prservd
Version: 1.0
Architecture: all
Maintainer: Nobody <nobody@example.org>
Depends: libc6 (>= 2.36), libuv1 | libuv1t64
Description: a test
"""
BUILDINFO = """Format: 1.0
Installed-Build-Depends:
 gcc (= 4:12.2.0-3),
 libuv1:amd64 (= 1.44.2-1),
 g++ (= 4:12.2.0-3)
Environment:
 A="b"
"""

pytestmark = pytest.mark.skipif(
    not shutil.which("dpkg-deb"), reason="dpkg-deb is not installed"
)


@pytest.fixture
def release(tmp_path):
    """A folder with a tarball and a package of two files."""
    root = tmp_path / "root"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN" / "control").write_text(CONTROL)
    (root / "usr" / "bin").mkdir(parents=True)
    (root / "usr" / "bin" / "prservd").write_bytes(b"\x7fELF")
    (root / "usr" / "bin" / "a file+1").write_text("text")
    folder = tmp_path / "packages"
    folder.mkdir()
    deb = folder / "prservd_1.0_all.deb"
    command = ["dpkg-deb", "--root-owner-group", "--build", root, deb]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "prservd.buildinfo").write_text(BUILDINFO)
    with tarfile.open(tmp_path / "prservd-1.0.tar.xz", "w:xz") as tarball:
        tarball.add(root / "usr", "prservd-1.0")
    return tmp_path


def write_sbom(release, name="sbom.json"):
    command = [sys.executable, SBOM, "--tarball", release / "prservd-1.0.tar.xz"]
    command += ["--packages", release / "packages", "--commit", "1a2b3c4"]
    done = subprocess.run(
        [*command, "--created", "1700000000", release / name],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return release / name


def check(file):
    command = [sys.executable, SBOM, "--check", file]
    return subprocess.run(command, capture_output=True, text=True)


def related(document, kind):
    return {
        (relationship["spdxElementId"], relationship["relatedSpdxElement"])
        for relationship in document["relationships"]
        if relationship["relationshipType"] == kind
    }


def test_everything_is_in_it(release):
    document = json.loads(write_sbom(release).read_text())
    assert document["creationInfo"]["created"] == "2023-11-14T22:13:20Z"
    packages = {package["SPDXID"]: package for package in document["packages"]}
    source = packages["SPDXRef-source-prservd-1.0"]
    data = (release / "prservd-1.0.tar.xz").read_bytes()
    assert source["checksums"][1]["checksumValue"] == hashlib.sha256(data).hexdigest()
    assert source["sourceInfo"] == "git commit 1a2b3c4"
    files = {file["fileName"]: file for file in document["files"]}
    assert set(files) == {"./usr/bin/prservd", "./usr/bin/a file+1"}
    sha1 = hashlib.sha1(b"text").hexdigest()
    assert files["./usr/bin/a file+1"]["checksums"][0]["checksumValue"] == sha1
    ours = "SPDXRef-package-prservd-1.0-all"
    assert (ours, source["SPDXID"]) in related(document, "GENERATED_FROM")
    needed = {other for _, other in related(document, "DEPENDS_ON")}
    assert {packages[name]["name"] for name in needed} == {
        "libc6",
        "libuv1",
        "libuv1t64",
    }
    used = {one for one, _ in related(document, "BUILD_DEPENDENCY_OF")}
    assert {packages[name]["name"] for name in used} == {"gcc", "g++", "libuv1"}
    assert packages["SPDXRef-debian-libuv1"]["versionInfo"] == "1.44.2-1"


def test_two_builds_have_one_sbom(release):
    assert write_sbom(release).read_bytes() == write_sbom(release, "two").read_bytes()


def drop_name(document):
    del document["packages"][0]["name"]


def change_checksum(document):
    document["files"][0]["checksums"][0]["checksumValue"] = "0" * 40


def shorten_checksum(document):
    document["files"][0]["checksums"][1]["checksumValue"] = "0"


def relate_to_nothing(document):
    document["relationships"][0]["relatedSpdxElement"] = "SPDXRef-nothing"


def use_identifier_twice(document):
    document["packages"][0]["SPDXID"] = document["packages"][1]["SPDXID"]


@pytest.mark.parametrize(
    "damage, complaint",
    [
        (drop_name, "lacks name"),
        (change_checksum, "wrong packageVerificationCode"),
        (shorten_checksum, "invalid SHA256"),
        (relate_to_nothing, "SPDXRef-nothing, which does not exist"),
        (use_identifier_twice, "is used twice"),
    ],
)
def test_an_invalid_sbom_is_refused(release, damage, complaint):
    file = write_sbom(release)
    assert check(file).returncode == 0
    document = json.loads(file.read_text())
    damage(document)
    file.write_text(json.dumps(document))
    done = check(file)
    assert done.returncode == 1 and complaint in done.stderr
