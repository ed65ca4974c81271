# SPDX-License-Identifier: MIT
"""Real servers and plain sockets for the black-box tests."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("PRSERVD_TEST_BUILD", ROOT / "build"))
PRSERVD = BUILD / "prservd"
PRSERV = BUILD / "prserv"
SANITIZER = os.environ.get("PRSERVD_TEST_SANITIZER", "")
COVERAGE = bool(os.environ.get("PRSERVD_TEST_COVERAGE"))
TIMEOUT_S = 30  # seconds that a poll waits before the test fails

QUICK = ("--sync", "off")  # options of servers that need not be durable

HANDSHAKE = b"PRSERVICE 1.0\nneeds-headers: false\n\n"


def poll(condition, what="the condition", seconds=TIMEOUT_S):
    """Waits until condition() is true, and returns its result."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < deadline, f"timeout while waiting for {what}"
        time.sleep(0.005)


@contextlib.contextmanager
def paused(server):
    """Stops the server's process while the block runs."""
    server.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, server.process.pid, os.WSTOPPED)
    try:
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


def open_files(process):
    """Returns the names of the files that the process has open; none once it has ended."""
    files = []
    folder = f"/proc/{process.pid}/fd"
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                files.append(os.readlink(f"{folder}/{name}"))
    return files


def free_port():
    """Returns a free port, outside the range from which port 0 is served."""
    while True:
        port = 10000 + int.from_bytes(os.urandom(2), "big") % 20000
        with socket.socket() as probe:
            with contextlib.suppress(OSError):
                probe.bind(("0.0.0.0", port))
                return port


def has_ipv6():
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


needs_preload = pytest.mark.skipif(
    bool(SANITIZER), reason="sanitizers want to be loaded first"
)


def accepts(port, host="127.0.0.1"):
    """Tells whether a server accepts connections there."""
    with contextlib.suppress(OSError):
        socket.create_connection((host, port), 5).close()
        return True
    return False


def clean_environment(**extra):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PRSERV")}
    environment.update(extra)
    return environment


def variable(name):
    """Returns the name of the environment variable of an option."""
    return "PRSERVD_" + name.upper().replace("-", "_")


class Server:
    """A prservd process with its log, which it writes to standard error."""

    def __init__(
        self, folder, *options, port=0, environment=None, user=None, bind=True
    ):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log_path = self.folder / f"stderr-{time.monotonic_ns()}.log"
        command = [PRSERVD, "--loglevel", "DEBUG"]
        if bind:
            command += ["--host", "127.0.0.1", "--port", str(port)]
        self.command = [str(word) for word in command] + [str(word) for word in options]
        self.environment = clean_environment(**(environment or {}))
        self.user = user
        self.start()

    def start(self):
        with open(self.log_path, "ab") as log:
            self.log_start = log.tell()
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=self.environment,
                user=self.user,
            )
        poll(lambda: self.process.poll() is not None or self.addresses, "the server")
        assert self.process.poll() is None, self.log
        assert self.addresses, self.log

    @property
    def log(self):
        with open(self.log_path, "rb") as log:
            log.seek(self.log_start)
            return log.read().decode()

    @property
    def addresses(self):
        return re.findall(r"Listening on (\S+)(?: \([A-Za-z0-9, -]+\))?\n", self.log)

    @property
    def port(self):
        return int(self.addresses[0].rpartition(":")[2])

    @property
    def address(self):
        return self.addresses[0]

    def client(self, **options):
        return Client(("127.0.0.1", self.port), **options)

    def ask(self, request):
        with self.client() as client:
            return client.ask(request)

    def get_pr(self, version, pkgarch, checksum, history=False):
        with self.client() as client:
            return client.get_pr(version, pkgarch, checksum, history)

    def restart(self):
        """Stops the server and starts it again on the same port and files."""
        port = self.port
        if self.process.poll() is None:
            self.stop()
        at = self.command.index("--port") + 1
        self.command[at] = str(port)
        self.start()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self, seconds=10):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(seconds if not SANITIZER else seconds * 3)
        assert self.process.returncode == 0, self.log
        assert "Sanitizer" not in self.log and "runtime error" not in self.log, self.log

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if self.process.poll() is not None:
            return
        if kind is None:
            self.process.send_signal(signal.SIGCONT)
            self.stop()
        else:
            print(self.log)
            self.kill()


class Refused(Exception):
    """The server answered with an invoke-error."""


