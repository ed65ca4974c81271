"""Allocations that fail, each in turn (tests/memory): no crash, no leak, an error."""

import subprocess

import pytest

from harness import BUILD, SANITIZER


def run(folder, name, every):
    """Runs one of the programs in a folder of its own; it says itself what is wrong."""
    program = BUILD / "tests" / "memory" / f"memory_{name}"
    words = [program, "--every", str(every)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    print(done.stdout + done.stderr)
    assert done.returncode == 0
    assert "allocations failed alone" in done.stdout


def test_pieces_survive_each_failing_allocation(tmp_path):
    run(tmp_path, "pieces", 1)


# Not each of them here; a prime number of steps, so that all kinds have their turn.
def test_store_and_executor_survive_failing_allocations(tmp_path):
    run(tmp_path, "store", 97 if SANITIZER else 47)


def test_server_and_library_survive_failing_allocations(tmp_path):
    run(tmp_path, "server", 97 if SANITIZER else 11)


@pytest.mark.torture
@pytest.mark.parametrize("name", ["store", "server"])
def test_each_failing_allocation(tmp_path, name):
    run(tmp_path, name, 1)
