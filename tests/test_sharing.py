"""Several servers, read-write and read-only, and other programs on one database file."""

import hashlib
import re
import sqlite3
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import postgres
from harness import (
    PATIENCE,
    PRSERVD,
    Client,
    Refused,
    clean_environment,
    open_files,
    poll,
)
from postgres import both_kinds

M4 = ("m4-1.4.19-r0", "core2-64")
ZIP = ("zip-3.0-r2", "core2-64")

EXPORT = {"export": {"history": True}}

TABLE = (
    "CREATE TABLE IF NOT EXISTS PRMAIN (version TEXT NOT NULL, pkgarch TEXT NOT NULL, "
    "checksum TEXT NOT NULL, value TEXT, "
    "PRIMARY KEY (version, pkgarch, checksum, value));"
)


@pytest.fixture
def path(tmp_path):
    (tmp_path / "database").mkdir()
    return tmp_path / "database" / "rows.sqlite3"


@pytest.fixture
def shared(kind, request):
    """The name of a database; of SQLite, the path."""
    return request.getfixturevalue("path" if kind == "sqlite" else "database")


def all_rows(path, order=""):
    with closing(sqlite3.connect(path)) as database:
        sql = f"SELECT version, pkgarch, checksum, value FROM PRMAIN {order}"
        return database.execute(sql).fetchall()


def assert_no_value_twice(rows):
    """No value of a package belongs to two checksums."""
    owners = {}
    for version, pkgarch, checksum, value in rows:
        assert owners.setdefault((version, pkgarch, value), checksum) == checksum


@contextmanager
def locked(path):
    """Another program (this one) is writing, and does not come to its end."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield database
        if database.in_transaction:
            database.execute("ROLLBACK")


@contextmanager
def held(name):
    """The same, in a database of either kind."""
    if isinstance(name, Path):
        with locked(name):
            yield
        return
    lock = "BEGIN; LOCK prserv_package, prserv_row IN EXCLUSIVE MODE;\n\\echo held\n"
    psql = subprocess.Popen(
        [f"{postgres.PROGRAMS}/psql", "-X", "-q", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with psql:
        psql.stdin.write(lock)
        psql.stdin.flush()
        assert psql.stdout.readline() == "held\n"
        yield
        psql.communicate("ROLLBACK;\n", PATIENCE)


def rows_of(server):
    return [tuple(row.values()) for row in server.ask(EXPORT)["datainfo"]]


def content_of(folder):
    """What every file of a folder holds, but for SQLite's index of the WAL."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if not path.name.endswith("-shm")
    }


# ---- servers together ----


@both_kinds
def test_no_number_is_given_twice(serve, shared):
    """Three servers, two clients each, one after new content for the same packages."""
    servers = [serve("--file", shared, folder=f"server-{n}") for n in range(3)]
    each = 25

    def ask(worker):
        rows = []
        with servers[worker % 3].client() as client:
            for number in range(each):
                package = (M4, ZIP)[number % 2]
                row = (*package, f"content {worker} {number}")
                rows.append((*row, client.get_pr(*row)))
        return rows

    with ThreadPoolExecutor(6) as pool:
        answers = [row for rows in pool.map(ask, range(6)) for row in rows]
    for package in M4, ZIP:
        values = sorted(int(row[3]) for row in answers if row[:2] == package)
        assert values == list(range(len(values)))
    assert sorted(rows_of(servers[0])) == sorted(answers)


@both_kinds
def test_answers_never_go_down_for_contents_that_come_back(serve, shared):
    """Each client sees its own answers grow, and no value has two contents."""
    servers = [serve("--file", shared, folder=f"server-{n}") for n in range(2)]

    def ask(worker):
        with servers[worker % 2].client() as client:
            return [int(client.get_pr(*M4, f"content {n * 7 % 5}")) for n in range(30)]

    with ThreadPoolExecutor(4) as pool:
        for values in pool.map(ask, range(4)):
            assert values == sorted(values)
    assert_no_value_twice(rows_of(servers[0]))


@both_kinds
def test_with_history_all_servers_give_one_answer(serve, shared):
    servers = [serve("--file", shared, folder=f"server-{n}") for n in range(2)]
    everyone = threading.Barrier(4)

    def ask(worker):
        with servers[worker % 2].client() as client:
            everyone.wait(PATIENCE)
            return [client.get_pr(*M4, f"content {n}", history=True) for n in range(20)]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(4)))
    assert answers == [answers[0]] * 4
    assert len(set(answers[0])) == 20


