# SPDX-License-Identifier: MIT
"""Packages of more rows than are kept in memory: the rules are the same, others don't wait."""

import contextlib
import itertools
import random
import statistics
import threading
import time

import pytest

from bitbake_database import LEGACY_TABLE, TABLE, write
from harness import Client, poll
from rows import M4, ZIP

ROWS = (
    3000  # three times what is kept in memory (meson_options.txt: whole_package_rows)
)
WITHOUT_ROWID = TABLE.rstrip("; \n") + " WITHOUT ROWID"
KEY = "PRIMARY KEY (version, pkgarch, checksum, value)"
OTHER_KEY = "PRIMARY KEY (value, checksum, pkgarch, version)"
INSERT = "INSERT INTO PRMAIN VALUES (?, ?, ?, ?)"


def many(n=ROWS, package=M4):
    """Rows with the values 0 to n - 1."""
    return [(*package, f"checksum {i}", str(i)) for i in range(n)]


@pytest.fixture(
    params=[TABLE, WITHOUT_ROWID, TABLE.replace(KEY, OTHER_KEY)],
    ids=["as BitBake makes it", "without rowid", "key in another order"],
)
def table(request):
    return request.param


@pytest.fixture
def start(serve, tmp_path):
    """Starts a server on a database with these rows."""

    def start_on(rows, *options, table=WITHOUT_ROWID, **more):
        path = tmp_path / "large.sqlite3"
        write(path, table)
        write(path, INSERT, rows)
        return serve("--file", path, *options, **more)

    return start_on


def test_new_and_known_content(start, table):
    server = start(many(), table=table)
    assert server.get_pr(*M4, "new") == str(ROWS)
    assert server.get_pr(*M4, "newer") == str(ROWS + 1)
    assert server.get_pr(*M4, "newer") == str(ROWS + 1)
    assert server.get_pr(*M4, "checksum 17") == str(ROWS + 2)
    with server.client() as client:
        assert client.get_pr(*M4, "checksum 17", history=True) == "17"
        assert client.get_pr(*M4, "newest", history=True) == str(ROWS + 3)
        assert client.test_pr(*M4, "checksum 17") == str(ROWS + 2)
        assert client.max_pr(*M4) == str(ROWS + 3)
        client.import_one(*M4, "floor:x", str(2 * ROWS))
        assert client.get_pr(*M4, "above the floor") == str(2 * ROWS + 1)


@pytest.mark.parametrize(
    "greatest, following",
    [
        ("9" * 30, "1" + "0" * 30),
        ("2999.9", "2999.10"),
        ("2999." + "7" * 700, "2999." + "7" * 699 + "8"),
        ("10000.0.0.19", "10000.0.0.20"),
    ],
    ids=["long number", "child", "long child", "great-grandchild"],
)
def test_the_greatest_value_is_that_of_the_order_of_revisions(
    start, greatest, following
):
    rows = many() + [(*M4, "greatest", greatest), (*M4, "invalid", "999999x")]
    server = start(random.sample(rows, len(rows)))
    assert server.get_pr(*M4, "new") == following


def test_a_read_only_server(start, table):
    server = start(many(), "--read-only", table=table)
    with server.client() as client:
        assert client.get_pr(*M4, "new") == str(ROWS)
        assert client.get_pr(*M4, f"checksum {ROWS - 1}") == str(ROWS - 1)
        assert client.max_pr(*M4) == str(ROWS - 1)
        assert client.get_pr(*M4, "checksum 5", history=True) == "5"


def test_a_read_only_server_on_older_tables(serve, tmp_path):
    path = tmp_path / "old.sqlite3"
    write(path, TABLE)
    write(path, LEGACY_TABLE.format("PRMAIN_nohist"))
    write(path, INSERT, many())
    write(
        path,
        "INSERT INTO PRMAIN_nohist VALUES (?, ?, ?, ?)",
        [(*M4, f"old {i}", ROWS + i) for i in range(ROWS)],
    )
    server = serve("--file", path, "--read-only")
    assert server.get_pr(*M4, "new") == str(2 * ROWS)
    assert server.get_pr(*M4, "old 7", history=True) == str(ROWS + 7)


def test_content_with_very_many_values(start):
    rows = [(*M4, "often", str(i)) for i in range(ROWS)] + many(50)
    server = start(random.sample(rows, len(rows)))
    with server.client() as client:
        assert client.test_pr(*M4, "often") == str(ROWS - 1)
        assert client.test_pr(*M4, "often", history=True) == "0"
        assert client.get_pr(*M4, "often") == str(ROWS - 1)
        assert client.get_pr(*M4, "often", history=True) == "0"
        assert client.get_pr(*M4, "new") == str(ROWS)
        assert client.get_pr(*M4, "often") == str(ROWS + 1)
        assert client.test_pr(*M4, "often") == str(ROWS + 1)


def test_rows_that_another_program_adds_count(start):
    server = start(many())
    path = server.folder.parent / "large.sqlite3"
    value = ROWS
    assert server.get_pr(*M4, "first") == str(value)
    for i in range(5):
        write(path, INSERT, [(*M4, f"another {i}", str(value + 10))])
        assert server.get_pr(*M4, f"content {i}") == str(value + 11)
        value += 11


def test_two_servers_never_give_a_value_twice(start, serve):
    servers = [start(many())]
    path = servers[0].folder.parent / "large.sqlite3"
    servers.append(serve("--file", path, folder="second"))
    values = []

    def ask(server, name):
        with server.client() as client:
            values.extend(client.get_pr(*M4, f"{name} {i}") for i in range(40))

    threads = [
        threading.Thread(target=ask, args=pair)
        for pair in zip(servers * 2, itertools.count())
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(int, values)) == list(range(ROWS, ROWS + 160))


