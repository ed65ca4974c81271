# SPDX-License-Identifier: MIT
"""Several servers, read-write and read-only, and other programs on one database file."""

import hashlib
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from bitbake_database import BitBake, make_legacy
from harness import TIMEOUT_S
from postgres_cluster import both_kinds
from rows import M4, ZIP, assert_no_value_twice, rows_in, rows_of


def content_of(folder):
    """Returns the content of each file of a folder, except SQLite's WAL index."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if not path.name.endswith("-shm")
    }


# ---- servers together ----


@both_kinds
def test_three_servers_never_give_a_number_twice(serve, shared):
    """Two clients of each server ask for new content of the same packages."""
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
def test_answers_never_go_down_when_content_comes_back(serve, shared):
    """The answers of each client grow, and no value belongs to two contents."""
    servers = [serve("--file", shared, folder=f"server-{n}") for n in range(2)]

    def ask(worker):
        with servers[worker % 2].client() as client:
            return [int(client.get_pr(*M4, f"content {n * 7 % 5}")) for n in range(30)]

    with ThreadPoolExecutor(4) as pool:
        for values in pool.map(ask, range(4)):
            assert values == sorted(values)
    assert_no_value_twice(rows_of(servers[0]))


@both_kinds
def test_with_history_all_servers_give_the_same_answer(serve, shared):
    servers = [serve("--file", shared, folder=f"server-{n}") for n in range(2)]
    everyone = threading.Barrier(4)

    def ask(worker):
        with servers[worker % 2].client() as client:
            everyone.wait(TIMEOUT_S)
            return [client.get_pr(*M4, f"content {n}", history=True) for n in range(20)]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(4)))
    assert answers == [answers[0]] * 4
    assert len(set(answers[0])) == 20


@both_kinds
def test_other_servers_see_a_row_as_soon_as_it_is_answered(serve, shared):
    """A read-only server and another read-write server see it, under load."""
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
def test_a_server_forgets_what_another_server_has_outdated(serve, shared):
    """The latest value is that of all servers, whichever was asked before."""
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


@pytest.mark.parametrize("round_", range(3))
@pytest.mark.parametrize("first", ["0", "11"], ids=["new", "of an older BitBake"])
def test_servers_can_start_at_the_same_time(serve, path, first, round_):
    """One of them creates or takes over the database, and all serve it."""
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
    """A reader gets no error while others open, take over and close the database."""
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
def test_a_killed_server_does_not_block_others(serve, shared):
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


@pytest.mark.parametrize("maker", ["ours", "BitBake's"])
def test_bitbakes_server_and_prservd_take_turns(serve, path, maker):
    """Each sees at once what the other stored, whichever created the database."""
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


def test_prservd_gives_no_number_twice_while_bitbakes_server_writes(serve, path):
    """BitBake's server may repeat a number, but prservd never takes a number that exists."""
    with closing(BitBake(path)):
        pass  # this table has row numbers, which are in order of insertion
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
    rows = rows_in(path, "ORDER BY rowid")
    assert set(rows) == one | two | theirs
    assert len(rows) == 60 + len(theirs)
    greatest = -1
    for row in rows:
        value = int(row[3])
        assert value > greatest or row in theirs
        greatest = max(greatest, value)


def test_no_number_is_given_twice_beside_another_program_that_locks(serve, path):
    """A program that looks up and stores in one transaction is as safe as prservd."""
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
    values = sorted(int(value) for *_, value in rows_in(path))
    assert values == list(range(75))


# ---- read-only ----


def check_that_nothing_is_known(client):
    package = dict(zip(("version", "pkgarch"), M4))
    assert client.test_pr(*M4, "a") is None
    assert client.max_pr(*M4) is None
    assert client.ask({"test-package": package}) == {"value": False}
    assert client.export(history=True)["datainfo"] == []
    assert client.export(history=False)["datainfo"] == []
    assert client.get_pr(*M4, "a") == "0"
    assert client.ask({"is-readonly": {}})["readonly"] is True


@pytest.mark.parametrize("name", ["rows.sqlite3", "later/deeper/rows.sqlite3"])
def test_a_read_only_server_can_start_before_the_database_exists(serve, tmp_path, name):
    """Look-ups find nothing, and nothing is created, until the database appears."""
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


def test_a_read_only_server_without_a_database_describes_its_columns(serve, tmp_path):
    server = serve("--read-only", "--file", tmp_path / "later.db")
    with server.client() as client:
        answer = client.export(colinfo=True)
        assert answer["datainfo"] == []
        columns = [each["name"] for each in answer["metainfo"]["col_info"]]
        assert columns == ["version", "pkgarch", "checksum", "value"]
        assert client.ask({"get-stats": {}})["database"]["rows"] == 0


def test_a_read_only_server_can_start_before_the_table_exists(serve, path):
    """In a file without a table, even an empty file, look-ups find nothing."""
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
    """No request changes a file, even if a killed server has left a WAL behind."""
    writer = serve("--file", path, folder="writer")
    assert writer.get_pr(*M4, "a") == "0"
    assert writer.get_pr(*M4, "b") == "1"
    writer.kill()
    before = content_of(path.parent)
    assert sorted(before) == [
        "rows.sqlite3",
        "rows.sqlite3-mark",
        "rows.sqlite3-wal",
    ]
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


def test_a_read_only_server_does_not_block_writers(serve, path):
    """It holds no lock between two requests, or during an export that is not read."""
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