@both_kinds
def test_a_row_is_seen_as_soon_as_it_was_answered(serve, shared):
    """By a read-only server and by the other read-write server, under load."""
    writers = [serve("--file", shared, folder=f"writer-{n}") for n in range(2)]
    reader = serve("--file", shared, "--read-only", folder="reader")

    def ask(worker):
        writer, other = writers[worker % 2], writers[1 - worker % 2]
        with writer.client() as asks, other.client() as near, reader.client() as far:
            for number in range(15):
                row = (*M4, f"content {worker} {number}")
                value = asks.get_pr(*row)
                for observer in near, far:
                    assert observer.test_pr(*row) == value
                    assert observer.get_pr(*row, history=True) == value
                    assert int(observer.max_pr(*M4)) >= int(value)
                rows = far.export(checksum=row[2], history=True)["datainfo"]
                assert [row["value"] for row in rows] == [value]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(4)))


@both_kinds
def test_what_one_server_stored_another_remembers_no_longer(serve, shared):
    """The latest value is the latest of all servers, whoever was asked before."""
    one, two = (serve("--file", shared, folder=f"server-{n}") for n in range(2))
    with one.client() as first, two.client() as second:
        assert first.get_pr(*M4, "a") == "0"
        assert second.get_pr(*M4, "a") == "0"
        assert second.get_pr(*M4, "b") == "1"
        assert first.get_pr(*M4, "a") == "2"
        assert second.get_pr(*M4, "a") == "2"
        second.import_one(*M4, "c", "7")
        assert first.get_pr(*M4, "d") == "8"
        assert second.get_pr(*M4, "c") == "9"


def make_legacy(path, journal="DELETE"):
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA journal_mode = {journal}")
        database.execute(
            "CREATE TABLE PRMAIN_nohist (version TEXT, pkgarch TEXT, checksum TEXT, "
            "value INTEGER, PRIMARY KEY (version, pkgarch, checksum))"
        )
        rows = [(*M4, f"old {value}", value) for value in range(11)]
        insert = "INSERT INTO PRMAIN_nohist VALUES (?, ?, ?, ?)"
        database.executemany(insert, rows)
        database.commit()


@pytest.mark.parametrize("round_", range(3))
@pytest.mark.parametrize("first", ["0", "11"], ids=["new", "of an older BitBake"])
def test_servers_can_start_at_once(serve, path, first, round_):
    """On a database that each would make, or take over: one does, all serve."""
    if first != "0":
        make_legacy(path)

    def start(number):
        options = ["--read-only"] if number == 3 else []
        return serve("--file", path, *options, folder=f"server-{number}")

    with ThreadPoolExecutor(4) as pool:
        servers = list(pool.map(start, range(4)))
    for number, server in enumerate(servers[:3]):
        expected = str(int(first) + number)
        assert server.get_pr(*M4, f"content {number}") == expected
        with servers[3].client() as client:
            assert client.max_pr(*M4) == expected


def test_a_read_only_server_answers_while_others_come_and_go(serve, path):
    """Opening, taking over and closing a database are no error to who reads it."""
    make_legacy(path)
    reader = serve("--file", path, "--read-only", folder="reader")
    ended = threading.Event()

    def ask():
        with reader.client() as client:
            count = 0
            while not ended.is_set():
                assert client.test_pr(*M4, "old 10") == "10"
                assert int(client.max_pr(*M4)) >= 10
                count += 1
            return count

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        try:
            for number in range(3):
                writer = serve("--file", path, folder=f"writer-{number}")
                assert writer.get_pr(*M4, f"new {number}") == str(11 + number)
                writer.stop()
        finally:
            ended.set()
        assert asking.result() > 0


@both_kinds
def test_a_killed_server_leaves_nothing_in_the_way_of_others(serve, shared):
    one, two = (serve("--file", shared, folder=f"server-{n}") for n in range(2))
    reader = serve("--file", shared, "--read-only", folder="reader")
    assert one.get_pr(*M4, "a") == "0"
    one.kill()
    with reader.client() as client:
        assert client.test_pr(*M4, "a") == "0"
    assert two.get_pr(*M4, "b") == "1"
    one.restart()
    assert one.get_pr(*M4, "b") == "1"


# ---- BitBake's own server on the same file ----


