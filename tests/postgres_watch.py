# SPDX-License-Identifier: MIT
"""Cleans up after tests with PostgreSQL. This program waits for the end of the process that its
first argument names, even if it is killed; then it kills all processes in a folder, stopped
ones too, and removes the folder."""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time


def processes_in(folder):
    """Returns the processes whose current folder is this one or below it, as PostgreSQL's is."""
    folder = str(folder)
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            place = os.readlink(f"/proc/{name}/cwd").removesuffix(" (deleted)")
            if f"{place}/".startswith(f"{folder}/"):
                found.append(int(name))
    return found


def kill_all(folder):
    """Kills until no process is left: one may start others before it dies."""
    while pids := processes_in(folder):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def watch(folder):
    """Starts this program for the calling process."""
    return subprocess.Popen(
        [sys.executable, "-B", __file__, str(os.getpid()), str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )


def main():
    owner, folder = int(sys.argv[1]), sys.argv[2]
    with contextlib.suppress(ProcessLookupError):
        select.select([os.pidfd_open(owner)], [], [])
    kill_all(folder)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
