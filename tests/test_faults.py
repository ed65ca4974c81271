"""Short runs of tests/torture: the power is cut, the disk fails (doc/testing.md, Faults)."""

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


def test_a_cut_of_the_power_takes_nothing_back():
    run = torture("power", "--cuts", "300")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "; 0 broken lives" in run.stdout


def test_a_cut_of_the_power_with_all_threads_takes_nothing_back():
    run = torture("power", "--cuts", "100", "--threads")
    assert run.returncode == 0, run.stdout + run.stderr


def test_cuts_of_the_power_find_what_is_not_synced():
    """The test can fail: without syncs, rows that were answered are lost."""
    for sync in "off", "normal":
        run = torture("power", "--cuts", "20", "--sync", sync)
        assert run.returncode == 1, run.stdout + run.stderr
        assert "answered and lost" in run.stdout


def test_errors_of_the_disk_give_no_wrong_answer_and_pass():
    run = torture("io_errors", "--faults", "150")
    assert run.returncode == 0, run.stdout + run.stderr


def test_what_a_killed_server_left_unsynced_is_not_answered_from():
    """Seeds that found it: the sync at the start failed, and the server served."""
    for seed in "69", "453":
        run = torture("io_errors", "--faults", "1", "--seed", seed)
        assert run.returncode == 0, run.stdout + run.stderr


def test_what_linux_forgot_after_a_failed_sync_takes_nothing_back():
    """Seeds that found it: the next server read it, moved it, and the journal lacked it later."""
    for seed in "1795619767", "901135":
        run = torture("io_errors", "--faults", "1", "--seed", seed)
        assert run.returncode == 0, run.stdout + run.stderr
