# SPDX-License-Identifier: MIT
"""A Patroni cluster on this machine: three nodes of etcd, Patroni and PostgreSQL, and HAProxy. The
configuration is that of doc/operations.md; only addresses, folders and users differ. The programs
are Debian's. They run as an unprivileged user in temporary folders, and end with the process that
started them, even if it is killed (postgres_watch.py)."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

from handbook import block, filled, replaced
from harness import accepts, clean_environment, free_port
from postgres_cluster import (
    PROGRAMS,
    give_to_owner,
    owner,
    require,
    run_as_owner,
    session_folder,
    skip_unless_ci,
)
from postgres_watch import kill_all

PACKAGES = {
    "etcd": "etcd-server",
    "patroni": "patroni",
    "patronictl": "patroni",
    "haproxy": "haproxy",
}
PATH = f"{PROGRAMS}:{os.environ['PATH']}:/usr/sbin"
START_S = 180  # for elections and clones on a busy machine
# Roles and passwords, in the format of a .pgpass file.
PGPASS = block("pgpass") + "".join(
    f"*:*:*:{role}:password-of-{role}\n" for role in ("postgres", "replicator")
)
# What stands for these programs where the handbook uses them. A node is its folder.
SSH = """#!/bin/sh
node=$1
shift
cd "{folder}/$node" && exec sh -c "$*"
"""
SYSTEMCTL = """#!/bin/sh
case "$1 $2" in
"stop patroni")
    pid=$(cat patroni.pid)
    kill "$pid"
    # A process that has ended and was not waited for has no program.
    while readlink "/proc/$pid/exe" >/dev/null; do sleep 0.1; done
    ;;
"start patroni")
    setsid patroni config.yml >>patroni.log 2>&1 </dev/null &
    echo $! >patroni.pid
    ;;
*) exit 2 ;;
esac
"""


def require_patroni():
    """Skips the test if a program is missing, except in CI, where all have to be installed."""
    require()
    missing = [PACKAGES[name] for name in PACKAGES if not shutil.which(name, path=PATH)]
    if missing:
        packages = " ".join(sorted(set(missing)))
        skip_unless_ci(f"not installed for a Patroni cluster: {packages}")
    # Patroni makes semaphores, as the owner of the cluster.
    semaphore = "import multiprocessing; multiprocessing.Lock()"
    if run_as_owner("/usr/bin/python3", "-c", semaphore, check=False).returncode != 0:
        pytest.skip("the owner of PostgreSQL's files may not write to /dev/shm")


def get_json(url):
    """Returns the answer of Patroni's REST API; None without one."""
    with contextlib.suppress(OSError, ValueError):
        with urllib.request.urlopen(url, timeout=2) as answer:
            return json.load(answer)
    return None


def wait_for(what, find):
    """Waits until find() has a result, and returns it. It asks seldom: agents answer slowly."""
    deadline = time.monotonic() + START_S
    while not (found := find()):
        assert time.monotonic() < deadline, f"timeout while waiting for {what}"
        time.sleep(0.2)
    return found


