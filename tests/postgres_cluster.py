# SPDX-License-Identifier: MIT
"""PostgreSQL clusters for tests: with Debian's package, in temporary folders, configured as in
production (each commit is synced), as an unprivileged user. They end with the process that
started them (postgres_watch.py)."""

import contextlib
import functools
import glob
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from harness import BUILD, TIMEOUT_S, free_port, poll
from postgres_watch import processes_in, watch

USER = "postgres" if os.getuid() == 0 else None


def _number(path):
    return [int(part) for part in re.findall(r"\d+", path)]


def _programs():
    """The folder with initdb and postgres: Debian's newest, or where PATH says; None without."""
    debian = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=_number)
    postgres = shutil.which("postgres")
    return debian[-1] if debian else postgres and os.path.dirname(postgres)


PROGRAMS = _programs()
BUILT = (
    b"postgresql://USER@HOST" in (BUILD / "prservd").read_bytes()
    and (BUILD / "src" / "store" / "postgres" / "schema.inc").exists()
)


# Runs a test with SQLite and with PostgreSQL; see the fixtures serve and new_database.
both_kinds = pytest.mark.parametrize("kind", ["sqlite", "postgresql"])


def skip_unless_ci(reason):
    """Skips the test, except in CI, where everything that tests need has to be installed."""
    is_ci = os.environ.get("CI", "").lower() in ("true", "1")
    (pytest.fail if is_ci else pytest.skip)(reason)


def require():
    """Skips the test if PostgreSQL is missing, except in CI, where it has to be installed."""
    if not BUILT:
        pytest.skip("prservd was built without PostgreSQL")
    if PROGRAMS is None:
        skip_unless_ci("PostgreSQL is not installed (Debian's package postgresql)")


def owner():
    """Returns the user for subprocess: PostgreSQL refuses to run as root."""
    return {"user": USER, "group": USER, "extra_groups": []} if USER else {}


def give_to_owner(path):
    if USER:
        shutil.chown(path, USER, USER)


@functools.cache
def session_folder():
    """Returns the folder for all clusters of this process; they are removed when it ends."""
    folder = Path(tempfile.mkdtemp(prefix="prservd-pg-")).resolve()
    give_to_owner(folder)
    watch(folder)
    return folder


def run_as_owner(*command, **options):
    options.setdefault("check", True)
    return subprocess.run(
        [str(word) for word in command],
        **owner(),
        cwd=session_folder(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S * 2,
        **options,
    )


class Cluster:
    """One PostgreSQL cluster. It ends with the process that created it, even if that is killed."""

    def __init__(self, settings=(), copy_of=None):
        self.folder = Path(tempfile.mkdtemp(dir=session_folder()))
        self.data = self.folder / "data"
        self.port = free_port()
        self.settings = list(settings)
        self.process = None
        give_to_owner(self.folder)
        if copy_of is None:
            run_as_owner(
                f"{PROGRAMS}/initdb",
                *("-D", self.data, "-U", "prservd", "-A", "trust"),
                *("-E", "UTF8", "--locale=C.UTF-8", "--no-sync"),
            )
        else:
            run_as_owner(
                f"{PROGRAMS}/pg_basebackup",
                *("-D", self.data, "-h", "127.0.0.1", "-p", copy_of.port),
                *("-U", "prservd", "-R", "-X", "stream", "-c", "fast", "--no-sync"),
            )

    def start(self):
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "max_connections": 200,
            "fsync": "on",
            "synchronous_commit": "on",
            "shared_buffers": "64MB",
            "max_wal_size": "256MB",
            **dict(self.settings),
        }
        words = [word for k, v in options.items() for word in ("-c", f"{k}={v}")]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [f"{PROGRAMS}/postgres", "-D", self.data, *map(str, words)],
                **owner(),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.data,
                start_new_session=True,
            )
        poll(self.is_ready, "PostgreSQL", TIMEOUT_S * 2)
        return self

    def is_ready(self):
        assert self.process.poll() is None, (self.folder / "log").read_text()
        ready = run_as_owner(
            f"{PROGRAMS}/pg_isready",
            *("-q", "-h", "127.0.0.1", "-p", self.port),
            check=False,
        )
        return ready.returncode == 0

    def uri(self, database="postgres", host="127.0.0.1", **parameters):
        more = "&".join(f"{k}={v}" for k, v in parameters.items())
        return f"postgresql://prservd@{host}:{self.port}/{database}" + (
            f"?{more}" if more else ""
        )

    def psql(self, sql, database="postgres", check=True):
        """Runs statements and returns their rows, one to a line."""
        done = run_as_owner(
            f"{PROGRAMS}/psql",
            *("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"),
            *("-d", self.uri(database), "-c", sql),
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout.strip()

    def create(self, database, options=""):
        self.psql(f'CREATE DATABASE "{database}" {options}')
        return self.uri(database)

    def _signal_all(self, number):
        """Signals the postmaster and its children, which have their own sessions."""
        main = self.process.pid
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        for pid in [main, *map(int, children)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def pause(self):
        self._signal_all(signal.SIGSTOP)

    def resume(self):
        self._signal_all(signal.SIGCONT)

    def kill(self):
        """Kills all processes (kill -9), as if the machine had failed, the postmaster first."""
        self._signal_all(signal.SIGKILL)
        self.process.wait()
        with contextlib.suppress(FileNotFoundError):
            (self.data / "postmaster.pid").unlink()
        # A backend that outlives the postmaster keeps its shared memory.
        poll(lambda: not processes_in(self.data), "the end of all backends")

    def stop(self, number=signal.SIGINT):
        if self.process is None or self.process.poll() is not None:
            return
        self.resume()
        self.process.send_signal(number)
        self.process.wait(TIMEOUT_S * 2)

    def restart(self):
        self.stop()
        self.start()

    def terminate_backends(self):
        self.psql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'prservd'"
        )

    def promote(self):
        self.psql("SELECT pg_promote()")

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)


def wait_for(what, condition):
    """Polls more slowly than harness.poll(): each check starts a process."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, f"timeout while waiting for {what}"
        time.sleep(0.05)


def name_of(uri):
    """Returns the name of the database."""
    return uri.rpartition("/")[2]


@contextlib.contextmanager
def primary_and_standby(cluster, **settings):
    """Yields the standby of a primary that waits for it at each commit. (The primary is restarted: a
    running one applies the settings only some time later.)"""
    with Cluster(copy_of=cluster, settings=[("hot_standby_feedback", "on")]) as standby:
        cluster.settings += [("synchronous_standby_names", "*"), *settings.items()]
        cluster.restart()
        wait_for(
            "the standby",
            lambda: cluster.psql("SELECT sync_state FROM pg_stat_replication")
            == "sync",
        )
        yield standby
        with contextlib.suppress(ProcessLookupError):
            standby.resume()


@contextlib.contextmanager
def holding(database, statement):
    """Holds the locks of a statement until the function that it yields is called."""
    holder = subprocess.Popen(
        [f"{PROGRAMS}/psql", "-X", "-q", database],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    holder.stdin.write(f"BEGIN; {statement}; \\echo held\n")
    holder.stdin.flush()
    while "held" not in holder.stdout.readline():
        assert holder.poll() is None
    yield lambda: holder.communicate("COMMIT;\n")
    assert holder.poll() is not None
