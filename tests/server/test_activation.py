# SPDX-License-Identifier: MIT
"""Socket activation: sockets inherited from a parent outlive the server, so that no client
notices a restart. The test takes the place of systemd."""

import contextlib
import ctypes
import errno
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import (
    Refused,
    HANDSHAKE,
    TIMEOUT_S,
    PRSERVD,
    SANITIZER,
    Client,
    Server,
    clean_environment,
    get_pr_request,
    line,
    poll,
)
from load import Load, ask_like_oe_core
from rows import locked

# Executes the server with the descriptors of the first argument as 3, 4, …
LAUNCHER = """
import os, sys
held = [os.dup(int(number)) for number in sys.argv[1].split()]
high = [os.dup2(number, 100 + at, False) for at, number in enumerate(held)]
for at, number in enumerate(high):
    os.dup2(number, 3 + at)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


def takes_sockets():
    """Tells whether prservd was built with libsystemd."""
    return b"LISTEN_FDS" in PRSERVD.read_bytes()


pytestmark = pytest.mark.skipif(not takes_sockets(), reason="built without systemd")


def request(checksum):
    return get_pr_request("m4-1", "all", checksum)


class Activated(Server):
    """A server that inherits sockets: {socket: name}."""

    def __init__(self, folder, sockets, *options, environment=None):
        self.sockets = sockets
        held = {
            "LISTEN_FDS": str(len(sockets)),
            "LISTEN_FDNAMES": ":".join(sockets.values()),
            **(environment or {}),
        }
        super().__init__(folder, *options, environment=held, bind=False)

    def start(self):
        numbers = [held.fileno() for held in self.sockets]
        launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER]
        with open(self.log_path, "ab") as log:
            self.log_start = log.tell()
            self.process = subprocess.Popen(
                [*launcher, " ".join(map(str, numbers)), *self.command],
                cwd=self.folder,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=self.environment,
                pass_fds=numbers,
            )
        poll(lambda: self.process.poll() is not None or self.addresses, "the server")
        assert self.process.poll() is None, self.log


@pytest.fixture
def activate(tmp_path):
    servers = []

    def start(sockets, *options, folder="server", **more):
        servers.append(Activated(tmp_path / folder, sockets, *options, **more))
        return servers[-1]

    yield start
    for server in reversed(servers):
        server.__exit__(None, None, None)


@pytest.fixture
def held():
    """A socket of the parent."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as parents:
        yield parents


def port_of(parents):
    return parents.getsockname()[1]


PIDFD_GETFD = 438
TCP_OPTIONS = {
    (socket.IPPROTO_TCP, socket.TCP_NODELAY): 1,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE): 1,
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE): 60,
}


def servers_end(process, client):
    """Returns a copy of the server's socket for the client."""
    system = ctypes.CDLL(None, use_errno=True).syscall
    process_descriptor = os.pidfd_open(process.pid)
    try:
        for number in os.listdir(f"/proc/{process.pid}/fd"):
            copy = system(PIDFD_GETFD, process_descriptor, int(number), 0)
            if copy < 0 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS):
                pytest.skip("the system does not show the sockets of a process")
            if copy < 0:  # closed meanwhile
                continue
            try:
                end = socket.socket(fileno=copy)
            except OSError:  # not a socket
                os.close(copy)
                continue
            with contextlib.suppress(OSError):
                if end.getpeername() == client.getsockname():
                    return end
            end.close()
    finally:
        os.close(process_descriptor)
    raise AssertionError("the server has no socket for the client")


def check_options(server, client):
    assert client.ask({"ping": {}}) == {"alive": True}
    with servers_end(server.process, client.socket) as end:
        for (level, option), value in TCP_OPTIONS.items():
            assert end.getsockopt(level, option) == value


@pytest.mark.parametrize("is_inherited", [False, True])
def test_clients_sockets_send_at_once_and_notice_a_dead_machine(
    is_inherited, activate, serve, held
):
    server = activate({held: "prservd.socket"}) if is_inherited else serve()
    with server.client() as client:
        check_options(server, client)


def test_so_do_those_of_clients_that_came_before_the_server(activate, held):
    with Client(held.getsockname()) as early:
        server = activate({held: "prservd.socket"})
        check_options(server, early)
        with server.client() as late:
            check_options(server, late)


