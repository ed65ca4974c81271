# SPDX-License-Identifier: MIT
"""A proxy between prservd and PostgreSQL that breaks the network as a test tells it to.

It forwards complete messages (protocol 3.0, without TLS) and recognises a COMMIT, so that it can
cut a connection there:

    before   the COMMIT does not reach the database
    after    the database commits, but the answer does not reach the server
    late     the connection is cut, and the COMMIT reaches the database upon release()

The proxy runs in a thread; its methods can be called from any other thread."""

import asyncio
import re
import socket
import struct
import threading

COMMIT = re.compile(rb"\s*(COMMIT|END)\b", re.I)
BEGIN = re.compile(rb"\s*BEGIN\b", re.I)
ENCRYPTION = (80877103, 80877104)  # SSLRequest, GSSENCRequest
CANCEL = 80877102
PIECE = 1 << 20


class Cut(Exception):
    """Raised to end a connection as a test has planned."""


class Connection:
    """One connection: to prservd (near) and to the database (far)."""

    def __init__(self, near, far):
        self.near = near  # (reader, writer)
        self.far = far
        self.statements = {}  # whether the prepared statement of this name is a COMMIT
        self.portals = {}
        self.commit_under_way = False
        self.plan = None  # how the connection ends
        self.late = None  # a COMMIT that waits for release()

    def is_commit(self, kind, body):
        """Tells whether a message of prservd makes the database commit."""
        if kind == b"Q":
            return bool(COMMIT.match(body))
        names = body.split(b"\0", 2)
        if kind == b"P":
            self.statements[names[0]] = bool(COMMIT.match(names[1]))
        if kind == b"B":
            self.portals[names[0]] = self.statements.get(names[1], False)
        return kind == b"E" and self.portals.get(names[0], False)

    def reset(self):
        for _, writer in self.near, self.far:
            reset(writer)


def reset(writer):
    """Resets a connection, so that it does not look like a regular end."""
    end = writer.get_extra_info("socket")
    if end is not None and end.fileno() >= 0:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def read_message(reader):
    head = await reader.readexactly(5)
    return head, await reader.readexactly(struct.unpack(">I", head[1:])[0] - 4)


