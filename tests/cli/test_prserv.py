# SPDX-License-Identifier: MIT
"""The prserv command."""

import json
import re
import shutil
import subprocess

import pytest

from fake_upstream import FakeUpstream
from feed_maker import FEED_PROGRAM, needs_feed
from harness import PRSERV, ROOT, clean_environment
from prserv_command import prserv
from rows import M4

FEED_COMMANDS = ("check", "rows", "list")
HAS_FEED = FEED_PROGRAM.exists()


def test_requests_are_sent_to_the_named_server(server):
    at = ("--server", server.address)
    assert prserv(*at, "ping").stdout.startswith("alive, ")
    assert prserv(*at, "test", *M4).stdout == "unknown\n"
    assert prserv(*at, "get", *M4, "x").stdout == "0\n"
    assert prserv(*at, "get", *M4, "y").stdout == "1\n"
    assert prserv(*at, "get", *M4, "x", "--history").stdout == "0\n"
    assert prserv(*at, "get", *M4, "x").stdout == "2\n"
    assert prserv(*at, "test", *M4, "x").stdout == "2\n"
    assert prserv(*at, "test", *M4, "x", "--history").stdout == "0\n"
    assert prserv(*at, "test", *M4).stdout == "known\n"
    assert prserv("max", *M4, PRSERV_HOST=server.address).stdout == "2\n"


def test_requests_may_go_through_a_unix_socket(serve, tmp_path):
    serve("--bind", f"unix://{tmp_path}/socket")
    assert prserv("--server", f"unix://{tmp_path}/socket", "ping").returncode == 0


def test_json_prints_one_value(server):
    at = ("--server", server.address, "--json")
    assert json.loads(prserv(*at, "get", *M4, "x").stdout) == {"value": "0"}
    assert json.loads(prserv(*at, "test", *M4, "x").stdout) == {"value": "0"}
    assert json.loads(prserv(*at, "test", *M4, "z").stdout) == {"value": None}
    assert json.loads(prserv(*at, "test", *M4).stdout) == {"value": True}
    assert json.loads(prserv(*at, "max", "none", "all").stdout) == {"value": None}
    answer = json.loads(prserv("ping", "--json", "--server", server.address).stdout)
    assert answer["alive"] is True and answer["round_trip_us"] > 0


def test_every_command_has_help(server):
    for command in commands_with_help():
        done = prserv(command, "--help")
        assert done.returncode == 0, command
        assert re.match(rf"Usage: prserv.*[ -]{command}\b", done.stdout)
        assert not re.search(r"\s$", done.stdout.partition("\n")[0])


@pytest.mark.skipif(HAS_FEED, reason="built with prserv feed")
def test_without_prserv_feed_the_message_says_what_is_missing():
    done = prserv("feed", "check", "folder")
    assert done.returncode == 1 and "it needs libsolv and libarchive" in done.stderr


def test_options_have_a_short_and_a_long_form(server):
    assert prserv("ping", "-h").stdout == prserv("ping", "--help").stdout
    assert prserv(f"--server={server.address}", "ping").returncode == 0
    assert prserv("ping", f"--server={server.address}").returncode == 0


def test_long_times_are_printed_in_seconds(server):
    stats = server.ask({"get-stats": {}})
    stats["batches"]["count"] = 1
    stats["batches"]["commit_us"] = {"p50": 7, "p99": 8200, "max": 2_500_000}
    with FakeUpstream() as fake:
        fake.behave = lambda talk, *_: talk.answer(stats) or True
        done = prserv("--server", fake.address, "status")
    assert "p50 7 us, p99 8.2 ms, max 2.5 s" in done.stdout


def test_long_checksums_are_sent_in_chunks(server):
    assert prserv("--server", server.address, "get", *M4, "x" * 100_000).stdout == "0\n"


def test_exit_1_means_refused_or_not_found(serve, server):
    assert prserv("--server", server.address, "max", *M4).returncode == 1
    down = serve("--upstream", "127.0.0.1:1", "--patience", "0", folder="down")
    refused = prserv("--server", down.address, "get", *M4, "x")
    assert refused.returncode == 1
    assert "127.0.0.1:1" in refused.stderr


def test_exit_2_means_an_invalid_command_line():
    for words in (
        [],
        ["frob"],
        ["get", "v"],
        ["--frob"],
        ["--server", "nowhere", "ping"],
    ):
        done = prserv(*words)
        assert done.returncode == 2, words
        assert len(done.stderr.splitlines()) == 1


def test_invalid_options_are_named(server):
    for words, named in (
        (("get", "-xyz", "a", "b"), "option -x"),
        (("get", "--xyz", "a", "b"), "option --xyz"),
        (("get", "--history=1", "a", "b", "c"), "takes no value: --history=1"),
        (("export", "--format"), "--format needs a value"),
        (("test", "v", "a", "--history"), "--history needs a CHECKSUM"),
    ):
        done = prserv("--server", server.address, *words)
        assert done.returncode == 2 and named in done.stderr, words
    assert prserv("--server", server.address, "--", "ping").returncode == 0


