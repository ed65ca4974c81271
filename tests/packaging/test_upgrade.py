# SPDX-License-Identifier: MIT
"""Upgrade and downgrade: version 0.1, this one, and 0.1 again on one database, and BitBake's own
server in between ("Restarts and upgrades" in doc/operations.md).

The old program is built from the last commit of version 0.1, once for each build folder.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import harness
from bitbake_database import BitBake
from harness import BUILD, ROOT, SANITIZER, Client, free_port, poll
from postgres_cluster import both_kinds
from prserv_command import prserv
from rows import M4, assert_no_value_twice, rows_of

COMMIT = "3eccb323cd7c290410a7fbec06b7cc1132493ace"
OPTIONS = ["-Doptimization=0", "-Dsystemd=disabled", "-Dseccomp=disabled"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(SANITIZER), reason="the old program has no sanitizer"),
]


def run(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, **options)


def git(*words):
    return ["git", "-c", f"safe.directory={ROOT}", "-C", ROOT, *words]


@pytest.fixture(scope="session")
def old_prservd():
    """The program of version 0.1."""
    if not shutil.which("git") or not shutil.which("meson"):
        pytest.skip("needs git and meson")
    try:
        run(*git("cat-file", "-e", COMMIT + "^{commit}"))
    except subprocess.CalledProcessError:
        pytest.skip(f"the history of this checkout lacks {COMMIT[:7]} (version 0.1)")
    if not Path("/usr/include/uthash.h").exists():
        pytest.skip("version 0.1 needs uthash-dev")
    folder = BUILD / "old" / COMMIT[:7]
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            for name in "source", "build":
                shutil.rmtree(folder / name, ignore_errors=True)
            (folder / "source").mkdir()
            archive = run(*git("archive", COMMIT)).stdout
            run("tar", "-x", "-C", folder / "source", input=archive)
            has_pq = subprocess.run(["pkg-config", "--exists", "libpq"]).returncode == 0
            feature = f"-Dpostgresql={'enabled' if has_pq else 'disabled'}"
            folders = (folder / "build", folder / "source")
            run("meson", "setup", *OPTIONS, feature, *folders)
            modules = ["src/store/prservd-postgresql.so"] if has_pq else []
            run("ninja", "-C", folder / "build", "prservd", *modules)
            (folder / "complete").touch()
    return folder / "build" / "prservd"


@pytest.fixture
def versions(old_prservd, serve, shared, monkeypatch):
    """Starts the old or the new program on the database of the test."""

    def start(version, **options):
        program = {"old": old_prservd, "new": BUILD / "prservd"}[version]
        monkeypatch.setattr(harness, "PRSERVD", program)
        return serve("--file", shared, folder=version, **options)

    return start


def ask_and_stop(server, *checksums):
    """Asks for new contents, stops the server, and returns its answers."""
    with server.client() as client:
        values = [client.get_pr(*M4, checksum) for checksum in checksums]
        known = [client.test_pr(*M4, checksum) for checksum in checksums]
    assert known == values
    server.stop()
    return values


@both_kinds
def test_an_upgrade_and_a_downgrade_keep_the_database(versions):
    assert ask_and_stop(versions("old"), "a", "b") == ["0", "1"]
    assert ask_and_stop(versions("new"), "c", "d") == ["2", "3"]
    assert ask_and_stop(versions("old"), "e") == ["4"]
    new = versions("new")
    with new.client() as client:
        assert [client.test_pr(*M4, name) for name in "abcde"] == list("01234")
    assert "went back" not in new.log
    assert ask_and_stop(new, "f") == ["5"]


@contextlib.contextmanager
def bitbakes_server(path, folder):
    """BitBake's own server of the checkout that BITBAKE_DIR names."""
    port = free_port()
    program = Path(os.environ["BITBAKE_DIR"]) / "bin" / "bitbake-prserv"
    where = ["--host", "127.0.0.1", "--port", str(port)]
    log = ["--log", str(folder / "bitbake.log")]
    command = [sys.executable, program, *where]
    run(*command, *log, "--file", str(path), "--start")
    try:
        with poll(lambda: connected(port), "BitBake's server") as client:
            yield client
    finally:
        run(*command, *log, "--stop")
        poll(lambda: not harness.accepts(port), "the end of BitBake's server")


def connected(port):
    with contextlib.suppress(OSError):
        return Client(("127.0.0.1", port))
    return None


@contextlib.contextmanager
def imitation(path, _folder):
    """What BitBake's own server does to the file."""
    server = BitBake(path)
    yield server
    server.close()


@pytest.mark.parametrize(
    "between",
    [
        pytest.param(imitation, id="imitation"),
        pytest.param(
            bitbakes_server,
            id="bitbake",
            marks=pytest.mark.skipif(
                "BITBAKE_DIR" not in os.environ,
                reason="BITBAKE_DIR names no checkout of BitBake (./dev test --bitbake DIR)",
            ),
        ),
    ],
)
def test_bitbakes_server_may_be_in_between(versions, path, tmp_path, between):
    # Less than ten revisions: older releases of BitBake's server compare them as texts.
    for value, name in enumerate("old bitbake new bitbake old bitbake new".split()):
        if name == "bitbake":
            with between(path, tmp_path) as client:
                assert client.get_pr(*M4, f"content {value}") == str(value)
            continue
        server = versions(name)
        assert server.get_pr(*M4, f"content {value}") == str(value)
        assert_no_value_twice(rows_of(server))
        server.stop()
    done = prserv("verify", path)
    assert done.returncode == 0 and "nothing found" in done.stdout, done
