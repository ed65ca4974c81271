# SPDX-License-Identifier: MIT
"""Poolers in front of PostgreSQL for tests: Debian's pgbouncer and pgpool2, as an unprivileged user
in temporary folders. They end with the process that started them, as clusters do
(postgres_watch.py)."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from handbook import filled
from harness import TIMEOUT_S, accepts, free_port, poll
from postgres_cluster import (
    give_to_owner,
    owner,
    require,
    session_folder,
    skip_unless_ci,
)

PATH = os.environ.get("PATH", "") + ":/usr/sbin"
PASSWORD = "only-for-tests"


class Pooler:
    """Without the program the test is skipped, except in CI, where it has to be installed."""

    program = package = ""

    def __init__(self):
        require()
        self.command = shutil.which(self.program, path=PATH)
        if self.command is None:
            skip_unless_ci(
                f"{self.program} is not installed (Debian's package {self.package})"
            )
        self.folder = Path(tempfile.mkdtemp(dir=session_folder()))
        give_to_owner(self.folder)
        self.port = free_port()
        self.process = None

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        give_to_owner(path)
        return path

    def run(self, *arguments):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [self.command, *map(str, arguments)],
                **owner(),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                start_new_session=True,
            )
        poll(self.is_ready, self.program, TIMEOUT_S * 2)

    def is_ready(self):
        assert self.process.poll() is None, (self.folder / "log").read_text()
        return accepts(self.port)

    def stop(self, number=signal.SIGQUIT):
        """Ends it at once. (SIGTERM does so only up to PgBouncer 1.22: later ones wait for their
        clients to leave.)"""
        if self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(TIMEOUT_S)

    def restart(self, number=signal.SIGQUIT):
        self.stop(number)
        self.start()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class PgBouncer(Pooler):
    """With the configuration of the handbook, for one database of a cluster."""

    program = package = "pgbouncer"

    def __init__(self, cluster, database, pool_mode="session"):
        super().__init__()
        self.cluster, self.database = cluster, database
        self.write("userlist.txt", f'"prservd" "{PASSWORD}"\n')
        self.configure(pool_mode)

    def configure(self, pool_mode):
        """Writes the configuration. SIGHUP makes a PgBouncer that runs read it again."""
        text = filled(
            "pgbouncer.ini",
            {
                "prserv =": f"{self.database} =",
                "host=10.0.0.11 port=5432": f"host=127.0.0.1 port={self.cluster.port}",
                "6432": self.port,
                "/etc/pgbouncer/userlist.txt": self.folder / "userlist.txt",
                "/var/run/postgresql": self.folder,
                "pool_mode = session": f"pool_mode = {pool_mode}",
            },
        )
        self.write("pgbouncer.ini", text)

    def uri(self):
        return f"postgresql://prservd:{PASSWORD}@127.0.0.1:{self.port}/{self.database}"

    def start(self):
        self.run("pgbouncer.ini")


class PgPool(Pooler):
    """Sends the reads of a session to one of the clusters, which the weights choose."""

    program, package = "pgpool", "pgpool2"

    def __init__(self, primary, standby):
        super().__init__()
        self.clusters = (primary, standby)

    def uri(self, database):
        return f"postgresql://prservd@127.0.0.1:{self.port}/{database}"

    def start(self):
        settings = {
            "listen_addresses": "'127.0.0.1'",
            "port": self.port,
            "pcp_port": free_port(),
            "pcp_listen_addresses": "''",
            "unix_socket_directories": f"'{self.folder}'",
            "pcp_socket_dir": f"'{self.folder}'",
            "wd_ipc_socket_dir": f"'{self.folder}'",
            "pid_file_name": f"'{self.folder}/pid'",
            "logdir": f"'{self.folder}'",
            "backend_clustering_mode": "'streaming_replication'",
            "load_balance_mode": "on",
            "sr_check_user": "'prservd'",
            "sr_check_period": 1,
            "health_check_period": 0,
            "num_init_children": 8,
            "connection_cache": "off",
            "failover_on_backend_error": "off",
        }
        for number, cluster in enumerate(self.clusters):
            settings[f"backend_hostname{number}"] = "'127.0.0.1'"
            settings[f"backend_port{number}"] = cluster.port
            settings[f"backend_weight{number}"] = number  # reads go to the standby
            settings[f"backend_flag{number}"] = "'DISALLOW_TO_FAILOVER'"
        text = "".join(f"{name} = {value}\n" for name, value in settings.items())
        empty = self.write("empty", "")
        self.run(
            *("-n", "-f", self.write("pgpool.conf", text)),
            *("-a", empty, "-F", empty),
        )
