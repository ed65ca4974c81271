# SPDX-License-Identifier: MIT
"""The set-ups of doc/security.md: each line starts a server that serves, with other files and ports."""

import grp
import os
import re
import subprocess

import pytest

from certificates import needs_tls
from harness import PRSERV, ROOT, Server, clean_environment, free_port

DOCUMENT = (ROOT / "doc" / "security.md").read_text()
PEM_FILES = (
    "pr-ca.pem",
    "farms-ca.pem",
    "pr.pem",
    "pr.key",
    "farm-7.pem",
    "farm-7.key",
)


def section(title, end):
    text = DOCUMENT[DOCUMENT.index(f"## {title}\n") :]
    return text[: text.index(f"\n{end}")]


def commands(text):
    """Returns the commands in the indented blocks of a text, each as one line."""
    blocks = re.findall(r"(?:^    .*\n)+", text, re.M)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [" ".join(line.split()) for line in lines]


def set_up(name):
    text = section("Which set-up do you have?", "## ")
    text = text[text.index(f"### {name}\n") + 4 :]
    return [c for c in commands(text.split("\n### ")[0]) if c.startswith("prservd")]


@pytest.fixture
def farm(tmp_path):
    """A folder with the files that the set-ups name; the commands of the document make some."""
    folder = tmp_path / "farm"
    folder.mkdir()
    for command in commands(section("TLS", "## ")):
        command = command.replace("pr.example.com", "localhost")
        subprocess.run(command, shell=True, cwd=folder, check=True, capture_output=True)
    return folder


def start(command, farm, ports, **more):
    """Starts a server as written, but for its files, names and ports."""
    group = grp.getgrgid(os.getgid()).gr_name
    for name in PEM_FILES:
        command = command.replace(f" {name}", f" {farm / name}")
    command = command.replace("/run/prservd/admin", str(farm / "admin"))
    command = command.replace("gid:adm", f"gid:{group}")
    command = command.replace("allow=10.0.0.0/8", "allow=127.0.0.0/8")
    command = command.replace("pr.example.com", "localhost")
    for port, other in ports.items():
        command = command.replace(f":{port}", f":{other}")
    return Server(farm / "server", *command.split()[1:], bind=False, **more)


def ports():
    return {"8585": free_port(), "8586": free_port()}


def prserv(address, *words):
    return subprocess.run(
        [PRSERV, "--server", address, *words],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )


GET = ("get", "m4-1.4.19-r0", "core2-64", "abc")


def test_one_developer(farm):
    (command,) = set_up("One developer")
    with start(command, farm, ports()) as server:
        assert prserv(server.address, *GET).stdout == "0\n"


def test_a_farm_in_one_network(farm):
    (command,) = set_up("A farm in one network")
    given = ports()
    with start(command, farm, given):
        builds = f"127.0.0.1:{given['8585']}"
        assert prserv(builds, *GET).stdout == "0\n"
        refused = prserv(builds, "floor", "m4-1.4.19-r0", "core2-64", "7")
        assert refused.returncode == 1 and "only assigns" in refused.stderr
        if os.getuid() == 0:
            admin = f"unix://{farm}/admin"
            done = prserv(admin, "floor", "m4-1.4.19-r0", "core2-64", "7")
            assert done.returncode == 0, done.stderr


@needs_tls
def test_farms_over_the_internet(farm):
    central, relay = set_up("Farms over the internet")
    given = ports()
    with start(central, farm, given) as server:
        with start(relay, farm, given) as build_machine:
            assert prserv(build_machine.address, *GET).stdout == "0\n"
            refused = prserv(build_machine.address, "floor", *GET[1:3], "7")
            assert "only assigns" in refused.stderr
        stranger = ("--tls-ca", farm / "pr-ca.pem", "ping")
        done = prserv(f"tls://localhost:{given['8586']}", *stranger)
        assert done.returncode == 3 and "it asks for a certificate" in done.stderr
        assert server.process.poll() is None


@needs_tls
def test_a_public_mirror(farm):
    (command,) = set_up("A public mirror")
    given = ports()
    with Server(farm / "server") as writer:
        assert prserv(writer.address, *GET).stdout == "0\n"
        with start(command, farm, given):
            ca = ("--tls-ca", farm / "pr-ca.pem")
            for where in (
                f"127.0.0.1:{given['8585']}",
                f"tls://localhost:{given['8586']}",
            ):
                assert prserv(where, *ca, "test", *GET[1:]).stdout == "0\n"
                refused = prserv(where, *ca, "floor", *GET[1:3], "7")
                assert refused.returncode == 1, refused