class Proxy:
    def __init__(self, port, delay_s=0):
        """port is the database's, on 127.0.0.1; delay_s is the delay in each direction."""
        self.target = port
        self.delay_s = delay_s
        self.connections = []
        self.plans = []  # what to do with the next COMMITs
        self.cuts = 0  # number of connections cut as planned
        self.commits = 0  # COMMITs that were forwarded
        self.begun_early = 0  # transactions begun before the COMMIT ahead was answered
        self.early = set()  # the connections of these
        self.accepted = 0  # connections
        self.tasks = set()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.port = 0
        self.do(self.prepare())

    def do(self, work):
        """Runs a coroutine on the loop's thread, and returns its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    # ---- called by tests ----

    def cut_at_commit(self, how, times=1):
        """Cuts the connections of the next COMMITs; how is before, after or late (see above)."""

        async def plan():
            self.plans += [how] * times

        self.do(plan())

    def release(self, is_lost=False):
        """Delivers late COMMITs to the database, or only the end of their connections if they
        are lost. Returns their number."""

        async def send():
            late = [connection for connection in self.connections if connection.late]
            for connection in late:
                if is_lost:
                    reset(connection.far[1])
                else:
                    connection.far[1].write(connection.late)
                connection.late = None
            return len(late)

        return self.do(send())

    def reset(self):
        """Resets all connections and returns their number."""

        async def break_all():
            open_now = [
                connection for connection in self.connections if not connection.late
            ]
            for connection in open_now:
                connection.reset()
            return len(open_now)

        return self.do(break_all())

    def drop_everything(self):
        """Drops all data, but keeps and accepts connections."""

        async def hold():
            self.passing.clear()

        self.do(hold())

    def refuse(self):
        """Resets all connections and refuses new ones."""

        async def close():
            self.listener.close()
            await self.listener.wait_closed()

        self.do(close())
        self.reset()

    def heal(self):
        """Forwards everything again, including delayed data."""

        async def undo():
            self.plans.clear()
            self.passing.set()
            if not self.listener.is_serving():
                await self.listen()

        self.do(undo())

    # ---- on the loop's thread ----

    async def prepare(self):
        self.passing = asyncio.Event()
        self.passing.set()
        await self.listen()

    async def listen(self):
        self.listener = await asyncio.start_server(
            self.serve, "127.0.0.1", self.port, limit=PIECE, reuse_address=True
        )
        self.port = self.listener.sockets[0].getsockname()[1]

    async def serve(self, *near):
        self.accepted += 1
        self.tasks.add(asyncio.current_task())
        connection = None
        try:
            await self.passing.wait()
            far = await asyncio.open_connection("127.0.0.1", self.target, limit=PIECE)
            connection = Connection(near, far)
            self.connections.append(connection)
            await self.forward(connection)
        except (OSError, EOFError, Cut):
            pass  # one side has closed, or the connection was cut as planned
        finally:
            reset(near[1])
            if connection and connection.late:
                await self.wait_for_late_commit(connection)
            if connection:
                self.connections.remove(connection)
                reset(connection.far[1])
            self.tasks.discard(asyncio.current_task())

    async def forward(self, connection):
        if not await self.forward_startup(connection):
            return
        ways = [
            self.read(
                connection.near[0],
                connection.far[1],
                lambda *m: self.from_server(connection, *m),
            ),
            self.read(
                connection.far[0],
                connection.near[1],
                lambda *m: self.from_database(connection, *m),
            ),
        ]
        await gather(*ways)

    async def forward_startup(self, connection):
        """The first message has no kind. False: there is nothing more to come."""
        while True:
            head = await connection.near[0].readexactly(8)
            length, code = struct.unpack(">II", head)
            if code not in ENCRYPTION:
                break
            connection.near[1].write(b"N")
        connection.far[1].write(head + await connection.near[0].readexactly(length - 8))
        if code == CANCEL:
            await connection.far[0].read()
        return code != CANCEL

    async def read(self, reader, writer, look):
        """Passes messages on, each as much later as the network is slow."""
        queue = asyncio.Queue()

        async def receive():
            while True:
                head, body = await read_message(reader)
                queue.put_nowait((self.loop.time() + self.delay_s, head, body))

        async def deliver():
            while True:
                due, head, body = await queue.get()
                await self.passing.wait()
                if due > self.loop.time():
                    await asyncio.sleep(due - self.loop.time())
                await look(head[:1], head + body, body)
                writer.write(head + body)
                await writer.drain()

        await gather(receive(), deliver())

    async def from_server(self, connection, kind, message, body):
        if kind == b"P" and connection.commit_under_way:
            if BEGIN.match(body.split(b"\0", 2)[1]):
                self.begun_early += 1
                self.early.add(connection)
        if not connection.is_commit(kind, body):
            return
        connection.plan = self.plans.pop(0) if self.plans else None
        connection.commit_under_way = True
        if connection.plan == "late":
            connection.late = message + sync()
        if connection.plan in ("before", "late"):
            self.cuts += 1
            raise Cut

    async def from_database(self, connection, kind, _, body):
        if not connection.commit_under_way:
            return
        if kind == b"E" or (kind == b"C" and body.startswith(b"ROLLBACK")):
            connection.commit_under_way = (
                False  # nothing was committed: cut at the next one
            )
            self.plans[:0] = [connection.plan] if connection.plan else []
        elif kind == b"C" and body.startswith(b"COMMIT"):
            connection.commit_under_way = False
            self.commits += 1
            if connection.plan:
                self.cuts += 1
                raise Cut

    async def wait_for_late_commit(self, connection):
        """The near side is cut; the far one lives until the database has done its work."""
        try:
            while await connection.far[0].read(PIECE):
                if not connection.late:
                    await asyncio.sleep(0.1)
                    return
        except OSError:
            pass
        connection.late = None

    # ---- the end ----

    def close(self):
        async def end():
            self.listener.close()
            for task in list(self.tasks):
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)

        self.do(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def sync():
    """Returns a Sync, without which the database does not send its answer."""
    return b"S" + struct.pack(">I", 4)


async def gather(*works):
    """Until the first of them fails; the others are ended."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
