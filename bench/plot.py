# SPDX-License-Identifier: MIT
"""Draws the figures that have a target: the distance of each from its target."""

import shutil
import subprocess

from processes import Trouble
from report import target_text, with_unit

ROW_HEIGHT = 22
FURTHEST = 8  # times the target, in either direction; longer bars are cut off

SCRIPT = """
set terminal svg size 1000,{height} font "sans-serif,12" background "white"
set output "{name}"
set title "Distance from the target (logarithmic; further right is better)"
set logscale x 2
set xrange [1.0/{furthest}:{furthest}]
set yrange [{rows}-0.3:-0.7]
set y2range [{rows}-0.3:-0.7]
set xtics ("1/8" 0.125, "1/4" 0.25, "1/2" 0.5, "target" 1, "2 x" 2, "4 x" 4, "8 x" 8)
set grid xtics linecolor rgb "#dddddd"
set arrow from 1,graph 0 to 1,graph 1 nohead linewidth 2 linecolor rgb "#333333" front
set border 11
set lmargin at screen 0.37
set rmargin at screen 0.77
set y2tics
set tics nomirror scale 0
set style fill solid
unset key
$data << END
{data}
END
plot $data using 2:1:(1):2:($1-0.33):($1+0.33):4:ytic(3) with boxxyerror \\
         linecolor rgb variable, \\
     $data using (1):1:y2tic(5) axes x1y2 with dots linecolor rgb "#333333"
"""

REACHED, MISSED, EXCUSED = 0x4C9A6A, 0xC8553D, 0xB0B0B0


def colour(record, check):
    if check.reached:
        return REACHED
    return MISSED if record.verdict(check) == "NOT REACHED" else EXCUSED


def quoted(text):
    return '"' + text.replace('"', "") + '"'


def draw(records, picture):
    """Draws the picture with gnuplot, if any figure has a target."""
    if not shutil.which("gnuplot"):
        raise Trouble("no picture: gnuplot-nox is not installed")
    bars = [
        (record, check)
        for record in records
        for check in record.checks
        if check.score is not None
    ]
    if not bars:
        return
    lines = []
    for row, (record, check) in enumerate(bars):
        score = min(max(check.score, 1 / FURTHEST), FURTHEST)
        label = quoted(f"{record.name}: {check.what}")
        value = quoted(f"{with_unit(check.value, check.unit)} ({target_text(check)})")
        lines.append(f"{row} {score:.4f} {label} {colour(record, check)} {value}")
    script = SCRIPT.format(
        height=110 + ROW_HEIGHT * len(bars),
        name=picture.name,
        furthest=FURTHEST,
        rows=len(bars),
        data="\n".join(lines),
    )
    done = subprocess.run(
        ["gnuplot"],
        input=script,
        cwd=picture.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Trouble(f"no picture: gnuplot: {done.stderr.strip()}")
