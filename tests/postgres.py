"""PostgreSQL for the tests: clusters of their own, in a temporary folder, under an unprivileged
user, tuned as in production (fsync, synchronous_commit).

The tests of a session share one cluster, over all of pytest's processes, each with a database
of its own. Those that stop, kill or pause one, or fail over, have a cluster for themselves.

Nothing stays behind, however pytest ends: a watcher (this file as a program) waits for the end
of the session, kills every process whose working folder lies in the session's, and removes it."""

import contextlib
import csv
import fcntl
import io
import itertools
import os
import pwd
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

from harness import free_port

BINARIES = Path("/usr/lib/postgresql")
SUPERUSER = "postgres"
ROLE = "prserv"  # what servers log in as: the owner of its database, and no more
GUARDED = "guarded"  # a role that needs its password
PASSWORD = "s3cret: with /odd@ characters"
PATIENCE = 60  # seconds; a machine under load is slow to start one

SETTINGS = """
fsync = on
synchronous_commit = on
full_page_writes = on
shared_buffers = 32MB
max_connections = 300
max_wal_senders = 4
wal_level = replica
checkpoint_timeout = 1h
max_wal_size = 4GB
log_line_prefix = '%m [%p] %a %d: '
"""

# guarded: a password, by whatever way it comes
ACCESS = """
local all guarded scram-sha-256
host all guarded all scram-sha-256
local all all trust
local replication all trust
host all all 127.0.0.1/32 trust
host all all ::1/128 trust
"""


def newest_binaries():
    """The folder of the newest PostgreSQL's programs, or None."""
    found = [path.parent for path in BINARIES.glob("*/bin/initdb")]
    number = lambda path: [int(n) for n in path.parent.name.split(".")]  # noqa: E731
    return max(found, key=number, default=None)


def unprivileged():
    """Keywords for subprocess: PostgreSQL refuses to be run by root."""
    if os.geteuid() != 0:
        return {}
    for name in "postgres", "nobody":
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise RuntimeError("no user postgres, and no nobody")


def hand_over(path):
    """Makes it the property of who runs PostgreSQL."""
    user = unprivileged()
    if user:
        os.chown(path, user["user"], user["group"])


def environment(**more):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
    return {**kept, "LC_ALL": "C.UTF-8", "TZ": "UTC", **more}


def run(program, *words, **more):
    done = subprocess.run(
        [str(word) for word in (newest_binaries() / program, *words)],
        env=environment(),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        **{**unprivileged(), **more},
    )
    if done.returncode != 0:
        raise RuntimeError(f"{program}: {done.stdout}{done.stderr}")
    return done.stdout


def wait_for(condition, what, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited in vain for {what}")
        time.sleep(0.01)


def processes_in(folder):
    """The processes that work in a folder, or below: PostgreSQL's all stay in their data folder."""
    folder = str(folder)
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                at = os.readlink(f"/proc/{name}/cwd").removesuffix(" (deleted)")
                if at == folder or at.startswith(folder + "/"):
                    found.append(int(name))
    return found


def kill_all(folder):
    """Returns when none is left."""

    def none_left():
        pids = processes_in(folder)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not pids

    wait_for(none_left, f"the end of the processes in {folder}")


# ---- databases ----


class Database:
    """One database of a cluster."""

    def __init__(self, cluster, name):
        self.cluster = cluster
        self.name = name

    @property
    def uri(self):
        """Through the cluster's socket."""
        return self.cluster.uri(self.name)

    @property
    def tcp_uri(self):
        return self.cluster.tcp_uri(self.name)

    def psql(self, sql, **more):
        return self.cluster.psql(sql, self.name, **more)

    def terminate_backends(self, role=ROLE):
        """Ends every connection of servers to this database; how many there were."""
        rows = self.psql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{self.name}' AND usename = '{role}'"
        )
        return len(rows)

    def raise_at(self, table, sqlstate, times, moment="INSERT"):
        """The next so many rows that go into a table, or the commits of theirs (moment
        "COMMIT"), fail. How many did so far, raised() tells."""
        kind, when = "TRIGGER", "BEFORE INSERT"
        deferred = ""
        if moment == "COMMIT":
            kind, when = "CONSTRAINT TRIGGER", "AFTER INSERT"
            deferred = "DEFERRABLE INITIALLY DEFERRED"
        self.psql(
            # A sequence counts on when a transaction is rolled back.
            f"""DROP TRIGGER IF EXISTS fault ON {table};
            DROP SEQUENCE IF EXISTS faults;
            CREATE SEQUENCE faults;
            CREATE OR REPLACE FUNCTION fault() RETURNS trigger
            SECURITY DEFINER SET search_path = public LANGUAGE plpgsql AS $$
            BEGIN
                IF nextval('faults') <= {times} THEN
                    RAISE EXCEPTION 'a fault of the test' USING ERRCODE = '{sqlstate}';
                END IF;
                RETURN NEW;
            END $$;
            CREATE {kind} fault {when} ON {table} {deferred}
            FOR EACH ROW EXECUTE FUNCTION fault();"""
        )
        self.times = times

    def raised(self):
        ((last, is_called),) = self.psql("SELECT last_value, is_called FROM faults")
        return min(int(last), self.times) if is_called == "t" else 0


