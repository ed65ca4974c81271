# SPDX-License-Identifier: MIT
"""Hardening options of the build, read from the binaries."""

import json
import re
import subprocess

import pytest
from harness import BUILD, COVERAGE, PRSERV, PRSERVD, SANITIZER

LIBRARIES = [
    BUILD / "src" / "client" / "libprserv.so.0",
    BUILD / "src" / "store" / "postgres" / "prservd-postgresql.so",
]
PROGRAMS = [PRSERVD, PRSERV, *(path for path in LIBRARIES if path.exists())]


def output_of(*command):
    return subprocess.run(
        [str(word) for word in command], check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture(params=PROGRAMS, ids=lambda path: path.name)
def program(request):
    return request.param


def test_programs_are_position_independent(program):
    assert re.search(r"Type: +DYN ", output_of("readelf", "-h", program))
    if program not in LIBRARIES:
        assert re.search(r"FLAGS_1.* PIE$", output_of("readelf", "-d", program), re.M)


def test_relocations_are_read_only_after_the_start(program):
    assert "GNU_RELRO" in output_of("readelf", "-lW", program)
    assert re.search(r"FLAGS_1.* NOW", output_of("readelf", "-d", program))


def test_no_segment_is_writable_and_executable(program):
    segments = re.findall(
        r"^  (\w+) +(?:0x\w+ +){5}([RWE ]{3})",
        output_of("readelf", "-lW", program),
        re.M,
    )
    assert ("GNU_STACK", "RW ") in segments
    assert not [flags for _, flags in segments if "W" in flags and "E" in flags]


@pytest.mark.skipif(bool(SANITIZER), reason="sanitizers bring their own")
@pytest.mark.skipif(
    COVERAGE, reason="they need an optimiser, which coverage does without"
)
def test_stack_protector_and_fortify_are_on(program):
    names = output_of("readelf", "-sW", "--dyn-syms", program)
    assert re.search(r"UND __stack_chk_fail\b", names)
    assert re.search(r"UND __(memcpy|snprintf|vsnprintf)_chk\b", names)


def test_control_flow_protection_is_on():
    """Functions begin with the instruction that marks jump targets. (Whether the whole program
    is marked also depends on the start-up files of the C library.)"""
    if "Advanced Micro Devices X86-64" not in output_of("readelf", "-h", PRSERVD):
        pytest.skip("only x86-64 has it")
    code = output_of("objdump", "-d", "--disassemble=main", PRSERVD)
    first = re.search(r"<main>:\n *\w+:\t[0-9a-f ]+\t(\w+)", code)
    assert first and first[1] == "endbr64"
    for object_ in (BUILD / "libserver.a.p").glob("*.o"):
        assert "IBT, SHSTK" in output_of("readelf", "-nW", object_), object_.name


@pytest.mark.skipif(bool(SANITIZER), reason="sanitizers have a stack of their own")
def test_stack_clash_protection_is_on():
    """-fstack-clash-protection leaves no trace in binaries: the compiler command is checked."""
    for entry in json.loads((BUILD / "compile_commands.json").read_text()):
        assert "-fstack-clash-protection" in entry["command"].split(), entry["file"]
