"""An upstream that does what a test tells it to, and writes down what it is asked."""

import json
import random
import socket
import struct
import threading
from collections import deque


def reserve_port(host="127.0.0.1"):
    """A port that refuses connections until a server of the test listens there.

    Returns a socket that keeps it: with SO_REUSEADDR, a server can bind it as well.
    It lies below the ports that the kernel hands out, so that neither another
    test's server nor the near end of a connection can take it."""
    while True:
        holder = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            # Alone first: with SO_REUSEADDR a port could be shared with another test.
            holder.bind((host, random.randrange(10000, 32768)))
        except OSError:
            holder.close()
            continue
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return holder


class Talk:
    """One connection, from the upstream's end."""

    def __init__(self, number, connection):
        self.number = number
        self.connection = connection
        self.pending = deque()  # requests that were read and not answered
        self.is_open = True

    def send(self, data):
        try:
            self.connection.sendall(data)
        except OSError:
            self.is_open = False

    def answer(self, message):
        self.send(json.dumps(message).encode() + b"\n")

    def close(self, reset=False):
        self.is_open = False
        try:
            if reset:
                self.connection.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
                self.connection.shutdown(socket.SHUT_RD)  # read() closes it
            else:
                self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class FakeUpstream:
    """Answers max-package-pr with umax and test-pr with uval: text, None for null, or
    a function of the arguments.

    `behave(talk, name, arguments)`, where it is set, answers in place of that; it
    returns False for what it leaves to the usual answers. hold() keeps every answer
    back, while requests are read and counted, and release() lets them go."""

    def __init__(self, host="127.0.0.1", umax=None, uval=None):
        self.host = host
        self.umax = umax
        self.uval = uval
        self.behave = None
        self.greet = None  # called with each new connection
        self.lock = threading.RLock()
        self.held = False
        self.talks = []
        self.requests = []  # (name, arguments) in the order in which they came
        self.pings = 0
        self.faults = []  # what no upstream should see
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
        """How many there have been."""
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
        """From now on, connections are refused; those that there are, are cut."""
        listener, self.listener = self.listener, None
        if listener:
            listener.shutdown(socket.SHUT_RDWR)
            self.acceptor.join()
            listener.close()
        self.cut()

    def cut(self, reset=False):
        with self.lock:
            for talk in self.talks:
                talk.close(reset)
        for talk in self.talks:
            talk.thread.join()

    def hold(self):
        with self.lock:
            self.held = True

    def release(self):
        with self.lock:
            self.held = False
            for talk in self.talks:
                self.answer_pending(talk)

    def asked(self, name):
        """The arguments of the requests of that name."""
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
                talk = Talk(len(self.talks), connection)
                talk.thread = threading.Thread(target=self.read, args=(talk,))
                talk.thread.daemon = True
                talk.thread.start()
                self.talks.append(talk)

    def read(self, talk):
        try:
            with talk.connection, talk.connection.makefile("rb") as file:
                self.read_messages(talk, file)
        except OSError:
            pass  # the connection broke, or the test cut it

    def read_messages(self, talk, file):
        if self.greet:
            self.greet(talk)
        opening = file.readline()
        if opening not in (b"PRSERVICE 1.0\n", b""):
            self.faults.append(opening)
        while file.readline().strip():
            pass
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
            if name == "ping":
                self.pings += 1
            else:
                self.requests.append((name, arguments))
            talk.pending.append((name, arguments))
            if not self.held:
                self.answer_pending(talk)

    def answer_pending(self, talk):
        while talk.pending and talk.is_open:
            name, arguments = talk.pending.popleft()
            if not self.behave or self.behave(talk, name, arguments) is False:
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
    """An address where the opening of a connection never completes."""

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
        """Someone else is trying to connect (state 02: SYN sent)."""
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
