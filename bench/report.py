# SPDX-License-Identifier: MIT
"""Formats the figures as tables for the terminal and for doc/performance.md."""

import textwrap

BEGIN = "<!-- bench {}: begin; written by ./dev bench -->"
END = "<!-- bench {}: end -->"


def time_text(us):
    if us is None:
        return ""
    if us < 1000:
        return f"{us:.0f} us"
    return f"{us / 1e3:.1f} ms" if us < 1e6 else f"{us / 1e6:.1f} s"


def number(value):
    """Formats a value with three significant digits or all digits before the point."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def with_unit(value, unit):
    return f"{number(value)} {unit}".strip()


def target_text(check):
    if check.at_least is not None:
        return "at least " + with_unit(check.at_least, check.unit)
    if check.at_most is not None:
        return "at most " + with_unit(check.at_most, check.unit)
    return ""


def table(head, rows, right=()):
    """Returns an aligned Markdown table; the columns named in `right` are right-aligned."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(row):
        cells = [
            cell.rjust(width) if name in right else cell.ljust(width)
            for cell, width, name in zip(row, widths, head)
        ]
        return "| " + " | ".join(cells) + " |"

    rules = [
        "-" * (width - 1) + (":" if name in right else "-")
        for width, name in zip(widths, head)
    ]
    return "\n".join([line(head), line(rules), *(line(row) for row in rows)])


def targets_table(records):
    rows = [
        [
            record.name if check is record.checks[0] else "",
            check.what,
            with_unit(check.value, check.unit),
            target_text(check),
            record.verdict(check),
        ]
        for record in records
        for check in record.checks
    ]
    return table(["scenario", "figure", "value", "target", ""], rows, right=["value"])


def figures_table(records):
    rows = [
        [
            record.name if number_of_row == 0 else "",
            subject,
            f"{figures.rate:,.0f}",
            time_text(figures.p50_us),
            time_text(figures.p99_us),
            time_text(figures.p999_us),
            f"{figures.cpu_us:.1f} us" if figures.cpu_us is not None else "",
            f"{figures.peak_mb:.1f} MB" if figures.peak_mb is not None else "",
            f"{figures.batch:.1f}" if figures.batch is not None else "",
        ]
        for record in records
        for number_of_row, (subject, figures) in enumerate(record.medians.items())
    ]
    head = ["scenario", "what", "a second", "p50", "p99", "p99.9"]
    head += ["CPU/request", "peak memory", "rows/commit"]
    return table(head, rows, right=head[2:])


def machine_text(machine):
    programs = ("prservd", "sqlite", "libuv", "redis", "postgresql")
    versions = [f"{name} {machine[name]}" for name in programs if machine[name]]
    return (
        f"{machine['cores']} cores ({machine['cpu']}), {machine['memory_gb']} GB, "
        f"{machine['file_system']}, Linux {machine['kernel']}; " + ", ".join(versions)
    )


def troubles_text(records):
    lines = [
        f"- {record.name}: {trouble}"
        for record in records
        for trouble in record.troubles
    ]
    return "\n".join(["Not measured:", "", *lines]) if lines else ""


def whole(bench, records, machine):
    """Returns the report of these scenarios, as printed and as put into the document."""
    checks = [check for record in records for check in record.checks]
    verdicts = [record.verdict(check) for record in records for check in record.checks]
    with_target = sum(check.score is not None for check in checks)
    missed = verdicts.count("NOT REACHED")
    conditions = (
        f"{bench.date}; {machine_text(machine)}. Medians of {bench.n_rounds} rounds of "
        f"{bench.seconds:g} s"
        + (", small databases (--quick)" if bench.quick else "")
        + "."
    )
    parts = [
        textwrap.fill(conditions, 100),
        f"{with_target} figures have a target; {missed} of them miss it.",
        targets_table(records),
        figures_table(records),
        troubles_text(records),
    ]
    return "\n\n".join(part for part in parts if part)


def put_into(document, section, text):
    """Replaces the text between the section's markers in the document."""
    first, last = BEGIN.format(section), END.format(section)
    content = document.read_text()
    before, begin, rest = content.partition(first)
    _, end, after = rest.partition(last)
    if not (begin and end):
        raise ValueError(f"{document.name} has no line {first} or no line {last}")
    document.write_text(f"{before}{first}\n\n{text}\n\n{last}{after}")
