# SPDX-License-Identifier: MIT
"""prservd --start and --stop, and the pid file."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from harness import (
    PRSERVD,
    Client,
    clean_environment,
    error_line,
    free_port,
    poll,
    run_prservd,
)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def is_running(pid):
    """Tells whether the process has a thread that is not a zombie."""
    with contextlib.suppress(OSError):
        return bool(states(pid) - {"Z", "X"})
    return False


def states(pid):
    """Returns the states of its threads, as in /proc: T is stopped."""
    stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return {stat.rpartition(")")[2].split()[0] for stat in stats}


def processes_in(folder):
    """Returns the servers whose current folder is this one."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            inside = Path(os.readlink(entry / "cwd")).is_relative_to(folder)
            if inside and os.readlink(entry / "exe") == str(PRSERVD.resolve()):
                found.append(int(entry.name))
    return found


def check_processes(folder, *pids):
    """Waits until only these processes run: one that failed to start may still be ending."""
    poll(lambda: processes_in(folder) == list(pids), f"{pids} alone")


class Daemon:
    """A server in the background, with its own folder and address."""

    def __init__(self, folder, host="127.0.0.1"):
        self.folder = folder
        self.host = host
        self.port = free_port()
        self.pid_file = Path(f"/tmp/PRServer_{host}_{self.port}.pid")
        self.address = ["--host", host, "--port", self.port]

    def start(self, *options, **more):
        return run_prservd("--start", *self.address, *options, cwd=self.folder, **more)

    def stop(self, *options, **more):
        return run_prservd("--stop", *self.address, *options, cwd=self.folder, **more)

    @property
    def pid(self):
        return int(self.pid_file.read_text())

    def get_pr(self, checksum):
        with Client((self.host, self.port)) as client:
            return client.get_pr("m4-1", "all", checksum)

    def accepts(self):
        with contextlib.suppress(OSError):
            socket.create_connection((self.host, self.port), 5).close()
            return True
        return False


@pytest.fixture
def make_daemon(tmp_path):
    """Creates daemons, and stops them at the end of the test."""
    daemons = []

    def make(name="daemon", **more):
        folder = tmp_path / name
        folder.mkdir()
        daemons.append(Daemon(folder, **more))
        return daemons[-1]

    yield make
    for pid in processes_in(tmp_path):
        with contextlib.suppress(ProcessLookupError):  # it may be ending by itself
            os.kill(pid, signal.SIGKILL)
    poll(lambda: not processes_in(tmp_path), "the end of the servers")
    for daemon in daemons:
        daemon.pid_file.unlink(missing_ok=True)


@pytest.fixture
def daemon(make_daemon):
    return make_daemon()


@pytest.fixture
def started(daemon):
    result = daemon.start()
    assert result.returncode == 0, result
    return daemon


@pytest.fixture
def bystander():
    """A process that must not be ended."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    assert process.poll() is None, "the bystander was ended"
    process.kill()
    process.wait()


LOCKER = """
import fcntl, sys, time
with open(sys.argv[1], "r+") as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    print("locked", flush=True)
    time.sleep(600)