def test_answers_cannot_send_control_characters_to_a_terminal():
    hostile = "\x1b[2J\x07\x9b"
    stats = {
        "version": hostile,
        "requests": {hostile: {"count": 1}},
        "upstream": {"address": hostile, "state": "a\nb"},
        "nul": "\0",
    }
    with FakeUpstream() as fake:
        fake.behave = lambda talk, *_: talk.answer(stats)
        text = prserv("--server", fake.address, "status").stdout
        answer = prserv("--server", fake.address, "--json", "status").stdout
        fake.behave = lambda talk, *_: talk.answer({"alive": False})
        assert prserv("--server", fake.address, "ping").returncode == 1
    assert "?[2J??" in text and "a?b" in text
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)
    assert answer.isascii() and json.loads(answer) == stats


def test_a_closed_standard_output_is_an_error(server):
    with server.client() as client:
        client.get_pr("m4", "all", "x")
    for words in ("export", "--version", "--help", "ping"):
        done = subprocess.run(
            ["sh", "-c", '"$@" >&-', "sh", PRSERV, "--server", server.address, words],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 1 and "standard output" in done.stderr, words


def test_a_wrong_address_names_its_source():
    done = prserv("--server", "nowhere", "ping")
    assert done.stderr.startswith("prserv ping: --server: 'nowhere' is not an address")
    done = subprocess.run(
        [str(PRSERV), "ping"],
        env={**clean_environment(), "PRSERV_HOST": "nowhere"},
        capture_output=True,
        text=True,
    )
    assert done.stderr.startswith("prserv ping: PRSERV_HOST: 'nowhere' is not")
    assert done.returncode == 2


def test_port_0_is_the_server_of_bitbake():
    done = prserv("--server", "localhost:0", "ping")
    assert done.returncode == 2
    assert "port 0 means the server that BitBake starts itself" in done.stderr


def test_exit_3_means_no_connection():
    done = prserv("--server", "127.0.0.1:1", "ping")
    assert done.returncode == 3
    assert "127.0.0.1:1" in done.stderr


@pytest.mark.parametrize("host", ["a..b", "255.255.255.255"])
def test_an_address_that_cannot_be_connected_to_is_exit_3(host):
    done = prserv("--server", f"{host}:1", "ping")
    assert done.returncode == 3 and host in done.stderr


def test_a_connection_that_is_reset_is_exit_3():
    with FakeUpstream() as fake:
        fake.behave = lambda talk, *_: talk.close(reset=True) or True
        done = prserv("--server", fake.address, "ping")
    assert done.returncode == 3 and fake.address in done.stderr


def test_prserv_has_help():
    assert "Usage" in prserv("--help").stdout
    assert prserv("--version").stdout.startswith("prserv ")


# ---- completions and manual page ----


def commands():
    lines = prserv("--help").stdout.splitlines()
    return [
        line.split()[0]
        for line in lines
        if line.startswith("  ") and line[2:3].isalpha()
    ]


def commands_with_help():
    return [command for command in commands() if command != "feed" or HAS_FEED]


def options_of(*command):
    return set(re.findall(r"--[a-z][a-z-]+", prserv(*command, "--help").stdout)) - {
        "--server",
        "--help",
        "--max-message-bytes",  # of prservd
    }


def complete(*words, name="prserv"):
    """Returns the completions that bash offers for the last word."""
    script = f"""source {ROOT}/completions/{name}.bash
        COMP_WORDS=({" ".join(words)} "") COMP_CWORD={len(words)}
        [ -z "$LAST" ] || COMP_WORDS[COMP_CWORD]=$LAST
        _{name}; printf '%s\\n' "${{COMPREPLY[@]}}" """
    return lambda last: set(
        subprocess.run(
            ["bash", "-c", script],
            env={"LAST": last, "PATH": "/usr/bin:/bin"},
            text=True,
            stdout=-1,
        ).stdout.split()
    )


SHARED_OPTIONS = {"--server", "--help", "--tls-ca", "--tls-cert", "--tls-key"}


def test_bash_completes_commands_and_their_options():
    assert complete("prserv")("") == set(commands())
    assert complete("prserv")("ex") == {"export"}
    assert complete("prserv", "export", "--format")("") == {"conf", "json", "csv"}
    for command in commands_with_help():
        offered = complete("prserv", command)("--") - SHARED_OPTIONS
        assert offered == options_of(command) | {"--json"}, command


@needs_feed
def test_bash_completes_the_commands_of_feed_and_their_options():
    assert complete("prserv", "feed")("") == set(FEED_COMMANDS)
    assert complete("prserv", "--server", "h", "feed", "--json")("r") == {"rows"}
    assert complete("prserv", "feed", "rows", "--format")("j") == {"json"}
    assert complete("prserv", "feed", "rows", "--margin")("") == set()
    assert complete("prserv", "feed", "check", "f", "--pkgarch")("") == set()
    for words in ("list",), ("rows", "--output"), ("check", "f"):
        assert complete("prserv", "feed", *words)(f"{ROOT}/RE") == {f"{ROOT}/README.md"}
    for command in FEED_COMMANDS:
        offered = complete("prserv", "feed", command)("--") - SHARED_OPTIONS
        assert offered == options_of("feed", command) | {"--json"}, command


def test_bash_tells_values_from_commands_and_files():
    assert complete("prserv", "--server", "get")("") == set(commands())
    assert complete("prserv", "--server", "get", "ex")("") == set()
    assert complete("prserv", "--server", "h", ":", "8585")("ex") == {"export"}
    assert complete("prserv", "--server", "=", "h", ":", "8585")("ex") == {"export"}
    assert complete("prserv", "export", "--version")("") == set()
    assert complete("prserv", "--version")("ex") == {"export"}
    assert complete("prserv", "export", "--format", "=")("j") == {"json"}
    assert complete("prserv", "export", "--format")("=") == {"conf", "json", "csv"}
    assert complete("prserv", "bench", "--work", "=")("k") == {"known"}
    assert complete("prserv-bench")("--pipe") == {"--pipeline"}
    assert complete("/usr/bin/prserv-bench", "--work")("k") == {"known"}
    assert complete("prserv", "export")(f"{ROOT}/RE") == {f"{ROOT}/README.md"}


def test_zsh_completes_the_same():
    text = (ROOT / "completions" / "_prserv").read_text()
    for command in commands():
        assert f"'{command}:" in text
    ours = [(command,) for command in commands_with_help()]
    feed = [("feed", command) for command in FEED_COMMANDS if HAS_FEED]
    for command in ours + feed:
        assert f"'{command[-1]}:" in text
        for option in options_of(*command):
            assert re.search(rf"'{option}=?\[", text), (command, option)
    if shutil.which("zsh"):
        subprocess.run(["zsh", "-n", ROOT / "completions" / "_prserv"], check=True)


def test_the_manual_page_has_every_command_and_option():
    page = (
        (ROOT / "man" / "prserv.1").read_text().replace("\\-", "-").replace("\\fB", "")
    )
    page = page.replace("\\fR", "").replace("\\fI", "")
    for command in commands():
        assert re.search(rf"^\.TP\n(\.B )?{command}\b", page, flags=re.M), command
        if command != "bench":  # --help describes its options
            for option in options_of(command) - {"--json"}:
                assert option in page, (command, option)


@needs_feed
@pytest.mark.parametrize("command", FEED_COMMANDS)
def test_the_manual_page_has_every_option_of_feed(command):
    page = (ROOT / "man" / "prserv.1").read_text().replace("\\-", "-")
    part = page.partition(f".SS prserv feed {command}\n")[2]
    part = re.split(r"^\.S[SH] ", part, flags=re.M)[0]
    of_command = options_of("feed", command) - {"--timeout"}
    assert of_command and all(option in part for option in of_command)


def test_the_examples_of_the_manual_page_work_as_written(server, tmp_path):
    page = (ROOT / "man" / "prserv.1").read_text().replace("\\-", "-")
    examples = re.findall(r"^prserv .*$", page.partition(".SH EXAMPLES")[2], flags=re.M)
    assert len(examples) == 10
    for example in examples:
        done = subprocess.run(
            [
                str(PRSERV),
                *example.replace("127.0.0.1:8585", server.address).split()[1:],
            ],
            env=clean_environment(PRSERV_HOST=server.address),
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (example, done.stdout, done.stderr)


def test_ping_can_check_the_database(server):
    at = ("--server", server.address)
    assert prserv(*at, "ping", "--database").stdout.startswith("alive, and so is its")
    answer = json.loads(prserv(*at, "--json", "ping", "--database").stdout)
    assert answer["alive"] is answer["database"] is True
    assert server.ask({"max-package-pr": {"version": "", "pkgarch": ""}}) == {
        "value": None
    }


def test_ping_reports_a_database_that_is_away(serve):
    server = serve("--patience", "0", "--read-only", "--file", "rows.sqlite3")
    (server.folder / "rows.sqlite3").write_text("no database " * 1000)
    at = ("--server", server.address)
    assert prserv(*at, "ping").returncode == 0
    done = prserv(*at, "ping", "--database")
    assert (done.returncode, done.stdout) == (1, "")
    assert "rows.sqlite3 is not an SQLite database" in done.stderr
