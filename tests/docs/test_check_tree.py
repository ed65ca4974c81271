# SPDX-License-Identifier: MIT
"""The rules that ./dev lint checks: each is broken once."""

import sys
from pathlib import Path

import pytest
from harness import ROOT

sys.path.insert(0, str(ROOT / "tools"))

import check_tree  # noqa: E402


def including(*headers):
    return "".join(f'#include "{header}"\n' for header in headers)


@pytest.mark.parametrize(
    "name, header",
    [
        ("base/a.c", "store/a.h"),
        ("exec/a.c", "upstream/a.h"),
        ("cli/rows/a.c", "server/a.h"),
        ("client/a.h", "exec/a.h"),
        ("client/a.h", "cli/a.h"),
    ],
)
def test_a_folder_does_not_include_what_is_above_it(name, header):
    sources = {name: including("base/b.h", header)}
    (said,) = check_tree.check_layers(sources)
    assert said.startswith(f"src/{name}:2: ")


@pytest.mark.parametrize(
    "name, header",
    [
        ("store/sqlite/a.c", "store/a.h"),
        ("server/a.c", "base/a.h"),
        ("cli/a.c", "client/prserv.h"),
    ],
)
def test_a_folder_includes_what_is_below_it(name, header):
    assert not list(check_tree.check_layers({name: including(header, "version.h")}))


def test_headers_do_not_include_each_other():
    sources = {
        "wire/a.h": including("wire/b.h", "wire/d.h"),
        "wire/b.h": including("wire/c.h", "wire/d.h"),
        "wire/c.h": including("wire/a.h"),
        "wire/d.h": including("base/gone.h"),
    }
    (said,) = check_tree.check_circles(sources)
    assert "wire/a.h -> wire/b.h -> wire/c.h -> wire/a.h" in said
    del sources["wire/c.h"]
    assert not list(check_tree.check_circles(sources))


def test_long_functions_and_files_are_named():
    def function(n_statements):
        body = "    f();\n" * n_statements
        return f"/* Does it. */\nstatic int a_long_one(\n    int a)\n{{\n{body}}}\n"

    assert not list(check_tree.check_sizes({"wire/a.c": function(56)}))
    (said,) = check_tree.check_sizes({"wire/a.c": function(57)})
    assert said.startswith("src/wire/a.c:2: a_long_one has 61 lines")
    (said,) = check_tree.check_sizes({"wire/a.c": "int x;\n" * 501})
    assert said.startswith("src/wire/a.c: 501 lines")


def test_every_function_is_found():
    text = (ROOT / "src" / "base" / "text.c").read_text()
    names = [name for name, _, _ in check_tree.functions(text)]
    assert len(names) == text.count("\n{\n") > 3 and "?" not in names


def test_lines_of_markdown_end_at_column_100():
    long = "word " * 20
    text = f"{long}\n| {long}|\n$ {long}\n{long}https://example.org/\n{long}x"
    (said,) = check_tree.check_markdown("a.md", text)
    assert said.startswith("a.md:5: 101 columns")


def test_test_files_have_different_names():
    names = ["cli/test_a.py", "cli/test_b.py", "store/test_a.py"]
    (said,) = check_tree.check_test_names(map(Path, names))
    assert said == "store/test_a.py: has the name of cli/test_a.py"
