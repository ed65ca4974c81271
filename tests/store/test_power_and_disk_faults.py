# SPDX-License-Identifier: MIT
"""Short runs of tests/torture: power cuts and disk faults (doc/testing.md, Faults)."""

import subprocess

from harness import BUILD, clean_environment


def torture(name, *options):
    return subprocess.run(
        [BUILD / "tests" / "torture" / f"torture_{name}", *options],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_a_power_cut_loses_no_answered_row():
    run = torture("power", "--cuts", "300")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "; 0 broken trials" in run.stdout


def test_a_power_cut_with_all_threads_loses_no_answered_row():
    run = torture("power", "--cuts", "100", "--threads")
    assert run.returncode == 0, run.stdout + run.stderr


def test_power_cuts_find_rows_that_are_not_synced():
    """The test can fail: without syncs, answered rows are lost."""
    for sync in "off", "normal":
        run = torture("power", "--cuts", "20", "--sync", sync)
        assert run.returncode == 1, run.stdout + run.stderr
        assert "answered and lost" in run.stdout


def test_disk_errors_cause_no_wrong_answer():
    run = torture("io_errors", "--faults", "150")
    assert run.returncode == 0, run.stdout + run.stderr


def test_unsynced_rows_of_a_killed_server_are_not_answered():
    """The seeds found a server that served although the sync at its start had failed."""
    for seed in "69", "453":
        run = torture("io_errors", "--faults", "1", "--seed", seed)
        assert run.returncode == 0, run.stdout + run.stderr


def test_a_failed_sync_that_linux_forgets_loses_no_answered_row():
    """The seeds found a server that read and checkpointed such rows, which the WAL then lost."""
    for seed in "1795619767", "901135":
        run = torture("io_errors", "--faults", "1", "--seed", seed)
        assert run.returncode == 0, run.stdout + run.stderr
