# SPDX-License-Identifier: MIT
"""What ./dev release checks before it builds: versions and the ABI of libprserv."""

import re
import shutil
import subprocess

import pytest

from harness import BUILD, ROOT, SANITIZER

FILES = [
    "CHANGELOG.md",
    "SECURITY.md",
    "debian/changelog",
    "meson.build",
    "meta-prservd/recipes-support/prservd/prservd_git.bb",
    "tools/release.sh",
]


@pytest.fixture
def release(tmp_path):
    """Runs ./dev release on a checkout that only has what it checks first."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / name)
    # The next thing that it does: not this test's.
    changelog = tmp_path / "CHANGELOG.md"
    changelog.write_text(
        re.sub(
            r"(## \[.*?\] - )\S+", r"\g<1>2026-12-01", changelog.read_text(), count=1
        )
    )
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]

    def git(*words):
        command = ["git", "-C", tmp_path, *identity, *words]
        subprocess.run(command, check=True, capture_output=True)

    git("init", "-q")

    def release(version, commit=True):
        git("add", "-A")
        if commit:
            git("commit", "-q", "--allow-empty", "-m", "all")
        return subprocess.run(
            [tmp_path / "tools" / "release.sh", version, "--check"],
            env={"PATH": f"{tmp_path}/programs:/usr/bin:/bin"},
            capture_output=True,
            text=True,
        )

    programs = tmp_path / "programs"
    programs.mkdir()
    for name in "meson", "ninja", "abidiff":
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    return release


def version():
    return re.search(r"^  version: '(.*)',$", (ROOT / "meson.build").read_text(), re.M)[
        1
    ]


def test_a_release_whose_versions_agree_is_accepted(release):
    done = release(version())
    assert done.returncode == 0, done.stderr
    assert "the versions and the ABI are right" in done.stderr


def test_each_file_with_another_version_is_named(release):
    done = release("9.9.9")
    assert done.returncode == 1
    for name in (
        "meson.build does not name version 9.9.9",
        "debian/changelog does not name version 9.9.9",
        "prservd_git.bb does not name version 9.9.9",
        "SECURITY.md does not name version 9.9.9",
        f"the first version in CHANGELOG.md is not 9.9.9: ## [{version()}]",
    ):
        assert name in done.stderr


def test_an_unreleased_version_is_refused(release, tmp_path):
    changelog = tmp_path / "CHANGELOG.md"
    changelog.write_text(
        changelog.read_text().replace("- 2026-12-01", "- Unreleased", 1)
    )
    done = release(version())
    assert done.returncode == 1
    assert f"CHANGELOG.md has no date for {version()}" in done.stderr


def test_changes_that_are_not_committed_are_refused(release):
    done = release(version(), commit=False)
    assert done.returncode == 1
    assert "there are changes that are not committed" in done.stderr


def test_another_abi_is_refused(release, tmp_path):
    (tmp_path / "programs" / "abidiff").write_text("#!/bin/sh\nexit 12\n")
    done = release(version())
    assert done.returncode == 1
    assert "the ABI of libprserv is not that of the last release" in done.stderr


@pytest.mark.skipif(not shutil.which("abidiff"), reason="abidiff is not installed")
@pytest.mark.skipif(bool(SANITIZER), reason="a sanitizer has symbols of its own")
def test_libprserv_has_the_abi_of_the_last_release():
    command = ["abidiff", "--no-added-syms", "--drop-private-types", "--header-file2"]
    client = ROOT / "src" / "client"
    library = BUILD / "src" / "client" / f"libprserv.so.{version()}"
    done = subprocess.run(
        [*command, client / "prserv.h", client / "libprserv.abi", library],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
