# SPDX-License-Identifier: MIT
"""The programs that are measured: they are started, stopped and read from /proc here."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

TIMEOUT_S = 30  # for a program to start or to end
HANDSHAKE = b"PRSERVICE 1.0\nneeds-headers: false\n\n"
TICKS = os.sysconf("SC_CLK_TCK")


class Trouble(Exception):
    """A measurement could not be made; the text says why."""


class Missing(Trouble):
    """A program that a scenario needs is not installed; the scenario is left out."""


def clean_environment():
    return {k: v for k, v in os.environ.items() if not k.startswith("PRSERV")}


def wait_until(condition, what):
    """Polls until condition() is true and returns its value."""
    deadline = time.monotonic() + TIMEOUT_S
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise Trouble(f"waited {TIMEOUT_S} s for {what}")
        time.sleep(0.002)
    return result


def talk(address):
    """Connects to a server, sends the handshake and returns the socket."""
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host.strip("[]"), int(port)), TIMEOUT_S)
    connection.sendall(HANDSHAKE)
    return connection


class Process:
    """A server that the benchmark starts; it ends with its block, or with stop_all."""

    name = "?"
    end_signal = signal.SIGTERM
    running = []

    def __init__(self, command, folder, **options):
        """Starts the command; its output goes to a file in the folder. Options are Popen's."""
        self.log_path = folder / f"{self.name}-{time.monotonic_ns()}.log"
        self.begun = time.monotonic()
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C must not reach it; stop() ends it
                **{"cwd": folder, "env": clean_environment(), **options},
            )
        self.running.append(self)
        try:
            self.address = wait_until(self.listens_on, f"{self.name} to listen")
        except BaseException:
            self.stop()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(self.end_signal)
        try:
            self.process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self in self.running:
            self.running.remove(self)

    @classmethod
    def stop_all(cls):
        for process in list(cls.running):
            process.stop()

    @property
    def log(self):
        return self.log_path.read_text(errors="replace")

    def listens_on(self):
        self.check()
        found = re.search(r"Listening on (\S+)", self.log)
        return found and found[1]

    @property
    def port(self):
        return int(self.address.rpartition(":")[2])

    def check(self):
        """Raises Trouble if the process has ended."""
        status = self.process.poll()
        if status is None:
            return
        why = f"exit status {status}"
        if status < 0:
            why = signal.Signals(-status).name
        lines = self.log.strip().splitlines()[-5:]
        raise Trouble(f"{self.name} has ended: {why}; " + " | ".join(lines))

    # ---- /proc ----

    def read_proc(self, name):
        self.check()
        with open(f"/proc/{self.process.pid}/{name}", encoding="utf-8") as file:
            return file.read()

    def cpu_s(self):
        """Returns the processor time of all threads so far."""
        fields = self.read_proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory_mb(self, which):
        """Returns VmHWM (the peak) or VmRSS (the present value)."""
        return (
            int(re.search(rf"{which}:\s+(\d+) kB", self.read_proc("status"))[1]) / 1e3
        )

    def forget_peak(self):
        with open(
            f"/proc/{self.process.pid}/clear_refs", "w", encoding="ascii"
        ) as file:
            file.write("5")


class Ceiling(Process):
    name = "ceiling"

    def __init__(self, bench):
        super().__init__([bench.build / "bench" / "ceiling"], bench.folder)


class Delay(Process):
    """A proxy in front of a server that delays each direction by half the round trip."""

    name = "delay"

    def __init__(self, bench, server, round_trip_ms):
        program = bench.build / "bench" / "delay"
        half_us = round_trip_ms * 500
        super().__init__([program, server.port, half_us], bench.folder)


class Prservd(Process):
    name = "prservd"
    options = ()

    def __init__(self, bench, database=None, upstream=None, audit="on"):
        command = [bench.build / "prservd", "--host", "127.0.0.1", "--port", "0"]
        command += ["--sync", "full", "--audit", audit]
        command += ["--file", database or bench.new_file(f"rows-{audit}.sqlite3")]
        if upstream:
            command += ["--upstream", upstream.address]
        environment = {**clean_environment(), **self.environment(bench)}
        super().__init__([*command, *self.options], bench.folder, env=environment)

    def environment(self, bench):
        return {}

    def wait_for_answer(self):
        """Waits for the first answer; returns the seconds since the start."""
        with talk(self.address) as connection:
            connection.sendall(b'{"ping":{}}\n')
            if not connection.recv(100):
                raise Trouble(
                    "prservd closed the connection without an answer to a ping"
                )
        return time.monotonic() - self.begun


class LimitedPrservd(Prservd):
    """A prservd whose address looks clients up in 1,000 networks."""

    options = (
        "--bind",
        "127.0.0.1:0"
        + "".join(f",allow=10.{n // 250}.{n % 250}.0/24" for n in range(1000))
        + ",allow=127.0.0.0/8",
    )

    def listens_on(self):
        self.check()
        found = re.findall(r"Listening on (\S+)", self.log)
        return found[1] if len(found) == 2 else None


class StalledPrservd(Prservd):
    """A prservd whose disk can be made to stall."""

    def environment(self, bench):
        self.hold = bench.new_file("hold")
        library = bench.build / "bench" / "libhold_sync.so"
        return {"LD_PRELOAD": str(library), "HOLD_SYNC": str(self.hold)}

    @contextlib.contextmanager
    def stalled(self):
        """A commit waits for the disk until the block ends."""
        row = {"version": "stalled", "pkgarch": "all", "checksum": str(time.time())}
        request = json.dumps({"get-pr": row}).encode()
        waiting = self.hold.with_name(self.hold.name + ".waiting")
        with talk(self.address) as connection:
            self.hold.touch()
            try:
                connection.sendall(request + b"\n")
                wait_until(waiting.exists, "a commit that waits for the disk")
                yield
            finally:
                self.hold.unlink()
            if not connection.recv(100):
                raise Trouble("prservd did not answer after the stall")


class Redis(Process):
    """Redis with the durability of prservd: a sync before each answer."""

    name = "redis"

    def __init__(self, bench):
        # redis-tools contains the server too, under the name of a checker: one program is both.
        # So no service needs to be installed.
        program = shutil.which("redis-server") or shutil.which("redis-check-rdb")
        if not (program and shutil.which("redis-benchmark")):
            raise Trouble("redis-tools is not installed")
        self.own_port = free_port()
        folder = bench.new_file("redis")
        folder.mkdir()
        options = f"--port {self.own_port} --bind 127.0.0.1 --dir {folder} --save"
        durability = "--appendonly yes --appendfsync always"
        command = ["redis-server", *options.split(), "", *durability.split()]
        super().__init__(command, bench.folder, executable=program)

    def listens_on(self):
        self.check()
        ready = "Ready to accept connections" in self.log
        return ready and f"127.0.0.1:{self.own_port}"


def free_port():
    """Returns a free port outside the range from which port 0 is served."""
    while True:
        port = 10000 + int.from_bytes(os.urandom(2), "big") % 20000
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
