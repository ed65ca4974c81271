# SPDX-License-Identifier: MIT
"""Runs prserv, as a user or a script does."""

import json
import subprocess

from harness import PRSERV, clean_environment


def prserv(*words, **environment):
    """Runs prserv until it exits."""
    return subprocess.run(
        [str(PRSERV), *map(str, words)],
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        timeout=60,
    )


def prserv_on(server, *words, **environment):
    """Runs prserv with a server of the test."""
    return prserv("--server", server.address, *words, **environment)


def import_text(server, text, *words):
    """Runs prserv import with a text on standard input."""
    return subprocess.run(
        [str(PRSERV), "--server", server.address, "import", "-", *words],
        env=clean_environment(),
        input=text if isinstance(text, bytes) else text.encode(),
        capture_output=True,
        timeout=60,
    )


def bench(address, *words, status=0, before=()):
    """Runs prserv bench and returns its figures. before: options before the name of the command."""
    done = prserv("--server", address, "--json", *before, "bench", *words)
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)
