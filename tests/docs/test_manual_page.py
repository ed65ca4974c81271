# SPDX-License-Identifier: MIT
"""The manual page prservd(8)."""

import re
import shutil
import subprocess

import pytest

from harness import PRSERVD, ROOT, clean_environment, free_port

MANUAL = (ROOT / "man" / "prservd.8").read_text()
HELP = subprocess.run([PRSERVD, "--help"], capture_output=True, text=True).stdout
PAGES = sorted((ROOT / "man").glob("*.[1-8]"))


def options():
    """Returns the options at the beginning of a line of --help."""
    found = re.findall(r"^ {2}(?:-\w, | {4})(--[a-z-]+)", HELP, flags=re.M)
    assert len(found) > 10
    return found


def plain(manual):
    """Returns the source of the page without font changes and escaped hyphens."""
    return re.sub(r"\\f.", "", manual).replace(r"\-", "-")


@pytest.mark.parametrize("option", options())
def test_every_option_has_an_entry(option):
    entry = rf"^\.TP\n(?:-\w, )?{option}( [A-Z:]+)?$"
    assert re.search(entry, plain(MANUAL), flags=re.M)


@pytest.mark.parametrize("option", options())
def test_every_option_has_its_variable(option):
    variable = "PRSERVD_" + option[2:].upper().replace("-", "_")
    if option in ("--start", "--stop", "--version", "--help"):
        assert variable not in MANUAL
        return
    entries = [entry.partition("\n") for entry in plain(MANUAL).split("\n.TP\n")]
    (text,) = [text for head, _, text in entries if option in head.split()]
    assert variable in text
    assert variable in HELP


def test_the_page_names_only_existing_variables():
    assert set(re.findall(r"PRSERVD_[A-Z_]+", MANUAL)) <= set(
        re.findall(r"PRSERVD_[A-Z_]+", HELP)
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_have_no_formatting_errors(page):
    if not shutil.which("groff"):
        pytest.skip("groff is not installed")
    done = subprocess.run(
        ["groff", "-ww", "-man", "-Tutf8", "-z", page], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_examples_of_the_page_work(tmp_path):
    """Examples in the foreground serve until they are terminated."""
    examples = plain(MANUAL).partition(".SH EXAMPLES")[2]
    commands = re.findall(r"^prservd .*$", examples, flags=re.M)
    assert len(commands) == 4
    ports = {port: str(free_port()) for port in re.findall(r"\b85\d\d\b", examples)}
    for command in commands:
        command = re.sub(r"\b85\d\d\b", lambda port: ports[port[0]], command)
        with subprocess.Popen(
            [PRSERVD, *command.split()[1:]],
            cwd=tmp_path,
            env=clean_environment(),
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            if "--start" not in command and "--stop" not in command:
                for line in process.stderr:
                    if "Listening" in line:
                        process.terminate()
                        break
            assert process.wait(30) == 0, process.stderr.read()
