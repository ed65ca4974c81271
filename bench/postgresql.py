# SPDX-License-Identifier: MIT
"""Scenarios with PostgreSQL.

They use a cluster of their own with PostgreSQL's default durability, and pgbench, which adds the
same rows to an equal table.

    pg-new   32 connections, beside pgbench with as many rows in each transaction
    pg-two   two servers on one database, beside one server
    pg-5ms   a database 5 ms away
"""

import contextlib
import glob
import os
import re
import shutil
import signal
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from loads import Figures, load, load_new, new_seed, output_of, prepare
from processes import Delay, Missing, Prservd, Process, Trouble, free_port

SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",  # no checkpoint during a measurement
    "listen_addresses": "127.0.0.1",
}

# The INSERT of src/store/postgres/schema.c. The database generates the rows instead of receiving
# them: a thousand packages, as `prserv bench` has them.
SCRIPT = """
INSERT INTO bench_row (package, digest, place, rest, checksum, value)
SELECT 1 + (random() * 999)::int8, sha256(convert_to(u.c, 'UTF8')), u.place, '', u.c, u.v
FROM (SELECT md5(random()::text) || md5(n::text) AS c, n::text AS v,
      int2send(n::int2) || int4send((random() * 1e9)::int4) AS place
      FROM generate_series(1, {rows}) AS n) AS u ON CONFLICT DO NOTHING;
"""


def programs():
    found = glob.glob("/usr/lib/postgresql/*/bin/pgbench")
    if not found:
        raise Missing("PostgreSQL is not installed (Debian's package postgresql)")
    return Path(max(found, key=lambda path: int(path.split("/")[4]))).parent


def owner():
    """Returns the user to run PostgreSQL as: it refuses to run as root."""
    if os.getuid() != 0:
        return {}
    return {"user": "postgres", "group": "postgres", "extra_groups": []}


class Cluster(Process):
    name = "postgresql"
    end_signal = signal.SIGQUIT  # the cluster is thrown away

    def __init__(self, bench):
        self.programs = programs()
        self.own_port = free_port()
        self.folder = self.make_folder(bench)
        data = self.folder / "data"
        settings = {**SETTINGS, "port": self.own_port}
        settings["unix_socket_directories"] = self.folder
        words = [f"--{name}={value}" for name, value in settings.items()]
        command = [self.programs / "postgres", "-D", data, *words]
        try:
            initdb = [self.programs / "initdb", "-D", data, "-U", "prservd"]
            self.run([*initdb, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"])
            super().__init__(command, bench.folder, cwd=self.folder, **owner())
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    @staticmethod
    def make_folder(bench):
        """Makes a folder that PostgreSQL can read; a checkout may be readable by root only."""
        if not owner():
            folder = bench.new_file("postgresql")
            folder.mkdir()
            return folder
        folder = Path(tempfile.mkdtemp(prefix="prservd-bench-", dir="/var/tmp"))
        shutil.chown(folder, "postgres", "postgres")
        return folder

    def run(self, command):
        done = subprocess.run(
            [str(word) for word in command],
            cwd=self.folder,
            **owner(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
            raise Trouble(f"{Path(command[0]).name}: {reason[0]}")
        return done.stdout

    def listens_on(self):
        self.check()
        ready = "database system is ready to accept connections" in self.log
        return ready and f"127.0.0.1:{self.own_port}"

    def stop(self):
        super().stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def uri(self, database="postgres", port=None):
        return f"postgresql://prservd@127.0.0.1:{port or self.own_port}/{database}"

    def psql(self, sql, database="postgres"):
        options = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]
        return self.run([self.programs / "psql", *options, self.uri(database)])

    def new_database(self, name):
        self.psql(f'CREATE DATABASE "{name}"')
        return self.uri(name)


# ---- pgbench ----


def load_pgbench(bench, cluster, database, rows):
    """Inserts `rows` rows in each transaction, through one connection as prservd's writer does."""
    cluster.psql(
        "CREATE TABLE IF NOT EXISTS bench_row (LIKE prserv_row INCLUDING ALL)", database
    )
    script = cluster.folder / "insert.sql"
    script.write_text(SCRIPT.format(rows=rows))
    command = [cluster.programs / "pgbench", "-n", "-M", "prepared", "-c", 1]
    command += ["-T", max(1, round(bench.seconds)), "-f", script, cluster.uri(database)]
    report = output_of(command, "pgbench", 60 + 3 * bench.seconds)
    found = re.search(r"tps = ([\d.]+)", report)
    if not found:
        raise Trouble("the output of pgbench has no tps")
    rate = float(found[1])
    return Figures(rate=rate * rows, batch=rows)


def pg_new(bench, record):
    with Cluster(bench) as cluster:
        with Prservd(bench, database=cluster.new_database("rows")) as prservd:
            known = {"work": "known", "seed": new_seed()}
            prepare(bench, prservd, **known)
            for _ in bench.rounds():
                mine = record.note("prservd", load_new(bench, prservd))
                top = load_pgbench(bench, cluster, "rows", max(1, round(mine.batch)))
                record.note("pgbench", top)
                record.check("of pgbench", mine.rate / top.rate, at_least=0.75)
                again = load(bench, prservd, prepared=True, **known)
                record.note("prservd, known", again)
                record.check("known, a second", again.rate)


# ---- two servers ----


def load_both(bench, servers, **options):
    """Loads all servers at the same time and returns the sum of their rates."""
    with ThreadPoolExecutor(len(servers)) as pool:
        loads = [pool.submit(load_new, bench, server, **options) for server in servers]
        measured = [one.result() for one in loads]
    figures = Figures.median(measured)
    figures.rate = sum(one.rate for one in measured)
    return figures


def pg_two(bench, record):
    """Compares two servers with one, and with one that has the connections of both."""
    with Cluster(bench) as cluster, contextlib.ExitStack() as servers:
        uri = cluster.new_database("rows")
        both = [servers.enter_context(Prservd(bench, database=uri)) for _ in range(2)]
        for _ in bench.rounds():
            one = record.note("prservd, one", load_new(bench, both[0]))
            two = record.note("prservd, two", load_both(bench, both))
            wide = load_new(bench, both[0], connections=64)
            record.note("prservd, one, 64", wide)
            record.check("of one server", two.rate / one.rate, at_least=1.7)
            record.check("of one with 64", two.rate / wide.rate)


# ---- a remote database ----


def pg_5ms(bench, record):
    with Cluster(bench) as cluster, Delay(bench, cluster, 5) as delay:
        uri = cluster.uri(cluster.new_database("rows").rpartition("/")[2], delay.port)
        with Prservd(bench, database=uri) as prservd:
            for _ in bench.rounds():
                mine = load_new(bench, prservd, connections=256)
                record.note("prservd", mine)
                record.check("a second, 256 clients", mine.rate, at_least=12_000)
