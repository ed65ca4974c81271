"""Sockets that a parent holds and hands over: they outlive the server, and no client
hears of a restart. The parent here is this test, in the place of systemd."""

import contextlib
import itertools
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from harness import (
    OPENING,
    PATIENCE,
    PRSERVD,
    SANITIZER,
    Client,
    Refused,
    Server,
    clean_environment,
    poll,
)
from test_shutdown import line, request

# Becomes the server, with the descriptors of the first argument as 3, 4, …
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
    """Was it built with libsystemd?"""
    return b"LISTEN_FDS" in PRSERVD.read_bytes()


pytestmark = pytest.mark.skipif(not takes_sockets(), reason="built without systemd")


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
    """A socket of the parent's."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as parents:
        yield parents


def port_of(parents):
    return parents.getsockname()[1]


def test_an_inherited_socket_takes_the_place_of_the_usual_address(activate, held):
    server = activate({held: "prservd.socket"})
    assert server.addresses == [f"127.0.0.1:{port_of(held)}"]
    assert server.get_pr("m4-1", "all", "a") == "0"


def test_it_is_served_beside_an_address_that_was_asked_for(activate, held):
    server = activate({held: "x"}, "--host", "127.0.0.1", "--port", "0")
    assert len(server.addresses) == 2
    for address in server.addresses:
        host, _, port = address.rpartition(":")
        with Client((host, int(port))) as client:
            assert client.ask({"ping": {}}) == {"alive": True}


def test_the_environment_asks_for_an_address_too(activate, held):
    server = activate({held: "x"}, environment={"PRSERVD_BIND": "127.0.0.1:0"})
    assert len(server.addresses) == 2


def test_a_socket_named_ro_is_read_only(activate, held):
    with socket.create_server(("127.0.0.1", 0)) as world:
        server = activate({held: "prservd.socket", world: "ro"})
        assert f"Listening on 127.0.0.1:{port_of(world)} (read-only)" in server.log
        assert f"Listening on 127.0.0.1:{port_of(held)}\n" in server.log
        assert server.get_pr("m4-1", "all", "a") == "0"
        with Client(world.getsockname()) as client:
            assert client.ask({"is-readonly": {}}) == {"readonly": True}
            assert client.get_pr("m4-1", "all", "b") == "1"
        assert server.ask({"test-pr": request("b")["get-pr"]}) == {"value": None}


def test_the_file_of_an_inherited_unix_socket_stays(activate, tmp_path):
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


def test_somebody_elses_sockets_are_not_taken(tmp_path, held):
    environment = {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
    with Server(tmp_path, environment=environment) as server:
        assert str(port_of(held)) not in server.log


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, None])
def test_what_is_no_stream_socket_is_refused(tmp_path, kind):
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
            timeout=PATIENCE,
        )
    assert done.returncode == 1
    assert "can't listen on the inherited descriptor 3" in done.stderr
    assert not (tmp_path / "prserv.sqlite3").exists()


def test_children_see_nothing_of_it(activate, held):
    """The descriptors are closed on exec, and the variables are gone."""
    server = activate({held: "x"})
    flags = Path(f"/proc/{server.process.pid}/fdinfo/3").read_text()
    assert int(flags.split("flags:")[1].split()[0], 8) & os.O_CLOEXEC


def test_start_takes_them_to_the_background(tmp_path, held):
    pid_file = tmp_path / "pid"
    number = held.fileno()
    command = [PRSERVD, "--start", "--pidfile", pid_file]
    subprocess.run(
        [sys.executable, "-I", "-S", "-c", LAUNCHER, str(number), *command],
        cwd=tmp_path,
        env=clean_environment(LISTEN_FDS="1"),
        pass_fds=[number],
        check=True,
        timeout=PATIENCE,
    )
    try:
        with Client(held.getsockname()) as client:
            assert client.get_pr("m4-1", "all", "a") == "0"
    finally:
        subprocess.run([PRSERVD, "--stop", "--pidfile", pid_file], check=True)


# ---- what the service manager is told ----


def test_it_tells_when_it_serves_reloads_and_stops(serve, tmp_path):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(PATIENCE)
        server = serve(environment={"NOTIFY_SOCKET": str(path)})
        assert manager.recv(4096) == b"READY=1"
        server.process.send_signal(signal.SIGHUP)
        assert manager.recv(4096).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert manager.recv(4096) == b"READY=1"
        server.stop()
        assert manager.recv(4096) == b"STOPPING=1"


def test_a_start_that_fails_is_never_ready(tmp_path):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.setblocking(False)
        done = subprocess.run(
            [PRSERVD, "--host", "127.0.0.1", "--port", "0", "--file", tmp_path],
            env=clean_environment(NOTIFY_SOCKET=str(path)),
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE,
        )
        assert done.returncode == 1
        with pytest.raises(BlockingIOError):
            manager.recv(4096)


# ---- restarts ----


def test_who_comes_while_no_server_runs_is_served_by_the_next(activate, held):
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


def test_a_request_that_has_come_is_answered_although_nobody_had_read_it(
    activate, held
):
    """By this server or the next; the client does not have to try again."""
    server = activate({held: "x"})
    accepted = server.client()
    assert accepted.ask({"ping": {}}) == {"alive": True}
    server.process.send_signal(signal.SIGSTOP)
    poll(lambda: state_of(server.process) == "T", "the server to halt")
    waiting = server.client()
    for client in accepted, waiting:
        client.post(request("a"))
    server.process.send_signal(signal.SIGTERM)
    server.process.send_signal(signal.SIGCONT)
    server.process.wait(PATIENCE)
    server.start()
    assert [client.receive() for client in (accepted, waiting)] == [{"value": "0"}] * 2
    accepted.close()
    waiting.close()


def state_of(process):
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_who_waits_for_a_lock_asks_the_next_server(activate, held):
    """Without inherited sockets it would be an error, which ends a build."""
    server = activate({held: "x"})
    file = server.folder / "prserv.sqlite3"
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with server.client() as client:
            client.post(request("a"))
            server.stop()
            with pytest.raises((EOFError, ConnectionError)):
                client.receive()
        other.execute("ROLLBACK")
    server.start()
    assert server.get_pr("m4-1", "all", "a") == "0"


def test_a_lock_that_is_let_go_in_time_costs_nothing(activate, held):
    server = activate({held: "x"})
    file = server.folder / "prserv.sqlite3"
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with server.client() as client:
            client.post(request("a"))
            server.process.send_signal(signal.SIGTERM)
            poll(lambda: "Stopping" in server.log, "the signal to arrive")
            other.execute("ROLLBACK")
            assert client.receive() == {"value": "0"}
    server.process.wait(PATIENCE)


def ask_like_oe_core(address, message):
    """A connection for each request; four tries, without a pause."""
    for attempt in range(4):
        try:
            with Client(address) as client:
                return client.ask(message)
        except (OSError, EOFError):
            if attempt == 3:
                raise


class Load:
    """Builds that ask all the time; what they were given, and what failed."""

    def __init__(self, address, builds=6):
        self.address = address
        self.given = {}
        self.failures = []
        self.over = threading.Event()
        self.threads = [
            threading.Thread(target=self.build, args=(n,)) for n in range(builds)
        ]

    def build(self, build):
        try:
            for number in itertools.count():
                if self.over.is_set():
                    return
                checksum = f"{build}-{number - number % 4 // 3}"  # one in four is known
                value = ask_like_oe_core(self.address, request(checksum))["value"]
                self.given.setdefault(checksum, []).append(value)
        except (OSError, EOFError, Refused) as failure:
            self.failures.append(failure)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(PATIENCE)

    def wait_for_more(self):
        """Every restart has a load to disturb."""
        so_far = len(self.given)
        poll(
            lambda: self.failures or len(self.given) > so_far + len(self.threads),
            "the clients to get on",
        )


def restart_under_load(server, address, restarts):
    with Load(address) as load:
        for number in range(restarts):
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
def test_nor_does_one_that_asks_an_upstream(activate, serve, held, restarts):
    upstream = serve("--loglevel", "INFO", folder="upstream")
    server = activate({held: "x"}, "--loglevel", "INFO", "--upstream", upstream.address)
    restart_under_load(server, held.getsockname(), restarts)


def test_a_client_that_has_said_nothing_yet_tries_again(activate, held):
    server = activate({held: "x"})
    with Client(held.getsockname(), opening=OPENING[:5]) as slow:
        poll(lambda: "Listening" in server.log, "the server")
        server.stop()
        with contextlib.suppress(OSError):
            slow.send(OPENING[5:] + line(request("a")))
        with pytest.raises((EOFError, OSError)):
            slow.receive()
    server.start()
    assert ask_like_oe_core(held.getsockname(), request("a")) == {"value": "0"}
