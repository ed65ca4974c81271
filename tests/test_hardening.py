"""How the programs are built, read from the binaries themselves."""

import json
import re
import subprocess

import pytest
from harness import BUILD, COVERAGE, PRSERV, PRSERVD, SANITIZER

LIBRARIES = [
    BUILD / "src" / "client" / "libprserv.so.0",
    BUILD / "src" / "store" / "prservd-postgresql.so",
]
PROGRAMS = [PRSERVD, PRSERV, *(path for path in LIBRARIES if path.exists())]


def tell(*command):
    return subprocess.run(
        [str(word) for word in command], check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture(params=PROGRAMS, ids=lambda path: path.name)
def program(request):
    return request.param


def test_it_can_be_loaded_at_any_address(program):
    assert re.search(r"Type: +DYN ", tell("readelf", "-h", program))
    if program not in LIBRARIES:
        assert re.search(r"FLAGS_1.* PIE$", tell("readelf", "-d", program), re.M)


def test_its_tables_are_resolved_at_the_start_and_read_only_then(program):
    assert "GNU_RELRO" in tell("readelf", "-lW", program)
    assert re.search(r"FLAGS_1.* NOW", tell("readelf", "-d", program))


def test_nothing_writable_is_executable(program):
    segments = re.findall(
        r"^  (\w+) +(?:0x\w+ +){5}([RWE ]{3})", tell("readelf", "-lW", program), re.M
    )
    assert ("GNU_STACK", "RW ") in segments
    assert not [flags for _, flags in segments if "W" in flags and "E" in flags]


@pytest.mark.skipif(bool(SANITIZER), reason="sanitizers bring their own")
@pytest.mark.skipif(
    COVERAGE, reason="they need an optimiser, which coverage does without"
)
def test_calls_that_overflow_buffers_are_caught(program):
    names = tell("readelf", "-sW", "--dyn-syms", program)
    assert re.search(r"UND __stack_chk_fail\b", names)
    assert re.search(r"UND __(memcpy|snprintf|vsnprintf)_chk\b", names)


def test_functions_begin_where_jumps_may_land():
    """Control-flow enforcement. (Whether the whole program is marked for it depends on
    the start-up files of the C library, too.)"""
    if "Advanced Micro Devices X86-64" not in tell("readelf", "-h", PRSERVD):
        pytest.skip("only x86-64 has it")
    code = tell("objdump", "-d", "--disassemble=main", PRSERVD)
    first = re.search(r"<main>:\n *\w+:\t[0-9a-f ]+\t(\w+)", code)
    assert first and first[1] == "endbr64"
    for object_ in (BUILD / "libserver.a.p").glob("*.o"):
        assert "IBT, SHSTK" in tell("readelf", "-nW", object_), object_.name


@pytest.mark.skipif(bool(SANITIZER), reason="sanitizers have a stack of their own")
def test_large_stack_frames_are_touched_page_by_page():
    """-fstack-clash-protection leaves no mark: what the compiler was told counts."""
    for told in json.loads((BUILD / "compile_commands.json").read_text()):
        assert "-fstack-clash-protection" in told["command"].split(), told["file"]
