# SPDX-License-Identifier: MIT
"""./dev lint: rules about the tree that no compiler and no formatter knows.

- A folder of src/ includes only folders before it in LAYERS; the client's side does not include the
  server's. No headers include each other in a circle.
- A function of src/ has at most 60 lines, a file at most 500.
- No two test files have the same name, because pytest would find only one of them.
- Lines of Markdown end at column 100, unless they can't be broken: tables, URLs, commands after "$ ".
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAYERS = """base revision wire tls store audit exec upstream relay server http daemon client bench cli feed""".split()
# bench and cli share the way a command reads its options.
EXCEPTIONS = {("bench", "cli")}
SERVER_SIDE = {"exec", "upstream", "relay", "server", "http", "daemon"}
CLIENT_SIDE = {"client", "bench", "cli", "feed"}
MAX_COLUMNS = 100
MAX_FUNCTION = 60
MAX_FILE = 500


def is_allowed(folder, included):
    """Whether files of one folder of src/ may include headers of the other."""
    if folder in CLIENT_SIDE and included in SERVER_SIDE:
        return False
    if (folder, included) in EXCEPTIONS:
        return True
    return LAYERS.index(included) <= LAYERS.index(folder)


def includes(text):
    """The headers of src/ that a C file includes, with the numbers of the lines."""
    for number, line in enumerate(text.splitlines(), 1):
        found = re.match(r'#include "((\w+)/[^"]+)"', line)
        if found and found[2] in LAYERS:
            yield number, found[1], found[2]


def check_layers(sources):
    for name, text in sources.items():
        folder = name.split("/")[0]
        for number, _, included in includes(text):
            if not is_allowed(folder, included):
                yield f"src/{name}:{number}: {folder}/ must not include {included}/"


def check_circles(sources):
    """One complaint for each circle of includes."""
    done, path = set(), []

    def visit(name):
        if name in path:
            circle = path[path.index(name) :] + [name]
            yield f"src/{name}: includes itself: {' -> '.join(circle)}"
            return
        if name in done or name not in sources:
            return
        path.append(name)
        for _, header, _ in includes(sources[name]):
            yield from visit(header)
        done.add(path.pop())

    for name in sources:
        yield from visit(name)


def functions(text):
    """Name, first line and number of lines of each function, formatted as the tree is."""
    lines = text.splitlines()
    start = 0
    for at, line in enumerate(lines):
        if line == "{":
            body = at
            start = at - 1
            while start > 0 and re.match(r"[ \w*]", lines[start - 1]):
                start -= 1
        elif line == "}" and start:
            name = re.search(r"(\w+)\(", " ".join(lines[start:body]))
            yield name[1] if name else "?", start + 1, at - start + 1
            start = 0


def check_sizes(sources):
    for name, text in sources.items():
        n_lines = len(text.splitlines())
        if n_lines > MAX_FILE:
            yield f"src/{name}: {n_lines} lines, more than {MAX_FILE}"
        for function, number, n_lines in functions(text):
            if n_lines > MAX_FUNCTION:
                yield f"src/{name}:{number}: {function} has {n_lines} lines, more than {MAX_FUNCTION}"


def check_test_names(paths):
    known = {}
    for path in paths:
        if known.setdefault(path.name, path) != path:
            yield f"{path}: has the name of {known[path.name]}"


def check_markdown(name, text):
    for number, line in enumerate(text.splitlines(), 1):
        unbreakable = line.startswith(("|", "$ ")) or "://" in line
        if len(line) > MAX_COLUMNS and not unbreakable:
            yield f"{name}:{number}: {len(line)} columns, more than {MAX_COLUMNS}"


def tracked_markdown():
    """The Markdown files of the tree, without those that a build folder may hold."""
    command = ["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard", "*.md"]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return [ROOT / name for name in done.stdout.splitlines()]
    except (OSError, subprocess.CalledProcessError):
        return [
            path
            for pattern in ("*.md", "doc/*.md", "src/**/*.md", "contrib/**/*.md")
            for path in ROOT.glob(pattern)
        ]


def complaints():
    folder = ROOT / "src"
    files = sorted(folder.rglob("*.[ch]"))
    sources = {str(file.relative_to(folder)): file.read_text() for file in files}
    yield from check_layers(sources)
    yield from check_circles(sources)
    yield from check_sizes(sources)
    tests = sorted((ROOT / "tests").rglob("test_*.py"))
    yield from check_test_names(path.relative_to(ROOT) for path in tests)
    for path in tracked_markdown():
        if path.exists():
            yield from check_markdown(str(path.relative_to(ROOT)), path.read_text())


def main():
    found = list(complaints())
    for complaint in found:
        print(complaint)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
