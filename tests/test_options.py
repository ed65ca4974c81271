"""The options of prservd, its environment, and what it says when it can't start."""

import contextlib
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
from pathlib import Path

import pytest
from harness import (
    BUILD,
    PRSERVD,
    ROOT,
    Client,
    Refused,
    Server,
    clean_environment,
    free_port,
    poll,
    run_prservd,
)

SETTINGS = [
    "file",
    "host",
    "port",
    "bind",
    "read-only",
    "upstream",
    "log",
    "loglevel",
    "pidfile",
    "sync",
    "max-message-bytes",
    "max-memory-bytes",
]
NO_DATABASES = {
    "a short text": b"hello\n",
    "a long text": b"This is not a database. " * 1000,
    "noise": bytes(range(256)) * 64,
}
REMOTE = "203.0.113.1"  # for documentation only: no machine has it


def variable(name):
    return "PRSERVD_" + name.upper().replace("-", "_")


@pytest.fixture(params=["option", "environment"])
def setting(request):
    """Says a setting on the command line, and once more in the environment."""

    def say(*names_and_values):
        pairs = list(zip(names_and_values[::2], names_and_values[1::2]))
        if request.param == "environment":
            return [], {variable(name): str(value) for name, value in pairs}
        options = [(f"--{name}", value) for name, value in pairs]
        return [word for pair in options for word in pair], {}

    return say


def the_line(result, status):
    """What was said: one line on standard error, and the exit status."""
    assert result.returncode == status, result
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    return result.stderr.strip()


def accepts(port, host="127.0.0.1"):
    with contextlib.suppress(OSError):
        socket.create_connection((host, port), 5).close()
        return True
    return False


def has_ipv6():
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


def can_unshare(*options):
    with contextlib.suppress(OSError):
        command = ["unshare", *options, "true"]
        return subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0
    return False


def is_alive(address):
    with Client(address) as client:
        return client.ask({"ping": {}}) == {"alive": True}


