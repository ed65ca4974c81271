# SPDX-License-Identifier: MIT
"""Errors of prserv export, import and diff: unreadable files, no room for temporary files, lost
servers; and their progress display."""

import contextlib
import csv
import json
import os
import pty
import re
import resource
import select
import signal
import socket
import struct
import subprocess
import termios
import threading
import time

import pytest

from fake_upstream import fake_server
from harness import PRSERV, clean_environment, poll
from prserv_command import import_text, prserv, prserv_on
from rows import (
    CSV_HEADER,
    EMPTY_EXPORT,
    make_database_with_invalid_rows,
    rows_of,
    store,
)

NOWHERE = "127.0.0.1:1"  # no server listens there

# ---- rows that are too large ----


def csv_of(rows):
    return CSV_HEADER.encode() + b"".join(
        f"{','.join(row)}\r\n".encode() for row in rows
    )


LARGE_ROWS = [
    ["v", "a", "first", "1"],
    ["v", "a", "x" * 300_000, "2"],
    ["v", "a", "\u00e9" * 60_000, "3"],
    ["v", "a", "second", "4"],
    ["x" * 300_000, "a", "third", "5"],
]


@pytest.mark.parametrize("more", [0, 600])
def test_an_import_names_the_rows_that_are_too_large_and_the_option(server, more):
    rows = LARGE_ROWS + [["v", "a", f"more-{n}", "6"] for n in range(more)]
    done = import_text(server, csv_of(rows), "--keep-going")
    assert done.returncode == 1
    assert done.stdout.decode() == f"{2 + more} new, 0 known, 3 refused\n"
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 3
    for line, number in zip(lines, (3, 4, 6)):
        request = {
            "import-one": dict(zip(CSV_HEADER.strip().split(","), rows[number - 2]))
        }
        size = len(json.dumps(request, separators=(",", ":")))
        assert f":{number}: the row is too large for the server ({size} bytes" in line
        assert "--max-message-bytes" in line
    stored = {row[2] for row in rows_of(server)}
    assert stored == {"first", "second"} | {row[2] for row in rows[5:]}


def test_an_import_ends_at_a_row_that_is_too_large_and_says_where(server):
    done = import_text(server, csv_of(LARGE_ROWS))
    assert done.returncode == 1
    text = done.stderr.decode()
    assert ":3: the row is too large for the server" in text
    assert ":4: the import was cut off from here on" in text
    assert {row[2] for row in rows_of(server)} == {"first"}


# ---- files ----


def unreadable_stream(text):
    """Returns a stream that ends in a read error: a socket that its peer has reset."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    far.sendall(text)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()
    return near


@pytest.mark.parametrize(
    "text",
    [
        b'PRAUTO$v$a$c = "1"\n',
        b'{"metainfo":{},"datainfo":[',
        CSV_HEADER.encode() + b"v,a",
    ],
)
def test_a_read_error_names_the_file(server, text):
    with unreadable_stream(text) as stream:
        done = subprocess.run(
            [str(PRSERV), "--server", server.address, "import", "-"],
            env=clean_environment(),
            stdin=stream,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode != 0
    assert "standard input: can't be read: Connection reset by peer" in done.stderr


def test_csv_with_another_header_is_refused(server):
    done = import_text(server, "version,pkgarch,value,checksum\nv,a,1,c\n")
    assert done.returncode == 1
    assert b"nor CSV with the header version,pkgarch,checksum,value" in done.stderr
    assert rows_of(server) == []


def test_all_texts_of_the_first_csv_row_may_be_empty(server):
    done = import_text(server, CSV_HEADER + ",,,0\n")
    assert (done.returncode, done.stderr) == (0, b"")
    assert rows_of(server) == [("", "", "", "0")]


def test_a_name_that_only_begins_like_an_override_is_exported(server):
    store(server, [("x", "all", "c:appendix", "1"), ("x", "all", "c:append:low", "1")])
    done = prserv_on(server, "export", "--all")
    assert 'PRAUTO$x$all$c:appendix = "1"' in done.stdout
    assert "c:append:low" not in done.stdout and "c:append:low" in done.stderr


def test_packages_with_the_same_variable_share_the_greatest_value(server):
    rows = [("x", "y_z", "c", "5"), ("x", "zz", "c", "1"), ("x_y", "z", "c", "3")]
    store(server, rows)
    done = prserv_on(server, "export", "--lockdown")
    assert done.stdout.count("PRAUTO_x_y_z = ") == 1
    assert 'PRAUTO_x_y_z = "5"' in done.stdout


def test_diff_refuses_an_incomplete_file(server, tmp_path):
    path = tmp_path / "half.json"
    path.write_text('{"metainfo":{},"datainfo":[')
    done = prserv("diff", str(path), server.address)
    assert done.returncode == 2
    assert f"{path}:1: the JSON ends midway" in done.stderr


# ---- temporary files ----


@contextlib.contextmanager
def rows_file(folder, count, width=20):
    path = folder / "many.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["version", "pkgarch", "checksum", "value"])
        for number in range(count):
            writer.writerow([f"p{number}", "all", f"{number:0{width}}", "1"])
    yield path


def limit_files():
    """Limits files of this process to 1 MiB; exceeding it is an error, not a signal."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))


