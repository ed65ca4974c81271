# SPDX-License-Identifier: MIT
"""Describes the machine that the figures depend on, without identifying it."""

import glob
import os
import platform
import re
import subprocess

PGBENCH = "/usr/lib/postgresql/*/bin/pgbench"


def first_line(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.partition("\n")[0]


def number_in(text):
    found = re.search(r"\d+(\.\d+)+", text or "")
    return found and found[0]


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def cpu_model():
    found = re.search(r"model name\s*: (.*)", read("/proc/cpuinfo"))
    return found[1] if found else platform.machine()


def file_system(folder):
    """Returns the type of the file system that holds the folder."""
    best = ("", "unknown")
    for line in read("/proc/self/mounts").splitlines():
        _, where, kind, *_ = line.split()
        inside = os.path.commonpath([where, folder]) == where
        if inside and len(where) >= len(best[0]):
            best = (where, kind)
    return best[1]


def describe(bench):
    memory_kb = int(re.search(r"MemTotal:\s+(\d+)", read("/proc/meminfo"))[1])
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": cpu_model(),
        "memory_gb": round(memory_kb / 1e6),
        "file_system": file_system(bench.folder),
        "kernel": number_in(platform.release()),
        "prservd": number_in(first_line(bench.build / "prservd", "--version")),
        "sqlite": first_line("pkg-config", "--modversion", "sqlite3"),
        "libuv": first_line("pkg-config", "--modversion", "libuv"),
        "postgresql": number_in(first_line(*glob.glob(PGBENCH)[-1:], "--version")),
        "redis": number_in(first_line("redis-benchmark", "--version")),
    }