def get_pr_request(version, pkgarch, checksum, history=False):
    arguments = {"version": version, "pkgarch": pkgarch, "checksum": checksum}
    return {"get-pr": {**arguments, "history": history}}


def line(message):
    """Returns the message as it is sent: JSON and a newline."""
    return json.dumps(message).encode() + b"\n"


class Client:
    """A client that sends and receives as BitBake does."""

    def __init__(self, address, handshake=HANDSHAKE, timeout=TIMEOUT_S):
        if isinstance(address, (str, Path)):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(str(address))
        else:
            self.socket = socket.create_connection(address, timeout)
        self.file = self.socket.makefile("rb")
        self.send(handshake)

    def send(self, data):
        self.socket.sendall(data)

    def receive_line(self):
        return self.file.readline()

    def receive(self):
        """Returns one message, read as BitBake does: lines are stripped at the end."""
        line = self.file.readline()
        if not line.endswith(b"\n"):
            raise EOFError(f"connection closed after {line!r}")
        assert len(line) <= 32768, "a line longer than BitBake's chunks"
        message = json.loads(line)
        if not isinstance(message, dict) or "chunk-stream" not in message:
            return message
        chunks = []
        while True:
            line = self.file.readline()
            assert len(line) <= 32768
            if not line.endswith(b"\n"):
                raise EOFError("connection closed in a chunk stream")
            line = line.decode().rstrip()
            if not line:
                return json.loads("".join(chunks))
            chunks.append(line)

    def post(self, request):
        """Sends a request as BitBake would, in chunks if it is long."""
        text = json.dumps(request)
        if len(text) < 32767:
            self.send(text.encode() + b"\n")
            return
        self.send(json.dumps({"chunk-stream": None}).encode() + b"\n")
        for at in range(0, len(text), 32767):
            self.send(text[at : at + 32767].encode() + b"\n")
        self.send(b"\n")

    def ask_raw(self, request):
        self.post(request)
        return self.receive()

    def ask(self, request):
        answer = self.ask_raw(request)
        if isinstance(answer, dict) and "invoke-error" in answer:
            raise Refused(answer["invoke-error"]["message"])
        return answer

    def get_pr(self, version, pkgarch, checksum, history=False):
        arguments = {"version": version, "pkgarch": pkgarch, "checksum": checksum}
        return self.ask({"get-pr": {**arguments, "history": history}})["value"]

    def test_pr(self, version, pkgarch, checksum, history=False):
        arguments = {"version": version, "pkgarch": pkgarch, "checksum": checksum}
        return self.ask({"test-pr": {**arguments, "history": history}})["value"]

    def max_pr(self, version, pkgarch):
        return self.ask({"max-package-pr": {"version": version, "pkgarch": pkgarch}})[
            "value"
        ]

    def import_one(self, version, pkgarch, checksum, value):
        arguments = {"version": version, "pkgarch": pkgarch, "checksum": checksum}
        return self.ask({"import-one": {**arguments, "value": value}})

    def export(self, **arguments):
        return self.ask({"export": arguments})

    def unread_bytes(self):
        """Waits for bytes to read, and returns how many the kernel holds, up to 1 MiB."""
        return len(self.socket.recv(1 << 20, socket.MSG_PEEK))

    def is_closed(self):
        """Tells whether the server has closed the connection without sending anything more."""
        try:
            return self.file.readline() == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def is_alive(address):
    with Client(address) as client:
        return client.ask({"ping": {}}) == {"alive": True}


def run_prservd(*options, cwd, environment=None, timeout=TIMEOUT_S, user=None):
    """Runs prservd until it exits: for invalid options, --start and --stop."""
    return subprocess.run(
        [str(word) for word in (PRSERVD, *options)],
        cwd=cwd,
        env=clean_environment(**(environment or {})),
        capture_output=True,
        text=True,
        timeout=timeout,
        user=user,
        stdin=subprocess.DEVNULL,
    )


def error_line(result, status):
    """Checks the exit status, and returns the only line of standard error."""
    assert result.returncode == status, result
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    return result.stderr.strip()


def get_pr_at_last(server, *arguments):
    """Asks until the answer is not an error any more."""

    def ask():
        with contextlib.suppress(Refused):
            return server.get_pr(*arguments)

    return poll(ask, "an answer")


@contextlib.contextmanager
def asking(server, *arguments, **more):
    """Runs get-pr in a thread; yields the list that its answer or error is appended to."""
    answers = []

    def ask():
        try:
            answers.append(server.get_pr(*arguments, **more))
        except Refused as error:
            answers.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    yield answers
    thread.join()
