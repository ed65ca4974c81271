# SPDX-License-Identifier: MIT
"""Exports while their clients read slowly, or others write: what they hold (doc/semantics.md), and
what they cost others (doc/security.md).

The clients use a unix socket, whose buffers are small: so pieces are made as the client reads."""

import contextlib
import json
import random
import shutil
import sqlite3
import time

import pytest
from harness import SANITIZER, Client, poll
from postgres_cluster import both_kinds
from rows import FIELDS, store

MIB = 1 << 20
TABLE = (
    "CREATE TABLE PRMAIN (version TEXT NOT NULL, pkgarch TEXT NOT NULL, checksum TEXT NOT NULL, "
    "value TEXT, PRIMARY KEY (version, pkgarch, checksum, value))"
)
OLD_TABLE = (
    "CREATE TABLE PRMAIN_nohist (version TEXT, pkgarch TEXT, checksum TEXT, value INTEGER, "
    "PRIMARY KEY (version, pkgarch, checksum))"
)


@pytest.fixture
def start(serve, tmp_path):
    """Starts servers that also listen on a unix socket, and connects clients to it."""
    socket = tmp_path / "socket"

    def start(*options):
        server = serve(
            "--bind", "127.0.0.1:0", "--bind", f"unix://{socket}", *options, bind=False
        )
        server.near = lambda: Client(socket)
        return server

    return start


