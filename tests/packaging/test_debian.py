# SPDX-License-Identifier: MIT
"""debian/: versions agree, and each file that is installed belongs to one package."""

import fnmatch
import json
import os
import re
import shutil
import subprocess

import pytest

from harness import BUILD, PRSERV, PRSERVD, ROOT

DEBIAN = ROOT / "debian"


def packages():
    return re.findall(r"^Package: (\S+)$", (DEBIAN / "control").read_text(), re.M)


def version():
    return re.search(r"^  version: '(.*)',$", (ROOT / "meson.build").read_text(), re.M)[
        1
    ]


def test_the_version_is_the_same_everywhere():
    for program in PRSERVD, PRSERV:
        done = subprocess.run([program, "--version"], capture_output=True, text=True)
        assert done.stdout.split()[1] == version()
    changelog = (DEBIAN / "changelog").read_text()
    assert re.match(r"prservd \((.*?)\) ", changelog)[1] == version()
    heading = re.search(r"^## \[(.*?)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert heading[1] == version()
    recipe = ROOT / "meta-prservd" / "recipes-support" / "prservd" / "prservd_git.bb"
    assert f'\nPV = "{version()}"\n' in recipe.read_text()
    dockerfile = (ROOT / "contrib" / "docker" / "Dockerfile").read_text()
    assert f"\nARG VERSION={version()}\n" in dockerfile
    for manifest in (ROOT / "contrib" / "kubernetes").glob("*.yaml"):
        images = re.findall(r"image: prservd:(\S+)", manifest.read_text())
        assert images == [version()], manifest


def test_the_packages_are_those_that_the_handbook_names():
    handbook = (ROOT / "doc" / "operations.md").read_text()
    section = handbook.partition("## Debian packages\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\S+)` \|", section, re.M)) == set(packages())


def installed():
    """Returns the names that meson would install under /usr, with Debian's folder of libraries."""
    if not shutil.which("meson"):
        pytest.skip("meson is not installed")
    done = subprocess.run(
        ["meson", "introspect", "--installed", "--buildoptions", BUILD],
        check=True,
        capture_output=True,
        text=True,
    )
    answer = json.loads(done.stdout)
    options = {option["name"]: option["value"] for option in answer["buildoptions"]}
    prefix = options["prefix"]
    libraries = os.path.join(prefix, options["libdir"])
    names = set()
    for name in answer["installed"].values():
        if name.startswith(libraries + "/"):
            name = os.path.join("usr/lib/x", os.path.relpath(name, libraries))
        else:
            name = os.path.join("usr", os.path.relpath(name, prefix))
        names.add(name)
    return names


def patterns(file):
    """Returns the files that debian/NAME.install or debian/not-installed names."""
    lines = (DEBIAN / file).read_text().splitlines()
    return [line.split()[0] for line in lines if line and not line.startswith("#")]


def test_each_installed_file_is_in_one_package():
    claims = {"nothing": patterns("not-installed")}
    for package in packages():
        claims[package] = patterns(f"{package}.install")
    seen = set()
    for name in installed():
        owners = {
            package
            for package, globs in claims.items()
            for glob in globs
            if fnmatch.fnmatch(name, glob) or name.startswith(glob + "/")
        }
        assert len(owners) == 1, (name, owners)
        seen |= owners
    assert {"prservd", "prserv", "libprserv-dev"} <= seen


def test_a_symbol_that_the_library_exports_has_a_version():
    symbols = (DEBIAN / "libprserv0.symbols").read_text()
    header = (ROOT / "src" / "client" / "prserv.h").read_text()
    declared = set(
        re.findall(r"\b(prserv_\w+)\(", re.sub(r"/\*.*?\*/", "", header, flags=re.S))
    )
    listed = set(re.findall(r"^ (prserv_\w+)@PRSERV_1 ", symbols, re.M))
    inline = {"prserv_text"}
    assert declared - inline == listed


def test_every_service_keeps_its_dynamic_user():
    for unit in (ROOT / "contrib" / "systemd").glob("*.service.in"):
        assert "\nDynamicUser=yes\n" in unit.read_text()


def test_the_package_opens_no_port_to_other_machines():
    lines = (DEBIAN / "prservd-local.conf").read_text().splitlines()
    assert lines[-3:] == ["[Socket]", "ListenStream=", "ListenStream=127.0.0.1:8585"]
    assert (
        "prservd-local.conf usr/lib/systemd/system/prservd.socket.d"
        in (DEBIAN / "prservd.install").read_text()
    )


def test_an_upgrade_restarts_the_service_and_not_its_sockets():
    rules = (DEBIAN / "rules").read_text()
    section = rules.partition("override_dh_installsystemd:\n")[2]
    for call in section.replace("\\\n", "").strip().splitlines():
        assert "--no-stop-on-upgrade" in call and "--no-restart-after-upgrade" in call
    script = (DEBIAN / "prservd.postinst").read_text()
    assert re.findall(r"deb-systemd-invoke (.*?) >", script) == [
        "try-restart prservd.service"
    ]


def test_removing_the_package_leaves_the_database():
    """No maintainer script touches /var/lib/prservd."""
    scripts = [*DEBIAN.glob("*.postrm"), *DEBIAN.glob("*.prerm"), DEBIAN / "rules"]
    assert all("/var/lib" not in script.read_text() for script in scripts)


def test_logrotate_accepts_its_file(tmp_path):
    if not shutil.which("logrotate"):
        pytest.skip("logrotate is not installed")
    state = tmp_path / "state"
    command = ["logrotate", "--debug", "--state", state]
    file = tmp_path / "prservd"
    shutil.copyfile(ROOT / "contrib" / "logrotate" / "prservd", file)
    file.chmod(0o644)  # as the package installs it
    done = subprocess.run(
        [*command, file],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "error" not in done.stderr, done.stderr
