# SPDX-License-Identifier: MIT
"""Each allocation fails in turn (tests/memory): an error, but no crash and no leak."""

import subprocess

import pytest

from certificates import needs_tls
from harness import BUILD, SANITIZER


def run(folder, name, every, *words):
    """Runs one of the programs in its own folder; it prints what is wrong."""
    program = BUILD / "tests" / "memory" / f"memory_{name}"
    words = [program, "--every", str(every), *words]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    print(done.stdout + done.stderr)
    assert done.returncode == 0
    assert "allocations failed alone" in done.stdout


def test_modules_survive_each_failing_allocation(tmp_path):
    run(tmp_path, "modules", 1)


# Only some allocations fail here; the step is a prime number, so that all kinds are met.
def test_store_and_executor_survive_failing_allocations(tmp_path):
    run(tmp_path, "store", 197 if SANITIZER else 97)


def test_server_and_library_survive_failing_allocations(tmp_path):
    run(tmp_path, "server", 97 if SANITIZER else 11)


def test_a_relay_survives_failing_allocations(tmp_path):
    run(tmp_path, "relay", 5)


@needs_tls
def test_a_relay_with_tls_survives_failing_allocations(
    tmp_path, server_files, authority
):
    files = *server_files, authority.ca
    run(tmp_path, "relay", 7, *files)


@needs_tls
def test_tls_survives_failing_allocations(tmp_path):
    run(tmp_path, "tls", 3)


# 7,000 tries, each of which opens and writes databases.
@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ["store", "server"])
def test_each_failing_allocation(tmp_path, name):
    run(tmp_path, name, 1)


@needs_tls
@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_a_relay_survives_each_failing_allocation(tmp_path, server_files, authority):
    files = *server_files, authority.ca
    run(tmp_path, "relay", 1, *files)


@needs_tls
@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_tls_survives_more_failing_allocations(tmp_path):
    run(tmp_path, "tls", 1)
