# SPDX-License-Identifier: MIT
"""./dev bench: compares prservd with the best that is possible on this machine.

Machines differ and are noisy, so only ratios count. The measurements of a scenario alternate, for
several rounds, and the median is reported. doc/performance.md explains every scenario.
"""

import argparse
import contextlib
import json
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import machine
import plot
import report
from processes import Missing, Process, Trouble
from record import Record
from scenarios import SCENARIOS, SECTIONS

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "doc" / "performance.md"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
NAMES = [name for name, _, _ in SCENARIOS]


class Bench:
    """The settings of a run, which every measurement uses."""

    def __init__(self, options, folder):
        self.build = options.build.resolve()
        self.cache = self.build
        self.folder = folder  # for databases and logs of this run
        self.quick = options.quick
        self.n_rounds = options.rounds or (1 if self.quick else 5)
        self.seconds = options.seconds or (0.3 if self.quick else 3)
        self.against = options.against
        self.date = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
        self.records = []
        self.n_files = 0

    def rounds(self):
        return range(self.n_rounds)

    def size(self, full, quick):
        return quick if self.quick else full

    def new_file(self, name):
        """Returns a path that has not been used before."""
        self.n_files += 1
        return self.folder / f"{self.n_files}-{name}"

    def remove_database(self, path):
        for suffix in "", "-wal", "-shm", "-mark", "-audit":
            path.with_name(path.name + suffix).unlink(missing_ok=True)

    def trouble(self, record, reason):
        """Prints the reason, and keeps it without details that identify the machine."""
        self.say(f"{record.name}: {reason}")
        kept = str(reason)
        for place in self.folder, self.build, ROOT:
            kept = kept.replace(f"{place}/", "")
        if self.against:
            kept = kept.replace(self.against, "HOST:PORT")
        if kept not in record.troubles:
            record.troubles.append(kept)

    def say(self, text):
        print(f"bench: {text}", file=sys.stderr, flush=True)


def expand(names):
    """Replaces the name of a section by the names of its scenarios."""
    return [each for name in names for each in SECTIONS.get(name, [name])]


def read_options():
    parser = argparse.ArgumentParser(
        prog="./dev bench",
        description="Compares prservd with the best that is possible on this machine. A full run "
        "takes about 15 minutes, and 3 GB of disk in the build folder.",
        epilog="Scenarios: "
        + ", ".join(NAMES)
        + "; postgresql stands for all names that begin with pg-",
    )
    parser.add_argument("--build", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="run everything once, for 0.3 s, with small databases, to see that it works",
    )
    parser.add_argument(
        "--only", metavar="NAME[,NAME]", help="run only these scenarios"
    )
    parser.add_argument(
        "--rounds", type=int, metavar="N", help="rounds of each scenario [5]"
    )
    parser.add_argument(
        "--seconds", type=float, metavar="S", help="seconds of each measurement [3]"
    )
    parser.add_argument(
        "--against",
        metavar="HOST:PORT",
        help="measure this server too, where that makes sense; it stores the rows of the "
        "benchmark, so use one whose database may be thrown away",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="folder for the figures (JSON) and the picture (SVG) [bench/results; with --quick: "
        "build-bench/results]",
    )
    options = parser.parse_args()
    options.only = expand(options.only.split(",")) if options.only else NAMES
    unknown = set(options.only) - set(NAMES)
    if unknown:
        parser.error(f"unknown scenario: {', '.join(sorted(unknown))}; see --help")
    if (options.rounds or 1) < 1 or (options.seconds or 1) <= 0:
        parser.error("--rounds and --seconds must be greater than 0")
    return options


def measure(bench, names):
    for name, what, function in SCENARIOS:
        if name not in names:
            continue
        bench.say(f"{name}: {what}")
        record = Record(name, what)
        try:
            function(bench, record)
        except (Trouble, OSError) as trouble:
            bench.trouble(record, trouble)
            record.left_out = isinstance(trouble, Missing)
        bench.records.append(record)


def write_results(bench, options, about):
    """Writes the figures and returns the path of the file."""
    folder = options.out or (
        bench.build / "results" if bench.quick else ROOT / "bench" / "results"
    )
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / (bench.date.replace(" ", "-").replace(":", "") + ".json")
    content = {
        "date": bench.date,
        "machine": about,
        "rounds": bench.n_rounds,
        "seconds": bench.seconds,
        "quick": bench.quick,
        "lines": [record.as_json() for record in bench.records],
    }
    results.write_text(json.dumps(content, indent=1) + "\n")
    bench.say(f"figures: {results}")
    return results


def draw(bench, records, picture):
    try:
        plot.draw(records, picture)
    except Trouble as trouble:
        bench.say(str(trouble))


def rewrite_document(section, text, picture):
    if picture.exists() and picture.is_relative_to(ROOT):
        link = Path("..") / picture.relative_to(ROOT)
        text = f"![Each figure beside its target]({link})\n\n{text}"
    report.put_into(DOCUMENT, section, text)


def write_section(bench, section, about, results):
    """Prints a section's report; rewrites the document if all of its scenarios were measured."""
    names = SECTIONS[section]
    records = [record for record in bench.records if record.name in names]
    if not records:
        return
    text = report.whole(bench, records, about)
    print(text, flush=True)
    suffix = ".svg" if section == "main" else f"-{section}.svg"
    picture = results.with_name(results.stem + suffix)
    draw(bench, records, picture)
    if bench.quick or len(records) < len(names) or any(r.left_out for r in records):
        bench.say(f"{section}: partial or quick run; doc/performance.md is unchanged")
    else:
        rewrite_document(section, text, picture)


def run(options, folder):
    bench = Bench(options, folder)
    if bench.against:
        bench.say(f"{bench.against} will store the rows of the benchmark")
    measure(bench, options.only)
    about = machine.describe(bench)
    results = write_results(bench, options, about)
    for section in SECTIONS:
        write_section(bench, section, about, results)
    failed = [r.name for r in bench.records if not r.checks and not r.left_out]
    if failed:
        bench.say("not measured: " + ", ".join(failed))
    return 1 if failed else 0


def interrupt(*_):
    """Raises KeyboardInterrupt once; the code that ends the servers must not be interrupted."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main():
    options = read_options()
    for number in SIGNALS:
        signal.signal(number, interrupt)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=options.build)).resolve()
    try:
        return run(options, folder)
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130
    finally:
        Process.stop_all()
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