"""


@contextlib.contextmanager
def bystander_that_locks(path):
    process = subprocess.Popen([sys.executable, "-c", LOCKER, path], stdout=-1)
    try:
        assert process.stdout.readline() == b"locked\n"
        yield process
        assert process.poll() is None, "the bystander was ended"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


# ---- starting ----


def test_start_returns_when_connections_are_accepted(daemon):
    result = daemon.start()
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert daemon.get_pr("a") == "0"


def test_the_daemon_has_no_terminal_and_a_session_of_its_own(started):
    assert os.getsid(started.pid) not in (os.getsid(0), started.pid)
    for descriptor in 0, 1, 2:
        assert os.readlink(f"/proc/{started.pid}/fd/{descriptor}") == "/dev/null"


def test_file_and_log_of_the_daemon_are_in_the_current_folder(started):
    started.get_pr("a")
    assert (started.folder / "prserv.sqlite3").exists()
    log = (started.folder / "prserv.log").read_text()
    assert f"Listening on 127.0.0.1:{started.port}" in log


def test_log_moves_the_log_of_a_daemon(daemon):
    assert daemon.start("--log", "own.log").returncode == 0
    assert "Listening on" in (daemon.folder / "own.log").read_text()
    assert not (daemon.folder / "prserv.log").exists()


def test_daemons_on_several_ports_do_not_disturb_each_other(make_daemon):
    first, second = make_daemon("first"), make_daemon("second")
    assert first.start().returncode == second.start().returncode == 0
    assert first.stop().returncode == 0
    assert not first.accepts()
    assert second.get_pr("a") == "0"


def test_start_reads_the_environment_too(daemon):
    environment = {"PRSERVD_FILE": "own.db", "PRSERVD_LOG": "own.log"}
    assert daemon.start(environment=environment).returncode == 0
    daemon.get_pr("a")
    assert (daemon.folder / "own.db").exists()
    assert (daemon.folder / "own.log").exists()


# ---- the pid file ----


def test_the_pid_file_is_named_after_address_and_port(started):
    path = Path(f"/tmp/PRServer_127.0.0.1_{started.port}.pid")
    assert path.read_text() == f"{started.pid}\n"
    check_processes(started.folder, started.pid)
    assert path.stat().st_mode & 0o022 == 0


def test_the_pid_file_of_a_host_name_is_named_after_its_address(make_daemon):
    daemon = make_daemon(host="localhost")
    path = Path(f"/tmp/PRServer_127.0.0.1_{daemon.port}.pid")
    try:
        assert daemon.start().returncode == 0
        assert int(path.read_text()) in processes_in(daemon.folder)
        assert daemon.stop().returncode == 0
        assert not path.exists()
    finally:
        path.unlink(missing_ok=True)


def test_the_pid_file_is_named_after_the_requested_port(daemon):
    host = ".".join(["127", *(str(1 + byte % 250) for byte in os.urandom(3))])
    path = Path(f"/tmp/PRServer_{host}_0.pid")
    options = ["--host", host, "--port", "0"]
    try:
        assert daemon.start(*options).returncode == 0
        assert int(path.read_text()) in processes_in(daemon.folder)
        assert daemon.stop(*options).returncode == 0
        assert not path.exists()
    finally:
        path.unlink(missing_ok=True)


def test_the_pid_file_is_named_after_the_first_address(daemon):
    daemon.address = ["--bind", f"127.0.0.1:{daemon.port}", "--bind", "127.0.0.2:0"]
    assert daemon.start().returncode == 0
    check_processes(daemon.folder, daemon.pid)


def test_the_default_address_is_named_in_the_pid_file(daemon):
    path = Path(f"/tmp/PRServer_0.0.0.0_{daemon.port}.pid")
    daemon.address = ["--port", daemon.port]
    try:
        assert daemon.start().returncode == 0
        assert int(path.read_text()) in processes_in(daemon.folder)
        assert daemon.stop().returncode == 0
    finally:
        path.unlink(missing_ok=True)


def test_the_pid_file_of_a_unix_socket_is_named_after_it(tmp_path):
    bind = ["--bind", f"unix://{tmp_path}/socket"]
    try:
        done = run_prservd("--start", *bind, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        name = f"/tmp/PRServer_unix{str(tmp_path).replace('/', '_')}_socket.pid"
        assert os.path.exists(name)
    finally:
        done = run_prservd("--stop", *bind, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not os.path.exists(name)


@pytest.mark.parametrize("way", ["option", "variable"])
def test_pidfile_changes_the_name(daemon, way):
    options = ["--pidfile", "own.pid"] if way == "option" else []
    environment = {} if options else {"PRSERVD_PIDFILE": "own.pid"}
    path = daemon.folder / "own.pid"
    assert daemon.start(*options, environment=environment).returncode == 0
    assert [int(path.read_text())] == processes_in(daemon.folder)
    assert not daemon.pid_file.exists()
    assert daemon.stop(*options, environment=environment).returncode == 0
    assert not path.exists() and not daemon.accepts()


def dead_pid():
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.mark.parametrize("text", ["", "nonsense\n", "-1\n", "1\n", "dead"])
def test_a_stale_pid_file_is_replaced(daemon, text):
    daemon.pid_file.write_text(f"{dead_pid()}\n" if text == "dead" else text)
    assert daemon.start().returncode == 0
    assert daemon.get_pr("a") == "0"
    check_processes(daemon.folder, daemon.pid)


def test_the_pid_file_of_a_killed_server_is_replaced(started):
    killed = started.pid
    os.kill(killed, signal.SIGKILL)
    poll(lambda: not is_running(killed), "the end of the server")
    assert started.pid_file.exists()
    assert started.start().returncode == 0
    assert started.pid != killed
    assert started.get_pr("a") == "0"


def test_a_stale_pid_file_may_hold_the_pid_of_a_living_process(daemon, bystander):
    daemon.pid_file.write_text(f"{bystander.pid}\n")
    assert daemon.start().returncode == 0
    check_processes(daemon.folder, daemon.pid)
    assert daemon.stop().returncode == 0


def check_refused(daemon):
    assert str(daemon.pid_file) in error_line(daemon.start(), 1)
    assert not daemon.accepts()
    check_processes(daemon.folder)


def test_a_symbolic_link_as_pid_file_is_not_followed(daemon, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    daemon.pid_file.symlink_to(precious)
    check_refused(daemon)
    assert precious.read_text() == "precious"
    assert daemon.pid_file.is_symlink()


def test_a_dangling_symbolic_link_as_pid_file_creates_no_file(daemon, tmp_path):
    daemon.pid_file.symlink_to(tmp_path / "nothing")
    check_refused(daemon)
    assert not (tmp_path / "nothing").exists()


@pytest.fixture
def linked(daemon):
    """A file that has a second name at the path of the pid file."""
    precious = daemon.pid_file.with_suffix(".precious")  # on one file system
    precious.write_text("precious")
    os.link(precious, daemon.pid_file)
    yield precious
    precious.unlink()


def test_a_hard_link_as_pid_file_is_refused(daemon, linked):
    check_refused(daemon)
    assert linked.read_text() == "precious"


def test_a_fifo_as_pid_file_is_refused_at_once(daemon):
    os.mkfifo(daemon.pid_file)
    check_refused(daemon)


@needs_root
@pytest.mark.parametrize("mode", [0o644, 0o666])
def test_a_pid_file_of_another_user_is_refused(daemon, mode):
    daemon.pid_file.write_text("1\n")
    daemon.pid_file.chmod(mode)
    os.chown(daemon.pid_file, 65534, 65534)
    check_refused(daemon)
    assert daemon.pid_file.read_text() == "1\n"


# ---- failed starts ----


def test_a_second_start_is_refused(started):
    pid = started.pid
    line = error_line(started.start(), 1)
    assert "running" in line and str(started.pid_file) in line
    assert started.pid == pid
    check_processes(started.folder, pid)
    assert started.get_pr("a") == "0"


def test_one_of_several_simultaneous_starts_succeeds(daemon):
    words = [PRSERVD, "--start", *daemon.address]
    starts = [
        subprocess.Popen(
            [str(word) for word in words],
            cwd=daemon.folder,
            env=clean_environment(),
            stderr=subprocess.DEVNULL,
        )
        for _ in range(6)
    ]
    assert sorted(start.wait(30) for start in starts) == [0, 1, 1, 1, 1, 1]
    check_processes(daemon.folder, daemon.pid)
    assert daemon.get_pr("a") == "0"


def test_start_reports_why_the_database_cannot_be_opened(daemon):
    (daemon.folder / "text").write_text("no database\n" * 100)
    line = error_line(daemon.start("--file", "text"), 1)
    assert "text" in line and "not an SQLite database" in line
    assert line.removeprefix("prservd: ") in (daemon.folder / "prserv.log").read_text()
    assert (daemon.folder / "text").read_text() == "no database\n" * 100
    assert not daemon.pid_file.exists()
    assert not daemon.accepts()


def test_start_reports_that_the_port_is_in_use(started):
    pid = started.pid
    line = error_line(started.start("--pidfile", "own.pid"), 1)
    assert f"127.0.0.1:{started.port}" in line and "in use" in line
    assert not (started.folder / "own.pid").exists()
    check_processes(started.folder, pid)


def test_start_reports_that_the_log_cannot_be_opened(daemon):
    line = error_line(daemon.start("--log", "missing/own.log"), 1)
    assert "missing/own.log" in line
    assert not daemon.pid_file.exists()


def test_start_refuses_invalid_options_before_it_forks(daemon):
    error_line(daemon.start("--loglevel", "LOUD"), 2)
    assert not daemon.pid_file.exists()


# ---- stopping ----


def test_stop_ends_the_server_and_waits_until_it_is_gone(started):
    started.get_pr("a")
    pid = started.pid
    result = started.stop()
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert not is_running(pid)
    assert not started.pid_file.exists()
    assert not started.accepts()
    assert "Stopped" in (started.folder / "prserv.log").read_text()


def test_numbers_continue_after_a_stop_and_a_start(started):
    assert started.get_pr("a") == "0"
    assert started.stop().returncode == 0
    assert started.start().returncode == 0
    assert [started.get_pr(name) for name in "ab"] == ["0", "1"]


def has_pending(pid, number):
    status = Path(f"/proc/{pid}/status").read_text()
    masks = [line.split()[1] for line in status.splitlines() if "Pnd:" in line]
    return any(int(mask, 16) & 1 << number - 1 for mask in masks)


def test_stop_does_not_return_before_the_server_is_gone(started):
    pid = started.pid
    os.kill(pid, signal.SIGSTOP)
    poll(lambda: states(pid) == {"T"}, "all threads to stop")
    words = [PRSERVD, "--stop", *started.address]
    stop = subprocess.Popen([str(word) for word in words], env=clean_environment())
    try:
        poll(lambda: has_pending(pid, signal.SIGTERM), "the signal")
        assert stop.poll() is None
        os.kill(pid, signal.SIGCONT)
        assert stop.wait(30) == 0
    finally:
        stop.kill()
        stop.wait()
    assert not is_running(pid)


def test_stop_ends_a_server_with_connected_clients(started):
    with Client(("127.0.0.1", started.port)) as client:
        assert client.get_pr("m4-1", "all", "a") == "0"
        assert started.stop().returncode == 0
        assert client.is_closed()


def test_stop_reads_the_environment_too(started):
    environment = {"PRSERVD_HOST": "127.0.0.1", "PRSERVD_PORT": str(started.port)}
    result = run_prservd("--stop", cwd=started.folder, environment=environment)
    assert result.returncode == 0
    assert not started.accepts()


def test_stop_reports_that_no_server_runs(daemon):
    line = error_line(daemon.stop(), 1)
    assert "no server is running" in line
    assert "--host" in line and "--port" in line


def test_stop_with_another_port_leaves_the_server_running(started):
    options = ["--stop", "--host", "127.0.0.1", "--port", free_port()]
    error_line(run_prservd(*options, cwd=started.folder), 1)
    assert started.get_pr("a") == "0"


def test_stop_names_the_servers_that_run(started):
    options = ["--stop", "--host", "127.0.0.1", "--port", free_port()]
    line = error_line(run_prservd(*options, cwd=started.folder), 1)
    assert "; servers run for: " in line
    assert f"--host 127.0.0.1 --port {started.port}" in line


def test_stop_names_neither_dead_servers_nor_odd_names(daemon):
    dead = Path("/tmp/PRServer_127.0.0.9_1.pid")
    odd = Path("/tmp/PRServer_\x1b[31m_2.pid")
    try:
        dead.write_text("1\n")
        odd.write_text("1\n")
        line = error_line(daemon.stop(), 1)
        assert "127.0.0.9" not in line and "\x1b" not in line
    finally:
        dead.unlink()
        odd.unlink()


def test_stop_removes_the_pid_file_of_a_killed_server(started):
    killed = started.pid
    os.kill(killed, signal.SIGKILL)
    poll(lambda: not is_running(killed), "the end of the server")
    line = error_line(started.stop(), 0)
    assert "no server is running for this address: the last one ended without" in line
    assert str(started.pid_file) in line
    assert not started.pid_file.exists()
    assert "does not exist" in error_line(started.stop(), 1)


def test_stop_does_not_remove_other_files(daemon):
    for content in ["mine\n", "1\n" * 40]:
        daemon.pid_file.write_text(content)
        line = error_line(daemon.stop(), 1)
        assert "is not a pid file" in line
        assert daemon.pid_file.read_text() == content


def test_a_forged_pid_is_never_signalled(daemon, bystander):
    daemon.pid_file.write_text(f"{bystander.pid}\n")
    assert "no server is running" in error_line(daemon.stop(), 0)
    assert bystander.poll() is None


def test_a_pid_forged_while_the_server_runs_is_never_signalled(started, bystander):
    pid = started.pid
    started.pid_file.write_text(f"{bystander.pid}\n")
    assert started.stop().returncode == 0
    assert not is_running(pid)


def test_stop_does_not_follow_symbolic_links(make_daemon):
    running, other = make_daemon("running"), make_daemon("other")
    assert running.start().returncode == 0
    other.pid_file.symlink_to(running.pid_file)
    assert str(other.pid_file) in error_line(other.stop(), 1)
    assert running.get_pr("a") == "0"


def test_a_process_that_locks_a_linked_file_is_never_signalled(daemon, linked):
    with bystander_that_locks(linked):
        assert str(daemon.pid_file) in error_line(daemon.stop(), 1)


def test_pidfile_does_not_overwrite_an_unrelated_file(daemon):
    first = daemon.start("--file", "rows.db", "--pidfile", "own.pid")
    assert first.returncode == 0, first
    assert daemon.stop("--pidfile", "own.pid").returncode == 0
    before = (daemon.folder / "rows.db").read_bytes()
    line = error_line(daemon.start("--file", "rows.db", "--pidfile", "rows.db"), 1)
    assert "rows.db" in line and "pid file" in line
    assert (daemon.folder / "rows.db").read_bytes() == before


def test_a_stopping_server_leaves_the_pid_file_of_its_successor(started):
    started.pid_file.unlink()
    started.pid_file.write_text("1\n")
    for pid in processes_in(started.folder):
        os.kill(pid, signal.SIGTERM)
    check_processes(started.folder)
    assert started.pid_file.exists()


def test_a_start_without_standard_descriptors_works(daemon):
    words = " ".join(str(word) for word in [PRSERVD, "--start", *daemon.address])
    done = subprocess.run(
        ["sh", "-c", f"exec {words} <&- >&- 2>&-"],
        cwd=daemon.folder,
        env=clean_environment(),
    )
    assert done.returncode == 0
    assert daemon.get_pr("a") == "0"
    assert daemon.stop().returncode == 0
