"""prserv export, import and diff: rows that move between servers and files."""

import contextlib
import csv
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import threading
import time

import pytest
from fake_upstream import FakeUpstream
from harness import PRSERV, SANITIZER, clean_environment, open_files
from test_prserv import prserv

PLAIN = [
    ("m4-1.4.19-r0", "core2-64", "a" * 64, "0"),
    ("m4-1.4.19-r0", "core2-64", "b" * 64, "1"),
    ("m4-1.4.19-r0", "all", "a" * 64, "9"),
    ("m4-1.4.19-r0", "all", "a" * 64, "10"),
    ("AUTOINC-linux-6.1", "core2-64", "c" * 40, "1.3.2"),
    ("a$b-1.0", "all", "d", "2.0.11"),
    ("odd-{1}/~x:y", "all", "e+", "1"),
    ("odd-1", "all", "colon:", "3"),
    ("odd-1", "all", "dot.", "4"),
    ("big", "all", "f", "123456789012345678901234567890.7"),
]
ODD = [
    ('quote"inside', "all", "'single'", "1"),
    ("blank inside", " all ", "tab\t", "2"),
    ("back\\slash\\", "all", "\\n", "3"),
    ("new\nline", "cr\r", "crlf\r\n", "4"),
    ("Grüße", "\U0001f600", "漢字", "5.1"),
    ("nul\0nul", "a\0", "\0", "6"),
    ("comma,", ",", ",,", "7"),
    ("long", "all", "x" * 100_000, "8"),
    ("long", "all", '"' * 100_000, "9"),
    ("v", "a$b", "c", "1"),
    ("v", "a", "$", "1"),
    ("", "", "", "0"),
    ("${PN}", "all", "c", "1"),
    ("x_append", "all", "c", "1"),
    ("x", "all", "c:append", "1"),
    ("x", "all", "c:remove:low", "1"),
    ("x=y", "all", "[flag]", "1"),
    ("#hash", "all", "@at", "1"),
    ("version", "pkgarch", "checksum", "1"),
    ("\ufeffmark", "all", "\u2028", "1"),
]


def store(server, rows):
    """Puts rows into a server."""
    with server.client() as client:
        for row in rows:
            client.import_one(*row)


def rows_of(server, history=True):
    with server.client() as client:
        answer = client.export(history=history)
    return sorted(tuple(row.values()) for row in answer["datainfo"])


def move(server, *words, **more):
    return prserv("--server", server.address, *words, **more)


def feed(server, text, *words):
    """Runs import with a text on standard input."""
    return subprocess.run(
        [str(PRSERV), "--server", server.address, "import", "-", *words],
        env=clean_environment(),
        input=text if isinstance(text, bytes) else text.encode(),
        capture_output=True,
        timeout=60,
    )


def counts(done):
    return tuple(int(number) for number in re.findall(rb"\d+", done.stdout))


ENDINGS = ["conf", "json", "csv"]

# ---- export → import → export ----


