"""Short runs of tests/torture/histories.c: histories of real servers keep the promises
(doc/testing.md, Histories)."""

import subprocess

import pytest

from harness import BUILD, clean_environment


def histories(*options):
    run = subprocess.run(
        [
            BUILD / "tests" / "torture" / "torture_histories",
            *("--prservd", BUILD / "prservd", *options),
        ],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "; 0 broken promises" in run.stdout


def test_four_servers_on_one_file_keep_the_promises_while_they_are_killed():
    histories("--operations", "40000")


@pytest.mark.slow
def test_they_keep_them_beside_another_writer():
    histories("--operations", "20000", "--sql-writer")


@pytest.mark.slow
def test_a_chain_keeps_them_while_its_links_fail():
    histories("--operations", "6000", "--round", "2000", "--chain", "2")


@pytest.mark.slow
def test_a_chain_keeps_them_to_the_letter_while_nothing_fails():
    histories("--operations", "20000", "--chain", "2", "--steady-links", "--kills", "0")
