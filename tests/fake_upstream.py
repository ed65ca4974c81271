# SPDX-License-Identifier: MIT
"""An upstream that behaves as a test tells it to, and records its requests."""

import contextlib
import json
import random
import socket
import struct
import threading
from collections import deque


def reserve_port(host="127.0.0.1"):
    """Returns a socket whose port refuses connections until a server of the test listens there.

    The socket reserves the port; with SO_REUSEADDR, a server can bind it as well. It is below
    the ephemeral ports, so that neither another test's server nor an outgoing connection
    takes it."""
    while True:
        holder = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            # First without SO_REUSEADDR, which could share a port with another test.
            holder.bind((host, random.randrange(10000, 32768)))
        except OSError:
            holder.close()
            continue
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return holder


CHUNK = 32767
HOLD = "hold"


class Connection:
    """One connection to the fake upstream."""

    def __init__(self, number, connection):
        self.number = number
        self.connection = connection
        self.headers = []
        self.pending = deque()  # requests without an answer so far
        self.is_open = True

    def send(self, data):
        try:
            self.connection.sendall(data)
        except OSError:
            self.is_open = False

    def answer(self, message):
        text = json.dumps(message)
        if len(text) >= CHUNK:
            chunks = [text[at : at + CHUNK] for at in range(0, len(text), CHUNK)]
            text = "\n".join([json.dumps({"chunk-stream": None}), *chunks, ""])
        self.send(text.encode() + b"\n")

    def close(self, reset=False):
        self.is_open = False
        try:
            if reset:
                self.connection.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
                self.connection.shutdown(socket.SHUT_RD)  # read() closes the socket
            else:
                self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class FakeUpstream:
    """Answers max-package-pr with umax and test-pr with uval: text, None for null, or
    a function of the arguments.

    If `behave(talk, name, arguments)` is set, it answers instead; it returns False to
    leave a request to the usual answers, or HOLD to delay this and what follows on the
    connection until release(). Checks, the is-readonly of a server below, are
    answered by `check(talk)`, or with says. hold() delays all answers, while requests
    are read and counted, until release()."""

    def __init__(self, host="127.0.0.1", umax=None, uval=None):
        self.host = host
        self.umax = umax
        self.uval = uval
        self.behave = None
        self.check = None
        self.greet = None  # called with each new connection
        self.lock = threading.RLock()
        self.held = False
        self.talks = []
        self.requests = []  # (name, arguments), in order of arrival
        self.pings = 0
        self.checks = 0  # the is-readonly with which a server begins each connection
        self.says = {"readonly": False}  # the answer to it
        self.faults = []  # input that no upstream should get
        self.holder = reserve_port(host)
        self.port = self.holder.getsockname()[1]
        self.listener = None
        self.acceptor = None
        self.listen()

    @property
    def address(self):
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def connections(self):
        """The number of connections so far."""
        return len(self.talks)

    def listen(self):
        self.bind().listen(128)
        self.start_accepting()

    def bind(self):
        self.listener = socket.socket(self.holder.family)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((self.host, self.port))
        return self.listener

    def start_accepting(self):
        self.acceptor = threading.Thread(target=self.accept, args=(self.listener,))
        self.acceptor.daemon = True
        self.acceptor.start()

    def refuse(self):
        """Closes all connections and refuses new ones."""
        listener, self.listener = self.listener, None
        if listener:
            listener.shutdown(socket.SHUT_RDWR)
            self.acceptor.join()
            listener.close()
        self.cut()

    def cut(self, reset=False):
        with self.lock:
            talks = list(self.talks)
            for talk in talks:
                talk.close(reset)
        for talk in talks:
            talk.thread.join()

    def hold(self):
        with self.lock:
            self.held = True

    def release(self):
        with self.lock:
            self.held = False
            for talk in self.talks:
                self.answer_pending(talk)

    def fall_silent(self):
        """Accepts connections and answers nothing any more."""
        with self.lock:
            self.check = lambda talk: True
            self.behave = lambda *_: True

    def recover(self):
        """Answers all new requests as usual."""
        with self.lock:
            self.check = self.behave = None

    def asked(self, name):
        """Returns the arguments of all requests of this name."""
        with self.lock:
            return [arguments for each, arguments in self.requests if each == name]

    # ---- on its threads ----

    def accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                talk = Connection(len(self.talks), connection)
                talk.thread = threading.Thread(target=self.read, args=(talk,))
                talk.thread.daemon = True
                talk.thread.start()
                self.talks.append(talk)

    def read(self, talk):
        try:
            with talk.connection, talk.connection.makefile("rb") as file:
                self.read_messages(talk, file)
        except OSError:
            pass  # the connection broke, or the test closed it

    def read_messages(self, talk, file):
        if self.greet:
            self.greet(talk)
        handshake = file.readline()
        if handshake not in (b"PRSERVICE 1.0\n", b""):
            self.faults.append(handshake)
        talk.headers = list(iter(lambda: file.readline().strip(), b""))
        for line in file:
            if not line.endswith(b"\n") or len(line) > 32768:
                self.faults.append(line)
                return
            if not talk.is_open:
                return
            request = json.loads(line)
            if "chunk-stream" in request:
                chunks = iter(lambda: file.readline().decode().rstrip(), "")
                request = json.loads("".join(chunks))
            self.take(talk, *request.popitem())

    def take(self, talk, name, arguments):
        with self.lock:
            if self.is_check(talk, name):
                self.checks += 1
            elif name == "ping":
                self.pings += 1
            else:
                self.requests.append((name, arguments))
            talk.pending.append((name, arguments))
            self.answer_pending(talk)

    def is_check(self, talk, name):
        return name == "is-readonly" and b"x-prserv-upstream: 1" in talk.headers

    def answer_pending(self, talk):
        while talk.pending and talk.is_open:
            if self.held and not self.is_check(talk, talk.pending[0][0]):
                return
            name, arguments = talk.pending.popleft()
            if self.is_check(talk, name):
                if not self.check or self.check(talk) is False:
                    talk.answer(self.says)
                continue
            behave = self.behave  # the test may change it as soon as it has an answer
            done = behave and behave(talk, name, arguments)
            if done == HOLD:
                talk.pending.appendleft((name, arguments))
                return
            if done is False or not behave:
                self.answer(talk, name, arguments)

    def answer(self, talk, name, arguments):
        if name == "ping":
            talk.answer({"alive": True})
        else:
            value = self.umax if name == "max-package-pr" else self.uval
            talk.answer({"value": value(arguments) if callable(value) else value})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.held = False
        self.refuse()
        self.holder.close()
        assert not self.faults