class Cluster:
    """A PostgreSQL server and its data. Its port stays when it is started again."""

    def __init__(self, session, name, port):
        self.session = session
        self.folder = session.folder / name
        self.data = self.folder / "data"
        self.log_path = self.folder / "log"
        self.port = port
        self.process = None
        self.numbers = itertools.count(1)
        self.standbys = []

    def create(self, template):
        self.folder.mkdir()
        shutil.copytree(template, self.data)
        for path in (self.folder, self.data, *self.data.rglob("*")):
            hand_over(path)
        self.data.chmod(0o700)
        return self

    @property
    def log(self):
        return self.log_path.read_text(errors="replace")

    def start(self):
        """Returns when it takes connections."""
        # What a kill left there could name a living process by now.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [newest_binaries() / "postgres", "-D", self.data, "-p", str(self.port)]
                + ["-k", self.folder, "-c", "listen_addresses=127.0.0.1"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=environment(),
                start_new_session=True,  # a ^C is for pytest
                **unprivileged(),
            )
        wait_for(self.has_started, "PostgreSQL to start")
        return self

    def has_started(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"PostgreSQL did not start: {self.log}")
        with contextlib.suppress(OSError, IndexError):
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return lines[7].strip() in ("ready", "standby")
        return False

    def stop(self, mode="fast"):
        """smart: waits for its clients to go; fast: sends them away; immediate: as a crash."""
        signals = {
            "smart": signal.SIGTERM,
            "fast": signal.SIGINT,
            "immediate": signal.SIGQUIT,
        }
        self.process.send_signal(signals[mode])
        self.process.wait(PATIENCE)
        wait_for(lambda: not self.processes(), "PostgreSQL's processes to end")

    def restart(self, mode="fast"):
        self.stop(mode)
        return self.start()

    def kill9(self):
        """All of its processes at once."""
        kill_all(self.folder)
        if self.process:
            self.process.wait(PATIENCE)

    def processes(self):
        return processes_in(self.folder)

    def pause(self):
        """It does nothing any more; connections stay, and new ones are not answered."""
        os.kill(self.process.pid, signal.SIGSTOP)  # the first, or there'd be new ones
        seen = set()

        def all_are_stopped():
            new = set(self.processes()) - seen
            for pid in new:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            seen.update(new)
            return not new

        wait_for(all_are_stopped, "PostgreSQL's processes to stop")

    def resume(self):
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def close(self):
        """At the end of a test: nothing of it is needed any more, nor its standbys."""
        for each in self, *self.standbys:
            each.kill9()
            shutil.rmtree(each.folder, ignore_errors=True)

    # ---- asking it ----

    def uri(self, database, role=ROLE):
        at = quote(str(self.folder), safe="")
        return f"postgresql://{role}@/{database}?host={at}&port={self.port}"

    def tcp_uri(self, database, role=ROLE, port=None, **parameters):
        """parameters: as libpq's; port: of a proxy before it."""
        parameters = {"sslmode": "disable", **parameters}
        words = "&".join(f"{k}={quote(str(v), safe='')}" for k, v in parameters.items())
        return f"postgresql://{role}@127.0.0.1:{port or self.port}/{database}?{words}"

    def psql(self, sql, database="postgres", role=SUPERUSER):
        """Runs SQL, all of it in one transaction if it can; the last rows, as lists of texts."""
        done = subprocess.run(
            [newest_binaries() / "psql", "-X", "-q", "-t", "--csv"]
            + ["-v", "ON_ERROR_STOP=1", "-d", self.uri(database, role)],
            input=sql.encode(),  # bytes both ways: line ends stay what they are
            env=environment(PGCLIENTENCODING="UTF8"),
            capture_output=True,
            timeout=PATIENCE,
        )
        if done.returncode != 0:
            raise RuntimeError(f"psql: {done.stderr.decode()}")
        return list(csv.reader(io.StringIO(done.stdout.decode(), newline="")))

    def create_database(self, options="", owner=ROLE):
        """With a name that nothing else of the session has."""
        name = f"t_{os.getpid()}_{next(self.numbers)}"
        self.psql(f'CREATE DATABASE {name} OWNER "{owner}" {options}')
        return Database(self, name)

    def configure(self, **settings):
        """Settings that a reload is enough for."""
        for name, value in settings.items():
            self.psql(f"ALTER SYSTEM SET {name} = '{value}'")
        self.psql("SELECT pg_reload_conf()")

    # ---- standby ----

    def standby(self, name="standby1", synchronous=True):
        """A started copy that follows. synchronous: commits wait until it shows their rows
        (remote_apply)."""
        copy = Cluster(self.session, f"{self.folder.name}-{name}", free_port())
        self.standbys.append(copy)
        copy.folder.mkdir()
        hand_over(copy.folder)
        source = f"host={self.folder} port={self.port} user={SUPERUSER} application_name={name}"
        words = ["-D", copy.data, "-R", "-X", "stream", "-c", "fast", "--no-sync"]
        run("pg_basebackup", *words, "-d", source)
        copy.start()
        if synchronous:
            self.configure(
                synchronous_standby_names=name, synchronous_commit="remote_apply"
            )
        state = "sync" if synchronous else "async"
        wait_for(
            lambda: [state, "streaming"]
            in self.psql("SELECT sync_state, state FROM pg_stat_replication"),
            "the standby to follow",
        )
        return copy

    def promote(self):
        """A standby becomes a primary, that waits for no standby."""
        self.psql("ALTER SYSTEM SET synchronous_standby_names = ''")
        self.psql("SELECT pg_reload_conf()")
        self.psql("SELECT pg_promote()")


