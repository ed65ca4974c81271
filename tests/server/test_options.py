# SPDX-License-Identifier: MIT
"""The options of prservd, its environment variables, and failed starts."""

import contextlib
import json
import os
import re
import sqlite3
import subprocess
from pathlib import Path

import pytest

from harness import (
    BUILD,
    ROOT,
    Client,
    Refused,
    accepts,
    error_line,
    free_port,
    needs_ipv6,
    run_prservd,
    variable,
)

SETTINGS = [
    "file",
    "host",
    "port",
    "bind",
    "read-only",
    "history",
    "upstream",
    "log",
    "loglevel",
    "pidfile",
    "sync",
    "max-message-bytes",
    "max-memory-bytes",
]
NOT_DATABASES = {
    "a short text": b"hello\n",
    "a long text": b"This is not a database. " * 1000,
    "noise": bytes(range(256)) * 64,
}
REMOTE = "203.0.113.1"  # reserved for documentation: no machine has this address


def contents(folder):
    """Returns the content of each file in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def rows(file):
    with contextlib.closing(sqlite3.connect(file)) as database:
        return database.execute(
            "SELECT version, pkgarch, checksum, value FROM PRMAIN ORDER BY 4"
        ).fetchall()


# ---- --version and --help ----


def test_version_names_the_program_the_version_of_the_project_and_the_commit(tmp_path):
    version = re.search(
        r"^ *version: '(.+)'", (ROOT / "meson.build").read_text(), re.MULTILINE
    )[1]
    result = run_prservd("--version", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    commit = r"( \(g[0-9a-f]{7,}\))?"
    assert re.fullmatch(rf"prservd {re.escape(version)}{commit}\n", result.stdout)


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_names_every_option_and_every_variable(tmp_path, option):
    result = run_prservd(option, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    for name in SETTINGS:
        assert re.search(rf"--{name}\b", result.stdout), name
        assert re.search(rf"\b{variable(name)}\b", result.stdout), name
    for name in ["start", "stop", "version", "help"]:
        assert re.search(rf"--{name}\b", result.stdout), name
    for letter in "frul":
        assert re.search(rf"-{letter}, --", result.stdout), letter
    assert list(tmp_path.iterdir()) == []


# ---- invalid options ----


@pytest.mark.parametrize(
    "options, named",
    [
        (["--nosuch"], "--nosuch"),
        (["--nosuch=1"], "--nosuch"),
        (["-x"], "-x"),
        (["-rx"], "-x"),
        (["extra"], "extra"),
        (["--port", "0", "extra"], "extra"),
        (["--", "extra"], "extra"),
        (["--port"], "--port"),
        (["-f"], "-f"),
        (["--start=now"], "--start"),
        (["--read-only=1"], "--read-only"),
        (["--version=1"], "--version"),
    ],
)
def test_an_unknown_option_is_refused_in_one_line(tmp_path, options, named):
    assert named in error_line(run_prservd(*options, cwd=tmp_path), 2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [["--start", "--stop"], ["--stop", "--start"]])
def test_contradictory_options_are_refused_in_one_line(tmp_path, options):
    line = error_line(run_prservd(*options, cwd=tmp_path), 2)
    assert "--start" in line and "--stop" in line
    assert list(tmp_path.iterdir()) == []


INVALID_VALUES = [
    ("port", "eighty"),
    ("port", "-1"),
    ("port", "+1"),
    ("port", "65536"),
    ("port", "80 "),
    ("port", " 80"),
    ("port", "0x50"),
    ("port", "8585.0"),
    ("port", "99999999999999999999"),
    ("host", "two words"),
    ("host", "host/path"),
    ("host", "x" * 2000),
    ("bind", "localhost"),
    ("bind", ":8585"),
    ("bind", "::1:8585"),
    ("bind", "[::1]"),
    ("bind", "[::1]:x"),
    ("bind", "127.0.0.1:"),
    ("bind", "127.0.0.1:65536"),
    ("bind", "127.0.0.1:0,rw"),
    ("bind", ",ro"),
    ("bind", "unix://"),
    ("bind", "unix://relative"),
    ("bind", "unix:///" + "x" * 200),
    ("upstream", "host"),
    ("upstream", "host:"),
    ("upstream", ":8585"),
    ("upstream", "host:x"),
    ("upstream", "host:0"),
    ("upstream", "host:65536"),
    ("upstream", "::1:8585"),
    ("upstream", "[::1]"),
    ("loglevel", "LOUD"),
    ("loglevel", "INFO "),
    ("sync", "sometimes"),
    ("max-message-bytes", "-1"),
    ("max-message-bytes", "0"),
    ("max-message-bytes", "many"),
    ("max-message-bytes", "64M"),
    ("max-message-bytes", "99999999999999999999"),
    ("max-memory-bytes", "64M"),
    ("max-memory-bytes", "65536"),
    ("max-memory-bytes", "1048576"),
]


@pytest.mark.parametrize("name, value", INVALID_VALUES)
def test_an_invalid_value_is_refused_in_one_line(tmp_path, setting, name, value):
    options, environment = setting(name, value)
    result = run_prservd(*options, cwd=tmp_path, environment=environment)
    line = error_line(result, 2)
    assert value.strip()[:20] in line or name in line.lower()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name, value", INVALID_VALUES)
def test_an_invalid_value_names_the_option_or_the_variable(
    tmp_path, setting, name, value
):
    options, environment = setting(name, value)
    result = run_prservd(*options, cwd=tmp_path, environment=environment)
    source = f"--{name}" if options else variable(name)
    assert error_line(result, 2).startswith(f"prservd: {source}: ")


def test_an_invalid_upstream_names_the_variable_that_bitbake_reads(tmp_path):
    environment = {"PRSERV_UPSTREAM": "localhost:0"}
    line = error_line(run_prservd(cwd=tmp_path, environment=environment), 2)
    assert "PRSERV_UPSTREAM: 'localhost:0' can't be an upstream: port 0 means" in line


def test_an_unknown_word_after_an_address_lists_the_known_ones(tmp_path):
    line = error_line(run_prservd("--bind", "127.0.0.1:0,rw", cwd=tmp_path), 2)
    assert "--bind: ',rw' is unknown after 127.0.0.1:0; known are ',ro'" in line


def test_a_folder_is_no_database(tmp_path):
    result = run_prservd("--port", "0", "--file", str(tmp_path), cwd=tmp_path)
    assert result.returncode == 1
    assert f"the database {tmp_path} is a folder; name a file in it" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("level", ["warn", "FATAL", "notset", "Critical"])
def test_levels_have_the_names_of_pythons_logging(tmp_path, level):
    result = run_prservd("--loglevel", level, "--file", str(tmp_path), cwd=tmp_path)
    assert result.returncode == 1 and "is a folder" in result.stderr


def test_a_flag_in_the_environment_is_boolean(tmp_path):
    environment = {"PRSERVD_READ_ONLY": "perhaps"}
    result = run_prservd("--port", "0", cwd=tmp_path, environment=environment)
    assert "PRSERVD_READ_ONLY" in error_line(result, 2)


@pytest.mark.parametrize(
    "name", ["file", "host", "port", "bind", "log", "loglevel", "pidfile", "sync"]
)
def test_an_empty_value_is_refused_in_one_line(tmp_path, name):
    error_line(run_prservd(f"--{name}", "", cwd=tmp_path), 2)


@pytest.mark.parametrize("name", ["port", "upstream", "loglevel", "sync"])
def test_a_value_of_two_lines_is_refused_in_one_line(tmp_path, setting, name):
    options, environment = setting(name, "first\nsecond")
    error_line(run_prservd(*options, cwd=tmp_path, environment=environment), 2)


# ---- options and environment variables ----


def test_an_option_overrides_its_variable(serve):
    environment = {"PRSERVD_FILE": "variable.db", "PRSERVD_READ_ONLY": "0"}
    server = serve("--file", "option.db", environment=environment)
    server.get_pr("m4-1", "all", "a")
    assert rows(server.folder / "option.db") == [("m4-1", "all", "a", "0")]
    assert not (server.folder / "variable.db").exists()


def test_an_option_hides_an_invalid_variable(serve):
    environment = {"PRSERVD_PORT": "nonsense", "PRSERVD_LOGLEVEL": "nonsense"}
    assert serve(environment=environment).get_pr("m4-1", "all", "a") == "0"


def test_start_stop_version_and_help_have_no_variables(serve):
    names = ["START", "STOP", "VERSION", "HELP"]
    server = serve(environment={f"PRSERVD_{name}": "1" for name in names})
    assert server.get_pr("m4-1", "all", "a") == "0"


def test_variables_of_bitbake_are_ignored(serve):
    names = ["HOST", "PORT", "FILE", "BIND", "LOGLEVEL", "LOG", "READ_ONLY"]
    server = serve(environment={f"PRSERV_{name}": "nonsense" for name in names})
    assert server.get_pr("m4-1", "all", "a") == "0"


# ---- --file ----


def test_the_database_is_prserv_sqlite3_in_the_current_folder(server):
    server.get_pr("m4-1", "all", "a")
    assert rows(server.folder / "prserv.sqlite3") == [("m4-1", "all", "a", "0")]


def test_file_names_the_database_and_creates_missing_folders(serve, setting):
    options, environment = setting("file", "some/missing/folders/rows.db")
    server = serve(*options, environment=environment)
    server.get_pr("m4-1", "all", "a")
    file = server.folder / "some/missing/folders/rows.db"
    assert rows(file) == [("m4-1", "all", "a", "0")]
    assert not (server.folder / "prserv.sqlite3").exists()


@pytest.mark.parametrize("name", ["rows.db", "./rows.db", "some/rows.db"])
def test_the_log_names_the_database_with_its_folder(serve, name):
    server = serve("--file", name)
    assert f" serves {server.folder / name}, upstream: none\n" in server.log
    for entry in server.log.splitlines():
        assert str(server.folder) in entry or "rows.db" not in entry


def test_an_error_names_the_database_with_its_folder(tmp_path):
    (tmp_path / "rows.db").write_text("no database " * 1000)
    result = run_prservd("--port", "0", "--file", "rows.db", cwd=tmp_path)
    assert str(tmp_path / "rows.db") in error_line(result, 1)


def test_file_may_be_an_absolute_path(serve, tmp_path):
    file = tmp_path / "else where" / "rows.db"
    serve("-f", file).get_pr("m4-1", "all", "a")
    assert rows(file) == [("m4-1", "all", "a", "0")]


# ---- --read-only ----


def check_read_only(server):
    assert server.ask({"is-readonly": {}})["readonly"] is True
    assert [server.get_pr("m4-1", "all", name) for name in "ab"] == ["1", "1"]
    assert rows(server.folder / "prserv.sqlite3") == [("m4-1", "all", "z", "0")]


@pytest.mark.parametrize("way", ["-r", "--read-only", "PRSERVD_READ_ONLY"])
def test_read_only_stores_nothing(serve, way):
    with serve() as writer:
        writer.get_pr("m4-1", "all", "z")
    if way.startswith("-"):
        check_read_only(serve(way))
    else:
        check_read_only(serve(environment={way: "1"}))


def test_read_only_creates_no_database(serve):
    server = serve("--read-only")
    assert server.get_pr("m4-1", "all", "a") == "0"
    assert "prserv.sqlite3 does not exist yet; look-ups return nothing" in server.log
    assert not (server.folder / "prserv.sqlite3").exists()


def test_prservd_read_only_0_is_false(serve):
    server = serve(environment={"PRSERVD_READ_ONLY": "0"})
    assert server.ask({"is-readonly": {}})["readonly"] is False


# ---- --upstream ----


def revision_of_new_content(server):
    """Returns the revision of new content if the upstream has 0 for the package."""
    return server.get_pr("m4-1", "all", "new")


@pytest.fixture
def upstream(serve):
    upstream = serve(folder="upstream")
    upstream.get_pr("m4-1", "all", "known")
    return upstream


def test_upstream_names_the_server_to_ask(serve, setting, upstream):
    options, environment = setting("upstream", upstream.address)
    assert revision_of_new_content(serve(*options, environment=environment)) == "0.0"


def test_u_is_short_for_upstream(serve, upstream):
    assert revision_of_new_content(serve("-u", upstream.address)) == "0.0"


def test_prserv_upstream_is_the_default_of_upstream(serve, upstream):
    environment = {"PRSERV_UPSTREAM": upstream.address}
    assert revision_of_new_content(serve(environment=environment)) == "0.0"


def test_upstream_overrides_prserv_upstream(serve, setting, upstream):
    options, environment = setting("upstream", upstream.address)
    environment["PRSERV_UPSTREAM"] = "127.0.0.1:1"
    assert revision_of_new_content(serve(*options, environment=environment)) == "0.0"


def test_an_invalid_prserv_upstream_is_refused_in_one_line(tmp_path):
    environment = {"PRSERV_UPSTREAM": "nonsense"}
    result = run_prservd("--port", "0", cwd=tmp_path, environment=environment)
    assert "nonsense" in error_line(result, 2)


def test_upstream_may_be_a_name(serve, upstream):
    assert (
        revision_of_new_content(serve("--upstream", f"localhost:{upstream.port}"))
        == "0.0"
    )


@needs_ipv6
def test_upstream_may_be_an_ipv6_address_in_brackets(serve, setting):
    below = serve("--bind", "[::1]:0", bind=False, folder="below")
    with Client(("::1", below.port)) as client:
        client.get_pr("m4-1", "all", "known")
    options, environment = setting("upstream", f"[::1]:{below.port}")
    assert revision_of_new_content(serve(*options, environment=environment)) == "0.0"


# ---- --pidfile, --sync, --max-message-bytes ----


def test_pidfile_works_in_the_foreground_too(serve, setting):
    options, environment = setting("pidfile", "own.pid")
    with serve(*options, environment=environment) as server:
        path = server.folder / "own.pid"
        assert path.read_text() == f"{server.process.pid}\n"
    assert not path.exists()


@pytest.mark.parametrize("level", ["full", "normal", "off"])
def test_sync_takes_three_levels(serve, setting, level):
    options, environment = setting("sync", level)
    server = serve(*options, environment=environment)
    assert server.get_pr("m4-1", "all", "a") == "0"


def request_of(length):
    request = {"test-package": {"version": "", "pkgarch": "all"}}
    version = "x" * (length - len(json.dumps(request)))
    request["test-package"]["version"] = version
    return request


def test_max_message_bytes_limits_messages(serve, setting):
    options, environment = setting("max-message-bytes", "2000")
    server = serve(*options, environment=environment)
    with server.client() as client:
        assert client.ask(request_of(1990)) == {"value": False}
        with pytest.raises(Refused, match="2000"):
            client.ask(request_of(2010))
        assert client.is_closed()


# ---- failed starts ----


@pytest.fixture
def stored(serve):
    """A folder with the database of a stopped server, and its content."""
    with serve(folder="stored") as server:
        server.get_pr("m4-1", "all", "a")
    return server.folder


def test_a_port_in_use_is_reported_in_one_line(serve, stored):
    occupant = serve(folder="occupant")
    before = (stored / "prserv.sqlite3").read_bytes()
    options = ["--host", "127.0.0.1", "--port", occupant.port]
    line = error_line(run_prservd(*options, cwd=stored), 1)
    assert f"127.0.0.1:{occupant.port}" in line and "in use" in line
    assert (stored / "prserv.sqlite3").read_bytes() == before
    assert rows(stored / "prserv.sqlite3") == [("m4-1", "all", "a", "0")]
    assert occupant.get_pr("m4-1", "all", "a") == "0"


def test_a_second_server_on_the_same_port_does_not_disturb_the_first(server):
    assert server.get_pr("m4-1", "all", "a") == "0"
    options = ["--host", "127.0.0.1", "--port", server.port]
    error_line(run_prservd(*options, cwd=server.folder), 1)
    assert server.get_pr("m4-1", "all", "b") == "1"


def test_one_address_in_use_among_several_prevents_a_start(serve, tmp_path):
    occupant = serve()
    free = free_port()
    binds = ["--bind", f"127.0.0.1:{free}", "--bind", occupant.address]
    line = error_line(run_prservd(*binds, cwd=tmp_path), 1)
    assert occupant.address in line
    assert not accepts(free)


def test_an_address_of_another_machine_is_reported_in_one_line(tmp_path):
    options = ["--host", REMOTE, "--port", "0"]
    assert REMOTE in error_line(run_prservd(*options, cwd=tmp_path), 1)


@pytest.mark.parametrize("options", [[], ["--read-only"]], ids=["writing", "read-only"])
@pytest.mark.parametrize("kind", NOT_DATABASES)
def test_a_file_that_is_not_a_database_is_reported_in_one_line(tmp_path, kind, options):
    (tmp_path / "file").write_bytes(NOT_DATABASES[kind])
    before = contents(tmp_path)
    result = run_prservd("--port", "0", "-f", "file", *options, cwd=tmp_path)
    line = error_line(result, 1)
    assert "file" in line and "not an SQLite database" in line
    assert contents(tmp_path) == before


def test_a_truncated_database_is_reported_in_one_line(stored, tmp_path):
    half = (stored / "prserv.sqlite3").read_bytes()[:1000]
    (tmp_path / "half.db").write_bytes(half)
    result = run_prservd("--port", "0", "-f", "half.db", cwd=tmp_path)
    assert "half.db" in error_line(result, 1)
    assert (tmp_path / "half.db").read_bytes() == half


def test_a_folder_in_place_of_the_database_is_reported_in_one_line(tmp_path):
    (tmp_path / "folder").mkdir()
    result = run_prservd("--port", "0", "-f", "folder", cwd=tmp_path)
    assert "folder" in error_line(result, 1)
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_file_in_place_of_the_folder_is_reported_in_one_line(tmp_path):
    (tmp_path / "file").write_bytes(b"precious")
    result = run_prservd("--port", "0", "-f", "file/rows.db", cwd=tmp_path)
    assert "file/rows.db" in error_line(result, 1)
    assert contents(tmp_path) == {"file": b"precious"}


def test_a_folder_that_cannot_be_created_is_reported_in_one_line(tmp_path):
    result = run_prservd("--port", "0", "-f", "/proc/none/rows.db", cwd=tmp_path)
    assert "/proc/none" in error_line(result, 1)


# ---- the installed program ----


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run(
        ["meson", "install", "-C", BUILD, "--no-rebuild"],
        env={**os.environ, "DESTDIR": str(folder)},
        check=True,
        capture_output=True,
    )
    (program,) = folder.rglob("bin/bitbake-prserv")
    return program


def test_the_program_is_installed_as_prservd_and_as_bitbake_prserv(installed):
    for name in "prservd", "bitbake-prserv":
        program = installed.parent / name
        result = subprocess.run([program, "--version"], capture_output=True, text=True)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.startswith("prservd ")


def test_bitbake_prserv_is_a_relative_link(installed):
    assert Path(os.path.realpath(installed)).parent == installed.parent.resolve()
