# SPDX-License-Identifier: MIT
"""Where prservd listens: --host, --port, --bind and unix sockets."""

import contextlib
import socket
import subprocess

import pytest

from harness import (
    PRSERVD,
    Client,
    Server,
    accepts,
    clean_environment,
    error_line,
    free_port,
    is_alive,
    needs_ipv6,
    poll,
    run_prservd,
)

NO_NAME = "a..b"  # invalid, so that no name server is asked


def can_unshare(*options):
    with contextlib.suppress(OSError):
        command = ["unshare", *options, "true"]
        return subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0
    return False


# ---- --host and --port ----


@pytest.mark.skipif(not can_unshare("--net"), reason="makes no network of its own")
def test_the_default_is_port_8585_on_every_ipv4_address(tmp_path):
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


def test_host_and_port_choose_the_listener(serve, setting):
    port = free_port()
    options, environment = setting("host", "127.0.0.2", "port", port)
    server = serve(*options, bind=False, environment=environment)
    assert server.addresses == [f"127.0.0.2:{port}"]
    assert is_alive(("127.0.0.2", port))
    assert not accepts(port)


def test_port_0_takes_a_free_port_and_logs_it(serve):
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


def test_bind_replaces_the_default_host_and_port(serve, setting):
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


def test_prservd_bind_holds_addresses_separated_by_blanks(serve, tmp_path):
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


def test_bind_adds_to_a_given_host_and_port(serve, setting):
    port = free_port()
    names = ["bind", "127.0.0.2:0", "host", "127.0.0.3", "port", port]
    options, environment = setting(*names)
    server = serve(*options, bind=False, environment=environment)
    beside = [address for address in server.addresses if "127.0.0.2:" in address]
    assert len(beside) == 1
    assert set(server.addresses) == {f"127.0.0.3:{port}", *beside}


def test_bind_adds_to_a_given_port(serve):
    port = free_port()
    server = serve("--bind", "127.0.0.2:0", "--port", port, bind=False)
    assert len(server.addresses) == 2
    assert f"0.0.0.0:{port}" in server.addresses


def test_too_many_or_too_long_addresses_are_refused(
    tmp_path,
):
    many = [word for port in range(64) for word in ("--bind", f"127.0.0.1:{port}")]
    done = run_prservd(*many, cwd=tmp_path)
    assert done.returncode == 2 and "too many addresses" in done.stderr
    done = run_prservd("--bind", "x" * 1000 + ":1", cwd=tmp_path)
    assert done.returncode == 2 and "the address is too long" in done.stderr


def test_a_host_name_without_an_address_is_reported(tmp_path):
    done = run_prservd("--host", NO_NAME, "--port", "0", cwd=tmp_path)
    assert done.returncode == 1 and f"can't listen on {NO_NAME}: " in done.stderr
    done = run_prservd("--stop", "--host", NO_NAME, "--port", "1", cwd=tmp_path)
    assert done.returncode == 1 and NO_NAME in done.stderr


# ---- --bind ADDRESS,ro ----


def check_both_ways(writing, reading):
    with Client(writing) as writer, Client(reading) as reader:
        assert writer.ask({"is-readonly": {}})["readonly"] is False
        assert reader.ask({"is-readonly": {}})["readonly"] is True
        assert reader.get_pr("m4-1", "all", "a") == "0"
        assert reader.test_pr("m4-1", "all", "a") is None
        assert writer.get_pr("m4-1", "all", "a") == "0"
        assert reader.test_pr("m4-1", "all", "a") == "0"
        assert [reader.get_pr("m4-1", "all", name) for name in "bc"] == ["1", "1"]
        assert reader.import_one("m4-1", "all", "d", "9") is None
        assert writer.max_pr("m4-1", "all") == "0"
        assert reader.get_pr("m4-1", "all", "a") == "0"


def test_ro_makes_only_its_own_listener_read_only(serve, setting):
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
            assert client.ask({"is-readonly": {}})["readonly"] is True


@pytest.mark.parametrize(
    "words", ["ro,histroy", "history,history2", "ro,", "ro,,history"]
)
@pytest.mark.parametrize("address", ["127.0.0.1:0", "unix:///tmp/never-bound"])
def test_unknown_words_after_an_address_are_refused(tmp_path, address, words):
    done = run_prservd("--bind", f"{address},{words}", cwd=tmp_path)
    assert "' is unknown after " in error_line(done, 2)


