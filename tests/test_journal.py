"""The journal beside the database: it is moved to its place, beside the commits."""

import signal

import pytest

from harness import SANITIZER
from test_bench import bench

MIB = 1024 * 1024
MOST = 80 * MIB  # 32 MiB, and what is committed while they are moved on a busy machine

pytestmark = pytest.mark.slow


def journal_of(server):
    return (server.folder / "prserv.sqlite3-wal").stat().st_size


def write(server, requests, seed=1):
    """New content of many packages: each row dirties a page of its own."""
    words = ("--work", "new", "--packages", 5000, "--seed", seed, "--pipeline", 4)
    bench(server.address, *words, "--requests", requests)


@pytest.mark.skipif(bool(SANITIZER), reason="takes a sanitizer minutes")
def test_it_does_not_grow_without_end(serve):
    server = serve("--sync", "off")
    write(server, 60_000)
    assert 30 * MIB < journal_of(server) < MOST
    write(server, 60_000, seed=2)
    write(server, 60_000, seed=3)
    assert journal_of(server) < MOST


@pytest.mark.skipif(bool(SANITIZER), reason="takes a sanitizer minutes")
def test_what_is_in_it_is_there_after_a_kill(serve):
    server = serve()
    write(server, 5_000)
    assert journal_of(server) > MIB
    with server.client() as client:
        rows = client.ask({"get-stats": {}})["database"]["rows"]
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    server.restart()
    with server.client() as client:
        assert client.ask({"get-stats": {}})["database"]["rows"] == rows


@pytest.mark.skipif(bool(SANITIZER), reason="takes a sanitizer minutes")
def test_a_reader_lets_it_grow_and_does_not_stop_the_writer(serve):
    server = serve("--sync", "off")
    write(server, 60_000)
    with server.client() as reader:
        reader.post({"export": {"history": True}})  # and does not read
        write(server, 60_000, seed=2)
        assert journal_of(server) > 50 * MIB
        reader.receive()
    write(server, 60_000, seed=3)
    assert journal_of(server) <= 64 * MIB + 4096  # begun anew, and cut