def run_without_room(server, *words):
    return subprocess.run(
        [str(PRSERV), "--server", server.address, *words],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=100,
        preexec_fn=limit_files,
    )


@pytest.mark.parametrize("command", ["import", "diff"])
def test_a_lack_of_room_for_temporary_files_is_reported(server, tmp_path, command):
    with rows_file(tmp_path, 12_000, width=2000) as path:
        if command == "import":
            done = run_without_room(server, "import", "--dry-run", str(path))
        else:
            done = run_without_room(server, "diff", str(path), server.address)
    assert done.returncode != 0
    assert "temporary" in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1


# ---- servers ----


@pytest.mark.parametrize(
    "command", [("status",), ("import", "-"), ("diff", "-", NOWHERE)]
)
def test_a_refused_connection_is_reported(command):
    done = prserv("--server", NOWHERE, *command)
    assert done.returncode in (2, 3) and NOWHERE in done.stderr


def test_a_server_lost_during_an_import_is_named():
    """The error names the line from which on the result is unknown."""
    gone = threading.Event()

    def answer(request):
        if "import-one" in request:
            gone.set()
            raise OSError  # the connection ends
        return {"readonly": False} if "is-readonly" in request else EMPTY_EXPORT

    with fake_server(answer) as fake:
        done = subprocess.run(
            [str(PRSERV), "--server", fake.address, "import", "-"],
            input=CSV_HEADER + "v,a,c,1\n",
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert gone.is_set()
    assert done.returncode == 3
    assert (
        "the import was cut off from here on" in done.stderr
        and fake.address in done.stderr
    )


def test_import_needs_to_know_whether_the_server_is_read_only():
    with fake_server(lambda request: {"odd": True}) as fake:
        done = prserv("--server", fake.address, "import", "/dev/null")
    assert done.returncode != 0 and fake.address in done.stderr


def test_diff_prints_null_for_rows_without_a_value(serve, tmp_path):
    odd = tmp_path / "odd"
    odd.mkdir()
    path = odd / "rows.db"
    make_database_with_invalid_rows(path)
    server, empty = serve("--file", path), serve(folder="empty")
    done = prserv("diff", "--json", "--all", server.address, empty.address)
    assert done.returncode == 1
    differences = json.loads(done.stdout)["differences"]
    assert [] != [each for each in differences if each["first"] == [None]]


def test_diff_accepts_a_unix_socket_as_a_server(serve, tmp_path):
    serve("--bind", f"unix://{tmp_path}/socket")
    done = prserv("diff", f"unix://{tmp_path}/socket", "/dev/null", "--json")
    assert json.loads(done.stdout)["same"] is True, done.stderr


# ---- progress ----


class Terminal:
    """A terminal for standard error of a command, and its output."""

    def __init__(self):
        self.near, self.far = pty.openpty()
        mode = termios.tcgetattr(self.far)
        mode[1] &= ~termios.OPOST
        termios.tcsetattr(self.far, termios.TCSANOW, mode)
        self.shown = b""

    def read(self):
        while select.select([self.near], [], [], 0)[0]:
            with contextlib.suppress(OSError):
                self.shown += os.read(self.near, 4096)
                continue
            break
        return self.shown

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.near)
        os.close(self.far)


def test_a_long_import_shows_its_progress(server):
    """The progress is shown on a terminal and erased at the end."""
    numbers = iter(range(1 << 30))
    with Terminal() as terminal:
        process = subprocess.Popen(
            [str(PRSERV), "--server", server.address, "import", "-", "--dry-run"],
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=terminal.far,
        )
        process.stdin.write(CSV_HEADER.encode())

        def show():
            for _ in range(200):
                process.stdin.write(b"v,a,%d,1\n" % next(numbers))
            process.stdin.flush()
            return b" rows checked" in terminal.read()

        poll(show, "the progress")
        process.stdin.close()
        process.stdin = None
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert out.startswith(b"%d would be new" % next(numbers))
        assert terminal.read().endswith(b"\r\x1b[K")


def test_an_import_of_known_size_shows_a_progress_bar(tmp_path):
    def answer(request):
        if "export" in request:
            time.sleep(1.1)  # a slow server: progress is shown after one second
            return EMPTY_EXPORT
        return {"readonly": False}

    with rows_file(tmp_path, 5000) as path, fake_server(answer) as fake:
        with Terminal() as terminal:
            process = subprocess.Popen(
                [
                    str(PRSERV),
                    "--server",
                    fake.address,
                    "import",
                    str(path),
                    "--dry-run",
                ],
                env=clean_environment(),
                stdout=subprocess.PIPE,
                stderr=terminal.far,
            )
            poll(lambda: b"%  " in terminal.read(), "the bar")
            process.communicate(timeout=60)
            assert process.returncode == 0
            assert re.search(
                rb"\[#*\.*\] +\d+%  \d+ rows checked\x1b\[K\r", terminal.read()
            )
