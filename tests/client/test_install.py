# SPDX-License-Identifier: MIT
"""./dev install, as root on a machine that only has what it needs: other programs are compiled with
libprserv, and find it when they run."""

import os
import shutil
import subprocess

import pytest
from harness import COVERAGE, ROOT, SANITIZER, clean_environment

# The installed files and their places.
SOURCES = """CHANGELOG.md LICENSE README.md completions contrib dev doc man meson.build
meson_options.txt src tools""".split()

# In a mount namespace of its own, so nothing of it stays: /usr/local is empty, /etc a copy (ldconfig
# writes there), and dpkg-architecture can't be run: it is in dpkg-dev, which ./dev does not need.
SCRIPT = """
set -eux
mount -t tmpfs tmpfs /usr/local
cp -a /etc etc
mount --bind etc /etc
[ ! -d /var/cache/ldconfig ] || mount -t tmpfs tmpfs /var/cache/ldconfig
[ ! -e /usr/bin/dpkg-architecture ] || mount --bind /dev/null /usr/bin/dpkg-architecture
source/dev install
ldconfig
cc -o program program.c $(pkg-config --cflags --libs prserv)
echo ----
./program "$1" m4-1.4.19-r0 core2-64 first-checksum
prserv --server "$1" get m4-1.4.19-r0 core2-64 second-checksum
prservd --version
find /usr/local -type f -o -type l
"""


def why_not():
    """The reason why this can't be tested here, or None."""
    if SANITIZER or COVERAGE:
        return "builds the programs itself, without a sanitizer"
    if os.geteuid() != 0:
        return "needs root, for a mount namespace"
    try:
        command = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/usr/local"]
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return "needs a mount namespace"
    if not shutil.which("dpkg-query"):
        return "needs Debian: elsewhere the loader may not search /usr/local"
    command = [ROOT / "dev", "deps", "--list", "install"]
    missing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return f"needs {' '.join(missing.split())}" if missing else None


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    reason = why_not()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("machine")
    (folder / "source").mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, folder / "source" / name)
    shutil.copy(ROOT / "examples" / "ask_revision.c", folder / "program.c")
    return folder


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_program_finds_the_library_after_dev_install(machine, server):
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", SCRIPT, "sh", server.address],
        cwd=machine,
        env=clean_environment(PATH="/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    first, second, version, *files = done.stdout.partition("----\n")[2].splitlines()
    assert (first, second) == ("0", "1")
    assert version.startswith("prservd ")
    installed = {file.removeprefix("/usr/local/") for file in files}
    assert {
        "bin/prserv",
        "bin/prservd",
        "bin/bitbake-prserv",
        "include/prserv.h",
        "share/doc/prservd/operations.md",
        "share/doc/prservd/prservd.default",
        "share/doc/prservd/logrotate",
        "share/man/man8/prservd.8",
    } <= installed