# ---- the session's ----


class Session:
    """What all processes of one run of pytest share: a folder, a template, a cluster."""

    def __init__(self, shared):
        """shared: a folder that all of them know, and that the session has for itself."""
        self.shared = shared
        with self.alone():
            self.folder = self.find_folder()
        self.numbers = itertools.count(1)

    @contextlib.contextmanager
    def alone(self):
        with open(self.shared / "postgres.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def find_folder(self):
        note = self.shared / "postgres.folder"
        if note.exists():
            return Path(note.read_text())
        # Short, because the name of a socket has an end.
        folder = Path(tempfile.mkdtemp(prefix="prservd-tests-")).resolve()
        hand_over(folder)
        folder.chmod(0o755)
        watch(folder)
        note.write_text(str(folder))
        return folder

    def template(self):
        """A data folder that was made and never started."""
        folder = self.folder / "template"
        with self.alone():
            if not folder.exists():
                self.make_template(folder.with_suffix(".new"))
                folder.with_suffix(".new").rename(folder)
        return folder

    def make_template(self, folder):
        run(
            "initdb",
            *("-D", folder, "--no-sync", "-U", SUPERUSER, "-A", "trust"),
            *("--encoding=UTF8", "--locale=C.UTF-8"),
        )
        with open(folder / "postgresql.conf", "a") as settings:
            settings.write(SETTINGS)
        (folder / "pg_hba.conf").write_text(ACCESS)
        roles = (
            f"CREATE ROLE {ROLE} LOGIN;\n"
            f"CREATE ROLE {GUARDED} LOGIN PASSWORD '{PASSWORD}';\n"
        )
        run("postgres", "--single", "-D", folder, "-j", "postgres", input=roles)

    def cluster(self):
        """The one that all share; it runs."""
        note = self.shared / "postgres.port"
        template = self.template()
        with self.alone():
            if note.exists():
                return Cluster(self, "shared", int(note.read_text()))
            cluster = Cluster(self, "shared", free_port()).create(template).start()
            note.write_text(str(cluster.port))
        return cluster

    def private(self):
        """One for a test alone, that runs; close() it."""
        name = f"{os.getpid()}-{next(self.numbers)}"
        return Cluster(self, name, free_port()).create(self.template()).start()


# ---- TLS ----


def make_certificates(folder):
    """An authority of its own, and a certificate for localhost; the paths of both."""
    authority, key = folder / "authority.crt", folder / "server.key"
    request, certificate = folder / "server.csr", folder / "server.crt"
    names = folder / "names"
    names.write_text("subjectAltName = DNS:localhost\n")
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]

    def openssl(*words):
        subprocess.run(
            ["openssl", *map(str, words)], check=True, capture_output=True, cwd=folder
        )

    openssl(
        *("req", "-x509", *new_key, "-days", 2, "-subj", "/CN=authority"),
        *("-keyout", folder / "authority.key", "-out", authority),
    )
    openssl(
        *("req", *new_key, "-subj", "/CN=localhost", "-keyout", key, "-out", request)
    )
    openssl(
        *("x509", "-req", "-in", request, "-CA", authority, "-CAcreateserial"),
        *("-CAkey", folder / "authority.key", "-days", 2, "-extfile", names),
        *("-out", certificate),
    )
    return authority, certificate, key


def enable_tls(cluster, folder):
    """Makes a cluster take TLS by TCP; the authority's certificate, for sslrootcert."""
    authority, certificate, key = make_certificates(folder)
    for path, name in (certificate, "server.crt"), (key, "server.key"):
        target = cluster.data / name
        shutil.copyfile(path, target)
        hand_over(target)
        target.chmod(0o600)
    cluster.configure(ssl="on")
    return authority


# ---- nothing stays behind ----


def session_process():
    """The one that starts and ends with the session: with xdist, the parent of the workers."""
    return os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()


def watch(folder):
    """Starts the watcher; it holds nothing of pytest's."""
    subprocess.Popen(
        [sys.executable, "-B", __file__, str(session_process()), folder],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )


def main():
    owner, folder = int(sys.argv[1]), Path(sys.argv[2])
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(owner)
        select.select([descriptor], [], [])
    kill_all(folder)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
