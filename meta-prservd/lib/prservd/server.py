# SPDX-License-Identifier: MIT
"""A prservd that lives as long as this process.

The socket belongs to this process, which hands it over as a service manager does. So the address is
known before the server has started, and the server can be started again on it: clients that connect
meanwhile wait.
"""

import os
import socket
import subprocess
import threading
import time

from prservd.client import Client, ServerError

START_S = 10
STOP_S = 6  # more than prservd needs at most
BACKLOG = 4096
FIRST_DESCRIPTOR = 3  # sd_listen_fds(3)
QUICK_S = 2  # a server that ends sooner is not started again at once
MOST_QUICK_ENDS = 5


class StartError(Exception):
    """The server can't be started; the text says why."""


def clean_environment(environment):
    """Returns the environment without options of other servers, and without sockets."""
    prefixes = ("PRSERVD_", "PRSERV_", "LISTEN_")
    return {k: v for k, v in environment.items() if not k.startswith(prefixes)}


def last_line(log, position):
    """Returns the last line that was added to a log since then."""
    try:
        with open(log, "rb") as file:
            file.seek(position)
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""


def size_of(path):
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


class Server:
    """A server on a free port of 127.0.0.1. options: words for prservd; log: its log file."""

    def __init__(self, program, options, log, environment):
        self.program = program
        self.options = list(options)
        self.log = log
        self.environment = clean_environment(environment)
        self.owner = os.getpid()
        self.process = None
        self.lock = threading.Lock()
        self.is_stopping = False
        self.warn = None  # called with a text when the server can't be kept running
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(BACKLOG)

    @property
    def address(self):
        return "127.0.0.1:%d" % self.socket.getsockname()[1]

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    # ---- starting ----

    def _spawn(self):
        """Starts the program. Only the socket and the standard files are open in it."""
        descriptor = self.socket.fileno()
        environment = dict(self.environment, LISTEN_FDS="1", LISTEN_FDNAMES="full")

        def prepare():  # in the new process
            os.dup2(descriptor, FIRST_DESCRIPTOR)
            os.set_inheritable(FIRST_DESCRIPTOR, True)
            os.setsid()  # Ctrl-C is for BitBake
            os.environ.clear()
            os.environ.update(environment, LISTEN_PID=str(os.getpid()))

        guard = os.open(
            os.devnull, os.O_RDONLY
        )  # 3 is taken: Popen's own pipe is another one
        command = [self.program, "--with-parent", str(self.owner), "--log", self.log]
        try:
            self.process = subprocess.Popen(
                command + self.options,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                close_fds=True,
                pass_fds=(FIRST_DESCRIPTOR,),
                preexec_fn=prepare,
            )
        finally:
            os.close(guard)

    def start(self):
        """Starts the server, and waits until it answers, START_S at most. Raises StartError."""
        position = size_of(self.log)
        try:
            self._spawn()
        except (OSError, subprocess.SubprocessError) as error:
            raise StartError("can't run %s: %s" % (self.program, error)) from None
        try:
            self._wait_for_answer(position)
        except StartError:
            self.stop()
            raise
        thread = threading.Thread(target=self._watch, name="prservd", daemon=True)
        thread.start()

    def _wait_for_answer(self, position):
        deadline = time.monotonic() + START_S
        answered = threading.Event()

        def ask():
            try:
                with Client(self.address, START_S) as client:
                    client.ping()
                answered.set()
            except ServerError:
                pass

        threading.Thread(target=ask, daemon=True).start()
        while not answered.wait(0.005):
            if self.process.poll() is not None:
                reason = last_line(self.log, position) or "it wrote nothing to its log"
                raise StartError(
                    "%s ended with status %s: %s"
                    % (self.program, self.process.returncode, reason)
                )
            if time.monotonic() >= deadline:
                raise StartError(
                    "%s does not answer within %d s; its log is %s"
                    % (self.program, START_S, self.log)
                )

    # ---- keeping it running ----

    def _watch(self):
        """Starts the server again whenever it ends, on the same socket."""
        quick_ends = 0
        while True:
            process = self.process
            began = time.monotonic()
            process.wait()
            quick_ends = quick_ends + 1 if time.monotonic() - began < QUICK_S else 0
            with self.lock:
                if self.is_stopping:
                    return
                if quick_ends >= MOST_QUICK_ENDS:
                    self._give_up(process.returncode)
                    return
                try:
                    self._spawn()
                except (OSError, subprocess.SubprocessError):
                    self._give_up(process.returncode)
                    return
            time.sleep(0.1 * quick_ends)

    def _give_up(self, status):
        self.socket.close()  # clients get an error instead of a wait
        if self.warn:
            self.warn(
                "prservd ended again and again, the last time with status %s; its log is %s"
                % (status, self.log)
            )

    def stop(self):
        """Ends the server."""
        with self.lock:
            self.is_stopping = True
            if self.is_running():
                self.process.terminate()
        if self.process is not None:
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.socket.close()
