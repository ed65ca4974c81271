# SPDX-License-Identifier: MIT
"""prserv floor: raises the greatest revision of one package, or of all packages."""

import json
import re

import pytest

from fake_upstream import FakeUpstream, fake_server
from postgres_cluster import both_kinds
from prserv_command import prserv, prserv_on
from rows import M4, ZIP, rows_of, store

REFUSAL = {"invoke-error": {"message": "the disk is full"}}


def floor(server, *words, status=0):
    """Runs prserv floor and returns what it prints."""
    done = prserv_on(server, "floor", *words)
    assert done.returncode == status, done
    return done.stdout if status == 0 else done.stderr


def floor_json(server, *words):
    done = prserv_on(server, "--json", "floor", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# ---- one package ----


def test_a_floor_raises_the_greatest_revision(server):
    store(server, [(*M4, "a", "3")])
    assert floor(server, *M4, "7") == "raised from 3 to 7\n"
    assert server.get_pr(*M4, "b") == "8"
    assert (*M4, "floor:7", "7") in rows_of(server)


def test_a_package_that_does_not_exist_gets_a_floor(server):
    assert floor(server, *M4, "1.5") == "raised from nothing to 1.5\n"
    assert server.get_pr(*M4, "b") == "1.6"


@pytest.mark.parametrize("value", ["9", "10", "9.5"])
def test_a_value_that_is_not_above_the_greatest_stores_nothing(server, value):
    store(server, [(*M4, "a", "10")])
    said = floor(server, *M4, value)
    assert (
        said == f"nothing was stored: the greatest revision is 10, not below {value}\n"
    )
    assert rows_of(server) == [(*M4, "a", "10")]


def test_json_tells_the_greatest_revision_before_and_after(server):
    assert floor_json(server, *M4, "7") == {
        "stored": True,
        "before": None,
        "greatest": "7",
    }
    assert floor_json(server, *M4, "9") == {
        "stored": True,
        "before": "7",
        "greatest": "9",
    }
    assert floor_json(server, *M4, "8") == {
        "stored": False,
        "before": "9",
        "greatest": "9",
    }


@pytest.mark.parametrize("value", ["", "x", "1.", "007", "1 "])
def test_a_value_that_is_not_a_revision_is_a_usage_error(server, value):
    assert "is not a revision" in floor(server, *M4, value, status=2)


@pytest.mark.parametrize(
    "words",
    [
        [],
        [*M4],
        [*M4, "7", "8"],
        [*M4, "7", "--margin", "5"],
        [*M4, "7", "--all", "--margin", "5"],
        ["--all"],
        ["--margin", "5"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_a_usage_error(server, words):
    assert "see prserv floor --help" in floor(server, *words, status=2)


@pytest.mark.parametrize("margin", ["", "0", "1.5", "-1", "x", "05"])
def test_a_margin_is_a_number_above_zero(server, margin):
    said = floor(server, "--all", "--margin", margin, status=2)
    assert "is not a number above 0" in said


@pytest.mark.parametrize("words", [(*M4, "7"), ("--all", "--margin", "5")], ids=str)
def test_a_read_only_server_is_an_error(serve, path, words):
    store(serve("--file", path, folder="writer"), [(*M4, "a", "3")])
    server = serve("--file", path, "--read-only")
    said = floor(server, *words, status=1)
    assert "is read-only; nothing was stored" in said
    assert rows_of(server) == [(*M4, "a", "3")]


def test_exit_3_means_no_connection():
    for words in (*M4, "7"), ("--all", "--margin", "5"):
        done = prserv("--server", "127.0.0.1:1", "floor", *words)
        assert done.returncode == 3, done


@pytest.mark.parametrize("refused", ["is-readonly", "max-package-pr", "import-one"])
def test_an_error_of_the_server_is_printed(refused):
    answers = {"is-readonly": {"readonly": False}, "max-package-pr": {"value": "1"}}

    def answer(request):
        (name,) = request
        return answers[name] if name != refused else REFUSAL

    with fake_server(answer) as fake:
        done = prserv("--server", fake.address, "floor", *M4, "7")
    assert done.returncode == 1 and "the disk is full" in done.stderr
    assert done.stdout == ""


# ---- all packages ----

ROWS = [
    (*M4, "a", "9"),
    (*M4, "b", "10"),
    (*M4, "c", "10"),
    (*ZIP, "a", "1.9"),
    ("empty", "", "", "0"),
    ("large", "all", "a", "18446744073709551615"),
]


@both_kinds
def test_all_packages_are_raised_on_their_last_number(server):
    store(server, ROWS)
    assert floor(server, "--all", "--margin", "5").startswith(
        "4 packages raised by 5\n"
    )
    assert set(rows_of(server)) - set(ROWS) == {
        (*M4, "floor:15", "15"),
        (*ZIP, "floor:1.14", "1.14"),
        ("empty", "", "floor:5", "5"),
        ("large", "all", "floor:18446744073709551620", "18446744073709551620"),
    }
    assert server.get_pr(*M4, "new") == "16"


def test_each_run_raises_again_and_says_so(server):
    store(server, ROWS)
    floor(server, "--all", "--margin", "5")
    said = floor(server, "--all", "--margin", "10")
    assert "each run raises all packages again" in said
    assert "packages that are not in the database are not covered" in said
    with server.client() as client:
        assert client.max_pr(*M4) == "25"


def test_a_margin_may_be_larger_than_any_machine_integer(server):
    store(server, [(*M4, "a", "1")])
    margin = "9" * 40
    floor(server, "--all", "--margin", margin)
    with server.client() as client:
        assert client.max_pr(*M4) == "1" + "0" * 40


def test_json_counts_the_packages(server):
    assert floor_json(server, "--all", "--margin", "5") == {
        "raised": 0,
        "refused": 0,
        "margin": "5",
        "accepted": None,
    }
    store(server, ROWS)
    assert floor_json(server, "--all", "--margin", "5")["raised"] == 4


def test_many_packages_are_raised_in_batches(server):
    """More than a batch of an import, which holds 512 rows."""
    store(server, [(f"p{i}", "all", "a", str(i)) for i in range(1100)])
    assert floor_json(server, "--all", "--margin", "2")["raised"] == 1100
    with server.client() as client:
        for i in 0, 511, 512, 1099:
            assert client.max_pr(f"p{i}", "all") == str(i + 2)


def serve_rows(fake, answer_import):
    """Lets a fake server have 600 packages, and answer imports in a given way."""
    rows = [
        {"version": f"p{i:03}", "pkgarch": "all", "checksum": "a", "value": "1"}
        for i in range(600)
    ]

    def behave(talk, name, arguments):
        if name == "is-readonly":
            talk.answer({"readonly": False})
        elif name == "export":
            talk.answer({"metainfo": {}, "datainfo": rows})
        elif name == "get-stats":  # as BitBake's server does
            talk.close()
        elif name == "import-one":
            return answer_import(talk, arguments)
        return True

    fake.behave = behave


@pytest.mark.parametrize("at, least", [(100, 0), (550, 512)])
def test_an_interrupted_run_says_how_to_continue(at, least):
    with FakeUpstream() as fake:

        def answer_import(talk, arguments):
            if arguments["version"] == f"p{at}":
                talk.close()
                return True
            talk.answer({"value": arguments["value"]})
            return True

        serve_rows(fake, answer_import)
        done = prserv("--server", fake.address, "floor", "--all", "--margin", "5")
    assert done.returncode == 3
    said = (
        "(\\d+) of 600 packages were raised before; run the command again, which raises"
    )
    raised = int(re.search(said, done.stderr)[1])
    assert least <= raised <= at and done.stdout == ""


def test_rows_of_another_server_that_are_not_revisions_are_left_out():
    rows = [
        {"version": "v", "pkgarch": "all", "checksum": checksum, "value": value}
        for checksum, value in (("a", "x"), ("b", None), ("c", "1"))
    ]
    with FakeUpstream() as fake:

        def behave(talk, name, arguments):
            if name == "get-stats":
                talk.close()
                return
            answers = {
                "is-readonly": {"readonly": False},
                "export": {"metainfo": {}, "datainfo": rows},
                "import-one": {"value": arguments.get("value")},
            }
            talk.answer(answers[name])

        fake.behave = behave
        done = prserv("--server", fake.address, "floor", "--all", "--margin", "5")
        (stored,) = fake.asked("import-one")
    assert done.stdout.startswith("1 package raised by 5\n")
    assert (stored["checksum"], stored["value"]) == ("floor:6", "6")


def test_packages_that_the_server_refuses_are_named():
    with FakeUpstream() as fake:

        def answer_import(talk, arguments):
            if arguments["version"] == "p003":
                talk.answer(REFUSAL)
            else:
                talk.answer({"value": arguments["value"]})
            return True

        serve_rows(fake, answer_import)
        done = prserv("--server", fake.address, "floor", "--all", "--margin", "5")
    assert done.returncode == 1
    assert "version p003, pkgarch all was not raised: " in done.stderr
    assert "the disk is full" in done.stderr
    assert done.stdout.startswith("599 packages raised by 5\n")