def test_with_history_a_value_of_the_upstream_is_not_given_twice(start, serve):
    upstream = serve(folder="upstream")
    with upstream.client() as client:
        client.import_one(*M4, "free", "1.5")
        client.import_one(*M4, "held", "17")
        client.import_one(*M4, "below the floor", "3.1")
    rows = many() + [(*M4, "floor:3.1", "3.1")]
    server = start(
        [row for row in rows if row[3] != "1.5"], "--upstream", upstream.address
    )
    with server.client() as client:
        assert client.get_pr(*M4, "free", history=True) == str(ROWS)
        assert client.get_pr(*M4, "held", history=True) == str(ROWS + 1)
        client.import_one(*ZIP, "x", "1")
        assert client.get_pr(*M4, "below the floor", history=True) == str(ROWS + 2)


def test_with_history_a_free_value_of_the_upstream_is_given(start, serve):
    upstream = serve(folder="upstream")
    with upstream.client() as client:
        client.import_one(*M4, "free", "5.5")
        client.import_one(*M4, "held", "17")
    server = start(many() + [(*M4, "floor:5", "5")], "--upstream", upstream.address)
    with server.client() as client:
        assert client.get_pr(*M4, "free", history=True) == "5.5"
        assert client.get_pr(*M4, "free", history=True) == "5.5"
        assert client.get_pr(*M4, "held", history=True) == str(ROWS)


def peak_bytes(server):
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as status:
        lines = [line.split() for line in status if line.startswith("VmHWM")]
    return int(lines[0][1]) * 1024


@pytest.mark.slow
def test_others_do_not_wait_for_a_large_package(start):
    """Half a million contents are read while another client asks; they are not kept in memory."""
    n = 500_000
    server = start(many(n) + many(3, ZIP))
    assert server.get_pr(*ZIP, "checksum 2") == "2"
    peak = peak_bytes(server)
    waits = []
    answers = []

    def ask():
        with server.client() as client:
            answers.append(client.get_pr(*M4, "new"))

    thread = threading.Thread(target=ask)
    with server.client() as client:
        thread.start()
        while thread.is_alive():
            began = time.monotonic()
            assert client.get_pr(*ZIP, "checksum 2") == "2"
            waits.append(time.monotonic() - began)
    thread.join()
    assert answers == [str(n)]
    assert len(waits) > 5
    assert statistics.median(waits) < 0.05
    assert peak_bytes(server) - peak < 40_000_000  # most of it SQLite's cache


def read_only_server(serve, server):
    """Starts another server on the same database."""
    path = server.folder.parent / "large.sqlite3"
    return serve("--file", path, "--read-only", folder="reading")


@contextlib.contextmanager
def writing_on(server):
    """Stores content of another package, until the block ends."""
    done = threading.Event()

    def write_on():
        with server.client() as client:
            for i in itertools.takewhile(
                lambda _: not done.is_set(), itertools.count()
            ):
                client.get_pr("other", "all", f"content {i}")

    thread = threading.Thread(target=write_on)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.slow
def test_look_ups_do_not_wait_while_others_write_and_a_large_package_is_read(
    start, serve
):
    """Rows that others add make the scan of a large package begin anew: it gets a snapshot."""
    n = 500_000
    server = start(many(n) + many(3, ZIP))
    reading = read_only_server(serve, server)
    answers = []
    waits = []

    def ask():
        with reading.client() as client:
            answers.extend(client.get_pr(*M4, f"new {i}") for i in range(4))

    thread = threading.Thread(target=ask)
    with writing_on(server), reading.client() as client:
        thread.start()
        while thread.is_alive():
            began = time.monotonic()
            assert client.test_pr(*ZIP, "checksum 2") == "2"
            waits.append(time.monotonic() - began)
    thread.join()
    assert answers == [str(n)] * 4
    assert len(waits) > 20
    assert statistics.quantiles(waits, n=10)[8] < 0.1


def test_answers_from_a_snapshot_are_as_new_as_the_request(start, serve):
    """A client's request sees each row for which it has an answer."""
    server = start(many(20_000))
    reading = read_only_server(serve, server)
    with writing_on(server), server.client() as writer, reading.client() as reader:
        for i in range(40):
            value = writer.get_pr(*M4, f"new {i}")
            assert value == str(20_000 + i)
            assert reader.get_pr(*M4, f"new {i}") == value
            assert reader.max_pr(*M4) == value


@pytest.mark.slow
def test_files_that_are_removed_while_a_large_package_is_read(start):
    """No connection is kept from the others for as long as its snapshot lasts."""
    n = 500_000
    server = start(many(n), "--bind", "127.0.0.1:0,ro")
    path = server.folder.parent / "large.sqlite3"
    host, port = server.addresses[1].split(":")
    answers = []

    def ask():
        with Client((host, int(port))) as client:
            answers.extend(client.get_pr(*M4, f"new {i}") for i in range(6))

    thread = threading.Thread(target=ask)
    with writing_on(server):
        thread.start()
        for n_answers in 1, 3:
            poll(lambda: len(answers) >= n_answers or not thread.is_alive())
            for end in "-wal", "-shm":
                path.with_name(path.name + end).unlink(missing_ok=True)
        thread.join()
    assert answers == [str(n)] * 6
    assert server.get_pr(*M4, "newest") == str(n)
