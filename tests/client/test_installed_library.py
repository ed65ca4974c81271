# SPDX-License-Identifier: MIT
"""libprserv as it is installed: symbols, pkg-config, the manual page and the examples."""

import os
import re
import shutil
import subprocess

import pytest

from harness import BUILD, COVERAGE, ROOT, SANITIZER, Server, clean_environment
from rows import M4

FUNCTIONS = (
    "address annotate batch close connect connect_tls export get_churn get_log get_pr get_stats "
    "get_why import_one is_readonly max_package_pr max_package_prs ping set_export_time set_timeout "
    "test_package test_pr"
)


def symbols(*command):
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    names = {line.split()[-1] for line in done.stdout.splitlines() if " T " in line}
    others = [
        line
        for line in done.stdout.splitlines()
        if len(line.split()) == 3 and line.split()[1] not in "TA"
    ]
    return names, others


def test_only_the_api_is_exported(tmp_path):
    library = BUILD / "src/client/libprserv.so.0"
    names, others = symbols("nm", "-D", "--defined-only", library)
    ours = {f"prserv_{name}" for name in FUNCTIONS.split()}
    assert {name for name in names if "san" not in name} == {
        f"{name}@@PRSERV_1" for name in ours
    }
    assert not others
    if SANITIZER:
        return
    names, others = symbols(
        "nm", "-g", "--defined-only", BUILD / "src/client/libprserv.a"
    )
    assert names == ours and not others


needs_an_install = pytest.mark.skipif(
    bool(SANITIZER) or not shutil.which("meson") or not shutil.which("pkg-config"),
    reason="needs meson, pkg-config, and a build without sanitizers",
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder into which `meson install` has installed the tree."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run(
        ["meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", folder],
        check=True,
        capture_output=True,
    )
    return folder


@needs_an_install
def test_programs_do_not_name_the_folder_of_the_build(installed):
    for name in "prservd", "prserv", "prserv-bench":
        (program,) = installed.rglob(f"bin/{name}")
        command = ["readelf", "--string-dump=.dynstr", program]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        assert "libc.so" in done.stdout
        assert str(BUILD) not in done.stdout


def compile_external_program(installed, source, program, static):
    (description,) = installed.rglob("prserv.pc")
    environment = clean_environment(
        PKG_CONFIG_PATH=str(description.parent), PKG_CONFIG_SYSROOT_DIR=str(installed)
    )
    flags = subprocess.run(
        ["pkg-config", *["--static"] * static, "--cflags", "--libs", "prserv"],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    options = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"]
    options += ["-static"] * static
    command = ["cc", *options, source, *flags, "-o", program]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {"LD_LIBRARY_PATH": str(description.parent.parent)}


@needs_an_install
@pytest.mark.parametrize(
    "static",
    [
        False,
        pytest.param(
            True,
            marks=pytest.mark.skipif(
                COVERAGE, reason="external programs don't link the coverage runtime"
            ),
        ),
    ],
    ids=["shared", "static"],
)
def test_an_external_program_compiles_and_runs(installed, server, tmp_path, static):
    source = ROOT / "examples/ask_revision.c"
    program = tmp_path / "external"
    extra = compile_external_program(installed, source, program, static)
    for checksum, revision in (("x", "0"), ("y", "1")):
        done = subprocess.run(
            [program, server.address, *M4, checksum],
            env=clean_environment(**extra),
            capture_output=True,
            text=True,
        )
        assert (done.stdout, done.stderr) == (f"{revision}\n", "")
    needed = subprocess.run(
        ["readelf", "-d", program], check=True, capture_output=True, text=True
    ).stdout
    assert ("libprserv.so.0" in needed) is not static


@needs_an_install
@pytest.mark.skipif(not shutil.which("groff"), reason="needs groff")
def test_the_program_of_the_manual_page_works_as_printed(installed, server, tmp_path):
    (page,) = installed.rglob("libprserv.3")
    command = ["groff", "-man", "-Tascii", "-P-cbou", page]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (printed,) = re.findall(r"^EXAMPLES\n(.*?)^NOTES", text, re.M | re.S)
    source = tmp_path / "printed.c"
    source.write_text(printed.replace("127.0.0.1:8585", server.address))
    extra = compile_external_program(installed, source, tmp_path / "printed", False)
    done = subprocess.run(
        [tmp_path / "printed"],
        env=clean_environment(**extra),
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("0\n", "")


@needs_an_install
def test_the_installed_command_finds_its_library(installed, server):
    (program,) = (path for path in installed.rglob("bin/prserv"))
    environment = clean_environment(PRSERV_HOST=server.address)
    environment.pop("LD_LIBRARY_PATH", None)
    subprocess.run([program, "ping"], env=environment, check=True, capture_output=True)


@needs_an_install
def test_the_installed_manual_page_names_every_function(installed):
    (page,) = installed.rglob("libprserv.3")
    text = page.read_text()
    for name in FUNCTIONS.split():
        assert f"prserv_{name}" in text


@pytest.mark.skipif(not shutil.which("c++"), reason="needs a C++ compiler")
def test_cpp_programs_can_include_the_header(tmp_path):
    source = tmp_path / "program.cpp"
    source.write_text(
        "#include <prserv.h>\n"
        'struct prserv_text hello() { return prserv_text("hello"); }\n'
    )
    options = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I", ROOT / "src/client"]
    subprocess.run(
        ["c++", *options, "-c", source, "-o", tmp_path / "program.o"], check=True
    )


# ---- the examples ----


def run_example(name, *arguments, text=None):
    return subprocess.run(
        [BUILD / "examples" / name, *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        env=dict(os.environ),
    )


def test_the_examples_ask_import_and_print(server: Server):
    assert run_example("ask_revision", server.address, *M4, "x").stdout == "0\n"
    text = "".join(f"v{number} all x {number}.1\n" for number in range(500))
    done = run_example("import_batch", server.address, text=text)
    assert (done.returncode, done.stdout) == (0, "500 imported, 0 refused\n")
    done = run_example("import_batch", server.address, text="v all x 1\nv all y no\n")
    assert (done.returncode, done.stdout) == (1, "1 imported, 1 refused\n")
    assert done.stderr.startswith(f"row 2: {server.address}: import-one: ")
    done = run_example("print_export", server.address)
    assert len(done.stdout.splitlines()) == 502
    done = run_example("print_export", server.address, "v7")
    assert done.stdout == "v7\tall\tx\t7.1\n"


def test_the_examples_report_errors(fake):
    fake.refuse()
    for name in ("ask_revision", "print_export", "import_batch"):
        assert "Usage" in run_example(name).stderr
        arguments = M4 + ("x",) if name == "ask_revision" else ()
        done = run_example(name, fake.address, *arguments, text="v all x 1\n")
        assert done.returncode != 0
        assert "can't connect: Connection refused" in done.stderr
