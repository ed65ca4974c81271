# SPDX-License-Identifier: MIT
"""./dev on a Debian system that lacks packages: everything that is missing is said at once."""

import os
import subprocess

import pytest
from harness import ROOT

DPKG_QUERY = """#!/bin/sh
case " $LACKS " in
*" $4 "*) exit 1 ;;
esac
printf installed
"""


@pytest.fixture
def dev(tmp_path):
    """Runs ./dev as a user who can't install packages."""
    for name, text in {
        "dpkg-query": DPKG_QUERY,
        "id": "#!/bin/sh\necho 1000\n",
    }.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    def dev(*words, lacks=""):
        path = f"{tmp_path}:{os.environ['PATH']}"
        return subprocess.run(
            [ROOT / "dev", *words],
            env={**os.environ, "PATH": path, "LACKS": lacks},
            capture_output=True,
            text=True,
        )

    return dev


def test_all_missing_packages_are_named_at_once(dev):
    done = dev("test", lacks="meson libuv1-dev python3-hypothesis g++")
    assert done.returncode == 1
    assert (
        "dev: missing packages: meson libuv1-dev python3-hypothesis \n" in done.stderr
    )
    assert "dev: missing packages, optional: g++ \n" in done.stderr
    install = "apt-get install --no-install-recommends meson libuv1-dev"
    assert f"as root: {install} python3-hypothesis g++" in done.stderr


@pytest.mark.parametrize(
    "words, package",
    [
        (("lint",), "shellcheck"),
        (("coverage",), "gcovr"),
        (("test", "--clang"), "clang"),
        (("test", "--asan"), "llvm"),
        (("fuzz",), "libclang-rt-dev"),
    ],
)
def test_a_verb_names_its_own_packages(dev, words, package):
    done = dev(*words, lacks=package)
    assert done.returncode == 1
    assert f"dev: missing packages: {package} \n" in done.stderr


def test_deps_lists_what_is_missing(dev):
    assert dev("deps", "--list").stdout == ""
    done = dev("deps", "--list", lacks="meson g++ gcovr")
    assert (done.returncode, done.stdout) == (0, "meson\ng++\n")
    assert dev("deps", "--list", "coverage", lacks="gcovr").stdout == "gcovr\n"


def test_deps_fails_as_long_as_something_is_missing(dev):
    assert dev("deps", lacks="meson").returncode == 1
    done = dev("deps")
    assert done.returncode == 0 and "all packages" in done.stderr


def test_an_unknown_verb_is_refused(dev):
    for words in ("nosuch",), ("deps", "nosuch"):
        done = dev(*words)
        assert done.returncode == 2
        assert "unknown verb nosuch" in done.stderr
