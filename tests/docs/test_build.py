# SPDX-License-Identifier: MIT
"""What a build says: which features it has, what is missing, which commit it is."""

import os
import shutil
import subprocess

import pytest
from harness import ROOT

needs_meson = pytest.mark.skipif(
    not shutil.which("meson") or not shutil.which("pkg-config"),
    reason="needs meson and pkg-config",
)
needs_git = pytest.mark.skipif(not shutil.which("git"), reason="needs git")


@pytest.fixture
def setup(tmp_path):
    """Configures the tree on a system that lacks some libraries."""

    def setup(*options, without):
        done = subprocess.run(
            ["pkg-config", "--variable", "pc_path", "pkg-config"],
            check=True,
            capture_output=True,
            text=True,
        )
        libraries = tmp_path / "pkgconfig"
        libraries.mkdir()
        for folder in filter(os.path.isdir, done.stdout.strip().split(":")):
            for name in os.listdir(folder):
                if name.removesuffix(".pc") not in without:
                    if not (libraries / name).exists():
                        (libraries / name).symlink_to(os.path.join(folder, name))
        # CMake would find libraries by itself.
        machine = tmp_path / "machine"
        machine.write_text("[binaries]\ncmake = '/nonexistent'\n")
        command = ["meson", "setup", "--native-file", machine, *options]
        done = subprocess.run(
            [*command, tmp_path / "build", ROOT],
            env={**os.environ, "PKG_CONFIG_LIBDIR": str(libraries)},
            capture_output=True,
            text=True,
        )
        return done.returncode, " ".join(done.stdout.split()).replace(" :", ":")

    return setup


@pytest.mark.slow
@needs_meson
def test_features_without_their_library_are_left_out(setup):
    without = ("libpq", "libsystemd", "libseccomp", "libsolvext")
    status, said = setup("-Dtests=disabled", without=without)
    assert status == 0, said
    assert "postgresql: no (needs libpq 14 or newer; Debian: libpq-dev)" in said
    assert "systemd: no (needs libsystemd; Debian: libsystemd-dev)" in said
    assert "seccomp: no (needs libseccomp 2.5 or newer; Debian:" in said
    assert (
        "feed: no (needs libsolv that reads rpm, and libarchive; Debian: libsolv-dev"
        in said
    )


@pytest.mark.slow
@needs_meson
@pytest.mark.parametrize(
    "feature, library",
    [
        ("postgresql", "libpq"),
        ("systemd", "libsystemd"),
        ("seccomp", "libseccomp"),
        ("feed", "libsolv"),
        ("feed", "libarchive"),
    ],
)
def test_a_feature_that_is_asked_for_needs_its_library(setup, feature, library):
    options = ("-Dtests=disabled", f"-D{feature}=enabled", "-Db_sanitize=none")
    status, said = setup(*options, without=[library])
    assert status != 0 and f'Dependency "{library}" not found' in said


@pytest.mark.slow
@needs_meson
def test_everything_that_is_missing_is_named_in_one_error(setup):
    status, said = setup(without=["cmocka", "libuv", "jansson"])
    assert status != 0
    for name in (
        "libuv (Debian: libuv1-dev)",
        "jansson 2.11 (Debian: libjansson-dev)",
        "cmocka (Debian: libcmocka-dev)",
    ):
        assert name in said
    assert "To build without tests: -Dtests=disabled" in said


@pytest.mark.slow
@needs_meson
def test_without_tests_their_libraries_are_not_needed(setup):
    status, said = setup("-Dtests=disabled", without=["cmocka"])
    assert status == 0 and "cmocka (" not in said


def git(folder, *words):
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    done = subprocess.run(
        ["git", "-C", folder, *identity, *words],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.fixture
def commit(tmp_path):
    """What tools/commit.sh makes of a source folder."""
    header = tmp_path / "commit.h"

    def commit(source, *given):
        script = ROOT / "tools" / "commit.sh"
        subprocess.run([script, source, header, *given], check=True)
        line = header.read_text()
        assert line.startswith('#define PRSERVD_COMMIT "') and line.endswith('"\n')
        return line.split('"')[1]

    return commit


@needs_git
def test_each_commit_has_its_own_version(commit, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    git(source, "init", "-q")
    assert commit(source) == ""
    for message in "first", "second":
        git(source, "commit", "-q", "--allow-empty", "-m", message)
        short = git(source, "rev-parse", "--short", "HEAD")
        assert commit(source) == f" (g{short})"


@needs_git
def test_the_commit_of_another_project_around_it_is_not_taken(commit, tmp_path):
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "another project's")
    source = tmp_path / "source"
    source.mkdir()
    assert commit(source) == ""


def test_without_git_the_commit_is_given(commit, tmp_path):
    assert commit(tmp_path) == ""
    assert commit(tmp_path, "1a2b3c4") == " (g1a2b3c4)"
    assert commit(tmp_path, "g1a2b3c4") == " (g1a2b3c4)"


def test_a_header_that_is_up_to_date_is_left_alone(commit, tmp_path):
    commit(tmp_path, "1a2b3c4")
    before = os.stat(tmp_path / "commit.h").st_mtime_ns
    commit(tmp_path, "1a2b3c4")
    assert os.stat(tmp_path / "commit.h").st_mtime_ns == before