class BitBake:
    """What BitBake's own server does to a database: look up, then insert."""

    def __init__(self, path):
        self.database = sqlite3.connect(path, timeout=PATIENCE)
        self.database.execute("PRAGMA synchronous = OFF;")
        self.database.execute("PRAGMA journal_mode = WAL;")
        self.database.execute(TABLE)
        self.database.commit()

    def values(self, version, pkgarch):
        sql = "SELECT value FROM PRMAIN WHERE version=? AND pkgarch=?"
        return [
            int(value) for (value,) in self.database.execute(sql, (version, pkgarch))
        ]

    def get_pr(self, version, pkgarch, checksum):
        value = str(max(self.values(version, pkgarch), default=-1) + 1)
        row = (version, pkgarch, checksum, value)
        self.database.execute("INSERT INTO PRMAIN VALUES (?, ?, ?, ?);", row)
        self.database.commit()
        return value

    def close(self):
        self.database.close()


@pytest.mark.parametrize("maker", ["ours", "BitBake's"])
def test_bitbakes_own_server_and_ours_take_turns(serve, path, maker):
    """Each sees at once what the other stored, whoever made the database."""
    if maker == "ours":
        server = serve("--file", path, folder="server")
    with closing(BitBake(path)) as bitbake:
        if maker != "ours":
            server = serve("--file", path, folder="server")
        reader = serve("--file", path, "--read-only", folder="reader")
        with server.client() as client, reader.client() as observer:
            for value in range(0, 12, 2):
                theirs = bitbake.get_pr(*M4, f"content {value}")
                assert theirs == str(value)
                assert observer.test_pr(*M4, f"content {value}") == theirs
                assert client.get_pr(*M4, f"content {value}") == theirs
                ours = client.get_pr(*M4, f"content {value + 1}")
                assert ours == str(value + 1)
                assert int(ours) in bitbake.values(*M4)
                assert observer.max_pr(*M4) == ours


def test_ours_give_no_number_twice_while_bitbakes_own_writes(serve, path):
    """It may take a number of ours, but ours take none that was there before."""
    with closing(BitBake(path)):
        pass  # its table has row numbers, which tell the order
    servers = [serve("--file", path, folder=f"server-{n}") for n in range(2)]
    ended = threading.Event()

    def ask(worker):
        with servers[worker].client() as client:
            rows = [(*M4, f"ours {worker} {number}") for number in range(30)]
            return {(*row, client.get_pr(*row)) for row in rows}

    def disturb():
        stored = set()
        with closing(BitBake(path)) as bitbake:
            while not ended.is_set() and len(stored) < 300:
                row = (*M4, f"theirs {len(stored)}")
                stored.add((*row, bitbake.get_pr(*row)))
        return stored

    with ThreadPoolExecutor(3) as pool:
        disturbing = pool.submit(disturb)
        try:
            one, two = pool.map(ask, range(2))
        finally:
            ended.set()
        theirs = disturbing.result()
    rows = all_rows(path, "ORDER BY rowid")
    assert set(rows) == one | two | theirs
    assert len(rows) == 60 + len(theirs)
    greatest = -1
    for row in rows:
        value = int(row[3])
        assert value > greatest or row in theirs
        greatest = max(greatest, value)


def test_no_number_is_given_twice_beside_a_writer_that_locks(serve, path):
    """Another program that looks up and stores in one transaction is as one of ours."""
    servers = [serve("--file", path, folder=f"server-{n}") for n in range(2)]

    def ask(worker):
        with servers[worker].client() as client:
            for number in range(25):
                client.get_pr(*M4, f"ours {worker} {number}")

    def store():
        with closing(BitBake(path)) as bitbake:
            for number in range(25):
                bitbake.database.execute("BEGIN IMMEDIATE")
                bitbake.get_pr(*M4, f"theirs {number}")

    with ThreadPoolExecutor(3) as pool:
        for task in [pool.submit(ask, 0), pool.submit(ask, 1), pool.submit(store)]:
            task.result()
    values = sorted(int(value) for *_, value in all_rows(path))
    assert values == list(range(75))


# ---- a lock that another process holds ----


def get_pr_request(version, pkgarch, checksum):
    words = ("version", "pkgarch", "checksum")
    return {"get-pr": dict(zip(words, (version, pkgarch, checksum)))}


def is_readable(client):
    client.socket.setblocking(False)
    try:
        return bool(client.socket.recv(1, 2))  # MSG_PEEK
    except BlockingIOError:
        return False
    finally:
        client.socket.settimeout(PATIENCE)


