# SPDX-License-Identifier: MIT
"""The completions of prservd, under both of its names."""

import re
import shutil
import subprocess

import pytest

from harness import PRSERVD, ROOT
from test_prserv import complete

FILE_OPTIONS = {"-f", "--file", "-l", "--log", "--pidfile"}


def options():
    text = subprocess.run([PRSERVD, "--help"], capture_output=True, text=True).stdout
    return set(re.findall(r"^ {2,6}(?:-\w, )?(--[a-z-]+)", text, flags=re.M))


def complete_prservd(*words):
    return complete("prservd", *words, name="prservd")


def test_bash_completes_every_option():
    assert complete_prservd()("--") == options()
    assert complete_prservd("--file", "x")("--sto") == {"--stop"}


def test_bash_completes_the_values_of_an_option():
    assert complete_prservd("--sync")("") == {"full", "normal", "off"}
    assert complete_prservd("--sync", "=")("n") == {"normal"}
    assert complete_prservd("--sync")("=") == {"full", "normal", "off"}
    assert complete_prservd("--loglevel")("D") == {"DEBUG"}
    assert complete_prservd("--port")("") == set()


@pytest.mark.parametrize("option", sorted(FILE_OPTIONS))
def test_bash_completes_a_file_where_an_option_takes_one(option):
    assert complete_prservd(option)(f"{ROOT}/RE") == {f"{ROOT}/README.md"}


def test_bash_completes_bitbake_prserv_too():
    script = f"source {ROOT}/completions/prservd.bash; complete -p bitbake-prserv"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert done.stdout == "complete -F _prservd bitbake-prserv\n"


def test_zsh_completes_the_same():
    path = ROOT / "completions" / "_prservd"
    text = path.read_text()
    assert text.startswith("#compdef prservd bitbake-prserv\n")
    for option in options():
        assert re.search(rf"['*{{,)]{option}=?[\[}}]", text), option
    for option in FILE_OPTIONS & options():
        (line,) = [each for each in text.splitlines() if f"{option}=" in each]
        assert "_files" in line, option
    if shutil.which("zsh"):
        subprocess.run(["zsh", "-n", path], check=True)
