# SPDX-License-Identifier: MIT
"""SIGTERM and SIGINT: the server answers what it has read, then it exits."""

import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time

import pytest

from harness import (
    HANDSHAKE,
    PRSERVD,
    SANITIZER,
    Client,
    clean_environment,
    get_pr_request,
    line,
    open_files,
    poll,
)
from rows import locked

DEADLINE = 5 if not SANITIZER else 15  # seconds from the signal to the exit
SIGNALS = [signal.SIGTERM, signal.SIGINT]


def end(server, number=signal.SIGTERM):
    """Sends the signal, and checks that the server exits in time."""
    server.process.send_signal(number)
    server.process.wait(DEADLINE)
    assert server.process.returncode == 0, server.log
    assert "Sanitizer" not in server.log, server.log


def request(checksum, history=False):
    return get_pr_request("m4-1", "all", checksum, history)


def unread(server, client):
    """Returns the number of bytes from this client that the server has not read yet, or
    None while the server has not accepted it."""
    local, remote = (f":{port:04X}" for port in (server.port, client_port(client)))
    with open("/proc/net/tcp") as table:
        for entry in (words.split() for words in table):
            if entry[1].endswith(local) and entry[2].endswith(remote):
                return int(entry[4].partition(":")[2], 16)
    return None


def client_port(client):
    return client.socket.getsockname()[1]


def wait_until_read(server, client):
    poll(lambda: unread(server, client) == 0, "the server to read")


def rows(server):
    file = server.folder / "prserv.sqlite3"
    with contextlib.closing(sqlite3.connect(file)) as database:
        return database.execute("SELECT checksum, value FROM PRMAIN").fetchall()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_server_without_clients_ends(server, number):
    end(server, number)
    assert "Stopped" in server.log


@pytest.mark.parametrize("number", SIGNALS)
def test_idle_clients_do_not_delay_the_end(server, number):
    clients = [server.client() for _ in range(10)]
    for client in clients[:5]:
        assert client.ask({"ping": {}}) == {"alive": True}
    end(server, number)
    for client in clients:
        assert client.is_closed()
        client.close()


@pytest.mark.parametrize(
    "half",
    [
        b"",
        b"PRSERV",
        b"PRSERVICE 1.0\n",
        b"PRSERVICE 1.0\nneeds-hea",
        HANDSHAKE + b'{"get-pr": {"ver',
        HANDSHAKE + line(request("a"))[:-1],
        HANDSHAKE + b'{"chunk-stream": null}\n{"get-pr":\n',
    ],
)
def test_an_incomplete_message_does_not_delay_the_end(server, half):
    with server.client(handshake=half) as client:
        wait_until_read(server, client)
        end(server)
        assert client.is_closed()
    assert rows(server) == []


def test_a_client_that_has_been_refused_does_not_delay_the_end(server):
    """The server keeps the connection until the client closes it: a reset could destroy the error."""
    with server.client(handshake=b"NO SUCH SERVICE 1.0\n\n") as client:
        while client.receive_line():
            pass
        server.process.send_signal(signal.SIGTERM)
        poll(lambda: "Stopping" in server.log, "the signal")
    server.stop()


def test_a_client_that_keeps_sending_does_not_delay_the_end(server):
    with server.client() as client:
        assert client.ask({"ping": {}}) == {"alive": True}
        server.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + DEADLINE
        while server.process.poll() is None:
            assert time.monotonic() < deadline
            with contextlib.suppress(OSError):
                client.send(b" ")
    assert server.process.returncode == 0


@pytest.mark.parametrize("number", SIGNALS)
def test_requests_that_were_read_are_answered_and_stored(server, number):
    checksums = [str(n) for n in range(300)]  # more than are processed at the same time
    with server.client() as client:
        assert client.ask({"ping": {}}) == {"alive": True}
        client.send(b"".join(line(request(checksum)) for checksum in checksums))
        wait_until_read(server, client)
        end(server, number)
        answers = [client.receive() for _ in checksums]
        assert client.is_closed()
    assert answers == [{"value": str(n)} for n in range(300)]
    assert sorted(rows(server)) == sorted((c, c) for c in checksums)