def check_what_needs_no_lock(client):
    """Look-ups, exports, and content whose answer is stored already."""
    assert client.test_pr(*M4, "first") == "0"
    assert client.max_pr(*M4) == "1"
    assert client.test_pr(*M4, "unknown") is None
    assert client.get_pr(*M4, "latest") == "1"
    assert client.get_pr(*M4, "first", history=True) == "0"
    assert client.import_one(*M4, "latest", "1") == {"value": "1"}
    assert len(client.export(history=True)["datainfo"]) == 2
    assert client.ask({"ping": {}}) == {"alive": True}


def check_beside(client, kind):
    """With PostgreSQL what is stored already may wait for half a second, each time."""
    if kind == "sqlite":
        check_what_needs_no_lock(client)
        return
    assert client.test_pr(*M4, "first") == "0"
    assert client.get_pr(*M4, "latest") == "1"


@pytest.fixture
def server_with_rows(serve, shared):
    server = serve("--file", shared)
    assert server.get_pr(*M4, "first") == "0"
    assert server.get_pr(*M4, "latest") == "1"
    return server


def test_who_waits_for_a_lock_is_answered_when_it_is_released(server_with_rows, path):
    with server_with_rows.client() as client, server_with_rows.client() as other:
        with locked(path):
            client.post(get_pr_request(*ZIP, "new content"))
            check_what_needs_no_lock(other)
            assert not is_readable(client)
        assert client.receive() == {"value": "0"}


@both_kinds
def test_who_waits_for_a_lock_keeps_nobody_else_waiting(server_with_rows, shared, kind):
    with server_with_rows.client() as client, server_with_rows.client() as other:
        with held(shared):
            client.post(get_pr_request(*M4, "new content"))
            check_beside(other, kind)
            assert not is_readable(client)
        assert client.receive() == {"value": "2"}


def test_who_waits_for_a_lock_sees_what_was_stored_meanwhile(server_with_rows, path):
    with server_with_rows.client() as client, server_with_rows.client() as other:
        with locked(path) as database:
            client.post(get_pr_request(*ZIP, "new content"))
            check_what_needs_no_lock(other)
            row = (*ZIP, "theirs", "7")
            database.execute("INSERT INTO PRMAIN VALUES (?, ?, ?, ?)", row)
            assert other.max_pr(*ZIP) is None
            database.execute("COMMIT")
        assert client.receive() == {"value": "8"}


@both_kinds
def test_who_waits_for_a_lock_keeps_the_order_of_its_requests(
    server_with_rows, shared, kind
):
    """A look-up behind a request that waits sees what that one stores."""
    with server_with_rows.client() as client, server_with_rows.client() as other:
        with held(shared):
            for checksum in "ab":
                client.post(get_pr_request(*ZIP, checksum))
            package = dict(zip(("version", "pkgarch"), ZIP))
            client.post({"max-package-pr": package})
            check_beside(other, kind)
            assert not is_readable(client)
        assert [client.receive()["value"] for _ in range(3)] == ["0", "1", "1"]


