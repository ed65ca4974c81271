# SPDX-License-Identifier: MIT
"""Checks that every block of code which no test executes has a reason.

    check.py COVERAGE.json REASONS

COVERAGE.json is gcovr's; the format of REASONS is described at its top. A block is a run of
consecutive lines of one function that were not executed. Blocks without a reason, and reasons
without a block, are reported with exit status 1.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BY_CHANCE = "sometimes: "


@dataclass
class Block:
    file: str
    function: str
    line: int
    code: list


@dataclass
class Reason:
    line: int
    file: str
    function: str
    excerpt: str
    text: str
    used: bool = False

    @property
    def is_by_chance(self):
        return self.text.startswith(BY_CHANCE)

    def fits(self, block):
        return (
            self.file in ("*", block.file)
            and self.function in ("*", block.function)
            and any(self.excerpt in code for code in block.code)
        )


class Unreadable(Exception):
    pass


def read_reasons(text):
    reasons, file = [], None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if not line[0].isspace():
            file = line.strip()
            continue
        words = [word.strip() for word in line.split(" |")]
        if file is None or len(words) != 3 or not (words[0] and words[2]):
            raise Unreadable(
                f"{number}: not `function | excerpt | reason` below a file"
            )
        for function in words[0].split(", "):
            reasons.append(Reason(number, file, function, *words[1:]))
    return reasons


def function_at(functions, line):
    """Returns the name of the function; functions are sorted by their first line."""
    name = ""
    for begin, function in functions:
        if begin <= line:
            name = function
    return name


def statement(source, at):
    """Returns the line together with its continuation lines."""
    lines = [source[at].strip()]
    while lines[-1].endswith((",", "(", "&&", "||", "+", "=")):
        at += 1
        lines.append(source[at].strip())
    return lines


def blocks_of(file, source):
    """Returns the blocks of one file of gcovr's report."""
    functions = sorted((item["lineno"], item["name"]) for item in file["functions"])
    blocks, before = [], None
    for item in sorted(file["lines"], key=lambda item: item["line_number"]):
        number = item["line_number"]
        if item.get("gcovr/noncode"):
            continue
        place = None
        if item["count"] == 0:
            place = function_at(functions, number)
            if place != before:
                above = source[number - 2].strip()  # often the condition
                blocks.append(Block(file["file"], place, number, [above]))
            blocks[-1].code += statement(source, number - 1)
        before = place
    return blocks


def read_blocks(coverage):
    blocks = []
    for file in coverage["files"]:
        source = (ROOT / file["file"]).read_text().splitlines()
        blocks += blocks_of(file, source)
    return blocks


def is_code(reason):
    path = ROOT / reason.file
    return path.is_file() and all(
        part in path.read_text() for part in (reason.function, reason.excerpt)
    )


def complaints(blocks, reasons, name):
    for block in blocks:
        fitting = [reason for reason in reasons if reason.fits(block)]
        for reason in fitting:
            reason.used = True
        if not fitting:
            yield (
                f"{block.file}:{block.line}: {block.function or 'no function'}: "
                f"not executed by any test, and without a reason: {block.code[1]}"
            )
    for reason in reasons:
        if not reason.used and not (reason.is_by_chance and is_code(reason)):
            yield (
                f"{name}:{reason.line}: {reason.function}: executed by a test, or the code "
                "does not exist any more"
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("coverage", type=Path)
    parser.add_argument("reasons", type=Path)
    options = parser.parse_args()
    blocks = read_blocks(json.loads(options.coverage.read_text()))
    try:
        reasons = read_reasons(options.reasons.read_text())
    except Unreadable as wrong:
        sys.exit(f"{options.reasons}:{wrong}")
    found = list(complaints(blocks, reasons, options.reasons))
    print(
        "\n".join(
            found
            + [
                f"{len(blocks)} blocks not executed by any test; "
                f"{len(found)} complaints"
            ]
        )
    )
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
