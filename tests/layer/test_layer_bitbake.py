# SPDX-License-Identifier: MIT
"""meta-prservd under the real BitBake, of the checkout that BITBAKE_DIR names."""

import contextlib
import os
import re
import shutil
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from bitbake_project import Project, open_folder
from harness import free_port, poll

BITBAKE = os.environ.get("BITBAKE_DIR")
pytestmark = pytest.mark.skipif(
    not BITBAKE,
    reason="BITBAKE_DIR names no checkout of BitBake (./dev test --bitbake DIR)",
)


@pytest.fixture
def project():
    with open_folder("project") as folder:
        project = Project(folder, BITBAKE)
        yield project
        for pid in servers(project):
            os.kill(pid, signal.SIGKILL)


def servers(project, program="prservd"):
    """Returns the processes of this project that run a program."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            cwd = os.readlink(folder / "cwd")
        except OSError:
            continue
        if (
            any(program.encode() in word for word in words[:3])
            and str(project.folder) in cwd
        ):
            found.append(int(folder.name))
    return found


def test_revisions_rise_over_builds(project):
    assert [project.revision(content=f"c{n}") for n in range(3)] == ["0", "1", "2"]
    assert re.search(r"from 127\.0\.0\.1:\d+", project.output)
    assert project.revision(content="c0") == "3"
    poll(lambda: not servers(project), "the end of the server")


def test_the_database_is_bitbakes_own(project):
    project.revision(content="a")
    file = project.folder / "cache" / "prserv.sqlite3"
    with sqlite3.connect(file) as database:
        assert database.execute("SELECT value FROM PRMAIN").fetchall() == [("0",)]


def test_ten_and_more_revisions(project):
    """The server that BitBake brings gives 9 after 10 in some releases."""
    project.revision(content="a")
    poll(lambda: not servers(project), "the end of the server")
    file = project.folder / "cache" / "prserv.sqlite3"
    with sqlite3.connect(file) as database:
        version = "one-1.0-r0"
        for number in range(1, 11):
            row = (version, "core2-64", f"x{number}", str(number))
            database.execute("INSERT INTO PRMAIN VALUES (?, ?, ?, ?)", row)
    assert project.revision(content="b") == "11"
    assert project.revision(content="c") == "12"


def test_a_missing_program_is_one_warning(project):
    (project.folder / "bin" / "prservd").unlink()
    assert project.revision(content="a") == "0"
    warnings = [
        line for line in project.output.splitlines() if "prservd is not" in line
    ]
    assert len(warnings) == 1 and "PRSERVD_PROGRAM" in warnings[0]


def test_a_required_program(project):
    (project.folder / "bin" / "prservd").unlink()
    project.set_local('PRSERVD_REQUIRED = "1"\n')
    # Some releases lose what an early end has to say now and then.
    poll(lambda: "PRSERVD_REQUIRED" in project.run("one", status=1), "the error")


def test_recipes_are_not_parsed_again(project):
    """The port of each build is another one."""
    assert "Parsing of" in project.run("-p")
    output = project.run("-p")
    assert "Parsing of" not in output
    assert re.search("Loaded [1-9][0-9]* entries from dependency cache", output)


def test_an_unset_host_stays_unset(project):
    project.set_local("")
    local = project.folder / "conf" / "local.conf"
    local.write_text('INHERIT += "prservd"\n')
    output = project.run("-e")
    assert not re.search(r"^PRSERV_HOST=", output, re.M)
    assert servers(project) == []


def test_a_memory_resident_bitbake_keeps_its_server(project):
    more = {
        "BB_SERVER_TIMEOUT": "60",
        "BB_ENV_PASSTHROUGH_ADDITIONS": "CONTENT LD_LIBRARY_PATH",
    }
    try:
        assert project.revision(content="a", **more) == "0"
        (first,) = servers(project)
        assert project.revision(content="b", **more) == "1"
        assert servers(project) == [first]
        os.kill(first, signal.SIGKILL)
        assert project.revision(content="c", **more) == "2"
        assert first not in servers(project)
    finally:
        end_bitbake(project)


def end_bitbake(project):
    """Some releases lose the message now and then."""

    def has_ended():
        project.run("-m", BB_SERVER_TIMEOUT="60")
        with contextlib.suppress(AssertionError):
            poll(lambda: not servers(project), seconds=2)
        return not servers(project)

    poll(has_ended, "the end of BitBake and its server")


def test_the_server_ends_when_the_cooker_is_killed(project):
    more = {"BB_SERVER_TIMEOUT": "60"}
    project.revision(content="a", **more)
    (server,) = servers(project)
    for cooker in servers(project, "bitbake-server"):
        os.kill(cooker, signal.SIGKILL)
    began = time.monotonic()
    poll(lambda: server not in servers(project), "the end of the server")
    assert time.monotonic() - began < 2


def test_two_builds_at_once(project):
    file = project.folder / "cache" / "prserv.sqlite3"
    with open_folder("other") as folder:
        other = Project(folder, BITBAKE, f'PRSERVD_FILE = "{file}"\n')
        assert project.revision(content="a") == "0"
        builds = [project.start("one", CONTENT="b"), other.start("two", CONTENT="c")]
        builds.append(other.start("--version"))
        for build in builds:
            output, _ = build.communicate(timeout=120)
            assert build.returncode == 0, output
        assert other.revision("one", content="d") == "2"


def test_multiconfig_has_one_server(project):
    folder = project.folder / "conf" / "multiconfig"
    folder.mkdir()
    (folder / "other.conf").write_text('TMPDIR = "${TOPDIR}/tmp-other"\n')
    project.set_local('BBMULTICONFIG = "other"\n')
    output = project.run("one", "mc:other:two", CONTENT="a")
    addresses = set(re.findall(r"has \S+ from (\S+)", output))
    assert len(addresses) == 1, output


def restore(project, content, revision):
    """Builds a recipe whose packages come from shared state. Returns its revision."""
    shutil.rmtree(project.folder / "tmp", ignore_errors=True)
    return project.revision("three", content=content, RESTORED=revision)


def test_a_revision_from_shared_state_is_checked(project):
    assert restore(project, "a", "0") == "0"
    (warning,) = re.findall("WARNING: .*restored from shared state.*", project.output)
    assert (
        "has never given a revision" in warning
    )  # it was checked before the build asked
    assert restore(project, "b", "0") == "1"
    assert "shared state" not in project.output
    assert restore(project, "c", "7") == "2"
    assert "r0.7" in project.output and "its greatest is 1" in project.output
    project.set_local('PRSERVD_SETSCENE_CHECK = "off"\n')
    assert restore(project, "d", "7") == "3"
    assert "r0.7" not in project.output
    project.set_local('PRSERVD_SETSCENE_CHECK = "error"\n')
    shutil.rmtree(project.folder / "tmp")
    output = project.run("three", status=1, CONTENT="e", RESTORED="7")
    assert re.search("ERROR: .*r0.7", output)


def test_a_relay(project, serve):
    central = serve("--bind", f"127.0.0.1:{free_port()}", bind=False)
    project.set_local(f'PRSERVD_FORWARD = "{central.address}"\n')
    assert project.revision(content="a") == "0"
    assert central.get_pr("one-1.0-r0", "core2-64", "b") == "1"
    assert not (project.folder / "cache" / "prserv.sqlite3").exists()

    def is_told():
        records = central.ask({"get-log": {}})["log"]
        return [
            r
            for r in records
            if (r["annotations"] or {}).get("machine") == "qemux86-64"
        ]

    poll(is_told, "the annotations")