def test_requests_of_several_clients_are_answered(server):
    clients = [server.client() for _ in range(8)]
    for client in clients:
        assert client.ask({"ping": {}}) == {"alive": True}
    for index, client in enumerate(clients):
        client.send(b"".join(line(request(f"{index}-{n}")) for n in range(20)))
    for client in clients:
        wait_until_read(server, client)
    end(server)
    given = [client.receive()["value"] for client in clients for _ in range(20)]
    assert sorted(given, key=int) == [str(n) for n in range(160)]
    for client in clients:
        assert client.is_closed()
        client.close()


def test_only_an_incomplete_message_is_lost(server):
    with server.client() as client:
        client.send(line(request("a")) + line(request("b")) + line(request("c"))[:-5])
        wait_until_read(server, client)
        end(server)
        assert [client.receive()["value"] for _ in "ab"] == ["0", "1"]
        assert client.is_closed()
    assert sorted(rows(server)) == [("a", "0"), ("b", "1")]


def test_a_client_that_reads_gets_all_of_a_large_answer(server):
    with server.client() as client:
        for n in range(400):
            client.post(request("x" * 1000 + str(n)))
        for n in range(400):
            assert client.receive() == {"value": str(n)}
        client.post({"export": {"history": True}})
        wait_until_read(server, client)
        server.process.send_signal(signal.SIGTERM)
        assert len(client.receive()["datainfo"]) == 400
        assert client.is_closed()
    server.process.wait(DEADLINE)
    assert server.process.returncode == 0


@pytest.mark.slow
def test_a_client_that_never_reads_does_not_delay_the_end(serve):
    """While the server waits for this client, it accepts no others."""
    server = serve()
    file = server.folder / "prserv.sqlite3"
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        database.executemany(
            "INSERT INTO PRMAIN VALUES ('m4-1', 'all', ?, ?)",
            ((str(n) + "x" * 4000, str(n)) for n in range(8000)),
        )
    silent = socket.socket()
    silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    silent.connect(("127.0.0.1", server.port))
    silent.sendall(HANDSHAKE + line({"export": {"history": True}}))
    assert silent.recv(1, socket.MSG_PEEK)  # the answer has begun
    server.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + DEADLINE
    refused_meanwhile = False
    while server.process.poll() is None:
        assert time.monotonic() < deadline, "it did not end"
        with contextlib.suppress(ConnectionError):
            socket.create_connection(("127.0.0.1", server.port), 5).close()
            continue
        refused_meanwhile = refused_meanwhile or server.process.poll() is None
    silent.close()
    assert server.process.returncode == 0
    assert refused_meanwhile


def test_a_request_that_waits_for_a_lock_gets_an_error(server):
    with locked(
        server.folder / "prserv.sqlite3"
    ), server.client() as client, server.client() as other:
        client.send(line(request("a")) + line(request("b")) + line({"ping": {}}))
        other.send(line({"import-one": {**request("c")["get-pr"], "value": "7"}}))
        wait_until_read(server, client)
        wait_until_read(server, other)
        end(server)
        for answer in client.receive(), client.receive(), other.receive():
            message = answer["invoke-error"]["message"]
            # The end may be faster than the first try.
            assert "lock" in message or message.endswith("no longer waits"), message
        assert client.receive() == {"alive": True}
        assert client.is_closed() and other.is_closed()
    assert rows(server) == []


def test_a_request_that_waits_for_the_upstream_gets_an_error(serve):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        server = serve("--upstream", address)
        with server.client() as client:
            client.send(line(request("a")) + line({"ping": {}}))
            accepted = silent.accept()[0]
            poll(lambda: b"is-readonly" in accepted.recv(4096), "the check")
            end(server)
            message = client.receive()["invoke-error"]["message"]
            assert address in message
            assert client.receive() == {"alive": True}
            assert client.is_closed()
        accepted.close()
    assert rows(server) == []


