"""A network between prservd and PostgreSQL that does what a test tells it to.

It passes messages on, whole ones (protocol 3.0, without TLS), and knows a COMMIT when it sees one,
so that a connection can be cut there:

    before   the database never hears of the COMMIT
    after    it has committed, and the server doesn't hear of it
    late     the connection is cut, and the COMMIT reaches the database when release() is called

Everything runs in one thread of its own; the methods can be called from any other."""

import asyncio
import re
import socket
import struct
import threading

COMMIT = re.compile(rb"\s*(COMMIT|END)\b", re.I)
ENCRYPTION = (80877103, 80877104)  # SSLRequest, GSSENCRequest
CANCEL = 80877102
PIECE = 1 << 20


class Cut(Exception):
    """The connection's end, as a test wanted it."""


class Talk:
    """One connection: the server's end (near) and the database's (far)."""

    def __init__(self, near, far):
        self.near = near  # (reader, writer)
        self.far = far
        self.statements = {}  # name → is it a COMMIT
        self.portals = {}
        self.commit_under_way = False
        self.plan = None  # what becomes of it
        self.late = None  # the COMMIT, while it waits for release()

    def is_commit(self, kind, body):
        """Of a message of the server: does it make the database commit?"""
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
    """A connection's end that the other side can't take for a farewell."""
    end = writer.get_extra_info("socket")
    if end is not None and end.fileno() >= 0:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def read_message(reader):
    head = await reader.readexactly(5)
    return head, await reader.readexactly(struct.unpack(">I", head[1:])[0] - 4)


class Proxy:
    def __init__(self, port, delay_s=0):
        """port: of the database, at 127.0.0.1. delay_s: each way."""
        self.target = port
        self.delay_s = delay_s
        self.talks = []
        self.plans = []  # for the next COMMITs
        self.cuts = 0  # plans that were carried out
        self.commits = 0  # COMMITs that went through
        self.accepted = 0  # connections
        self.tasks = set()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.port = 0
        self.do(self.prepare())

    def do(self, work):
        """Runs a coroutine on the loop's thread, and returns what it gave."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    # ---- what a test wants ----

    def cut_at_commit(self, how, times=1):
        """how: before, after or late, see above; the next COMMITs, of whatever connection."""

        async def plan():
            self.plans += [how] * times

        self.do(plan())

    def release(self, is_lost=False):
        """COMMITs that were late reach the database, or, when they are lost, the end of the
        connection does; how many."""

        async def send():
            late = [talk for talk in self.talks if talk.late]
            for talk in late:
                if is_lost:
                    reset(talk.far[1])
                else:
                    talk.far[1].write(talk.late)
                talk.late = None
            return len(late)

        return self.do(send())

    def reset(self):
        """Breaks every connection; how many."""

        async def break_all():
            open_now = [talk for talk in self.talks if not talk.late]
            for talk in open_now:
                talk.reset()
            return len(open_now)

        return self.do(break_all())

    def black_hole(self):
        """Connections stay, and are made, and nothing gets through."""

        async def hold():
            self.passing.clear()

        self.do(hold())

    def refuse(self):
        """Breaks every connection, and refuses new ones."""

        async def close():
            self.listener.close()
            await self.listener.wait_closed()

        self.do(close())
        self.reset()

    def heal(self):
        """As at the beginning, with what was held back."""

        async def undo():
            self.plans.clear()
            self.passing.set()
            if not self.listener.is_serving():
                await self.listen()

        self.do(undo())

    # ---- on its thread ----

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
        talk = None
        try:
            await self.passing.wait()
            far = await asyncio.open_connection("127.0.0.1", self.target, limit=PIECE)
            talk = Talk(near, far)
            self.talks.append(talk)
            await self.pass_on(talk)
        except (OSError, EOFError, Cut):
            pass  # either side has gone, or a plan was carried out
        finally:
            reset(near[1])
            if talk and talk.late:
                await self.wait_until_it_arrived(talk)
            if talk:
                self.talks.remove(talk)
                reset(talk.far[1])
            self.tasks.discard(asyncio.current_task())

    async def pass_on(self, talk):
        if not await self.pass_opening(talk):
            return
        ways = [
            self.read(talk.near[0], talk.far[1], lambda *m: self.from_server(talk, *m)),
            self.read(talk.far[0], talk.near[1], lambda *m: self.from_base(talk, *m)),
        ]
        await gather(*ways)

    async def pass_opening(self, talk):
        """The first message has no kind. False: there is nothing more to come."""
        while True:
            head = await talk.near[0].readexactly(8)
            length, code = struct.unpack(">II", head)
            if code not in ENCRYPTION:
                break
            talk.near[1].write(b"N")
        talk.far[1].write(head + await talk.near[0].readexactly(length - 8))
        if code == CANCEL:
            await talk.far[0].read()
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

    async def from_server(self, talk, kind, message, body):
        if not talk.is_commit(kind, body):
            return
        talk.plan = self.plans.pop(0) if self.plans else None
        talk.commit_under_way = True
        if talk.plan == "late":
            talk.late = message + sync()
        if talk.plan in ("before", "late"):
            self.cuts += 1
            raise Cut

    async def from_base(self, talk, kind, _, body):
        if not talk.commit_under_way:
            return
        if kind == b"E" or (kind == b"C" and body.startswith(b"ROLLBACK")):
            talk.commit_under_way = False  # there was nothing to commit: the next, then
            self.plans[:0] = [talk.plan] if talk.plan else []
        elif kind == b"C" and body.startswith(b"COMMIT"):
            talk.commit_under_way = False
            self.commits += 1
            if talk.plan:
                self.cuts += 1
                raise Cut

    async def wait_until_it_arrived(self, talk):
        """The near side is cut; the far one lives until the database has done its work."""
        try:
            while await talk.far[0].read(PIECE):
                if not talk.late:
                    await asyncio.sleep(0.1)
                    return
        except OSError:
            pass
        talk.late = None

    # ---- its end ----

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
    """Ends a pipeline; without it a database keeps its answer."""
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