class FullBacklog:
    """An address where a connection attempt never completes."""

    def __init__(self, listener=None):
        self.listener = listener or socket.socket()
        if not listener:
            self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(0)
        self.fillers = []
        while not self.fillers or self.fillers[-1].connect_ex(self.name) == 0:
            self.fillers.append(socket.socket())
            self.fillers[-1].settimeout(0.3)

    @property
    def name(self):
        return self.listener.getsockname()

    @property
    def address(self):
        return f"127.0.0.1:{self.name[1]}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.empty()
        self.listener.close()

    def is_tried(self):
        """Tells whether somebody else is trying to connect (state 02: SYN sent)."""
        ours = {filler.getsockname()[1] for filler in self.fillers}
        with open("/proc/net/tcp", encoding="ascii") as table:
            for _, near, far, state, *_ in map(str.split, table):
                near, far = near.rpartition(":")[2], far.rpartition(":")[2]
                if state == "02" and int(far, 16) == self.name[1]:
                    if int(near, 16) not in ours:
                        return True
        return False

    def empty(self):
        for filler in self.fillers:
            filler.close()


@contextlib.contextmanager
def fake_server(answer):
    """Yields a server that answers each request with the result of answer(request)."""
    with FakeUpstream() as fake:
        fake.behave = lambda talk, name, arguments: talk.answer(
            answer({name: arguments})
        )
        yield fake