def test_a_second_signal_changes_nothing(server):
    with server.client() as client:
        client.send(b"".join(line(request(str(n))) for n in range(100)))
        wait_until_read(server, client)
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGINT)
        end(server)
        assert [client.receive()["value"] for _ in range(100)] == [
            str(n) for n in range(100)
        ]


def test_answered_rows_are_there_after_the_next_start(server):
    with server.client() as client:
        given = [client.get_pr("m4-1", "all", name) for name in "abc"]
        end(server)
    server.restart()
    assert [
        server.ask({"test-pr": request(name)["get-pr"]})["value"] for name in "abc"
    ] == given


def test_clients_of_a_unix_socket_do_not_delay_the_end(serve, tmp_path):
    path = tmp_path / "socket"
    server = serve("--bind", f"unix://{path}")
    with Client(path) as client:
        assert client.ask({"ping": {}}) == {"alive": True}
        end(server)
        assert client.is_closed()
    assert not path.exists()


def test_a_start_that_waits_for_a_lock_can_be_interrupted(tmp_path):
    file = tmp_path.resolve() / "rows.db"
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("CREATE TABLE another (program)")
        other.execute("BEGIN EXCLUSIVE")
        process = subprocess.Popen(
            [PRSERVD, "--host", "127.0.0.1", "--port", "0", "--file", file],
            cwd=tmp_path,
            env=clean_environment(),
            stderr=subprocess.DEVNULL,
        )
        try:
            poll(
                lambda: str(file) in open_files(process), "the server to open the file"
            )
            process.terminate()
            assert process.wait(DEADLINE) in (0, 1)
        finally:
            process.kill()
            process.wait()


# ---- long queues ----


@pytest.fixture
def large(serve):
    """A server with a package of 100,000 rows."""
    server = serve()
    server.stop()
    with contextlib.closing(
        sqlite3.connect(server.folder / "prserv.sqlite3")
    ) as database:
        rows = ((f"{i:064x}", str(i)) for i in range(100_000))
        database.executemany("INSERT INTO PRMAIN VALUES ('big', 'all', ?, ?)", rows)
        database.commit()
    server.start()
    return server


@pytest.mark.parametrize(
    "request_",
    [
        {"export": {"history": True, "checksum": "none"}},
        {"export": {"history": True}},
        {"max-package-pr": {"version": "big", "pkgarch": "all"}},
        {"get-stats": {}},
    ],
    ids=lambda request_: next(iter(request_)),
)
def test_long_queues_do_not_delay_the_end(large, request_):
    clients = [large.client() for _ in range(8)]
    for client in clients:
        client.send(json.dumps(request_).encode() + b"\n" + b'{"ping": {}}\n')
        client.send((json.dumps(request_).encode() + b"\n") * 120)
    began = time.monotonic()
    large.stop()
    assert time.monotonic() - began < (5 if not SANITIZER else 15)
    for client in clients:
        client.close()


def test_a_log_pipe_that_is_full_does_not_block_the_server(tmp_path):
    reader, writer = os.pipe()
    command = [
        str(PRSERVD),
        "--bind",
        f"unix://{tmp_path}/socket",
        "--loglevel",
        "DEBUG",
    ]
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=writer, env=clean_environment()
    )
    os.close(writer)

    def answers():
        with contextlib.suppress(OSError), Client(tmp_path / "socket") as client:
            return client.ask({"ping": {}}) == {"alive": True}

    try:
        poll(answers, "an answer")
        for _ in range(600):
            assert answers()
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(reader)


def test_a_stop_moves_the_rows_although_another_program_has_the_file_open(
    serve, tmp_path
):
    server = serve()
    path = server.folder / "prserv.sqlite3"
    with contextlib.closing(sqlite3.connect(path)) as reader:
        reader.execute("SELECT count(*) FROM PRMAIN").fetchall()
        server.get_pr("m4-1", "all", "a")
        end(server)
        copy = tmp_path / "copy"  # without its -wal
        shutil.copy(path, copy)
    with contextlib.closing(sqlite3.connect(copy)) as copied:
        rows = copied.execute("SELECT checksum, value FROM PRMAIN").fetchall()
    assert rows == [("a", "0")]
