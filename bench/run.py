"""./dev bench: prservd beside what could be had at most, on this machine, now.

Machines differ and are noisy, so what counts are ratios: all that a line compares is
measured in turn, round after round, and the median is taken. doc/performance.md explains
every line.
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
    """What every measurement has to know."""

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
        """A path that nobody has used."""
        self.n_files += 1
        return self.folder / f"{self.n_files}-{name}"

    def remove_database(self, path):
        for suffix in "", "-wal", "-shm":
            path.with_name(path.name + suffix).unlink(missing_ok=True)

    def trouble(self, record, reason):
        """Says it; what is kept of it tells nothing about whose machine this is."""
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
    """A section's name stands for its lines."""
    return [line for name in names for line in SECTIONS.get(name, [name])]


def read_options():
    parser = argparse.ArgumentParser(
        prog="./dev bench",
        description="Measures prservd beside what could be had at most. The whole takes "
        "some 15 minutes, and 3 GB of disk in the build folder.",
        epilog="Lines: "
        + ", ".join(NAMES)
        + "; postgresql stands for all that begin with pg-",
    )
    parser.add_argument("--build", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="everything once, for 0.3 s, with small databases: to see that it works",
    )
    parser.add_argument("--only", metavar="NAME[,NAME]", help="only these lines")
    parser.add_argument("--rounds", type=int, metavar="N", help="of each line [5]")
    parser.add_argument(
        "--seconds", type=float, metavar="S", help="of each measurement [3]"
    )
    parser.add_argument(
        "--against",
        metavar="HOST:PORT",
        help="measure this server too, where that makes sense; it keeps what it is asked "
        "to store, so take one whose database may be thrown away",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="for the figures (JSON) and the picture (SVG) [bench/results; with --quick: "
        "build-bench/results]",
    )
    options = parser.parse_args()
    options.only = expand(options.only.split(",")) if options.only else NAMES
    unknown = set(options.only) - set(NAMES)
    if unknown:
        parser.error(f"no line is called {', '.join(sorted(unknown))}; see --help")
    if (options.rounds or 1) < 1 or (options.seconds or 1) <= 0:
        parser.error("--rounds and --seconds have to be greater than 0")
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
    """The figures; returns their path."""
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
    """Its lines, if there are any; into the document, if they are all there."""
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
        bench.say(f"{section}: not the whole, doc/performance.md stays as it is")
    else:
        rewrite_document(section, text, picture)


def run(options, folder):
    bench = Bench(options, folder)
    if bench.against:
        bench.say(f"{bench.against} will store what it is asked to store")
    measure(bench, options.only)
    about = machine.describe(bench)
    results = write_results(bench, options, about)
    for section in SECTIONS:
        write_section(bench, section, about, results)
    failed = [r.name for r in bench.records if not r.checks and not r.left_out]
    if failed:
        bench.say("could not be measured: " + ", ".join(failed))
    return 1 if failed else 0


def interrupt(*_):
    """Once is enough: what ends the servers must not be interrupted itself."""
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
