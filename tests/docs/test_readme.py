# SPDX-License-Identifier: MIT
"""README.md: its session works as printed, and its C is C."""

import os
import re
import subprocess

import pytest

import console
from harness import BUILD, ROOT, SANITIZER, clean_environment, free_port


def session():
    """Returns the commands in the console block of the README, with their output."""
    block = re.search(
        r"```console\n(.*?)```", (ROOT / "README.md").read_text(), re.S
    ).group(1)
    return list(console.commands(block))


def test_the_session_of_the_readme_works_as_written(tmp_path):
    (tmp_path / "build").symlink_to(BUILD)
    ports = {"8585": str(free_port()), "8586": str(free_port())}
    commands = [command for command, _ in session()]
    assert any("get" in command for command in commands)
    try:
        for command, output in session():
            for port, free in ports.items():
                command = command.replace(port, free)
            if command == "./dev build":
                continue
            done = subprocess.run(
                command.split(),
                cwd=tmp_path,
                env=clean_environment(),
                capture_output=True,
                text=True,
            )
            assert (done.returncode, done.stdout) == (0, output), (command, done.stderr)
    finally:
        for free in ports.values():
            stop = ["build/prservd", "--stop", "--host", "127.0.0.1", "--port", free]
            subprocess.run(
                stop, cwd=tmp_path, env=clean_environment(), capture_output=True
            )


def c_blocks():
    """The README's pieces of C: functions, and statements of a main."""
    blocks = re.findall(r"```c\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    functions = [block for block in blocks if block.startswith("static ")]
    statements = [block for block in blocks if block not in functions]
    assert functions and len(statements) >= 4
    return functions, statements


def compile_c(program, text, *options):
    source = program.with_suffix(".c")
    headers = ("prserv.h", "stdio.h", "stdlib.h")
    source.write_text("".join(f"#include <{name}>\n" for name in headers) + text)
    flags = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-I", ROOT / "src" / "client")
    subprocess.run(["cc", *flags, source, "-o", program, *options], check=True)


def test_every_piece_of_c_can_be_compiled(tmp_path):
    functions, (first, *more) = c_blocks()
    more = "".join(f"{{ {block} }}\n" for block in more)
    compile_c(
        tmp_path / "pieces",
        "".join(functions)
        + f"int pieces(struct prserv_row row)\n{{\n{first}\n"
        + "struct prserv_text version = row.version, pkgarch = row.pkgarch;\n"
        + more.replace("&error);\n }", "&error);\n(void)result; }")
        + "return 0;\n}\n",
        "-c",
    )


@pytest.mark.skipif(bool(SANITIZER), reason="needs a build without sanitizers")
def test_the_first_piece_of_c_asks_a_server(server, tmp_path):
    first = c_blocks()[1][0].replace("127.0.0.1:8585", server.address)
    library = BUILD / "src" / "client"
    program = tmp_path / "first"
    text = f"int main(void)\n{{\n{first}return 0;\n}}\n"
    compile_c(program, text, "-L", library, "-lprserv")
    environment = {**os.environ, "LD_LIBRARY_PATH": str(library)}
    done = subprocess.run([program], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")