class Node:
    """One of the machines of the handbook: etcd, Patroni and the PostgreSQL that Patroni runs."""

    def __init__(self, cluster, number):
        self.cluster = cluster
        self.name = f"db{number}"
        self.address = f"{cluster.network}.1{number}"
        self.folder = cluster.folder / self.name
        self.folder.mkdir()
        self.api = f"http://{self.address}:{cluster.ports['8008']}"
        give_to_owner(self.folder)
        self.etcd = self.patroni = None

    def own(self, text):
        """Returns a file of db1 as this node has it."""
        lines = []
        for line in text.splitlines():
            # All nodes are named in these lines, which are the same everywhere.
            if "hosts:" not in line and "ETCD_INITIAL_CLUSTER=" not in line:
                line = line.replace("db1", self.name)
                line = line.replace(f"{self.cluster.network}.11", self.address)
            lines.append(line + "\n")
        return "".join(lines)

    def write_files(self):
        folder = self.folder
        files = {"/var/lib/etcd/prserv": folder / "etcd"}
        self.etcd_variables = dict(
            line.split("=", 1)
            for line in self.own(self.cluster.filled("etcd.env", files)).splitlines()
        )
        settings = {
            "ttl: 30": f"ttl: {self.cluster.ttl}",
            "loop_wait: 10": f"loop_wait: {self.cluster.loop_wait}",
            "retry_timeout: 10": f"retry_timeout: {self.cluster.retry_timeout}",
            "/usr/lib/postgresql/15/bin": PROGRAMS,
            "/var/lib/postgresql/15/prserv": folder / "data",
            "/var/lib/postgresql/patroni.pgpass": folder / "patroni.pgpass",
            "/var/run/postgresql": folder,
            "mode: required": "mode: 'off'",
        }
        self.config = folder / "config.yml"
        self.config.write_text(self.own(self.cluster.filled("patroni.yml", settings)))

    def run(self, name, *words, **variables):
        with open(self.folder / f"{name}.log", "ab") as log:
            give_to_owner(log.name)
            return subprocess.Popen(
                [shutil.which(name, path=PATH), *map(str, words)],
                **owner(),
                cwd=self.folder,
                env=clean_environment(PATH=PATH, HOME=str(self.folder), **variables),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start_etcd(self):
        self.etcd = self.run("etcd", **self.etcd_variables)

    def start_patroni(self):
        self.patroni = self.run("patroni", self.config)
        (self.folder / "patroni.pid").write_text(f"{self.patroni.pid}\n")
        give_to_owner(self.folder / "patroni.pid")

    def kill(self):
        """Ends all processes of the node at once (kill -9), as if the machine had failed."""
        kill_all(self.folder)
        for process in self.etcd, self.patroni:
            process.wait()

    def restart(self):
        """Starts a node that was killed."""
        with contextlib.suppress(FileNotFoundError):
            (self.folder / "data" / "postmaster.pid").unlink()
        self.start_etcd()
        self.start_patroni()

    def pause_agent(self):
        """Stops Patroni, and nothing else: PostgreSQL runs on."""
        self.patroni.send_signal(signal.SIGSTOP)


class PatroniCluster:
    """Three nodes and HAProxy, with the timings of Patroni, by default its own defaults."""

    def __init__(self, ttl=30, loop_wait=10, retry_timeout=10):
        self.ttl, self.loop_wait, self.retry_timeout = ttl, loop_wait, retry_timeout
        self.folder = Path(tempfile.mkdtemp(dir=session_folder()))
        give_to_owner(self.folder)
        # Each cluster has a network of its own within loopback, and ports that nothing uses.
        self.network = f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}"
        known = ("5432", "8008", "2379", "2380", "5000")
        self.ports = {port: str(free_port()) for port in known}
        self.pgpass = self.folder / "pgpass"
        self.pgpass.write_text(PGPASS)
        self.pgpass.chmod(0o600)
        give_to_owner(self.pgpass)
        self.nodes = [Node(self, number) for number in (1, 2, 3)]
        self.haproxy = None

    def addresses(self):
        """Returns what stands in place of the handbook's addresses. (A connection within loopback
        comes from 127.0.0.1.)"""
        return {
            "10.0.0.0/24": "127.0.0.0/8",
            "10.0.0.": f"{self.network}.",
            **{f":{port}": f":{mine}" for port, mine in self.ports.items()},
            "port 8008": f"port {self.ports['8008']}",
        }

    def localised(self, text):
        """Returns a text of the handbook with the addresses of this cluster."""
        return replaced(text, self.addresses())

    def filled(self, name, values):
        """Returns a configuration file with the addresses of this cluster, and these values."""
        return self.localised(filled(name, values))

    def uri(self, name):
        """Returns the URI with which a block of the handbook starts prservd."""
        lines = 'prservd() { echo "$2"; }\n' + self.localised(block(name))
        return subprocess.check_output(["sh", "-c", lines], text=True).strip()

    def variables(self):
        """Returns the environment of programs that use the cluster."""
        return {"PATH": PATH, "PGPASSFILE": str(self.pgpass)}

    # ---- start and end ----

    def start_nodes(self):
        for node in self.nodes:
            node.write_files()
            node.start_etcd()
        wait_for("etcd", self._etcd_is_ready)
        for node in self.nodes:
            node.start_patroni()

    def start(self):
        self.start_nodes()
        self.start_haproxy()
        self.wait_for_members(3)
        self.psql(block("roles.sql"), "postgres")
        return self

    def _etcd_is_ready(self):
        health = f"http://{self.nodes[0].address}:{self.ports['2379']}/health"
        return (get_json(health) or {}).get("health") == "true"

    def start_haproxy(self):
        values = {"    user haproxy\n    group haproxy\n": ""}
        config = self.folder / "haproxy.cfg"
        config.write_text(self.filled("haproxy.cfg", values))
        with open(self.folder / "haproxy.log", "ab") as log:
            self.haproxy = subprocess.Popen(
                [shutil.which("haproxy", path=PATH), "-db", "-f", config],
                **owner(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for("HAProxy", lambda: accepts(int(self.ports["5000"])))

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        self.show()
        kill_all(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)

    def show(self):
        """Prints what the agents say; pytest shows it when a test fails."""
        for node in self.nodes:
            for name in "etcd", "patroni":
                with contextlib.suppress(FileNotFoundError):
                    log = (node.folder / f"{name}.log").read_text()
                    print(f"---- {node.name}, {name}\n" + log[-4000:])

    # ---- state ----

    def members(self, but=None):
        """Returns the role of each member that runs, as the nodes see it; but: a node that is not
        asked."""
        for node in self.nodes:
            seen = node is not but and get_json(f"{node.api}/cluster")
            if seen:
                return {
                    member["name"]: member["role"]
                    for member in seen["members"]
                    if member["state"] in ("running", "streaming")
                }
        return {}

    def wait_for_members(self, n):
        """Waits until so many members run, with a leader and a synchronous standby."""

        def are_there():
            roles = sorted(self.members().values())
            return len(roles) == n and {"leader", "sync_standby"} <= set(roles)

        wait_for(f"{n} members of the cluster", are_there)

    def node(self, role, but=None):
        """Waits for a node with this role, and returns it."""

        def find():
            for name, has in self.members(but).items():
                if has == role and (but is None or name != but.name):
                    return next(node for node in self.nodes if node.name == name)
            return None

        return wait_for(f"a {role}", find)

    def leader(self, but=None):
        return self.node("leader", but)

    def tools(self):
        """Creates a folder with ssh and systemctl, which reach the nodes of this cluster."""
        folder = self.folder / "tools"
        folder.mkdir()
        for name, text in ("ssh", SSH), ("systemctl", SYSTEMCTL):
            (folder / name).write_text(text.format(folder=self.folder))
            (folder / name).chmod(0o755)
        return folder

    def psql(self, sql, database="prserv"):
        """Runs statements on the leader as the superuser, and returns their rows."""
        where = f"{self.leader().address}:{self.ports['5432']}"
        done = subprocess.run(
            [f"{PROGRAMS}/psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
            + [f"postgresql://postgres@{where}/{database}"],
            **owner(),
            input=sql,
            env=clean_environment(**self.variables()),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=START_S,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def patronictl(self, *words):
        done = subprocess.run(
            [shutil.which("patronictl", path=PATH), "-c", self.leader().config, *words],
            **owner(),
            env=clean_environment(PATH=PATH, HOME=str(self.folder)),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=START_S,
        )
        assert done.returncode == 0, done
        return done.stdout