def test_an_inherited_socket_replaces_the_default_address(activate, held):
    server = activate({held: "prservd.socket"})
    assert server.addresses == [f"127.0.0.1:{port_of(held)}"]
    assert server.get_pr("m4-1", "all", "a") == "0"


def test_an_inherited_socket_is_served_beside_the_given_address(activate, held):
    server = activate({held: "x"}, "--host", "127.0.0.1", "--port", "0")
    assert len(server.addresses) == 2
    for address in server.addresses:
        host, _, port = address.rpartition(":")
        with Client((host, int(port))) as client:
            assert client.ask({"ping": {}}) == {"alive": True}


def test_an_address_in_the_environment_is_served_too(activate, held):
    server = activate({held: "x"}, environment={"PRSERVD_BIND": "127.0.0.1:0"})
    assert len(server.addresses) == 2


def test_a_socket_named_ro_is_read_only(activate, held):
    with socket.create_server(("127.0.0.1", 0)) as world:
        server = activate({held: "prservd.socket", world: "ro"})
        assert f"Listening on 127.0.0.1:{port_of(world)} (read-only)" in server.log
        assert f"Listening on 127.0.0.1:{port_of(held)}\n" in server.log
        assert server.get_pr("m4-1", "all", "a") == "0"
        with Client(world.getsockname()) as client:
            assert client.ask({"is-readonly": {}})["readonly"] is True
            assert client.get_pr("m4-1", "all", "b") == "1"
        assert server.ask({"test-pr": request("b")["get-pr"]}) == {"value": None}


def test_a_socket_named_ro_history_is_both(activate, held):
    with socket.create_server(("127.0.0.1", 0)) as world:
        server = activate({held: "prservd.socket", world: "ro,history"})
        shown = f"Listening on 127.0.0.1:{port_of(world)} (read-only, history)\n"
        assert shown in server.log
        with server.client() as client:
            assert [client.get_pr("m4-1", "all", name) for name in "aba"] == [*"012"]
        with Client(world.getsockname()) as client:
            assert client.get_pr("m4-1", "all", "a") == "0"


def test_the_name_of_a_socket_says_who_may_use_it(activate, held):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        server = activate(
            {held: "assign,allow=127.0.0.0/8", closed: "allow=10.255.0.0/24,history"}
        )
        assert f"{port_of(held)} (assign only, for some addresses)\n" in server.log
        with server.client() as client:
            assert client.get_pr("m4-1", "all", "a") == "0"
            with pytest.raises(Refused, match="only assigns revisions"):
                client.import_one("m4-1", "all", "b", "7")
        with contextlib.suppress(OSError), Client(closed.getsockname()) as client:
            assert client.receive_line() == b""
        poll(lambda: "Refused a connection of 127.0.0.1:" in server.log, "the line")


def test_a_socket_with_an_option_and_an_unknown_word_is_refused(activate, held):
    with pytest.raises(AssertionError, match="',histroy' is unknown after ro,histroy"):
        activate({held: "ro,histroy"})


def test_the_file_of_an_inherited_unix_socket_is_kept(activate, tmp_path):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as parents:
        parents.bind(str(path))
        parents.listen()
        server = activate({parents: "x"})
        assert server.addresses == [f"unix://{path}"]
        server.stop()
        assert path.exists()
        server.start()
        with Client(path) as client:
            assert client.ask({"ping": {}}) == {"alive": True}


def test_sockets_for_another_process_are_ignored(tmp_path, held):
    environment = {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
    with Server(tmp_path, environment=environment) as server:
        assert str(port_of(held)) not in server.log


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, None])
def test_an_inherited_descriptor_must_be_a_stream_socket(tmp_path, kind):
    with contextlib.ExitStack() as stack:
        if kind is None:
            number = stack.enter_context(open(os.devnull)).fileno()
        else:
            number = stack.enter_context(socket.socket(socket.AF_INET, kind)).fileno()
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", LAUNCHER, str(number), PRSERVD],
            cwd=tmp_path,
            env=clean_environment(LISTEN_FDS="1"),
            pass_fds=[number],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
    assert done.returncode == 1
    assert "can't listen on the inherited descriptor 3" in done.stderr
    assert not (tmp_path / "prserv.sqlite3").exists()