def sleeps(process):
    """How often a process has waited for something."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return 0
    return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", status, re.M)[1])


def listens(path):
    try:
        Client(path).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_a_start_waits_for_a_lock(path, journal):
    """A database that has to be taken over, and that someone writes to just then."""
    make_legacy(path, journal)
    socket = path.parent / "socket"
    command = [PRSERVD, "--file", path, "--bind", f"unix://{socket}"]
    with locked(path):
        process = subprocess.Popen(command, env=clean_environment())
        ended = lambda: process.poll() is not None  # noqa: E731
        poll(
            lambda: ended() or str(path) in open_files(process),
            "the database to be opened",
        )
        before = sleeps(process)
        poll(lambda: ended() or sleeps(process) > before + 5, "it to wait for the lock")
    try:
        poll(lambda: ended() or listens(socket), "the server")
        assert not ended()
        with Client(socket) as client:
            assert client.get_pr(*M4, "new content") == "11"
    finally:
        process.terminate()
        process.wait()


@pytest.mark.slow
def test_a_lock_that_stays_is_an_error_after_ten_seconds(server_with_rows, path):
    """The connection stays usable, and nothing of what was refused is stored."""
    with server_with_rows.client() as client, server_with_rows.client() as other:
        with locked(path):
            start = time.monotonic()
            with pytest.raises(Refused, match="locked"):
                client.get_pr(*M4, "new content")
            waited = time.monotonic() - start
            assert 9.9 <= waited < 25
            check_what_needs_no_lock(client)
            check_what_needs_no_lock(other)
        assert client.test_pr(*M4, "new content") is None
        assert client.get_pr(*M4, "new content") == "2"


@pytest.mark.slow
def test_everything_that_writes_waits_for_a_lock_and_then_hears_of_it(
    server_with_rows, path
):
    """get-pr of content that came back, of another package, and import-one."""

    def refusal(ask):
        with server_with_rows.client() as client:
            with pytest.raises(Refused, match="locked") as refused:
                ask(client)
            return str(refused.value)

    requests = [
        lambda client: client.get_pr(*M4, "first"),
        lambda client: client.get_pr(*ZIP, "new content"),
        lambda client: client.import_one(*M4, "imported", "5"),
    ]
    with locked(path), ThreadPoolExecutor(3) as pool:
        for message in pool.map(refusal, requests):
            assert str(path) in message
        with server_with_rows.client() as client:
            check_what_needs_no_lock(client)
    assert len(all_rows(path)) == 2


# ---- read-only ----


def check_that_nothing_is_known(client):
    package = dict(zip(("version", "pkgarch"), M4))
    assert client.test_pr(*M4, "a") is None
    assert client.max_pr(*M4) is None
    assert client.ask({"test-package": package}) == {"value": False}
    assert client.export(history=True)["datainfo"] == []
    assert client.export(history=False)["datainfo"] == []
    assert client.get_pr(*M4, "a") == "0"
    assert client.ask({"is-readonly": {}}) == {"readonly": True}


@pytest.mark.parametrize("name", ["rows.sqlite3", "later/deeper/rows.sqlite3"])
def test_a_read_only_server_can_be_there_before_the_database(serve, tmp_path, name):
    """It knows nothing, and makes nothing, until the database appears."""
    path = tmp_path / "database" / name
    reader = serve("--file", path, "--read-only", folder="reader")
    with reader.client() as client:
        check_that_nothing_is_known(client)
        assert not (tmp_path / "database").exists()
        writer = serve("--file", path, folder="writer")
        with writer.client() as other:
            for value, checksum in enumerate("abc"):
                assert other.get_pr(*M4, checksum) == str(value)
                assert client.test_pr(*M4, checksum) == str(value)
                assert client.max_pr(*M4) == str(value)
        assert client.get_pr(*M4, "c") == "2"
        assert len(client.export(history=True)["datainfo"]) == 3


def test_a_read_only_server_can_be_there_before_the_table(serve, path):
    """A file without a table, even an empty one, is a database that knows nothing."""
    path.touch()
    reader = serve("--file", path, "--read-only", folder="reader")
    with reader.client() as client:
        check_that_nothing_is_known(client)
        assert path.read_bytes() == b""
        with closing(BitBake(path)) as bitbake:
            check_that_nothing_is_known(client)
            assert bitbake.get_pr(*M4, "a") == "0"
            assert client.test_pr(*M4, "a") == "0"
            assert client.get_pr(*M4, "b") == "1"


def test_a_read_only_server_changes_no_file(serve, path):
    """Whatever it is asked, and also where a killed server left a WAL behind."""
    writer = serve("--file", path, folder="writer")
    assert writer.get_pr(*M4, "a") == "0"
    assert writer.get_pr(*M4, "b") == "1"
    writer.kill()
    before = content_of(path.parent)
    assert len(before) == 2
    reader = serve("--file", path, "--read-only", folder="reader")
    with reader.client() as client:
        assert client.test_pr(*M4, "b") == "1"
        assert client.get_pr(*M4, "c") == "2"
        assert client.get_pr(*M4, "d") == "2"
        assert client.get_pr(*M4, "a") == "2"
        assert client.ask_raw({"import-one": import_arguments()}) is None
        assert len(client.export(history=True)["datainfo"]) == 2
    assert content_of(path.parent) == before
    reader.stop()
    assert content_of(path.parent) == before


def import_arguments():
    return dict(zip(("version", "pkgarch", "checksum", "value"), (*M4, "x", "5")))


def test_a_read_only_server_hinders_no_writer(serve, path):
    """Not even between two requests of one client, or in an export not yet read."""
    writer = serve("--file", path, folder="writer")
    assert writer.get_pr(*M4, "a") == "0"
    reader = serve("--file", path, "--read-only", folder="reader")
    with reader.client() as client:
        assert client.test_pr(*M4, "a") == "0"
        client.post({"export": {"history": True}})
        assert writer.get_pr(*M4, "b") == "1"
        with closing(sqlite3.connect(path, timeout=0)) as database:
            database.execute("BEGIN EXCLUSIVE")
            database.execute("ROLLBACK")
        assert len(client.receive()["datainfo"]) in (1, 2)
