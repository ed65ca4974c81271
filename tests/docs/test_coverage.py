# SPDX-License-Identifier: MIT
"""tests/coverage/check.py, which ./dev coverage runs, on a short file."""

import subprocess
import sys

import pytest
from harness import ROOT

sys.path.insert(0, str(ROOT / "tests" / "coverage"))

import check  # noqa: E402

SOURCE = """int first(void)
{
    if (fails())
        return error_set(error,
            "out of room");
    return 0;
}
int second(void)
{
    if (fails())
        return 1;
    return 0;
}
"""


@pytest.fixture
def complain(tmp_path, monkeypatch):
    """Returns the complaints about reasons if the given lines were not executed."""
    monkeypatch.setattr(check, "ROOT", tmp_path)
    (tmp_path / "a.c").write_text(SOURCE)

    def complain(reasons, *missed):
        code = (1, 3, 4, 6, 8, 10, 11, 12)
        file = {
            "file": "a.c",
            "lines": [{"line_number": n, "count": int(n not in missed)} for n in code],
            "functions": [
                {"name": "first", "lineno": 1},
                {"name": "second", "lineno": 8},
            ],
        }
        blocks = check.read_blocks({"files": [file]})
        return list(check.complaints(blocks, check.read_reasons(reasons), "reasons"))

    return complain


def test_a_block_needs_a_reason(complain):
    assert complain("") == []
    (complaint,) = complain("", 4)
    assert complaint.startswith("a.c:4: first: ") and complaint.endswith(
        "return error_set(error,"
    )
    assert len(complain("", 3, 4, 6, 8)) == 2  # one for each function


@pytest.mark.parametrize(
    "reason",
    ["first | out of room | full", "first | if (fails()) | full", "first | | full"],
)
def test_a_reason_is_chosen_by_function_and_excerpt(complain, reason):
    assert complain(f"a.c\n    {reason}\n", 4) == []
    assert len(complain(f"a.c\n    {reason}\n", 4, 11)) == 1
    assert complain(f"*\n    {reason.replace('first', '*')}\n", 4) == []


def test_a_reason_of_several_functions_is_one_of_each(complain):
    reasons = "# a comment\na.c\n    first, second | | full\n"
    assert complain(reasons, 4, 11) == []
    (complaint,) = complain(reasons, 4)
    assert complaint.startswith("reasons:3: second: ")


def test_a_reason_for_nothing_is_a_complaint(complain):
    (complaint,) = complain("a.c\n    first | out of room | full\n")
    assert complaint.startswith("reasons:2: first: ")


def test_a_reason_for_timing_needs_no_block_but_its_code(complain):
    assert complain("a.c\n    first | out of room | sometimes: full\n") == []
    assert len(complain("a.c\n    first | out of rooms | sometimes: full\n")) == 1
    assert len(complain("b.c\n    first | out of room | sometimes: full\n")) == 1


@pytest.mark.parametrize(
    "text", ["    first | | full\n", "a.c\n    first | full\n", "a.c\n    first | |\n"]
)
def test_an_unreadable_reason_is_named(text):
    with pytest.raises(check.Unreadable):
        check.read_reasons(text)


def test_the_reasons_of_the_tree_can_be_read():
    reasons = check.read_reasons((ROOT / "tests/coverage/reasons").read_text())
    tracked = subprocess.run(
        ["find", "src", "-name", "*.[ch]"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()
    assert {reason.file for reason in reasons} <= {"*", *tracked}