def test_invalid_socket_variables_are_reported(tmp_path):
    for value, what in (("some", "LISTEN_FDS"), ("65", "65 are too many")):
        environment = {"LISTEN_FDS": value, "LISTEN_FDNAMES": ":".join("x" * 65)}
        with contextlib.ExitStack() as stack:
            held = [stack.enter_context(socket.socket()) for _ in range(65)]
            with pytest.raises(AssertionError, match=what):
                Activated(
                    tmp_path / value,
                    {each: "x" for each in held},
                    environment=environment,
                )


def test_child_processes_do_not_inherit_the_sockets(activate, held):
    """The descriptors are closed on exec, and the variables are removed."""
    server = activate({held: "x"})
    flags = Path(f"/proc/{server.process.pid}/fdinfo/3").read_text()
    assert int(flags.split("flags:")[1].split()[0], 8) & os.O_CLOEXEC


def test_a_daemon_keeps_inherited_sockets(tmp_path, held):
    pid_file = tmp_path / "pid"
    number = held.fileno()
    command = [PRSERVD, "--start", "--pidfile", pid_file]
    subprocess.run(
        [sys.executable, "-I", "-S", "-c", LAUNCHER, str(number), *command],
        cwd=tmp_path,
        env=clean_environment(LISTEN_FDS="1"),
        pass_fds=[number],
        check=True,
        timeout=TIMEOUT_S,
    )
    try:
        with Client(held.getsockname()) as client:
            assert client.get_pr("m4-1", "all", "a") == "0"
    finally:
        subprocess.run([PRSERVD, "--stop", "--pidfile", pid_file], check=True)


# ---- notifications to the service manager ----