@pytest.mark.parametrize("ending", ["json", "csv"])
def test_json_and_csv_hold_everything(serve, tmp_path, ending):
    first, second = serve(), serve(folder="second")
    store(first, PLAIN + ODD)
    path, again = tmp_path / f"rows.{ending}", tmp_path / f"again.{ending}"
    assert move(first, "export", str(path), "--all").returncode == 0
    done = move(second, "import", str(path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{len(PLAIN + ODD)} new, 0 known, 0 refused\n"
    assert rows_of(second) == rows_of(first) == sorted(PLAIN + ODD)
    assert move(second, "export", str(again), "--all").returncode == 0
    assert again.read_bytes() == path.read_bytes()


def test_conf_holds_what_bitbake_can(serve, tmp_path):
    first, second = serve(), serve(folder="second")
    store(first, PLAIN + ODD)
    path = tmp_path / "rows.conf"
    done = move(first, "export", str(path), "--all")
    assert done.returncode == 1
    assert done.stderr.count("left out, conf can't hold it") == len(ODD) - 3
    assert '"quote\\"inside"' in done.stderr
    assert move(second, "import", str(path)).returncode == 0
    held = [row for row in ODD if row[0] in ("", "version") or row[3] == "8"]
    assert rows_of(second) == sorted(PLAIN + held)


def test_without_history_only_the_greatest_values_are_exported(server):
    store(server, PLAIN)
    done = move(server, "export", "--format", "csv")
    rows = list(csv.reader(done.stdout.splitlines()))
    assert ["m4-1.4.19-r0", "all", "a" * 64, "10"] in rows
    assert ["m4-1.4.19-r0", "all", "a" * 64, "9"] not in rows


def test_filters_choose_rows(server):
    store(server, PLAIN)
    version = ("--version", "m4-1.4.19-r0")
    for words, wanted in (
        (version, 2),
        ((*version, "--pkgarch", "all"), 1),
        ((*version, "--pkgarch", "all", "--all"), 2),
        (("--checksum", "d"), 1),
    ):
        done = move(server, "export", "--json", *words)
        assert len(json.loads(done.stdout)["datainfo"]) == wanted, words


# ---- the formats ----

# How BitBake reads a line (lib/bb/parse/parse_py/ConfHandler.py).
BITBAKE = re.compile(
    r"""^(?P<exp>export\s+)?(?P<var>[a-zA-Z0-9\-_+.${}/~:]+?)
    (\[(?P<flag>[a-zA-Z0-9\-_+.][a-zA-Z0-9\-_+.@]*)\])?
    (?P<whitespace>\s*) ((?P<colon>:=)|(?P<lazyques>\?\?=)|(?P<ques>\?=)|(?P<append>\+=)|
    (?P<prepend>=\+)|(?P<predot>=\.)|(?P<postdot>\.=)|=) (?P<whitespace2>\s*)
    (?!'[^']*'[^']*'$)(?!\"[^\"]*\"[^\"]*\"$)(?P<apo>['\"])(?P<value>.*)(?P=apo)$""",
    re.X,
)


def parse_as_bitbake(text):
    variables = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            match = BITBAKE.match(line)
            assert match, line
            operators = ("colon", "lazyques", "ques", "append", "prepend", "postdot")
            assert not any(match[operator] for operator in operators), line
            variables[match["var"]] = match["value"]
    return variables


def test_conf_is_what_bitbake_reads(server):
    store(server, PLAIN + ODD)
    done = move(server, "export", "--lockdown")
    variables = parse_as_bitbake(done.stdout)
    assert done.stdout.startswith('#PR_core_ver = "')
    assert variables["PRSERV_LOCKDOWN"] == "1"
    assert variables["PRAUTO_m4-1.4.19-r0_all"] == "10"
    assert variables["PRAUTO$a$b-1.0$all$d"] == "2.0.11"
    assert variables["PRAUTO$odd-{1}/~x:y$all$e+"] == "1"
    assert variables["PRAUTO$odd-1$all$dot."] == "4"
    for name in variables:
        assert not re.search("_(append|prepend|remove)", name), name


def test_a_package_line_is_left_out_for_its_own_name(server):
    store(server, [("append-1.0", "all", "c", "1")])
    done = move(server, "export")
    assert 'PRAUTO$append-1.0$all$c = "1"' in done.stdout
    assert "PRAUTO_append-1.0_all" not in done.stdout
    assert "PRAUTO_append-1.0_all" in done.stderr
    assert done.returncode == 1


def test_conf_has_the_greatest_value_of_a_package(server):
    store(server, [("v", "a", f"c{value}", str(value)) for value in range(12)])
    assert 'PRAUTO_v_a = "11"' in move(server, "export", "--all").stdout


def test_what_conf_cant_hold_counts_for_its_package(server):
    store(
        server,
        [("v", "a", "good", "1"), ("v", "a", "b d", "2"), ("w w", "a", "c", "1")],
    )
    done = move(server, "export", "--all")
    assert 'PRAUTO$v$a$good = "1"\nPRAUTO_v_a = "2"\n' in done.stdout
    assert done.stderr.count("left out, conf") == 2
    done = move(server, "export", "--lockdown")
    assert "PRAUTO$" not in done.stdout and 'PRAUTO_v_a = "2"' in done.stdout


def test_rows_of_a_checksum_dont_tell_a_packages_greatest_value(server):
    store(server, [("v", "a", "old", "1"), ("v", "a", "new", "2")])
    done = move(server, "export", "--all", "--checksum", "old")
    assert 'PRAUTO$v$a$old = "1"' in done.stdout and "PRAUTO_" not in done.stdout
    words = ("--all", "--checksum", "old", "--lockdown")
    assert move(server, "export", *words).returncode == 2
    assert 'PRAUTO_v_a = "2"' in move(server, "export", "--checksum", "new").stdout


def test_csv_is_rfc_4180(server, tmp_path):
    rows = [row for row in PLAIN + ODD if "\0" not in "".join(row)]
    store(server, rows)
    path = tmp_path / "rows.csv"
    assert move(server, "export", str(path), "--all").returncode == 0
    with open(path, newline="", encoding="utf-8") as file:
        read = list(csv.reader(file, strict=True))
    assert read[0] == ["version", "pkgarch", "checksum", "value"]
    assert sorted(map(tuple, read[1:])) == sorted(rows)


def test_json_is_the_answer_of_the_protocol(server, tmp_path):
    store(server, PLAIN + ODD)
    path = tmp_path / "rows.json"
    assert move(server, "export", str(path)).returncode == 0
    with server.client() as client:
        assert json.loads(path.read_bytes()) == client.export(colinfo=True)


def make_odd_database(path):
    """With rows that another program wrote: no value, no revision."""
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE TABLE PRMAIN (version TEXT NOT NULL, pkgarch TEXT NOT NULL, checksum TEXT"
            " NOT NULL, value TEXT, PRIMARY KEY (version, pkgarch, checksum, value))"
        )
        database.execute("INSERT INTO PRMAIN VALUES ('v', 'a', 'null', NULL)")
        database.execute("INSERT INTO PRMAIN VALUES ('v', 'a', 'empty', '')")
        database.execute("INSERT INTO PRMAIN VALUES ('v', 'a', 'text', 'abc')")
        database.execute("INSERT INTO PRMAIN VALUES ('v', 'a', 'good', '1')")
    database.close()


@pytest.mark.parametrize("ending", ["json", "csv"])
def test_rows_without_a_revision_are_exported_and_refused(serve, tmp_path, ending):
    make_odd_database(tmp_path / "odd.sqlite3")
    first = serve("--file", tmp_path / "odd.sqlite3")
    second = serve(folder="second")
    path = tmp_path / f"rows.{ending}"
    assert move(first, "export", str(path), "--all").returncode == 0
    assert move(first, "diff", first.address, str(path)).returncode == 0
    done = move(second, "import", str(path), "--keep-going")
    assert done.returncode == 1
    assert done.stdout == "1 new, 0 known, 3 refused\n"
    assert rows_of(second) == [("v", "a", "good", "1")]
    conf = move(first, "export", "--all")
    assert conf.stderr.count("left out, conf can't hold it") == 3


# ---- import ----


def test_conf_is_read_as_bitbake_reads_it(server):
    done = feed(
        server,
        '\n# a comment\r\n#PR_core_ver = "1"\n'
        'PRSERV_LOCKDOWN = "1"\n'
        'PRAUTO_v_a = "9"\n'
        'PRAUTO$v$a$1 = "1"\n'
        "PRAUTO$v$a$2='2'\n"
        'PRAUTO$v$a$3 ?= "3.1"\r\n'
        'PRAUTO$v$a$4:="4"\n'
        'PRAUTO$v$a$5: = "5"\n'
        'PRAUTO$v$a$6 := "6"\n'
        'PRAUTO$v$a$7 ??="7"\n'
        'PRAUTO$$v$x$a$6 = "6"',
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert rows_of(server) == [
        ("$v$x", "a", "6", "6"),
        *[("v", "a", c, v) for c, v in zip("1234", ("1", "2", "3.1", "4"))],
        ("v", "a", "5:", "5"),
        ("v", "a", "6", "6"),
        ("v", "a", "7", "7"),
    ]


def test_json_values_may_be_integers_and_the_order_is_free(server):
    text = (
        '\n{"datainfo": [ {"value": 3, "checksum": "c", "pkgarch": "a", "version": "v",'
        ' "more": [1, {}]} ] , "metainfo": {"datainfo": []} }\n'
    )
    assert counts(feed(server, text)) == (1, 0, 0)
    assert rows_of(server) == [("v", "a", "c", "3")]


def test_a_server_that_stores_something_else_refuses_the_row():
    def answer(request):
        if "import-one" in request:
            return {"value": 7}
        return {"readonly": False} if "is-readonly" in request else EMPTY

    with answering(answer) as address:
        done = subprocess.run(
            [str(PRSERV), "--server", address, "import", "-", "--keep-going"],
            input=HEADER + "v,a,c,3\nv,a,d,7\n",
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert "import-one: the server holds 7 instead of 3" in done.stderr
    assert (done.returncode, done.stdout) == (1, "1 new, 0 known, 1 refused\n")


def test_a_slow_server_is_not_asked_for_each_row():
    asked = []

    def answer(request):
        if "export" in request:
            asked.append(request["export"])
            time.sleep(0.2)
            return EMPTY
        if "import-one" in request:
            return {"value": request["import-one"]["value"]}
        return {"readonly": False}

    rows = "".join(f"v,a,{n},1\n" for n in range(100))
    with answering(answer) as address:
        done = subprocess.run(
            [str(PRSERV), "--server", address, "import", "-"],
            input=HEADER + rows,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.stdout == "100 new, 0 known, 0 refused\n"
    assert len(asked) < 10 and asked[-1]["version"] == ""


EMPTY = {"metainfo": {}, "datainfo": []}


@contextlib.contextmanager
def answering(answer):
    """A server that answers each request as the function says."""
    with FakeUpstream() as fake:
        fake.behave = lambda talk, name, arguments: talk.answer(
            answer({name: arguments})
        )
        yield fake.address


def test_an_empty_file_has_no_rows(server):
    for text in ("", "\n", '{"datainfo":[]}', "version,pkgarch,checksum,value\n"):
        done = feed(server, text)
        assert (done.returncode, counts(done)) == (0, (0, 0, 0)), text


def test_a_byte_order_mark_is_passed_over(server):
    text = "\ufeffversion,pkgarch,checksum,value\nv,a,c,1\n"
    assert counts(feed(server, text)) == (1, 0, 0)


HEADER = "version,pkgarch,checksum,value\n"


@pytest.mark.parametrize(
    "text, line, reason",
    [
        ('PRAUTO$v$a$c = "1."\n', 1, "no revision"),
        ('\n\nPRAUTO$v$a$c = "007"\n', 3, "no revision"),
        ('#\nPRAUTO$a$c = "1"\n', 2, "PRAUTO$<version>"),
        ('PRAUTO$v$a$c += "1"\n', 1, "+="),
        ('PRAUTO$v$a$c : "1"\n', 1, "not an assignment"),
        ('= "1"\n', 1, "not an assignment"),
        ('PRAUTO$v$a$c:append = "1"\n', 1, "override"),
        ('PRAUTO$${PV}$a$c = "1"\n', 1, "expand"),
        ('PRAUTO$v$a$c+="1"\n', 1, "+="),
        ('PRAUTO$v$a$c =. "1"\n', 1, "=."),
        ("PRAUTO$v$a$c = 1\n", 1, "quotes"),
        ('PRAUTO$v$a$c = "1" # x\n', 1, "quotes"),
        ('PRAUTO$v v$a$c = "1"\n', 1, "not an assignment"),
        ('OTHER = "1"\n', 1, "neither"),
        ("value,checksum\n1,c\n", 1, "header"),
        (HEADER + "v,a,c\n", 2, "four fields"),
        (HEADER + "v,a,c,1,\n", 2, "four fields"),
        (HEADER + "\nv,a,c,\n", 3, "no value"),
        (HEADER + 'v,a,c,""\n', 2, "no revision"),
        (HEADER + 'v,"a\nb"c,c,1\n', 2, "quote"),
        (HEADER + 'v,a"b,c,1\n', 2, "quote"),
        (HEADER + 'v,"a,c,1\n', 2, "does not end"),
        (
            '{"datainfo":[\n{"version":"v","pkgarch":"a","checksum":"c"}]}',
            2,
            "value is",
        ),
        ('{"datainfo":[{"version":1,\n"pkgarch":"a"}]}', 1, "no string"),
        ('{"datainfo":[\n\n7]}', 3, "no object"),
        ('{"datainfo":[\n{"version":}]}', 2, "not JSON"),
        ('{"datainfo":[\n', 2, "midway"),
        ('{"invoke-error":{"message":"x"}}', 1, "refusal"),
        ('{"metainfo":{}}', 1, "datainfo"),
        ('{"datainfo":{}}', 1, "not the JSON of an export"),
        ('{"datainfo":[],"datainfo":[]}', 1, "not the JSON of an export"),
        ('{"datainfo":[],}', 1, "not the JSON of an export"),
        ('{"' + "x" * 2000, 1, "too long"),
        ("[]", 1, "not the JSON of an export"),
        (b"version,pkgarch,checksum,value\nv,a,\xff,1\n", 2, "UTF-8"),
    ],
)
def test_what_is_refused_is_named_with_file_and_line(
    server, tmp_path, text, line, reason
):
    path = tmp_path / "rows"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = move(server, "import", str(path))
    assert done.returncode == 1
    first = done.stderr.splitlines()[0]
    assert first.startswith(f"prserv: {path}:{line}: "), first
    assert reason in first
    assert rows_of(server) == []


LIST = HEADER + "v,a,1,1\nv,a,bad,x\nv,a,2,2\nv,a\nv,a,1,1\n"


def test_import_ends_at_the_first_refusal(server):
    done = feed(server, LIST)
    assert done.returncode == 1
    assert counts(done) == (1, 0, 1)
    assert rows_of(server) == [("v", "a", "1", "1")]


def test_keep_going_imports_the_rest(server):
    done = feed(server, LIST, "--keep-going", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout) == {
        "new": 2,
        "known": 1,
        "refused": 2,
        "dry_run": False,
    }
    assert [line.split(b":")[2] for line in done.stderr.splitlines()] == [b"3", b"5"]
    assert rows_of(server) == [("v", "a", "1", "1"), ("v", "a", "2", "2")]


def test_a_dry_run_stores_nothing_and_says_what_would_happen(server):
    store(server, [("v", "a", "1", "1")])
    done = feed(server, LIST, "--keep-going", "--dry-run")
    assert done.stdout == (b"1 would be new, 2 known, 2 refused; nothing was stored\n")
    assert rows_of(server) == [("v", "a", "1", "1")]


@pytest.mark.parametrize("rows", [10, 3000])
def test_importing_twice_changes_nothing(server, rows):
    text = HEADER + "".join(f"v{i % 7},a,{i},{i}.{i}\n" for i in range(rows))
    assert counts(feed(server, text)) == (rows, 0, 0)
    before = rows_of(server)
    assert len(before) == rows
    assert counts(feed(server, text)) == (0, rows, 0)
    assert rows_of(server) == before


def test_other_values_of_a_checksum_stay(server):
    store(server, [("v", "a", "c", "1"), ("v", "a", "c", "3")])
    assert counts(feed(server, HEADER + "v,a,c,2\nv,a,c,1\n")) == (1, 1, 0)
    assert [row[3] for row in rows_of(server)] == ["1", "2", "3"]


def test_a_read_only_server_is_no_place_to_import_to(serve, tmp_path):
    writer = serve("--file", tmp_path / "rows.sqlite3")
    store(writer, PLAIN)
    reader = serve("--file", tmp_path / "rows.sqlite3", "--read-only", folder="reader")
    for words in ((), ("--keep-going",), ("--dry-run",)):
        done = feed(reader, LIST, *words)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert b"read-only" in done.stderr
    assert rows_of(reader) == sorted(PLAIN)
    assert move(reader, "diff", writer.address, reader.address).returncode == 0


def test_files_that_are_not_there(server, tmp_path):
    missing = str(tmp_path / "missing")
    assert move(server, "import", missing).returncode == 2
    assert missing in move(server, "import", missing).stderr
    assert move(server, "diff", missing, server.address).returncode == 2


# ---- writing the file ----


class Broken:
    """A server that begins an answer to export and breaks the connection."""

    def __init__(self, begins, hold=None):
        self.begins = begins
        self.hold = hold  # breaks when this is set, or at once
        self.asked = threading.Event()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        connection, _ = self.socket.accept()
        with connection, connection.makefile("rb") as lines:
            while lines.readline() not in (b"\n", b""):
                pass
            lines.readline()
            connection.sendall(self.begins)
            self.asked.set()
            if self.hold:
                assert self.hold.wait(60)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.thread.join()
        self.socket.close()


BEGINS = (
    b'{"chunk-stream":null}\n{"metainfo":{},"datainfo":[{"version":"v","pkgarch":"a",'
    b'"checksum":"c","value":"1"},\n'
)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_broken_connection_leaves_the_older_file_alone(tmp_path, ending):
    path = tmp_path / f"rows.{ending}"
    path.write_text("older")
    with Broken(BEGINS) as broken:
        done = move(broken, "export", str(path))
    assert done.returncode == 3
    assert broken.address in done.stderr
    assert path.read_text() == "older"
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_export_that_is_stopped_leaves_nothing_behind(tmp_path, how):
    path = tmp_path / "rows.csv"
    path.write_text("older")
    over = threading.Event()
    with Broken(BEGINS, over) as broken:
        process = subprocess.Popen(
            [str(PRSERV), "--server", broken.address, "export", str(path)],
            env=clean_environment(),
        )
        assert broken.asked.wait(60)
        assert writes_beside(process, tmp_path)
        process.send_signal(how)
        assert process.wait(60) == -how
        over.set()
    assert path.read_text() == "older"
    assert os.listdir(tmp_path) == [path.name]


def writes_beside(process, folder):
    return any(file.startswith(str(folder)) for file in open_files(process))


def test_a_broken_connection_ends_an_import():
    with Broken(b'{"readonly":false}\n') as broken:
        done = feed_after_close(broken)
    assert done.returncode == 3
    assert broken.address.encode() in done.stderr


def feed_after_close(broken):
    process = subprocess.Popen(
        [str(PRSERV), "--server", broken.address, "import", "-"],
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdin.write(HEADER.encode())
    process.stdin.flush()
    broken.thread.join()
    broken.socket.close()
    out, err = process.communicate(b"v,a,c,1\n", timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def test_an_export_replaces_an_older_file_and_keeps_its_mode(server, tmp_path):
    store(server, PLAIN)
    path = tmp_path / "rows.csv"
    path.write_text("older")
    path.chmod(0o640)
    link = tmp_path / "link.csv"
    link.symlink_to(path)
    done = move(server, "export", str(link), "--json")
    assert json.loads(done.stdout) == {"rows": 7, "left_out": 0}
    assert path.read_text().startswith("version,")
    assert path.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["link.csv", "rows.csv", "server"]


def test_where_nothing_can_be_written(server, tmp_path):
    store(server, PLAIN)
    missing = str(tmp_path / "missing" / "rows.csv")
    for name, status in ("/dev/full", 1), (missing, 2), (str(tmp_path), 2):
        done = move(server, "export", name)
        assert done.returncode == status, name
        assert name in done.stderr


def test_a_full_disk_is_named_during_a_long_export(server):
    store(server, [("v", "a", "x" * 60_000, str(n)) for n in range(5)])
    done = move(server, "export", "--all", "--format", "csv", "/dev/full")
    assert done.returncode == 1
    assert "/dev/full: can't be written: No space left" in done.stderr


def test_standard_output_by_name_is_not_replaced(server, tmp_path):
    store(server, PLAIN)
    path = tmp_path / "rows"
    path.write_text("before\n")
    with open(path, "a", encoding="utf-8") as file:
        command = [str(PRSERV), "--server", server.address, "export", "/dev/stdout"]
        subprocess.run(command, stdout=file, check=True, env=clean_environment())
    assert path.read_text().startswith("before\n") and "PRAUTO$" in path.read_text()


def test_half_a_byte_order_mark_is_no_text(server):
    done = feed(server, b"\xef\xbb" + HEADER.encode())
    assert done.returncode == 2 and b"UTF-8" in done.stderr


@pytest.mark.skipif(bool(SANITIZER), reason="that many bytes take a sanitizer minutes")
def test_a_line_without_end_ends_the_import(server):
    done = move(server, "import", "/dev/zero", "--keep-going")
    assert done.returncode == 1
    assert "/dev/zero:1: the line is too long" in done.stderr


def test_a_link_to_nothing_is_not_replaced(server, tmp_path):
    link = tmp_path / "link.csv"
    link.symlink_to(tmp_path / "rows.csv")
    done = move(server, "export", str(link))
    assert done.returncode == 2 and "link" in done.stderr
    assert link.is_symlink()


def test_words_that_export_does_not_know(server):
    assert move(server, "export", "--format", "xml").returncode == 2
    assert move(server, "export", "--format", "csv", "--lockdown").returncode == 2
    assert move(server, "--json", "export", "--format", "csv").returncode == 2


# ---- diff ----


def test_diff_shows_what_only_one_has_and_which_revisions_differ(serve):
    first, second = serve(), serve(folder="second")
    both = ("v", "a", "both", "1")
    store(
        first,
        [both, ("v", "a", "x", "2"), ("v", "a", "y", "3"), ("b c", "a", "z", "4")],
    )
    store(
        second, [both, ("v", "a", "x", "5"), ("v", "a", "x", "6"), ("w", "a", "q", "7")]
    )
    done = move(first, "diff", first.address, second.address)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        '- "b c" a z 4',
        "! v a x 2 -> 5,6",
        "- v a y 3",
        "+ w a q 7",
    ]
    done = move(first, "diff", first.address, second.address, "--json")
    answer = json.loads(done.stdout)
    assert answer["same"] is False
    assert answer["differences"][1] == {
        "version": "v",
        "pkgarch": "a",
        "checksum": "x",
        "first": ["2"],
        "second": ["5", "6"],
    }
    same = move(first, "diff", first.address, first.address, "--json")
    assert (same.returncode, json.loads(same.stdout)) == (
        0,
        {"differences": [], "same": True},
    )


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("words", [[], ["--all"]])
def test_a_file_is_the_same_as_the_server_it_came_from(server, tmp_path, ending, words):
    store(server, PLAIN + (ODD if ending != "conf" else []))
    path = tmp_path / f"rows.{ending}"
    assert move(server, "export", str(path), *words).returncode == 0
    for sides in ((str(path), server.address), (server.address, str(path))):
        done = move(server, "diff", *sides)
        assert (done.returncode, done.stdout) == (0, "")
    if not words:
        assert move(server, "diff", str(path), server.address, "--all").returncode == 1
    server.get_pr("m4-1.4.19-r0", "core2-64", "new")
    done = move(server, "diff", str(path), server.address)
    assert done.returncode == 1
    assert "+ m4-1.4.19-r0 core2-64 new 2" in done.stdout.splitlines()


def test_diff_that_cant_say_it_is_trouble(server, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(HEADER + "v,a,c,1\n")
    command = [str(PRSERV), "--json", "diff", str(path), str(path)]
    with open("/dev/full", "w", encoding="ascii") as full:
        assert subprocess.run(command, stdout=full, check=False).returncode == 2
    assert move(server, "diff", "-", "-").returncode == 2
    done = move(server, "diff", "typo.conf", server.address)
    assert done.returncode == 2 and "no file typo.conf" in done.stderr


def test_diff_names_what_it_cannot_read(server, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(HEADER + "v,a,c,1\nv\n")
    done = move(server, "diff", str(path), server.address)
    assert done.returncode == 2
    assert f"{path}:3:" in done.stderr
    assert move(server, "diff", str(path), "127.0.0.1:1").returncode == 2
    path.write_text(HEADER + "v,a,c,1\n")
    assert move(server, "diff", str(path), "127.0.0.1:1").returncode == 3


# ---- much ----


def fill(path, rows):
    """Makes a database of many rows without a server."""
    make_odd_database(path)
    with sqlite3.connect(path) as database:
        database.execute("DELETE FROM PRMAIN")
        database.executemany(
            "INSERT INTO PRMAIN VALUES (?, 'core2-64', ?, ?)",
            ((f"p{i // 8}-1.0-r0", f"{i:064x}", str(i % 8)) for i in range(rows)),
        )
    database.close()


def within(kib, *words):
    """Runs prserv with so much memory for its data; returns its exit status."""
    return subprocess.run(
        ["/bin/sh", "-c", f'ulimit -d {kib} && exec "$@"', "sh", str(PRSERV), *words],
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        timeout=100,
    ).returncode


little_memory = pytest.mark.skipif(
    bool(SANITIZER), reason="a sanitizer needs memory of its own"
)


@pytest.mark.slow
@little_memory
@pytest.mark.parametrize("ending", ENDINGS)
def test_much_is_exported_in_little_memory(serve, tmp_path, ending):
    fill(tmp_path / "rows.sqlite3", 200_000)
    server = serve("--file", tmp_path / "rows.sqlite3")
    path = tmp_path / f"rows.{ending}"
    words = ("--server", server.address, "export", str(path), "--all")
    assert within(10 * 1024, *words) == 0
    assert path.stat().st_size > 16_000_000


@pytest.mark.slow
@little_memory
def test_much_is_imported_and_compared_in_little_memory(serve, tmp_path):
    fill(tmp_path / "rows.sqlite3", 100_000)
    server = serve("--file", tmp_path / "rows.sqlite3")
    path = {ending: str(tmp_path / f"rows.{ending}") for ending in ENDINGS}
    for file in path.values():
        assert move(server, "export", file, "--all").returncode == 0
    assert within(24 * 1024, "--server", server.address, "import", path["json"]) == 0
    assert within(24 * 1024, "diff", path["csv"], path["conf"]) == 0


def test_many_new_rows_are_imported_in_batches(serve, tmp_path):
    fill(tmp_path / "rows.sqlite3", 5000)
    first, second = serve("--file", tmp_path / "rows.sqlite3"), serve(folder="second")
    exported = move(first, "export", "--all", "--format", "csv").stdout
    assert counts(feed(second, exported)) == (5000, 0, 0)
    assert rows_of(second) == rows_of(first)
