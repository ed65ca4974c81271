"""Moving rows where something is amiss: files that can't be read, no room for temporary files,
servers that go; and the progress that is shown while it takes long."""

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
from harness import PRSERV, clean_environment, poll
from test_move import (
    EMPTY,
    HEADER,
    answering,
    feed,
    make_odd_database,
    move,
    rows_of,
    store,
)
from test_prserv import prserv

NOWHERE = "127.0.0.1:1"  # nobody listens there

# ---- files ----


def breaking_off(text):
    """A stream that ends in an error: the other side of it was reset."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    far.sendall(text)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()
    return near


@pytest.mark.parametrize(
    "text",
    [b'PRAUTO$v$a$c = "1"\n', b'{"metainfo":{},"datainfo":[', HEADER.encode() + b"v,a"],
)
def test_a_file_that_breaks_off_while_it_is_read_is_named(server, text):
    with breaking_off(text) as stream:
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


def test_the_header_of_csv_has_its_names(server):
    done = feed(server, "version,pkgarch,value,checksum\nv,a,1,c\n")
    assert done.returncode == 1
    assert b"nor CSV with the header version,pkgarch,checksum,value" in done.stderr
    assert rows_of(server) == []


def test_fields_of_csv_may_be_empty_from_the_first_row_on(server):
    done = feed(server, HEADER + ",,,0\n")
    assert (done.returncode, done.stderr) == (0, b"")
    assert rows_of(server) == [("", "", "", "0")]


def test_a_name_that_only_begins_like_an_override_is_none(server):
    store(server, [("x", "all", "c:appendix", "1"), ("x", "all", "c:append:low", "1")])
    done = move(server, "export", "--all")
    assert 'PRAUTO$x$all$c:appendix = "1"' in done.stdout
    assert "c:append:low" not in done.stdout and "c:append:low" in done.stderr


def test_packages_of_one_name_share_the_greatest_of_their_values(server):
    rows = [("x", "y_z", "c", "5"), ("x", "zz", "c", "1"), ("x_y", "z", "c", "3")]
    store(server, rows)
    done = move(server, "export", "--lockdown")
    assert done.stdout.count("PRAUTO_x_y_z = ") == 1
    assert 'PRAUTO_x_y_z = "5"' in done.stdout


def test_a_file_that_ends_midway_is_not_compared(server, tmp_path):
    path = tmp_path / "half.json"
    path.write_text('{"metainfo":{},"datainfo":[')
    done = prserv("diff", str(path), server.address)
    assert done.returncode == 2
    assert f"{path}:1: the JSON ends midway" in done.stderr


# ---- no room ----


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
    """A file of this process may have 1 MiB; more is an error, not the end of it."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))


def without_room(server, *words):
    return subprocess.run(
        [str(PRSERV), "--server", server.address, *words],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=100,
        preexec_fn=limit_files,
    )


@pytest.mark.parametrize("command", ["import", "diff"])
def test_no_room_for_temporary_files_is_said(server, tmp_path, command):
    with rows_file(tmp_path, 12_000, width=2000) as path:
        if command == "import":
            done = without_room(server, "import", "--dry-run", str(path))
        else:
            done = without_room(server, "diff", str(path), server.address)
    assert done.returncode != 0
    assert "temporary" in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1


# ---- servers ----


@pytest.mark.parametrize(
    "command", [("status",), ("import", "-"), ("diff", "-", NOWHERE)]
)
def test_nobody_listens(command):
    done = prserv("--server", NOWHERE, *command)
    assert done.returncode in (2, 3) and NOWHERE in done.stderr


def test_a_server_that_goes_during_an_import_is_named():
    """What was stored by then is counted, the line from which on nothing is known is named."""
    gone = threading.Event()

    def answer(request):
        if "import-one" in request:
            gone.set()
            raise OSError  # the connection ends
        return {"readonly": False} if "is-readonly" in request else EMPTY

    with answering(answer) as address:
        done = subprocess.run(
            [str(PRSERV), "--server", address, "import", "-"],
            input=HEADER + "v,a,c,1\n",
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert gone.is_set()
    assert done.returncode == 3
    assert (
        "from here on the import was cut off" in done.stderr and address in done.stderr
    )


def test_a_server_that_says_nothing_about_itself_is_no_place_to_import_to():
    with answering(lambda request: {"odd": True}) as address:
        done = prserv("--server", address, "import", "/dev/null")
    assert done.returncode != 0 and address in done.stderr


def test_rows_without_a_value_are_null_in_what_differs(serve, tmp_path):
    odd = tmp_path / "odd"
    odd.mkdir()
    path = odd / "rows.db"
    make_odd_database(path)
    server, empty = serve("--file", path), serve(folder="empty")
    done = prserv("diff", "--json", "--all", server.address, empty.address)
    assert done.returncode == 1
    differences = json.loads(done.stdout)["differences"]
    assert [] != [each for each in differences if each["first"] == [None]]


def test_a_unix_socket_is_a_server_to_diff(serve, tmp_path):
    serve("--bind", f"unix://{tmp_path}/socket")
    done = prserv("diff", f"unix://{tmp_path}/socket", "/dev/null", "--json")
    assert json.loads(done.stdout)["same"] is True, done.stderr


# ---- progress ----


class Terminal:
    """Standard error of a command, and what it shows there."""

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


def test_what_takes_long_shows_how_far_it_is(server):
    """On a terminal, and gone again at the end."""
    numbers = iter(range(1 << 30))
    with Terminal() as terminal:
        process = subprocess.Popen(
            [str(PRSERV), "--server", server.address, "import", "-", "--dry-run"],
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=terminal.far,
        )
        process.stdin.write(HEADER.encode())

        def show():
            for _ in range(200):
                process.stdin.write(b"v,a,%d,1\n" % next(numbers))
            process.stdin.flush()
            return b" rows looked at" in terminal.read()

        poll(show, "the progress")
        process.stdin.close()
        process.stdin = None
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert out.startswith(b"%d would be new" % next(numbers))
        assert terminal.read().endswith(b"\r\x1b[K")


def test_where_the_size_is_known_a_bar_shows_how_much_is_left(tmp_path):
    def answer(request):
        if "export" in request:
            time.sleep(1.1)  # a slow server: progress is shown from one second on
            return EMPTY
        return {"readonly": False}

    with rows_file(tmp_path, 5000) as path, answering(answer) as address:
        with Terminal() as terminal:
            process = subprocess.Popen(
                [str(PRSERV), "--server", address, "import", str(path), "--dry-run"],
                env=clean_environment(),
                stdout=subprocess.PIPE,
                stderr=terminal.far,
            )
            poll(lambda: b"%  " in terminal.read(), "the bar")
            process.communicate(timeout=60)
            assert process.returncode == 0
            assert re.search(
                rb"\[#*\.*\] +\d+%  \d+ rows looked at\x1b\[K\r", terminal.read()
            )