@contextlib.contextmanager
def service_manager(path):
    """A socket that is notified, and a function that returns the next message."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(TIMEOUT_S)

        def receive(*kinds):
            while True:
                message = manager.recv(4096)
                if message.partition(b"=")[0].decode() in kinds:
                    return message

        yield receive


PHASES = ("READY", "RELOADING", "STOPPING")


def test_the_service_manager_is_told_of_start_reload_and_stop(serve, tmp_path):
    path = tmp_path / "notify"
    with service_manager(path) as receive:
        server = serve(environment={"NOTIFY_SOCKET": str(path)})
        assert receive(*PHASES) == b"READY=1"
        server.process.send_signal(signal.SIGHUP)
        assert receive(*PHASES).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert receive(*PHASES) == b"READY=1"
        server.stop()
        assert receive(*PHASES) == b"STOPPING=1"


def test_the_service_manager_is_told_how_the_server_is(serve, tmp_path):
    path = tmp_path / "notify"
    with service_manager(path) as receive:
        serve(environment={"NOTIFY_SOCKET": str(path)})
        assert receive("STATUS") == b"STATUS=Ready: 0 clients, 0 requests so far"


def test_the_service_manager_is_told_at_once_that_the_server_is_not_ready(
    serve, tmp_path
):
    path = tmp_path / "notify"
    database = tmp_path / "rows.sqlite3"
    with service_manager(path) as receive:
        server = serve(*("--file", database), environment={"NOTIFY_SOCKET": str(path)})
        assert receive("STATUS").startswith(b"STATUS=Ready")
        with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            with server.client() as client:
                client.post(request("a"))
                assert receive("STATUS").startswith(
                    b"STATUS=Not ready: requests that need a new revision have waited"
                )
                db.execute("ROLLBACK")
                assert client.receive() == {"value": "0"}
        assert receive("STATUS").startswith(b"STATUS=Ready")


def test_the_watchdog_hears_of_the_loop_if_it_asks(serve, tmp_path):
    path = tmp_path / "notify"
    with service_manager(path) as receive:
        serve(environment={"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "60000000"})
        for _ in range(3):
            assert receive("WATCHDOG", "STOPPING") == b"WATCHDOG=1"


def test_no_watchdog_hears_anything_that_it_did_not_ask_for(serve, tmp_path):
    path = tmp_path / "notify"
    with service_manager(path) as receive:
        server = serve(environment={"NOTIFY_SOCKET": str(path)})
        receive("STATUS")
        server.stop()
        assert receive("WATCHDOG", "STOPPING") == b"STOPPING=1"


def test_a_start_that_fails_is_never_ready(tmp_path):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.setblocking(False)
        done = subprocess.run(
            [PRSERVD, "--host", "127.0.0.1", "--port", "0", "--file", tmp_path],
            env=clean_environment(NOTIFY_SOCKET=str(path)),
            stderr=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
        )
        assert done.returncode == 1
        with pytest.raises(BlockingIOError):
            manager.recv(4096)


# ---- restarts ----


def test_clients_that_connect_during_a_restart_are_served_after_it(activate, held):
    server = activate({held: "x"})
    server.stop()
    clients = [Client(held.getsockname()) for _ in range(50)]
    for number, client in enumerate(clients):
        client.post(request(str(number)))
    server.start()
    given = [client.receive()["value"] for client in clients]
    assert sorted(given, key=int) == [str(number) for number in range(50)]
    for client in clients:
        client.close()


def test_unread_requests_survive_a_restart(activate, held):
    """This server or the next one answers; the client need not try again."""
    server = activate({held: "x"})
    accepted = server.client()
    assert accepted.ask({"ping": {}}) == {"alive": True}
    server.process.send_signal(signal.SIGSTOP)
    poll(lambda: state_of(server.process) == "T", "the server to stop running")
    waiting = server.client()
    for client in accepted, waiting:
        client.post(request("a"))
    server.process.send_signal(signal.SIGTERM)
    server.process.send_signal(signal.SIGCONT)
    server.process.wait(TIMEOUT_S)
    server.start()
    assert [client.receive() for client in (accepted, waiting)] == [{"value": "0"}] * 2
    accepted.close()
    waiting.close()


def state_of(process):
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_client_that_waits_for_a_lock_can_ask_the_next_server(activate, held):
    """Without inherited sockets it would get an error, which ends a build."""
    server = activate({held: "x"})
    with locked(server.folder / "prserv.sqlite3"), server.client() as client:
        client.post(request("a"))
        server.stop()
        with pytest.raises((EOFError, ConnectionError)):
            client.receive()
    server.start()
    assert server.get_pr("m4-1", "all", "a") == "0"


def test_a_lock_released_before_the_end_costs_no_answer(activate, held):
    server = activate({held: "x"})
    with server.client() as client:
        # Until it is accepted, a connection waits for the next server.
        client.ask({"ping": {}})
        with locked(server.folder / "prserv.sqlite3"):
            client.post(request("a"))
            server.process.send_signal(signal.SIGTERM)
            poll(lambda: "Stopping" in server.log, "the signal to arrive")
        assert client.receive() == {"value": "0"}
    server.process.wait(TIMEOUT_S)


def restart_under_load(server, address, restarts):
    """On a busy machine there are fewer restarts after a minute, but ten at least."""
    until = time.monotonic() + 60
    with Load(address) as load:
        for number in range(restarts):
            if number >= 10 and time.monotonic() > until:
                break
            load.wait_for_more()
            assert load.failures == [], f"at restart {number}"
            server.stop()
            server.start()
        load.wait_for_more()
    assert load.failures == []
    values = [value for all_of_it in load.given.values() for value in set(all_of_it)]
    assert len(values) == len(set(values)), "one value for two checksums"
    return load


RESTARTS = [10, pytest.param(100 if not SANITIZER else 20, marks=pytest.mark.slow)]


@pytest.mark.parametrize("restarts", RESTARTS)
def test_a_restart_under_load_loses_no_client(activate, held, restarts):
    server = activate({held: "x"}, "--loglevel", "INFO")
    load = restart_under_load(server, held.getsockname(), restarts)
    with contextlib.closing(
        sqlite3.connect(server.folder / "prserv.sqlite3")
    ) as database:
        stored = set(database.execute("SELECT checksum, value FROM PRMAIN"))
    assert {
        (c, value) for c, values in load.given.items() for value in values
    } <= stored


@pytest.mark.parametrize("restarts", RESTARTS)
def test_a_restart_of_a_server_with_an_upstream_loses_no_client(
    activate, serve, held, restarts
):
    upstream = serve("--loglevel", "INFO", folder="upstream")
    server = activate({held: "x"}, "--loglevel", "INFO", "--upstream", upstream.address)
    restart_under_load(server, held.getsockname(), restarts)


def test_a_client_in_the_handshake_tries_again(activate, held):
    server = activate({held: "x"})
    with Client(held.getsockname(), handshake=HANDSHAKE[:5]) as slow:
        poll(lambda: "Listening" in server.log, "the server")
        server.stop()
        with contextlib.suppress(OSError):
            slow.send(HANDSHAKE[5:] + line(request("a")))
        with pytest.raises((EOFError, OSError)):
            slow.receive()
    server.start()
    assert ask_like_oe_core(held.getsockname(), request("a")) == {"value": "0"}