def contents(folder):
    """The bytes of every file there."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def rows(file):
    with contextlib.closing(sqlite3.connect(file)) as database:
        return database.execute(
            "SELECT version, pkgarch, checksum, value FROM PRMAIN ORDER BY 4"
        ).fetchall()


class QuietServer(Server):
    """A server that logs to own.log, or not at all."""

    @property
    def log(self):
        path = self.folder / "own.log"
        return path.read_text() if path.exists() else ""


# ---- explaining itself ----


def test_version_names_the_program_and_the_version_of_the_project(tmp_path):
    version = re.search(
        r"^ *version: '(.+)'", (ROOT / "meson.build").read_text(), re.MULTILINE
    )[1]
    result = run_prservd("--version", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"prservd {version}\n"


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


# ---- options that can't be used ----


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
    assert named in the_line(run_prservd(*options, cwd=tmp_path), 2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [["--start", "--stop"], ["--stop", "--start"]])
def test_contradictory_options_are_refused_in_one_line(tmp_path, options):
    line = the_line(run_prservd(*options, cwd=tmp_path), 2)
    assert "--start" in line and "--stop" in line
    assert list(tmp_path.iterdir()) == []


ILL_VALUES = [
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
    ("max-memory-bytes", "1048576"),
]


@pytest.mark.parametrize("name, value", ILL_VALUES)
def test_an_ill_value_is_refused_in_one_line(tmp_path, setting, name, value):
    options, environment = setting(name, value)
    result = run_prservd(*options, cwd=tmp_path, environment=environment)
    line = the_line(result, 2)
    assert value.strip()[:20] in line or name in line.lower()
    assert list(tmp_path.iterdir()) == []


def test_a_flag_in_the_environment_is_yes_or_no(tmp_path):
    environment = {"PRSERVD_READ_ONLY": "perhaps"}
    result = run_prservd("--port", "0", cwd=tmp_path, environment=environment)
    assert "PRSERVD_READ_ONLY" in the_line(result, 2)


@pytest.mark.parametrize(
    "name", ["file", "host", "port", "bind", "log", "loglevel", "pidfile", "sync"]
)
def test_an_empty_value_is_refused_in_one_line(tmp_path, name):
    the_line(run_prservd(f"--{name}", "", cwd=tmp_path), 2)


@pytest.mark.parametrize("name", ["port", "upstream", "loglevel", "sync"])
def test_a_value_of_two_lines_is_refused_in_one(tmp_path, setting, name):
    options, environment = setting(name, "first\nsecond")
    the_line(run_prservd(*options, cwd=tmp_path, environment=environment), 2)


# ---- where settings come from ----


def test_an_option_counts_more_than_its_variable(serve):
    environment = {"PRSERVD_FILE": "variable.db", "PRSERVD_READ_ONLY": "0"}
    server = serve("--file", "option.db", environment=environment)
    server.get_pr("m4-1", "all", "a")
    assert rows(server.folder / "option.db") == [("m4-1", "all", "a", "0")]
    assert not (server.folder / "variable.db").exists()


def test_an_option_that_counts_hides_an_ill_variable(serve):
    environment = {"PRSERVD_PORT": "nonsense", "PRSERVD_LOGLEVEL": "nonsense"}
    assert serve(environment=environment).get_pr("m4-1", "all", "a") == "0"


def test_starting_stopping_and_explaining_are_no_variables(serve):
    names = ["START", "STOP", "VERSION", "HELP"]
    server = serve(environment={f"PRSERVD_{name}": "1" for name in names})
    assert server.get_pr("m4-1", "all", "a") == "0"


def test_variables_of_bitbake_are_left_alone(serve):
    names = ["HOST", "PORT", "FILE", "BIND", "LOGLEVEL", "LOG", "READ_ONLY"]
    server = serve(environment={f"PRSERV_{name}": "nonsense" for name in names})
    assert server.get_pr("m4-1", "all", "a") == "0"


# ---- --file ----


def test_the_database_is_prserv_sqlite3_in_the_current_folder(server):
    server.get_pr("m4-1", "all", "a")
    assert rows(server.folder / "prserv.sqlite3") == [("m4-1", "all", "a", "0")]


def test_file_names_the_database_and_missing_folders_are_made(serve, setting):
    options, environment = setting("file", "some/missing/folders/rows.db")
    server = serve(*options, environment=environment)
    server.get_pr("m4-1", "all", "a")
    file = server.folder / "some/missing/folders/rows.db"
    assert rows(file) == [("m4-1", "all", "a", "0")]
    assert not (server.folder / "prserv.sqlite3").exists()


def test_file_may_be_an_absolute_path(serve, tmp_path):
    file = tmp_path / "else where" / "rows.db"
    serve("-f", file).get_pr("m4-1", "all", "a")
    assert rows(file) == [("m4-1", "all", "a", "0")]


# ---- --read-only ----


def check_read_only(server):
    assert server.ask({"is-readonly": {}}) == {"readonly": True}
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


def test_read_only_makes_no_database(serve):
    server = serve("--read-only")
    assert server.get_pr("m4-1", "all", "a") == "0"
    assert "prserv.sqlite3 is not there: nothing is known" in server.log
    assert not (server.folder / "prserv.sqlite3").exists()


def test_a_read_only_variable_of_0_says_no(serve):
    server = serve(environment={"PRSERVD_READ_ONLY": "0"})
    assert server.ask({"is-readonly": {}}) == {"readonly": False}


# ---- --upstream ----


def new_here(server):
    """What new content gets where the package has been published upstream as 0."""
    return server.get_pr("m4-1", "all", "new")


@pytest.fixture
def upstream(serve):
    upstream = serve(folder="upstream")
    upstream.get_pr("m4-1", "all", "known")
    return upstream


def test_upstream_names_the_server_below(serve, setting, upstream):
    options, environment = setting("upstream", upstream.address)
    assert new_here(serve(*options, environment=environment)) == "0.0"


def test_u_is_upstream(serve, upstream):
    assert new_here(serve("-u", upstream.address)) == "0.0"


def test_prserv_upstream_is_the_default_of_upstream(serve, upstream):
    environment = {"PRSERV_UPSTREAM": upstream.address}
    assert new_here(serve(environment=environment)) == "0.0"


def test_upstream_counts_more_than_prserv_upstream(serve, setting, upstream):
    options, environment = setting("upstream", upstream.address)
    environment["PRSERV_UPSTREAM"] = "127.0.0.1:1"
    assert new_here(serve(*options, environment=environment)) == "0.0"


def test_an_ill_prserv_upstream_is_refused_in_one_line(tmp_path):
    environment = {"PRSERV_UPSTREAM": "nonsense"}
    result = run_prservd("--port", "0", cwd=tmp_path, environment=environment)
    assert "nonsense" in the_line(result, 2)


def test_upstream_may_be_a_name(serve, upstream):
    assert new_here(serve("--upstream", f"localhost:{upstream.port}")) == "0.0"


@needs_ipv6
def test_upstream_may_be_an_ipv6_address_in_brackets(serve, setting):
    below = serve("--bind", "[::1]:0", bind=False, folder="below")
    with Client(("::1", below.port)) as client:
        client.get_pr("m4-1", "all", "known")
    options, environment = setting("upstream", f"[::1]:{below.port}")
    assert new_here(serve(*options, environment=environment)) == "0.0"


# ---- --host and --port ----


@pytest.mark.skipif(not can_unshare("--net"), reason="makes no network of its own")
def test_the_default_is_port_8585_of_every_ipv4_address(tmp_path):
    log = tmp_path / "log"
    with open(log, "wb") as stream:
        process = subprocess.Popen(
            ["unshare", "--net", PRSERVD],
            cwd=tmp_path,
            env=clean_environment(),
            stderr=stream,
        )
    try:
        poll(
            lambda: process.poll() is not None or "Listening" in log.read_text(),
            "the server",
        )
        assert "Listening on 0.0.0.0:8585\n" in log.read_text()
    finally:
        process.terminate()
        process.wait()
    assert process.returncode == 0


def test_host_and_port_say_where_it_listens(serve, setting):
    port = free_port()
    options, environment = setting("host", "127.0.0.2", "port", port)
    server = serve(*options, bind=False, environment=environment)
    assert server.addresses == [f"127.0.0.2:{port}"]
    assert is_alive(("127.0.0.2", port))
    assert not accepts(port)


def test_port_0_takes_a_free_one_and_the_log_says_which(serve):
    first = serve(folder="first")
    second = serve(folder="second")
    assert 0 not in (first.port, second.port) and first.port != second.port
    for server in first, second:
        assert server.addresses == [f"127.0.0.1:{server.port}"]
        assert is_alive(("127.0.0.1", server.port))


def test_host_0_0_0_0_is_every_ipv4_address(serve):
    server = serve("--host", "0.0.0.0", "--port", "0", bind=False)
    assert server.addresses == [f"0.0.0.0:{server.port}"]
    assert is_alive(("127.0.0.1", server.port))
    assert is_alive(("127.0.0.3", server.port))


@needs_ipv6
@pytest.mark.parametrize("host", ["::1", "::", "[::1]"])
def test_host_may_be_an_ipv6_address(serve, host):
    server = serve("--host", host, "--port", "0", bind=False)
    assert server.addresses == [f"[{host.strip('[]')}]:{server.port}"]
    assert is_alive(("::1", server.port))


def test_localhost_is_bound_on_all_its_addresses_with_the_same_port(serve):
    port = free_port()
    found = socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)
    hosts = {address[0] for *_, address in found}
    server = serve("--host", "localhost", "--port", port, bind=False)
    listening = {
        f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in hosts
    }
    assert set(server.addresses) == listening
    assert all(is_alive((host, port)) for host in hosts)


class ServerWithHosts(Server):
    """A server on a machine where several.test has three addresses."""

    HOSTS = "127.0.0.1 several.test\n127.0.0.2 several.test\n::1 several.test\n"
    MOUNT = 'mount --bind "$0" /etc/hosts && exec "$@"'

    def start(self):
        hosts = self.folder / "hosts"
        hosts.write_text(self.HOSTS)
        self.command = ["unshare", "--mount", "sh", "-c", self.MOUNT, hosts] + (
            self.command
        )
        super().start()


@needs_ipv6
@pytest.mark.skipif(not can_unshare("--mount"), reason="can't change /etc/hosts")
@pytest.mark.parametrize("port", ["0", "given"])
@pytest.mark.parametrize("form", ["host", "bind"])
def test_a_name_is_bound_on_all_its_addresses_with_the_same_port(tmp_path, form, port):
    port = free_port() if port == "given" else 0
    options = ["--host", "several.test", "--port", port]
    if form == "bind":
        options = ["--bind", f"several.test:{port}"]
    with ServerWithHosts(tmp_path, *options, bind=False) as server:
        port = port or server.port
        listening = {f"127.0.0.1:{port}", f"127.0.0.2:{port}", f"[::1]:{port}"}
        assert set(server.addresses) == listening
        for host in "127.0.0.1", "127.0.0.2", "::1":
            assert is_alive((host, port))


# ---- --bind ----


def test_bind_is_instead_of_host_and_port(serve, setting):
    options, environment = setting("bind", "127.0.0.2:0")
    server = serve(*options, bind=False, environment=environment)
    assert server.addresses == [f"127.0.0.2:{server.port}"]
    assert is_alive(("127.0.0.2", server.port))


def test_bind_may_be_repeated(serve, tmp_path):
    path = tmp_path / "socket"
    binds = ["--bind", "127.0.0.1:0", "--bind", "127.0.0.2:0", "--bind"]
    server = serve(*binds, f"unix://{path}", bind=False)
    first, second, third = server.addresses
    assert first.startswith("127.0.0.1:") and second.startswith("127.0.0.2:")
    assert third == f"unix://{path}"
    assert is_alive(("127.0.0.1", int(first.rpartition(":")[2])))
    assert is_alive(("127.0.0.2", int(second.rpartition(":")[2])))
    assert is_alive(path)


def test_the_variable_holds_several_addresses_separated_by_blanks(serve, tmp_path):
    path = tmp_path / "socket"
    environment = {"PRSERVD_BIND": f"127.0.0.1:0 unix://{path}"}
    server = serve(bind=False, environment=environment)
    assert server.addresses == [f"127.0.0.1:{server.port}", f"unix://{path}"]
    assert is_alive(("127.0.0.1", server.port))
    assert is_alive(path)


@needs_ipv6
def test_bind_takes_ipv6_in_brackets(serve):
    server = serve("--bind", "[::1]:0", bind=False)
    assert server.addresses == [f"[::1]:{server.port}"]
    assert is_alive(("::1", server.port))


def test_bind_takes_names(serve):
    server = serve("--bind", "localhost:0", bind=False)
    for address in server.addresses:
        host, _, port = address.rpartition(":")
        assert is_alive((host.strip("[]"), int(port)))


def test_bind_comes_beside_host_and_port_that_are_given_too(serve, setting):
    port = free_port()
    names = ["bind", "127.0.0.2:0", "host", "127.0.0.3", "port", port]
    options, environment = setting(*names)
    server = serve(*options, bind=False, environment=environment)
    beside = [address for address in server.addresses if "127.0.0.2:" in address]
    assert len(beside) == 1
    assert set(server.addresses) == {f"127.0.0.3:{port}", *beside}


def test_bind_comes_beside_a_port_that_is_given_too(serve):
    port = free_port()
    server = serve("--bind", "127.0.0.2:0", "--port", port, bind=False)
    assert len(server.addresses) == 2
    assert f"0.0.0.0:{port}" in server.addresses


# ---- --bind ADDRESS,ro ----


def check_both_ways(writing, reading):
    with Client(writing) as writer, Client(reading) as reader:
        assert writer.ask({"is-readonly": {}}) == {"readonly": False}
        assert reader.ask({"is-readonly": {}}) == {"readonly": True}
        assert reader.get_pr("m4-1", "all", "a") == "0"
        assert reader.test_pr("m4-1", "all", "a") is None
        assert writer.get_pr("m4-1", "all", "a") == "0"
        assert reader.test_pr("m4-1", "all", "a") == "0"
        assert [reader.get_pr("m4-1", "all", name) for name in "bc"] == ["1", "1"]
        assert reader.import_one("m4-1", "all", "d", "9") is None
        assert writer.max_pr("m4-1", "all") == "0"
        assert reader.get_pr("m4-1", "all", "a") == "0"


def test_ro_makes_a_listener_read_only_and_leaves_the_others(serve, setting):
    port = free_port()
    names = ["bind", f"127.0.0.1:{port},ro", "host", "127.0.0.2", "port", port]
    options, environment = setting(*names)
    server = serve(*options, bind=False, environment=environment)
    assert f"Listening on 127.0.0.1:{port} (read-only)\n" in server.log
    assert f"Listening on 127.0.0.2:{port}\n" in server.log
    check_both_ways(("127.0.0.2", port), ("127.0.0.1", port))


def test_ro_makes_a_unix_socket_read_only(serve, tmp_path):
    path = tmp_path / "socket"
    server = serve("--bind", f"unix://{path},ro")
    check_both_ways(("127.0.0.1", server.port), path)


def test_ro_makes_every_address_of_a_name_read_only(serve):
    server = serve("--bind", "localhost:0,ro", bind=False)
    for address in server.addresses:
        host, _, port = address.rpartition(":")
        with Client((host.strip("[]"), int(port))) as client:
            assert client.ask({"is-readonly": {}}) == {"readonly": True}


# ---- unix sockets ----


def test_a_unix_socket_is_removed_at_the_end(serve, tmp_path):
    path = tmp_path / "socket"
    with serve("--bind", f"unix://{path}"):
        assert is_alive(path)
    assert not path.exists()


def test_a_unix_socket_that_a_dead_server_left_is_replaced(serve, tmp_path):
    path = tmp_path / "socket"
    server = serve("--bind", f"unix://{path}")
    server.kill()
    assert path.is_socket()
    server.restart()
    assert is_alive(path)


def test_a_unix_socket_of_a_living_server_is_in_use(serve, tmp_path):
    path = tmp_path / "socket"
    serve("--bind", f"unix://{path}")
    result = run_prservd("--bind", f"unix://{path}", cwd=tmp_path)
    line = the_line(result, 1)
    assert str(path) in line and "in use" in line
    assert is_alive(path)


def test_a_plain_file_where_the_unix_socket_would_be_is_kept(tmp_path):
    path = tmp_path / "precious"
    path.write_bytes(b"precious")
    result = run_prservd("--bind", f"unix://{path}", cwd=tmp_path)
    assert str(path) in the_line(result, 1)
    assert path.read_bytes() == b"precious"


def test_a_unix_socket_in_a_folder_that_is_not_there_is_refused(tmp_path):
    path = tmp_path / "missing" / "socket"
    result = run_prservd("--bind", f"unix://{path}", cwd=tmp_path)
    assert str(path) in the_line(result, 1)


# ---- --log and --loglevel ----


def test_the_log_goes_to_standard_error(server):
    assert "Listening on" in (server.log_path).read_text()
    assert not (server.folder / "prserv.log").exists()


@pytest.mark.parametrize("way", ["-l", "--log", "PRSERVD_LOG"])
def test_log_names_the_file_of_the_log(tmp_path, way):
    options = [way, "own.log"] if way.startswith("-") else []
    environment = {} if options else {way: "own.log"}
    with QuietServer(tmp_path, *options, environment=environment) as server:
        assert is_alive(("127.0.0.1", server.port))
    assert server.log_path.read_text() == ""
    assert "Stopped" in server.log


def test_the_log_is_appended_to(tmp_path):
    (tmp_path / "own.log").write_text("what was there\n")
    with QuietServer(tmp_path, "--log", "own.log"):
        pass
    text = (tmp_path / "own.log").read_text()
    assert text.startswith("what was there\n") and "Listening on" in text


def test_sighup_reopens_the_log(tmp_path):
    current, old = tmp_path / "own.log", tmp_path / "old.log"
    with QuietServer(tmp_path, "--log", "own.log") as server:
        port = server.port
        current.rename(old)
        server.process.send_signal(signal.SIGHUP)
        poll(lambda: current.exists() and current.read_text(), "the new log")
        before = old.read_text()
        assert is_alive(("127.0.0.1", port))
    assert "Listening on" in before and "Stopped" not in before
    assert old.read_text() == before
    assert "Stopped" in current.read_text()


def test_sighup_without_a_log_file_does_no_harm(server):
    server.process.send_signal(signal.SIGHUP)
    poll(lambda: "SIGHUP" in server.log, "the signal")
    assert server.get_pr("m4-1", "all", "a") == "0"


def test_a_log_that_cannot_be_opened_is_refused_in_one_line(tmp_path):
    options = ["--log", "missing/own.log", "--port", "0"]
    line = the_line(run_prservd(*options, cwd=tmp_path), 1)
    assert "missing/own.log" in line
    assert list(tmp_path.iterdir()) == []


# With --sync off there is a line of each level up to WARNING to be seen.
@pytest.mark.parametrize(
    "level, seen",
    [
        ("debug", {"DEBUG", "INFO", "WARNING"}),
        ("DEBUG", {"DEBUG", "INFO", "WARNING"}),
        ("Info", {"INFO", "WARNING"}),
        ("INFO", {"INFO", "WARNING"}),
        ("wArNiNg", {"WARNING"}),
        ("WARNING", {"WARNING"}),
        ("error", set()),
        ("ERROR", set()),
        ("critical", set()),
        ("CRITICAL", set()),
    ],
)
def test_loglevel_in_any_case_says_what_is_logged(tmp_path, setting, level, seen):
    port = free_port()
    options, environment = setting("loglevel", level)
    log = tmp_path / "stderr"
    command = [PRSERVD, "--host", "127.0.0.1", "--port", str(port), "--sync", "off"]
    with open(log, "wb") as stream:
        process = subprocess.Popen(
            command + options,
            cwd=tmp_path,
            env=clean_environment(**environment),
            stderr=stream,
        )
    try:
        poll(lambda: process.poll() is not None or accepts(port), "the server")
        assert is_alive(("127.0.0.1", port))
    finally:
        process.terminate()
        process.wait()
    assert process.returncode == 0
    levels = "DEBUG|INFO|WARNING|ERROR|CRITICAL"
    assert set(re.findall(rf"\b({levels})\b", log.read_text())) == seen


def test_why_it_cannot_start_is_said_at_any_loglevel(tmp_path):
    (tmp_path / "text").write_text("no database\n" * 100)
    options = ["--loglevel", "CRITICAL", "--port", "0", "--file", "text"]
    assert "text" in the_line(run_prservd(*options, cwd=tmp_path), 1)


def test_why_it_cannot_start_is_said_beside_a_log_file_too(tmp_path):
    (tmp_path / "text").write_text("no database\n" * 100)
    options = ["--log", "own.log", "--port", "0", "--file", "text"]
    assert "text" in the_line(run_prservd(*options, cwd=tmp_path), 1)
    assert "text" in (tmp_path / "own.log").read_text()


# ---- --pidfile, --sync, --max-message-bytes ----


def test_pidfile_in_the_foreground_holds_the_number_of_the_process(serve, setting):
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


def test_max_message_bytes_limits_a_message(serve, setting):
    options, environment = setting("max-message-bytes", "2000")
    server = serve(*options, environment=environment)
    with server.client() as client:
        assert client.ask(request_of(1990)) == {"value": False}
        with pytest.raises(Refused, match="2000"):
            client.ask(request_of(2010))
        assert client.is_closed()


# ---- what keeps it from starting ----


@pytest.fixture
def stored(serve):
    """A folder with the database that a server left, and what was in it."""
    with serve(folder="stored") as server:
        server.get_pr("m4-1", "all", "a")
    return server.folder


def test_a_port_in_use_is_said_in_one_line(serve, stored):
    occupant = serve(folder="occupant")
    before = (stored / "prserv.sqlite3").read_bytes()
    options = ["--host", "127.0.0.1", "--port", occupant.port]
    line = the_line(run_prservd(*options, cwd=stored), 1)
    assert f"127.0.0.1:{occupant.port}" in line and "in use" in line
    assert (stored / "prserv.sqlite3").read_bytes() == before
    assert rows(stored / "prserv.sqlite3") == [("m4-1", "all", "a", "0")]
    assert occupant.get_pr("m4-1", "all", "a") == "0"


def test_a_second_server_on_port_and_file_does_not_disturb_the_first(server):
    assert server.get_pr("m4-1", "all", "a") == "0"
    options = ["--host", "127.0.0.1", "--port", server.port]
    the_line(run_prservd(*options, cwd=server.folder), 1)
    assert server.get_pr("m4-1", "all", "b") == "1"


def test_one_of_several_addresses_in_use_is_enough(serve, tmp_path):
    occupant = serve()
    free = free_port()
    binds = ["--bind", f"127.0.0.1:{free}", "--bind", occupant.address]
    line = the_line(run_prservd(*binds, cwd=tmp_path), 1)
    assert occupant.address in line
    assert not accepts(free)


def test_an_address_of_another_machine_is_said_in_one_line(tmp_path):
    options = ["--host", REMOTE, "--port", "0"]
    assert REMOTE in the_line(run_prservd(*options, cwd=tmp_path), 1)


@pytest.mark.parametrize("options", [[], ["--read-only"]], ids=["writing", "read-only"])
@pytest.mark.parametrize("kind", NO_DATABASES)
def test_a_file_that_is_no_database_is_said_in_one_line(tmp_path, kind, options):
    (tmp_path / "file").write_bytes(NO_DATABASES[kind])
    before = contents(tmp_path)
    result = run_prservd("--port", "0", "-f", "file", *options, cwd=tmp_path)
    line = the_line(result, 1)
    assert "file" in line and "no SQLite database" in line
    assert contents(tmp_path) == before


def test_half_a_database_is_said_in_one_line(stored, tmp_path):
    half = (stored / "prserv.sqlite3").read_bytes()[:1000]
    (tmp_path / "half.db").write_bytes(half)
    result = run_prservd("--port", "0", "-f", "half.db", cwd=tmp_path)
    assert "half.db" in the_line(result, 1)
    assert (tmp_path / "half.db").read_bytes() == half


def test_a_folder_in_place_of_the_database_is_said_in_one_line(tmp_path):
    (tmp_path / "folder").mkdir()
    result = run_prservd("--port", "0", "-f", "folder", cwd=tmp_path)
    assert "folder" in the_line(result, 1)
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_file_in_place_of_the_folder_is_said_in_one_line(tmp_path):
    (tmp_path / "file").write_bytes(b"precious")
    result = run_prservd("--port", "0", "-f", "file/rows.db", cwd=tmp_path)
    assert "file/rows.db" in the_line(result, 1)
    assert contents(tmp_path) == {"file": b"precious"}


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path):
    result = run_prservd("--port", "0", "-f", "/proc/none/rows.db", cwd=tmp_path)
    assert "/proc/none" in the_line(result, 1)


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
    (program,) = folder.rglob("bitbake-prserv")
    return program


def test_it_is_installed_as_prservd_and_as_bitbake_prserv(installed):
    for name in "prservd", "bitbake-prserv":
        program = installed.parent / name
        result = subprocess.run([program, "--version"], capture_output=True, text=True)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.startswith("prservd ")


def test_bitbake_prserv_does_not_point_out_of_the_place_of_installation(installed):
    assert Path(os.path.realpath(installed)).parent == installed.parent.resolve()