def test_the_path_of_a_unix_socket_may_have_commas(serve, tmp_path):
    path = tmp_path / "a,b,ro2"
    serve("--bind", f"unix://{path},history,ro")
    with Client(path) as client:
        assert client.ask({"is-readonly": {}})["readonly"] is True


# ---- --history and --bind ADDRESS,history ----


def give_three_revisions(client):
    """Content that comes back gets 2, and with history its first revision, 0."""
    assert [client.get_pr("m4-1", "all", name) for name in "aba"] == ["0", "1", "2"]


def check_history(client):
    assert client.get_pr("m4-1", "all", "a") == "0"
    assert client.test_pr("m4-1", "all", "a") == "0"
    arguments = {"version": "m4-1", "pkgarch": "all", "checksum": "a"}
    assert client.ask({"get-pr": arguments}) == {"value": "0"}


@pytest.mark.parametrize("words", ["history", "ro,history", "history,ro"])
def test_history_is_for_its_own_listener_alone(serve, words):
    port = free_port()
    names = ("--bind", f"127.0.0.1:{port},{words}", "--host", "127.0.0.2")
    server = serve(*names, "--port", port, bind=False)
    shown = "read-only, history" if "ro" in words else "history"
    assert f"Listening on 127.0.0.1:{port} ({shown})\n" in server.log
    with Client(("127.0.0.2", port)) as plain, Client(("127.0.0.1", port)) as client:
        give_three_revisions(plain)
        check_history(client)
        assert client.ask({"is-readonly": {}})["readonly"] is ("ro" in words)
        assert plain.get_pr("m4-1", "all", "a") == "2"
        assert plain.test_pr("m4-1", "all", "a") == "2"


def test_history_is_for_all_listeners(serve, setting):
    with serve() as plain, plain.client() as client:
        give_three_revisions(client)
    options, environment = setting("history", "1")
    options = [option for option in options if option != "1"]
    server = serve(*options, environment=environment)
    assert " serves " in server.log and " in history mode, upstream: none" in server.log
    with server.client() as client:
        check_history(client)


def test_history_leaves_the_questions_of_servers_below_alone(serve):
    """Such a server decides the mode for its own clients, and asks accordingly."""
    upstream = serve("--history", folder="upstream")
    handshake = b"PRSERVICE 1.0\nneeds-headers: false\nx-prserv-upstream: 1\n\n"
    with upstream.client(handshake=handshake) as below:
        give_three_revisions(below)
        assert below.test_pr("m4-1", "all", "a") == "2"
        assert below.test_pr("m4-1", "all", "a", history=True) == "0"


# ---- unix sockets ----


def test_a_unix_socket_is_removed_at_the_end(serve, tmp_path):
    path = tmp_path / "socket"
    with serve("--bind", f"unix://{path}"):
        assert is_alive(path)
    assert not path.exists()


def test_a_stale_unix_socket_is_replaced(serve, tmp_path):
    path = tmp_path / "socket"
    server = serve("--bind", f"unix://{path}")
    server.kill()
    assert path.is_socket()
    server.restart()
    assert is_alive(path)


def test_a_unix_socket_of_a_running_server_is_in_use(serve, tmp_path):
    path = tmp_path / "socket"
    serve("--bind", f"unix://{path}")
    result = run_prservd("--bind", f"unix://{path}", cwd=tmp_path)
    line = error_line(result, 1)
    assert str(path) in line and "in use" in line
    assert is_alive(path)


def test_a_regular_file_at_the_path_of_a_unix_socket_is_kept(tmp_path):
    path = tmp_path / "precious"
    path.write_bytes(b"precious")
    result = run_prservd("--bind", f"unix://{path}", cwd=tmp_path)
    assert str(path) in error_line(result, 1)
    assert path.read_bytes() == b"precious"


def test_a_unix_socket_in_a_missing_folder_is_refused(tmp_path):
    path = tmp_path / "missing" / "socket"
    result = run_prservd("--bind", f"unix://{path}", cwd=tmp_path)
    assert str(path) in error_line(result, 1)
