# SPDX-License-Identifier: MIT
"""The configuration files and commands in doc/operations.md. The tests run the programs with these
files, so that the handbook shows what was tested. A file is named in the line that begins its block,
```ini pgbouncer.ini; the commands are in blocks of a kind: ```console postgresql"""

import os
import re
import subprocess

from console import commands
from harness import BUILD, ROOT, free_port

HANDBOOK = (ROOT / "doc" / "operations.md").read_text()


def block(name):
    """Returns the configuration file of this name."""
    found = re.findall(rf"^```\w+ {re.escape(name)}\n(.*?)^```$", HANDBOOK, re.S | re.M)
    assert len(found) == 1, f"{len(found)} blocks are named {name}"
    return found[0]


def replaced(text, values):
    """Returns a text with these values in place of the handbook's."""
    either = "|".join(map(re.escape, sorted(values, key=len, reverse=True)))
    return re.sub(either, lambda old: str(values[old[0]]), text)


def filled(name, values):
    """Returns the file with the values of a test in place of the handbook's. Each has to occur."""
    text = block(name)
    missing = [old for old in values if old not in text]
    assert not missing, f"{name} lacks {missing}"
    return replaced(text, values)


def session(kind=""):
    """Yields the commands in the console blocks of this kind, with their output."""
    for block in re.findall(rf"```console{kind}\n(.*?)```", HANDBOOK, re.S):
        yield from commands(block)


def tools(folder):
    """Creates a folder with the programs of this build, and returns a PATH with it."""
    folder.mkdir()
    for name in "prservd", "prserv":
        (folder / name).symlink_to(BUILD / name)
    return f"{folder}:{os.environ['PATH']}"


def run_session(commands, work, environment, **user):
    """Runs commands with free ports in place of the handbook's, and checks their output."""
    ports = {
        port: str(free_port()) for port in set(re.findall(r"\b85\d\d\b", HANDBOOK))
    }
    started = []
    try:
        for command, output in commands:
            command = re.sub(r"\b85\d\d\b", lambda port: ports[port[0]], command)
            if "--start" in command:
                started.append(command)
            done = run_shell(command, work, environment, **user)
            assert (done.returncode, done.stdout) == (0, output), (command, done.stderr)
    finally:
        for command in started:
            where = re.search(r"--pidfile \S+|--host \S+ --port \S+", command)[0]
            run_shell(f"prservd --stop {where}", work, environment, **user)


def run_shell(command, work, environment, **user):
    return subprocess.run(
        ["sh", "-c", command],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        **user,
    )
