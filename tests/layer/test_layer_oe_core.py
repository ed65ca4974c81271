# SPDX-License-Identifier: MIT
"""The recipe, with the OE-Core that OECORE_DIR names and the BitBake of BITBAKE_DIR."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bitbake_project import LAYER, USER, give_to_user, open_folder
from harness import ROOT

BITBAKE = os.environ.get("BITBAKE_DIR")
OE_CORE = os.environ.get("OECORE_DIR")
pytestmark = pytest.mark.skipif(
    not (BITBAKE and OE_CORE),
    reason="BITBAKE_DIR and OECORE_DIR name no checkouts "
    "(./dev test --bitbake DIR --oe-core DIR)",
)

RECIPE = "prservd/meta-prservd/recipes-support/prservd/prservd_git.bb"

# OE-Core's own recipes are left out: they take minutes to parse. BitBake warns of that.
LOCAL_CONF = """
MACHINE = "qemux86-64"
DISTRO = "nodistro"
BBMASK = "/meta/recipes-"
BB_NO_NETWORK = "1"
CONNECTIVITY_CHECK_URIS = ""
"""


@pytest.fixture
def folder():
    with open_folder("oe-core") as folder:
        yield folder


@pytest.fixture
def run(folder):
    """A function that runs BitBake in a folder, and returns its output."""
    checkout = folder / "prservd"
    shutil.copytree(LAYER, checkout / "meta-prservd")
    for name in "meson.build", "LICENSE":
        shutil.copy(ROOT / name, checkout)
    other = (
        folder / "meta-other"
    )  # as meta-oe, for releases whose OE-Core lacks jansson
    (other / "conf").mkdir(parents=True)
    (other / "conf" / "layer.conf").write_text("")
    (other / "recipes-extended" / "jansson").mkdir(parents=True)
    conf = folder / "build" / "conf"
    conf.mkdir(parents=True)
    (conf / "bblayers.conf").write_text(
        'BBPATH = "${TOPDIR}"\nBBFILES = ""\n'
        f'BBLAYERS = "{OE_CORE}/meta {other} {checkout}/meta-prservd"\n'
    )
    shutil.copytree(Path(OE_CORE) / "scripts", folder / "scripts", symlinks=True)
    give_to_user(folder)

    def run(*words, local=""):
        (conf / "local.conf").write_text(LOCAL_CONF + local)
        done = subprocess.run(
            ["/usr/bin/python3", f"{BITBAKE}/bin/bitbake", *words],
            cwd=folder / "build",
            env={
                "PATH": f"{folder}/scripts:{BITBAKE}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME": str(folder),
                "LANG": "en_US.UTF-8",
                "BBPATH": str(folder / "build"),
            },
            user=USER if os.getuid() == 0 else None,
            group=USER if os.getuid() == 0 else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout[-4000:]
        return done.stdout

    run.folder = folder
    return run


def value(output, variable):
    found = re.search(rf'^(?:export )?{variable}="(.*)"$', output, re.MULTILINE)
    assert found, f"no {variable} in {output[-2000:]}"
    return found[1].strip()


def complaints(output):
    """The warnings and errors that are about this layer."""
    return [
        line
        for line in output.splitlines()
        if re.match("(WARNING|ERROR):", line)
        and not re.search("validated distro|No bb files in default matched", line)
    ]


@pytest.mark.parametrize("variant", ["", "virtual:native:"])
def test_the_recipe_parses(run, variant):
    output = run("-e", "-b", f"{variant}{run.folder}/{RECIPE}")
    assert complaints(output) == []
    assert value(output, "PN") == "prservd" + ("-native" if variant else "")
    assert value(output, "EXTERNALSRC").endswith("/prservd")
    assert "-Dtls=enabled" in output and "-Dhttp=disabled" in output


def test_the_recipe_takes_a_repository(run):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = "git://example.com/prservd;protocol=https;branch=main"
    local = f'PRSERVD_REPOSITORY = "{repository}"\nPRSERVD_SRCREV = "{commit}"\n'
    output = run("-e", "-b", f"{run.folder}/{RECIPE}", local=local)
    assert complaints(output) == []
    assert value(output, "SRC_URI") == repository + ";destsuffix=prservd-0.2.0"
    assert value(output, "SRCREV") == commit


def test_the_recipe_unpacks_a_repository(run):
    repository = run.folder / "repository"
    shutil.copytree(run.folder / "prservd", repository)

    def git(*words):
        who = "-c", "user.name=a", "-c", "user.email=a@example.com"
        command = ["git", "-C", str(repository), *who, *words]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout

    git("init", "--quiet", "--initial-branch=main")
    git("add", ".")
    git("commit", "--quiet", "--message=a")
    commit = git("rev-parse", "HEAD").decode().strip()
    give_to_user(repository)
    local = (
        f'PRSERVD_REPOSITORY = "git://{repository};protocol=file;branch=main"\n'
        f'PRSERVD_SRCREV = "{commit}"\n'
    )
    recipe = f"{run.folder}/{RECIPE}"
    run("-b", recipe, "-c", "unpack", local=local)
    source = Path(value(run("-e", "-b", recipe, local=local), "S"))
    assert (source / "meson.build").exists()


def test_a_repository_needs_a_commit(run):
    output = run("-p", local='PRSERVD_REPOSITORY = "git://example.com/prservd"\n')
    assert complaints(output) == []
    assert re.search(r"\b[12] skipped", output), output


@pytest.mark.skipif(
    OE_CORE and any(Path(OE_CORE).glob("meta/recipes-*/jansson")),
    reason="this OE-Core has a recipe for jansson",
)
def test_the_recipe_is_skipped_without_jansson(run):
    shutil.rmtree(run.folder / "meta-other" / "recipes-extended")
    output = run("-p")
    assert complaints(output) == []
    assert re.search(r"\b[12] skipped", output), output