def make_database(path, rows, table=TABLE):
    path.parent.mkdir(exist_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute(table)
        name = table.split()[2]
        database.executemany(f"INSERT INTO {name} VALUES (?, ?, ?, ?)", rows)
        database.commit()
    return path


def rows_of(answer):
    return [tuple(row[field] for field in FIELDS) for row in answer["datainfo"]]


class SlowExport:
    """An export whose answer is read line by line."""

    def __init__(self, client, **arguments):
        self.client = client
        client.post({"export": arguments})
        assert json.loads(client.file.readline()) == {"chunk-stream": None}
        self.lines = []

    def read(self):
        """Reads a line. Returns false at the end."""
        line = self.client.file.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        self.lines.append(line.strip())
        return line != b"\n"

    def rest(self):
        while self.read():
            pass
        return rows_of(json.loads(b"".join(self.lines)))


def revision(value):
    return [int(number) for number in value.split(".")]


# ---- what an export holds ----


def make_writers(seed):
    """Returns rows to begin with, and rows for later: some packages have many."""
    chance = random.Random(seed)

    def row():
        package = chance.choice(
            ["few", "many", "many", "many", f"p{chance.randrange(40)}"]
        )
        value = chance.choice(
            [str(chance.randrange(30)), f"{chance.randrange(9)}.{chance.randrange(9)}"]
        )
        return (
            package,
            "a",
            f"{chance.random()}" + "x" * chance.choice([10, 3000]),
            value,
        )

    return [row() for _ in range(1500)], [row() for _ in range(300)]


def greatest_of(rows):
    greatest = {}
    for version, pkgarch, _, value in rows:
        key = (version, pkgarch)
        if key not in greatest or revision(value) > revision(greatest[key]):
            greatest[key] = value
    return greatest


def read_beside_writers(server, before, after, **arguments):
    """Reads an export while rows are stored. Returns its rows, and how often one was stored."""
    store(server, before)
    with server.client() as writer, server.near() as reader:
        export = SlowExport(reader, **arguments)
        written = 0
        while export.read():
            if len(export.lines) % 4 == 0 and written < len(after):
                writer.import_one(*after[written])
                written += 1
        return rows_of(json.loads(b"".join(export.lines))), written


@both_kinds
@pytest.mark.parametrize("seed", range(3))
def test_with_history_each_row_that_was_there_at_the_start_is_exported_once(
    start, seed
):
    before, after = make_writers(seed)
    found, written = read_beside_writers(start(), before, after, history=True)
    assert written > 10
    assert len(set(found)) == len(found)
    assert set(before) <= set(found) <= set(before + after[:written])


@both_kinds
@pytest.mark.parametrize("seed", range(3))
def test_without_history_a_package_has_its_greatest_revision_of_one_moment(start, seed):
    before, after = make_writers(seed)
    server = start()
    # Many rows hold the greatest revision, so that a package takes many pieces.
    before += [("many", "a", f"{number}" + "y" * 3000, "40") for number in range(600)]
    after = [
        row if number % 9 else ("many", "a", f"later {number}", str(40 + number // 50))
        for number, row in enumerate(after)
    ]
    found, written = read_beside_writers(server, before, after, history=False)
    assert written > 10
    assert len(set(found)) == len(found)
    moments = [greatest_of(before + after[:number]) for number in range(written + 1)]
    packages = {row[:2] for row in found}
    assert set(moments[0]) <= packages <= set(moments[-1])
    for package in packages:
        exported = {row for row in found if row[:2] == package}
        (value,) = {row[3] for row in exported}
        assert value in [moment.get(package) for moment in moments]
        holders = {row for row in before if row[:2] == package and row[3] == value}
        assert holders <= exported <= set(before + after[:written])


@both_kinds
@pytest.mark.parametrize("history", [True, False])
@pytest.mark.parametrize("filter", ["version", "pkgarch", "checksum"])
def test_filters_select_rows_in_all_pieces(start, filter, history):
    server = start()
    rows = [
        (f"p{n % 30}", f"a{n % 2}", f"{n % 3}" + "x" * 2000, str(n // 10))
        for n in range(900)
    ]
    store(server, rows)
    index = FIELDS.index(filter)
    wanted = [row for row in rows if history or greatest_of(rows)[row[:2]] == row[3]]
    for text in sorted({row[index] for row in rows})[:3]:
        with server.near() as client:
            found = rows_of(client.export(history=history, **{filter: text}))
        assert sorted(found) == sorted(row for row in wanted if row[index] == text)


def test_a_package_that_is_longer_than_a_piece_is_exported_without_history(
    start, tmp_path
):
    """The greatest revision comes early, in the middle, and again at the end."""
    rows = [("a", "a", "c", "1")]
    rows += [("long", "a", f"{n:06}", str(n % 9)) for n in range(60_000)]
    rows += [("long", "a", f"{n:06}", "10") for n in (3, 30_000, 59_999)]
    rows += [("shared", "a", f"{n:06}", "5") for n in range(60_000)]
    rows += [("z", "a", "c", "1")]
    server = start("--file", make_database(tmp_path / "database" / "rows.db", rows))
    with server.near() as client:
        found = rows_of(client.export())
    greatest = greatest_of(rows)
    assert sorted(found) == sorted(row for row in rows if greatest[row[:2]] == row[3])


ODD = {
    "a key of another order": "CREATE TABLE PRMAIN (version TEXT NOT NULL, pkgarch TEXT NOT NULL, "
    "checksum TEXT NOT NULL, value TEXT, UNIQUE (value, checksum, pkgarch, version))",
    "columns of another order": "CREATE TABLE PRMAIN (value TEXT, checksum TEXT, pkgarch TEXT, "
    "version TEXT, PRIMARY KEY (version, pkgarch DESC, checksum, value))",
    "NULL in the key": "CREATE TABLE PRMAIN (version TEXT, pkgarch TEXT, checksum TEXT, "
    "value TEXT, PRIMARY KEY (version, pkgarch, checksum, value))",
}


@pytest.mark.parametrize("table", ODD.values(), ids=ODD)
def test_an_odd_table_is_exported_whole(start, tmp_path, table):
    pad = "x" * 1000
    path = make_database(tmp_path / "database" / "rows.db", [], table)
    with contextlib.closing(sqlite3.connect(path)) as database:
        texts = ["", "a", "b", b"a", b"", "\xe4"] + [None] * ("NOT NULL" not in table)
        for version in texts:
            for pkgarch in texts:
                for checksum in texts:
                    for value in ["1", "2", "10", b"1", None]:
                        key = (
                            [checksum, pkgarch]
                            if checksum is None
                            else [
                                checksum
                                + (
                                    pad.encode() if isinstance(checksum, bytes) else pad
                                ),
                                pkgarch,
                            ]
                        )
                        database.execute(
                            "INSERT INTO PRMAIN (version, pkgarch, checksum, value) VALUES (?, ?, ?, ?)",
                            [version, key[1], key[0], value],
                        )
        database.commit()
        count = database.execute("SELECT count(*) FROM PRMAIN").fetchone()[0]
    server = start("--file", path)
    with server.near() as client:
        found = rows_of(client.export(history=True))
        assert len(found) == count
        greatest = rows_of(client.export(history=False))
        assert greatest and {row[3] for row in greatest} == {"10"}


@pytest.mark.parametrize("has_main", [True, False])
@pytest.mark.parametrize("has_key", [True, False])
def test_old_tables_are_exported_whole(start, tmp_path, has_main, has_key):
    """A read-only server reads the rows of all tables."""
    table = (
        OLD_TABLE
        if has_key
        else OLD_TABLE.replace(", PRIMARY KEY (version, pkgarch, checksum)", "")
    )
    old = [(f"p{n % 7}", "a", f"{n}" + "x" * 500, n % 5) for n in range(2000)]
    path = make_database(tmp_path / "database" / "rows.db", old, table)
    rows = {(*row[:3], str(row[3])) for row in old}
    if has_main:
        main = [
            (f"p{n % 9}", "a", f"{n}" + "x" * 500, str(n % 5))
            for n in range(0, 2000, 3)
        ]
        make_database(path, main)
        rows |= set(main)
    server = start("--file", path, "--read-only")
    with server.near() as client:
        found = rows_of(client.export(history=True))
        assert len(found) == len(rows)
        assert set(found) == rows
        greatest = greatest_of(rows)
        assert sorted(rows_of(client.export())) == sorted(
            row for row in rows if greatest[row[:2]] == row[3]
        )


# ---- what it costs others ----


def large_rows(n=4000):
    return [(f"p{number:05}", "a", "x" * 3000, "1") for number in range(n)]


def test_exports_that_nobody_reads_keep_no_other_waiting(start, tmp_path):
    server = start(
        "--file", make_database(tmp_path / "database" / "rows.db", large_rows())
    )
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            client = stack.enter_context(server.near())
            client.post({"export": {"history": True}})
            poll(client.unread_bytes, "the beginning of an answer")
        last = stack.enter_context(server.near())
        last.socket.settimeout(20)
        assert len(last.export(history=True)["datainfo"]) == 4000


@pytest.mark.skipif(bool(SANITIZER), reason="takes a sanitizer minutes")
def test_an_export_that_is_read_slowly_lets_the_wal_be_cut(start, tmp_path):
    path = make_database(tmp_path / "database" / "rows.db", large_rows())
    server = start("--file", path, "--sync", "off")
    wal = path.with_name("rows.db-wal")
    with server.near() as reader, server.client() as writer:
        export = SlowExport(reader, history=True)
        export.read()
        for number in range(350):
            if number % 10 == 0:
                export.read()
            writer.send(
                b"".join(
                    b'{"get-pr": {"version": "w%d", "pkgarch": "a", "checksum": "%d%s"}}\n'
                    % (number, each, b"y" * 20_000)
                    for each in range(25)
                )
            )
            for _ in range(25):
                writer.receive()
        assert path.stat().st_size > 150 * MIB

        def is_cut():
            """SQLite cuts the file when it starts again, with a write after a checkpoint."""
            assert writer.get_pr("w", "a", str(time.monotonic()))
            return wal.stat().st_size <= 128 * MIB + 4096

        poll(is_cut, "a WAL of at most 128 MiB")
        assert set(large_rows()) <= set(export.rest())


def test_rows_that_share_the_greatest_revision_stay_in_the_budget(start, tmp_path):
    rows = [("p", "a", f"{number}" + "x" * 2000, "5") for number in range(30_000)]
    path = make_database(tmp_path / "database" / "rows.db", rows)
    server = start("--file", path, "--max-memory-bytes", str(24 * MIB))

    def memory():
        with open(f"/proc/{server.process.pid}/status") as status:
            return int(status.read().split("VmHWM:")[1].split()[0]) * 1024

    with server.near() as client:
        client.export(version="q")  # nothing; but the connection is open
        before = memory()
        assert len(client.export()["datainfo"]) == 30_000
    assert SANITIZER or memory() - before < 48 * MIB  # of which SQLite's caches are 32
    assert "Closing a connection" not in server.log


def test_an_unread_export_keeps_less_the_more_there_are(start, tmp_path):
    path = make_database(tmp_path / "database" / "rows.db", large_rows())
    server = start("--file", path, "--max-memory-bytes", str(24 * MIB))
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            client = stack.enter_context(server.near())
            client.post({"export": {"history": True}})
            client.unread_bytes()
        memory = server.ask({"get-stats": {}})["memory"]
        assert memory["overruns"] == 0
        assert memory["used_bytes"] < 8 * MIB
        last = stack.enter_context(server.near())
        assert len(last.export(history=True)["datainfo"]) == 4000


# ---- a database that is replaced ----


def replace_by_restore(path, copy):
    with contextlib.closing(sqlite3.connect(copy)) as old:
        with contextlib.closing(sqlite3.connect(path)) as database:
            old.backup(database)


def replace_by_rename(path, copy):
    for suffix in "-wal", "-shm":
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    shutil.copy(copy, path.with_name("new"))
    path.with_name("new").rename(path)


@pytest.mark.parametrize("is_marked", [True, False])
@pytest.mark.parametrize("replace", [replace_by_restore, replace_by_rename])
def test_an_export_breaks_off_when_the_database_goes_back(
    start, tmp_path, replace, is_marked
):
    """Without a mark only another file can be noticed."""
    if not is_marked and replace is replace_by_restore:
        pytest.skip("a database without a mark")
    path = make_database(tmp_path / "database" / "rows.db", large_rows())
    copy = tmp_path / "copy.db"
    if is_marked:
        with start("--file", path) as writer:
            writer.get_pr("p", "a", "c")
            writer.stop()
    shutil.copy(path, copy)
    if is_marked:
        with start("--file", path) as writer:
            writer.get_pr("p", "a", "another")
            writer.stop()
    server = start("--file", path, "--read-only")
    with server.near() as client:
        export = SlowExport(client, history=True)
        export.read()
        replace(path, copy)
        with pytest.raises(EOFError):
            export.rest()
    assert "An export broke off" in server.log
    with server.near() as client:
        assert len(client.export(history=True)["datainfo"]) >= 4000


def test_an_export_breaks_off_although_the_rollback_was_accepted_meanwhile(
    start, tmp_path
):
    path = make_database(tmp_path / "database" / "rows.db", large_rows())
    server = start("--file", path)
    server.get_pr("p", "a", "c")
    copy = tmp_path / "copy.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("VACUUM INTO ?", [str(copy)])
    server.get_pr("p", "a", "another")
    with server.near() as client:
        export = SlowExport(client, history=True)
        export.read()
        replace_by_restore(path, copy)
        poll(lambda: "went back to an older state" in server.log, "the rollback")
        with pytest.raises(EOFError):
            export.rest()


def test_a_slow_export_takes_little_time_of_the_server(start, tmp_path):
    """Nothing is done for it until the client has read on."""
    server = start(
        "--file", make_database(tmp_path / "database" / "rows.db", large_rows())
    )

    def busy_ticks():
        with open(f"/proc/{server.process.pid}/stat") as stat:
            return sum(map(int, stat.read().rpartition(")")[2].split()[11:13]))

    with server.near() as client:
        client.post({"export": {"history": True}})
        client.unread_bytes()
        time.sleep(0.2)
        before = busy_ticks()
        time.sleep(0.5)
        assert busy_ticks() - before < 20
