# SPDX-License-Identifier: MIT
"""prserv export, import and diff."""

import csv
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from fake_upstream import fake_server
from harness import PRSERV, SANITIZER, clean_environment, open_files
from prserv_command import import_text, prserv_on
from rows import (
    CSV_HEADER,
    EMPTY_EXPORT,
    make_database_with_invalid_rows,
    make_large_database,
    rows_of,
    store,
)

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
UNUSUAL = [
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


def counts(done):
    return tuple(int(number) for number in re.findall(rb"\d+", done.stdout))


FORMATS = ["conf", "json", "csv"]

# ---- export and import ----


@pytest.mark.parametrize("ending", ["json", "csv"])
def test_json_and_csv_hold_everything(serve, tmp_path, ending):
    first, second = serve(), serve(folder="second")
    store(first, PLAIN + UNUSUAL)
    path, again = tmp_path / f"rows.{ending}", tmp_path / f"again.{ending}"
    assert prserv_on(first, "export", str(path), "--all").returncode == 0
    done = prserv_on(second, "import", str(path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{len(PLAIN + UNUSUAL)} new, 0 known, 0 refused\n"
    assert rows_of(second) == rows_of(first) == sorted(PLAIN + UNUSUAL)
    assert prserv_on(second, "export", str(again), "--all").returncode == 0
    assert again.read_bytes() == path.read_bytes()


def test_conf_holds_what_bitbake_can(serve, tmp_path):
    first, second = serve(), serve(folder="second")
    store(first, PLAIN + UNUSUAL)
    path = tmp_path / "rows.conf"
    done = prserv_on(first, "export", str(path), "--all")
    assert done.returncode == 1
    assert done.stderr.count("left out, conf can't hold it") == len(UNUSUAL) - 3
    assert '"quote\\"inside"' in done.stderr
    assert prserv_on(second, "import", str(path)).returncode == 0
    held = [row for row in UNUSUAL if row[0] in ("", "version") or row[3] == "8"]
    assert rows_of(second) == sorted(PLAIN + held)


def test_without_history_only_the_greatest_values_are_exported(server):
    store(server, PLAIN)
    done = prserv_on(server, "export", "--format", "csv")
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
        done = prserv_on(server, "export", "--json", *words)
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
    store(server, PLAIN + UNUSUAL)
    done = prserv_on(server, "export", "--lockdown")
    variables = parse_as_bitbake(done.stdout)
    assert done.stdout.startswith('#PR_core_ver = "')
    assert variables["PRSERV_LOCKDOWN"] == "1"
    assert variables["PRAUTO_m4-1.4.19-r0_all"] == "10"
    assert variables["PRAUTO$a$b-1.0$all$d"] == "2.0.11"
    assert variables["PRAUTO$odd-{1}/~x:y$all$e+"] == "1"
    assert variables["PRAUTO$odd-1$all$dot."] == "4"
    for name in variables:
        assert not re.search("_(append|prepend|remove)", name), name


def test_a_package_whose_name_conf_cannot_hold_is_left_out(server):
    store(server, [("append-1.0", "all", "c", "1")])
    done = prserv_on(server, "export")
    assert 'PRAUTO$append-1.0$all$c = "1"' in done.stdout
    assert "PRAUTO_append-1.0_all" not in done.stdout
    assert "PRAUTO_append-1.0_all" in done.stderr
    assert done.returncode == 1


def test_a_description_does_not_swallow_the_next_line(tmp_path):
    """A comment that ends with a backslash goes on in the next line."""
    export = {
        "metainfo": {
            "tbl_name": "t\\",
            "core_ver": "\\",
            "col_info": [
                {"name": "n\\", "type": "t", "notnull": 1, "dflt_value": 0, "pk": "\\"}
            ],
        },
        "datainfo": [{"version": "v", "pkgarch": "a", "checksum": "c", "value": "1"}],
    }
    with fake_server(lambda request: export) as fake:
        done = subprocess.run(
            [str(PRSERV), "--server", fake.address, "export"],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert 'PRAUTO$v$a$c = "1"' in done.stdout.splitlines()
    assert not [line for line in done.stdout.splitlines() if line.endswith("\\")]


def test_conf_has_the_greatest_value_of_a_package(server):
    store(server, [("v", "a", f"c{value}", str(value)) for value in range(12)])
    assert 'PRAUTO_v_a = "11"' in prserv_on(server, "export", "--all").stdout


def test_rows_that_conf_cannot_hold_count_for_the_greatest_value(server):
    store(
        server,
        [("v", "a", "good", "1"), ("v", "a", "b d", "2"), ("w w", "a", "c", "1")],
    )
    done = prserv_on(server, "export", "--all")
    assert 'PRAUTO$v$a$good = "1"\nPRAUTO_v_a = "2"\n' in done.stdout
    assert done.stderr.count("left out, conf") == 2
    done = prserv_on(server, "export", "--lockdown")
    assert "PRAUTO$" not in done.stdout and 'PRAUTO_v_a = "2"' in done.stdout


def test_an_export_of_one_checksum_writes_no_greatest_value(server):
    store(server, [("v", "a", "old", "1"), ("v", "a", "new", "2")])
    done = prserv_on(server, "export", "--all", "--checksum", "old")
    assert 'PRAUTO$v$a$old = "1"' in done.stdout and "PRAUTO_" not in done.stdout
    words = ("--all", "--checksum", "old", "--lockdown")
    assert prserv_on(server, "export", *words).returncode == 2
    assert 'PRAUTO_v_a = "2"' in prserv_on(server, "export", "--checksum", "new").stdout


def test_csv_is_rfc_4180(server, tmp_path):
    rows = [row for row in PLAIN + UNUSUAL if "\0" not in "".join(row)]
    store(server, rows)
    path = tmp_path / "rows.csv"
    assert prserv_on(server, "export", str(path), "--all").returncode == 0
    with open(path, newline="", encoding="utf-8") as file:
        read = list(csv.reader(file, strict=True))
    assert read[0] == ["version", "pkgarch", "checksum", "value"]
    assert sorted(map(tuple, read[1:])) == sorted(rows)


def test_json_is_the_answer_of_the_protocol(server, tmp_path):
    store(server, PLAIN + UNUSUAL)
    path = tmp_path / "rows.json"
    assert prserv_on(server, "export", str(path)).returncode == 0
    with server.client() as client:
        assert json.loads(path.read_bytes()) == client.export(colinfo=True)


@pytest.mark.parametrize("ending", ["json", "csv"])
def test_invalid_rows_are_exported_but_not_imported(serve, tmp_path, ending):
    make_database_with_invalid_rows(tmp_path / "odd.sqlite3")
    first = serve("--file", tmp_path / "odd.sqlite3")
    second = serve(folder="second")
    path = tmp_path / f"rows.{ending}"
    assert prserv_on(first, "export", str(path), "--all").returncode == 0
    assert prserv_on(first, "diff", first.address, str(path)).returncode == 0
    done = prserv_on(second, "import", str(path), "--keep-going")
    assert done.returncode == 1
    assert done.stdout == "1 new, 0 known, 3 refused\n"
    assert rows_of(second) == [("v", "a", "good", "1")]
    conf = prserv_on(first, "export", "--all")
    assert conf.stderr.count("left out, conf can't hold it") == 3


FORMULAS = ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1"]


def test_a_spreadsheet_gets_no_formulas(server, tmp_path):
    path = str(tmp_path / "sheet.csv")
    store(server, [(text, text, text, "1") for text in FORMULAS] + PLAIN)
    done = prserv_on(server, "export", path, "--spreadsheet")
    assert (done.returncode, done.stderr) == (0, "")
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["Version", "Pkgarch", "Checksum", "Value"]
    assert sum(row[:3] == ["'" + text] * 3 for row in rows for text in FORMULAS) == 6
    assert not [cell for row in rows for cell in row if cell and cell[0] in "=+-@\t\r"]
    done = prserv_on(server, "import", path)
    assert done.returncode == 1 and "--spreadsheet" in done.stderr


def test_spreadsheet_needs_csv(server):
    done = prserv_on(server, "export", "--spreadsheet")
    assert done.returncode == 2 and "--spreadsheet needs the format csv" in done.stderr


def on_a_terminal(server, *arguments):
    """Returns what prserv writes to a terminal, standard error included."""
    main, other = os.openpty()
    with subprocess.Popen(
        [str(PRSERV), "--server", server.address, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=other,
        stderr=other,
        env=clean_environment(),
    ):
        os.close(other)
        output = b""
        try:
            while piece := os.read(main, 65536):
                output += piece
        except OSError:  # the last one has closed it
            pass
    os.close(main)
    return output


@pytest.mark.parametrize("ending", FORMATS)
def test_nothing_takes_effect_on_a_terminal(server, ending):
    unsafe = "\x1b]0;title\x07\x9b31m\x7f\x08\rover\u202e"
    store(
        server,
        [("v" + unsafe, "a" + unsafe, "c" + unsafe, "1"), ("Grüße", "a", "c", "1")],
    )
    output = on_a_terminal(server, "export", "--format", ending).decode()
    output = output.replace("\x1b[K", "").replace("\r\n", "\n").replace("\r\r", "")
    assert not set(output) & set("\x1b\x07\x9b\x7f\x08\u202e"), output
    assert "over" in output and ("Grüße" in output or ending != "csv")


# ---- import ----


def test_conf_is_read_as_bitbake_reads_it(server):
    done = import_text(
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


def test_json_values_may_be_integers_in_any_member_order(server):
    text = (
        '\n{"datainfo": [ {"value": 3, "checksum": "c", "pkgarch": "a", "version": "v",'
        ' "more": [1, {}]} ] , "metainfo": {"datainfo": []} }\n'
    )
    assert counts(import_text(server, text)) == (1, 0, 0)
    assert rows_of(server) == [("v", "a", "c", "3")]


def test_a_row_that_the_server_stores_differently_is_refused():
    def answer(request):
        if "import-one" in request:
            return {"value": 7}
        return {"readonly": False} if "is-readonly" in request else EMPTY_EXPORT

    with fake_server(answer) as fake:
        done = subprocess.run(
            [str(PRSERV), "--server", fake.address, "import", "-", "--keep-going"],
            input=CSV_HEADER + "v,a,c,3\nv,a,d,7\n",
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert "import-one: the server holds 7 instead of 3" in done.stderr
    assert (done.returncode, done.stdout) == (1, "1 new, 0 known, 1 refused\n")


def test_import_batches_requests_to_a_slow_server():
    asked = []

    def answer(request):
        if "export" in request:
            asked.append(request["export"])
            time.sleep(0.2)  # a slow network
            return EMPTY_EXPORT
        if "import-one" in request:
            return {"value": request["import-one"]["value"]}
        return {"readonly": False}

    rows = "".join(f"v,a,{n},1\n" for n in range(100))
    with fake_server(answer) as fake:
        done = subprocess.run(
            [str(PRSERV), "--server", fake.address, "import", "-"],
            input=CSV_HEADER + rows,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.stdout == "100 new, 0 known, 0 refused\n"
    assert len(asked) < 10 and asked[-1]["version"] == ""


@pytest.mark.parametrize("ending", FORMATS)
def test_an_export_without_rows_is_imported(server, tmp_path, ending):
    path = tmp_path / f"none.{ending}"
    assert prserv_on(server, "export", str(path)).returncode == 0
    done = prserv_on(server, "import", str(path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "0 new, 0 known, 0 refused\n"


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "the file has no rows"),
        ("\n# a comment\n", "the file has no rows"),
        ('OTHER = "1"\n', "the file has no rows"),
        ('PRAUTO_v_a = "1"\n', "PRAUTO_ lines name no checksum"),
        ('PRSERV_LOCKDOWN = "1"\nPRAUTO_v_a = "1"\n', "PRAUTO_ lines name no checksum"),
    ],
)
def test_a_file_in_which_nothing_is_found_is_an_error(server, text, reason):
    done = import_text(server, text)
    assert (done.returncode, counts(done)) == (1, (0, 0, 0))
    assert b"nothing was imported: " + reason.encode() in done.stderr


def test_rows_are_read_from_a_configuration(server):
    done = import_text(
        server,
        'include conf/site.conf\nOTHER = "1"\nOTHER += "2"\nOTHER[doc] = "x"\n'
        'export PRAUTO$v$a$1 = "1"\nexport OTHER\nPRAUTO$v$a$1[doc] = "x"\n'
        'PRAUTO$v$a$2 \\\n = \\  \n"2"\n'
        '# a comment that goes on \\\nPRAUTO$v$a$3 = "3"\n'
        'OTHER = "a \\\n  PRAUTO$v$a$4 = 4"\n',
    )
    assert (done.returncode, counts(done)) == (0, (2, 0, 0))
    assert b"7 other variables and statements were passed over" in done.stderr
    assert rows_of(server) == [("v", "a", "1", "1"), ("v", "a", "2", "2")]


def test_a_database_is_a_file_of_rows(serve, tmp_path):
    server = serve()
    path = str(tmp_path / "old.sqlite3")
    other = serve("--file", path, folder="other")
    store(other, PLAIN + UNUSUAL)
    assert prserv_on(server, "diff", path, server.address).returncode == 1
    done = prserv_on(server, "import", path)
    assert done.stdout == f"{len(PLAIN + UNUSUAL)} new, 0 known, 0 refused\n"
    assert prserv_on(server, "diff", path, server.address).returncode == 0
    assert rows_of(server) == rows_of(other)


def test_a_damaged_database_is_refused(server, tmp_path):
    path = tmp_path / "bad.sqlite3"
    path.write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    done = prserv_on(server, "import", str(path))
    assert done.returncode == 2 and "bad.sqlite3" in done.stderr


def test_a_byte_order_mark_is_skipped(server):
    text = "\ufeffversion,pkgarch,checksum,value\nv,a,c,1\n"
    assert counts(import_text(server, text)) == (1, 0, 0)


@pytest.mark.parametrize(
    "text, line, reason",
    [
        ('PRAUTO$v$a$c = "1."\n', 1, "not a revision"),
        ('\n\nPRAUTO$v$a$c = "007"\n', 3, "not a revision"),
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
        ("some text\n", 1, "not an assignment"),
        ("value,checksum\n1,c\n", 1, "header"),
        (CSV_HEADER + "v,a,c\n", 2, "four fields"),
        (CSV_HEADER + "v,a,c,1,\n", 2, "four fields"),
        (CSV_HEADER + "\nv,a,c,\n", 3, "no value"),
        (CSV_HEADER + 'v,a,c,""\n', 2, "not a revision"),
        (CSV_HEADER + 'v,"a\nb"c,c,1\n', 2, "quote"),
        (CSV_HEADER + 'v,a"b,c,1\n', 2, "quote"),
        (CSV_HEADER + 'v,"a,c,1\n', 2, "closing quote"),
        (
            '{"datainfo":[\n{"version":"v","pkgarch":"a","checksum":"c"}]}',
            2,
            "value is",
        ),
        ('{"datainfo":[{"version":1,\n"pkgarch":"a"}]}', 1, "not a string"),
        ('{"datainfo":[\n\n7]}', 3, "not an object"),
        ('{"datainfo":[\n{"version":}]}', 2, "not JSON"),
        ('{"datainfo":[\n', 2, "midway"),
        ('{"invoke-error":{"message":"x"}}', 1, "error answer"),
        ('{"metainfo":{}}', 1, "datainfo"),
        ('{"datainfo":{}}', 1, "not the JSON of an export"),
        ('{"datainfo":[],"datainfo":[]}', 1, "not the JSON of an export"),
        ('{"datainfo":[],}', 1, "not the JSON of an export"),
        ('{"' + "x" * 2000, 1, "too long"),
        ("[]", 1, "not the JSON of an export"),
        (b"version,pkgarch,checksum,value\nv,a,\xff,1\n", 2, "UTF-8"),
    ],
)
def test_a_refused_row_is_named_with_file_and_line(
    server, tmp_path, text, line, reason
):
    path = tmp_path / "rows"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = prserv_on(server, "import", str(path))
    assert done.returncode == 1
    first = done.stderr.splitlines()[0]
    assert first.startswith(f"prserv: {path}:{line}: "), first
    assert reason in first
    assert rows_of(server) == []


LIST = CSV_HEADER + "v,a,1,1\nv,a,bad,x\nv,a,2,2\nv,a\nv,a,1,1\n"


def test_import_ends_at_the_first_refusal(server):
    done = import_text(server, LIST)
    assert done.returncode == 1
    assert counts(done) == (1, 0, 1)
    assert rows_of(server) == [("v", "a", "1", "1")]


def test_keep_going_imports_the_rest(server):
    done = import_text(server, LIST, "--keep-going", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout) == {
        "new": 2,
        "known": 1,
        "refused": 2,
        "dry_run": False,
    }
    assert [line.split(b":")[2] for line in done.stderr.splitlines()] == [b"3", b"5"]
    assert rows_of(server) == [("v", "a", "1", "1"), ("v", "a", "2", "2")]


def test_a_dry_run_stores_nothing_and_reports_what_would_happen(server):
    store(server, [("v", "a", "1", "1")])
    done = import_text(server, LIST, "--keep-going", "--dry-run")
    assert done.stdout == (b"1 would be new, 2 known, 2 refused; nothing was stored\n")
    assert rows_of(server) == [("v", "a", "1", "1")]


@pytest.mark.parametrize("rows", [10, 3000])
def test_importing_twice_changes_nothing(server, rows):
    text = CSV_HEADER + "".join(f"v{i % 7},a,{i},{i}.{i}\n" for i in range(rows))
    assert counts(import_text(server, text)) == (rows, 0, 0)
    before = rows_of(server)
    assert len(before) == rows
    assert counts(import_text(server, text)) == (0, rows, 0)
    assert rows_of(server) == before


def test_import_keeps_other_values_of_a_checksum(server):
    store(server, [("v", "a", "c", "1"), ("v", "a", "c", "3")])
    assert counts(import_text(server, CSV_HEADER + "v,a,c,2\nv,a,c,1\n")) == (1, 1, 0)
    assert [row[3] for row in rows_of(server)] == ["1", "2", "3"]


def test_import_to_a_read_only_server_is_refused(serve, tmp_path):
    writer = serve("--file", tmp_path / "rows.sqlite3")
    store(writer, PLAIN)
    reader = serve("--file", tmp_path / "rows.sqlite3", "--read-only", folder="reader")
    for words in ((), ("--keep-going",), ("--dry-run",)):
        done = import_text(reader, LIST, *words)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert b"read-only" in done.stderr
    assert rows_of(reader) == sorted(PLAIN)
    assert prserv_on(reader, "diff", writer.address, reader.address).returncode == 0


def test_missing_files_are_reported(server, tmp_path):
    missing = str(tmp_path / "missing")
    assert prserv_on(server, "import", missing).returncode == 2
    assert missing in prserv_on(server, "import", missing).stderr
    assert prserv_on(server, "diff", missing, server.address).returncode == 2


# ---- writing the file ----


class BreakingServer:
    """A server that begins its answer to export and then breaks the connection."""

    def __init__(self, begins, hold=None):
        self.begins = begins
        self.hold = hold  # the event to wait for, or None to break at once
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


BEGINNING = (
    b'{"chunk-stream":null}\n{"metainfo":{},"datainfo":[{"version":"v","pkgarch":"a",'
    b'"checksum":"c","value":"1"},\n'
)


@pytest.mark.parametrize("ending", FORMATS)
def test_a_broken_connection_leaves_the_existing_file_unchanged(tmp_path, ending):
    path = tmp_path / f"rows.{ending}"
    path.write_text("older")
    with BreakingServer(BEGINNING) as broken:
        done = prserv_on(broken, "export", str(path))
    assert done.returncode == 3
    assert broken.address in done.stderr
    assert path.read_text() == "older"
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_export_leaves_no_files_behind(tmp_path, how):
    path = tmp_path / "rows.csv"
    path.write_text("older")
    over = threading.Event()
    with BreakingServer(BEGINNING, over) as broken:
        process = subprocess.Popen(
            [str(PRSERV), "--server", broken.address, "export", str(path)],
            env=clean_environment(),
        )
        assert broken.asked.wait(60)
        assert has_temporary_file(process, tmp_path)
        process.send_signal(how)
        assert process.wait(60) == -how
        over.set()
    assert path.read_text() == "older"
    assert os.listdir(tmp_path) == [path.name]


def has_temporary_file(process, folder):
    return any(file.startswith(str(folder)) for file in open_files(process))


def test_a_broken_connection_ends_an_import():
    with BreakingServer(b'{"readonly":false}\n') as broken:
        done = import_after_close(broken)
    assert done.returncode == 3
    assert broken.address.encode() in done.stderr


def import_after_close(broken):
    process = subprocess.Popen(
        [str(PRSERV), "--server", broken.address, "import", "-"],
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdin.write(CSV_HEADER.encode())
    process.stdin.flush()
    broken.thread.join()
    broken.socket.close()
    out, err = process.communicate(b"v,a,c,1\n", timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def test_an_export_replaces_an_existing_file_and_keeps_its_mode(server, tmp_path):
    store(server, PLAIN)
    path = tmp_path / "rows.csv"
    path.write_text("older")
    path.chmod(0o640)
    link = tmp_path / "link.csv"
    link.symlink_to(path)
    done = prserv_on(server, "export", str(link), "--json")
    assert json.loads(done.stdout) == {"rows": 7, "left_out": 0}
    assert path.read_text().startswith("version,")
    assert path.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["link.csv", "rows.csv", "server"]


def test_an_unwritable_target_is_reported(server, tmp_path):
    store(server, PLAIN)
    missing = str(tmp_path / "missing" / "rows.csv")
    for name, status in ("/dev/full", 1), (missing, 2), (str(tmp_path), 2):
        done = prserv_on(server, "export", name)
        assert done.returncode == status, name
        assert name in done.stderr


def test_a_full_disk_ends_a_long_export_with_an_error(server):
    store(server, [("v", "a", "x" * 60_000, str(n)) for n in range(5)])
    done = prserv_on(server, "export", "--all", "--format", "csv", "/dev/full")
    assert done.returncode == 1
    assert "/dev/full: can't be written: No space left" in done.stderr


def test_standard_output_is_appended_to_and_not_replaced(server, tmp_path):
    store(server, PLAIN)
    path = tmp_path / "rows"
    path.write_text("before\n")
    with open(path, "a", encoding="utf-8") as file:
        command = [str(PRSERV), "--server", server.address, "export", "/dev/stdout"]
        subprocess.run(command, stdout=file, check=True, env=clean_environment())
    assert path.read_text().startswith("before\n") and "PRAUTO$" in path.read_text()


def test_an_incomplete_byte_order_mark_is_refused(server):
    done = import_text(server, b"\xef\xbb" + CSV_HEADER.encode())
    assert done.returncode == 2 and b"UTF-8" in done.stderr


@pytest.mark.skipif(bool(SANITIZER), reason="that many bytes take a sanitizer minutes")
def test_an_endless_line_ends_the_import(server):
    done = prserv_on(server, "import", "/dev/zero", "--keep-going")
    assert done.returncode == 1
    assert "/dev/zero:1: the line is too long" in done.stderr


def test_a_dangling_link_is_not_replaced(server, tmp_path):
    link = tmp_path / "link.csv"
    link.symlink_to(tmp_path / "rows.csv")
    done = prserv_on(server, "export", str(link))
    assert done.returncode == 2 and "link" in done.stderr
    assert link.is_symlink()


def test_invalid_options_of_export_are_refused(server):
    assert prserv_on(server, "export", "--format", "xml").returncode == 2
    assert prserv_on(server, "export", "--format", "csv", "--lockdown").returncode == 2
    assert prserv_on(server, "--json", "export", "--format", "csv").returncode == 2


# ---- diff ----


def test_diff_shows_missing_rows_and_different_revisions(serve):
    first, second = serve(), serve(folder="second")
    both = ("v", "a", "both", "1")
    store(
        first,
        [both, ("v", "a", "x", "2"), ("v", "a", "y", "3"), ("b c", "a", "z", "4")],
    )
    store(
        second, [both, ("v", "a", "x", "5"), ("v", "a", "x", "6"), ("w", "a", "q", "7")]
    )
    done = prserv_on(first, "diff", first.address, second.address)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        '- "b c" a z 4',
        "! v a x 2 -> 5,6",
        "- v a y 3",
        "+ w a q 7",
    ]
    done = prserv_on(first, "diff", first.address, second.address, "--json")
    answer = json.loads(done.stdout)
    assert answer["same"] is False
    assert answer["differences"][1] == {
        "version": "v",
        "pkgarch": "a",
        "checksum": "x",
        "first": ["2"],
        "second": ["5", "6"],
    }
    same = prserv_on(first, "diff", first.address, first.address, "--json")
    assert (same.returncode, json.loads(same.stdout)) == (
        0,
        {"differences": [], "same": True},
    )


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("words", [[], ["--all"]])
def test_an_exported_file_equals_its_server(server, tmp_path, ending, words):
    store(server, PLAIN + (UNUSUAL if ending != "conf" else []))
    path = tmp_path / f"rows.{ending}"
    assert prserv_on(server, "export", str(path), *words).returncode == 0
    for sides in ((str(path), server.address), (server.address, str(path))):
        done = prserv_on(server, "diff", *sides)
        assert (done.returncode, done.stdout) == (0, "")
    if not words:
        assert (
            prserv_on(server, "diff", str(path), server.address, "--all").returncode
            == 1
        )
    server.get_pr("m4-1.4.19-r0", "core2-64", "new")
    done = prserv_on(server, "diff", str(path), server.address)
    assert done.returncode == 1
    assert "+ m4-1.4.19-r0 core2-64 new 2" in done.stdout.splitlines()


def test_diff_exits_with_2_when_it_cannot_compare(server, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(CSV_HEADER + "v,a,c,1\n")
    command = [str(PRSERV), "--json", "diff", str(path), str(path)]
    with open("/dev/full", "w", encoding="ascii") as full:
        assert subprocess.run(command, stdout=full, check=False).returncode == 2
    assert prserv_on(server, "diff", "-", "-").returncode == 2
    done = prserv_on(server, "diff", "typo.conf", server.address)
    assert done.returncode == 2 and "the file typo.conf does not exist" in done.stderr


def test_diff_names_unreadable_input(server, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(CSV_HEADER + "v,a,c,1\nv\n")
    done = prserv_on(server, "diff", str(path), server.address)
    assert done.returncode == 2
    assert f"{path}:3:" in done.stderr
    assert prserv_on(server, "diff", str(path), "127.0.0.1:1").returncode == 2
    path.write_text(CSV_HEADER + "v,a,c,1\n")
    assert prserv_on(server, "diff", str(path), "127.0.0.1:1").returncode == 3


# ---- many rows ----


def run_with_memory(kib, *words):
    """Runs prserv with a limit for its data memory; returns its exit status."""
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
@pytest.mark.parametrize("ending", FORMATS)
def test_200000_rows_are_exported_in_10_MiB(serve, tmp_path, ending):
    make_large_database(tmp_path / "rows.sqlite3", 200_000)
    server = serve("--file", tmp_path / "rows.sqlite3")
    path = tmp_path / f"rows.{ending}"
    words = ("--server", server.address, "export", str(path), "--all")
    assert run_with_memory(10 * 1024, *words) == 0
    assert path.stat().st_size > 16_000_000


@pytest.mark.slow
@little_memory
def test_100000_rows_are_imported_and_compared_in_24_MiB(serve, tmp_path):
    make_large_database(tmp_path / "rows.sqlite3", 100_000)
    server = serve("--file", tmp_path / "rows.sqlite3")
    path = {ending: str(tmp_path / f"rows.{ending}") for ending in FORMATS}
    for file in path.values():
        assert prserv_on(server, "export", file, "--all").returncode == 0
    assert (
        run_with_memory(24 * 1024, "--server", server.address, "import", path["json"])
        == 0
    )
    assert run_with_memory(24 * 1024, "diff", path["csv"], path["conf"]) == 0


def test_many_new_rows_are_imported_in_batches(serve, tmp_path):
    make_large_database(tmp_path / "rows.sqlite3", 5000)
    first, second = serve("--file", tmp_path / "rows.sqlite3"), serve(folder="second")
    exported = prserv_on(first, "export", "--all", "--format", "csv").stdout
    assert counts(import_text(second, exported)) == (5000, 0, 0)
    assert rows_of(second) == rows_of(first)
