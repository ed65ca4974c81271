# SPDX-License-Identifier: MIT
"""Who may do what, and through which address: the words after an address of --bind."""

import contextlib
import os
import pwd
import socket
import time

import pytest

from harness import HANDSHAKE, Client, Refused, poll, run_prservd
from prserv_command import prserv
from rows import M4

LOCAL = "127.0.0.1:0"


def addresses(server):
    """Returns the addresses of --bind, without that of --host."""
    return [
        (host, int(port)) for host, port in (a.rsplit(":", 1) for a in server.addresses)
    ]


def client_from(source, address):
    """Connects from another address of this machine."""
    client = Client.__new__(Client)
    client.socket = socket.create_connection(address, 30, (source, 0))
    client.file = client.socket.makefile("rb")
    client.send(HANDSHAKE)
    return client


def is_refused(source, address):
    try:
        with client_from(source, address) as client:
            client.post({"ping": {}})
            return client.file.readline() == b""
    except OSError:
        return True


def bind(serve, *values, options=()):
    words = [word for value in values for word in ("--bind", value)]
    return serve(*words, *options, bind=False)


# ---- rights ----


def test_assign_refuses_import_alone(serve):
    server = bind(serve, f"{LOCAL},assign", LOCAL)
    assign, full = addresses(server)
    with Client(assign) as client:
        assert client.get_pr(*M4, "a") == "0"
        with pytest.raises(Refused, match="only assigns revisions"):
            client.import_one(*M4, "b", "7")
        with pytest.raises(Refused, match="only assigns revisions"):
            client.import_one(*M4, "floor:7", "7")
        assert client.get_pr(*M4, "b") == "1"
        assert client.ask({"is-readonly": {}})["readonly"] is False
        assert len(client.export(history=True)["datainfo"]) == 2
    with Client(full) as client:
        assert client.import_one(*M4, "c", "7") == {"value": "7"}
    assert "(assign only)" in server.log


def test_the_audit_log_has_the_rights(serve):
    server = bind(serve, f"{LOCAL},assign,history", LOCAL)
    assign, full = addresses(server)
    with Client(assign) as client:
        client.get_pr(*M4, "a")
        log = poll(lambda: client.ask({"get-log": {}})["log"], "the record")
    assert log[0]["rights"] == "assign,history"


def test_arguments_are_checked_before_rights(serve):
    server = bind(serve, f"{LOCAL},assign")
    with Client(addresses(server)[0]) as client:
        with pytest.raises(Refused, match="is not a revision"):
            client.import_one(*M4, "b", "x")


def test_statistics_show_each_address_with_its_rights(serve):
    server = bind(serve, LOCAL, f"{LOCAL},ro", f"{LOCAL},assign,allow=127.0.0.0/8")
    full, read_only, _ = addresses(server)
    with Client(full) as client:
        listeners = client.ask({"get-stats": {}})["listeners"]
    assert [each["rights"] for each in listeners] == [
        "full",
        "read-only",
        "assign only, for some addresses",
    ]
    assert [each["address"] for each in listeners] == server.addresses
    with Client(read_only) as client:
        assert client.ask({"get-stats": {}})["listeners"] is None


def test_readers_do_not_learn_the_address_of_the_upstream(serve):
    upstream = serve(folder="upstream")
    listeners = (LOCAL, f"{LOCAL},ro", f"{LOCAL},ro,log", f"{LOCAL},writers=10.0.0.1")
    server = bind(serve, *listeners, options=("--upstream", upstream.address))

    def upstream_of(address):
        with Client(address) as client:
            return client.ask({"get-stats": {}})["upstream"]

    full, read_only, with_log, no_writer = map(upstream_of, addresses(server))
    assert full["address"] == with_log["address"] == upstream.address
    assert read_only["address"] is None and no_writer["address"] is None
    assert read_only.keys() == full.keys()
    status = prserv("--server", server.addresses[1], "status").stdout
    assert "upstream     (address not shown), " in status
    assert upstream.address not in status


# ---- addresses ----


def test_clients_of_other_addresses_are_closed_at_once(serve):
    server = bind(serve, f"{LOCAL},allow=127.0.0.2,allow=127.0.1.0/24", LOCAL)
    limited, other = addresses(server)
    for source in "127.0.0.2", "127.0.1.0", "127.0.1.255":
        with client_from(source, limited) as client:
            assert client.get_pr(*M4, source).isdigit()
    for source in "127.0.0.1", "127.0.0.3", "127.0.2.0":
        assert is_refused(source, limited)
    assert "Refused a connection of 127.0.0.1:" in server.log
    with Client(other) as client:
        assert client.ask({"get-stats": {}})["connections"]["refused"] == 3


def test_many_refused_clients_write_few_lines(serve):
    server = bind(serve, f"{LOCAL},allow=127.0.0.2", LOCAL)
    limited, other = addresses(server)
    for _ in range(200):
        assert is_refused("127.0.0.1", limited)
    assert server.log.count("Refused a connection") <= 20
    with Client(other) as client:
        assert client.ask({"get-stats": {}})["connections"]["refused"] == 200


def test_writers_have_the_rights_and_others_read(serve):
    server = bind(
        serve,
        f"{LOCAL},writers=127.0.0.2",
        f"{LOCAL},assign,writers=::1,writers=127.0.0.2",
    )
    full, assign = addresses(server)
    with client_from("127.0.0.2", full) as writer:
        assert writer.get_pr(*M4, "a") == "0"
        assert writer.import_one(*M4, "b", "3") == {"value": "3"}
    with client_from("127.0.0.2", assign) as writer:
        assert writer.get_pr(*M4, "c") == "4"
        with pytest.raises(Refused, match="only assigns"):
            writer.import_one(*M4, "d", "9")
    for address in full, assign:
        with client_from("127.0.0.3", address) as reader:
            assert reader.get_pr(*M4, "new") == "5"  # proposed
            assert reader.import_one(*M4, "d", "9") is None
            assert reader.ask({"is-readonly": {}})["readonly"] is True
            assert reader.test_pr(*M4, "new") is None


def test_ipv4_in_ipv6_counts_as_ipv4(serve):
    server = bind(serve, "[::]:0,allow=127.0.0.0/8")
    port = addresses(server)[0][1]
    with Client(("127.0.0.1", port)) as client:
        assert client.get_pr(*M4, "a") == "0"
    assert is_refused("::1", ("::1", port))


def test_ipv6_networks(serve):
    server = bind(serve, "[::1]:0,allow=::/64", "[::1]:0,allow=fd00::/8")
    (_, near), (_, far) = addresses(server)
    with Client(("::1", near)) as client:
        assert client.get_pr(*M4, "a") == "0"
    assert is_refused("::1", ("::1", far))


def test_users_of_a_unix_socket(serve, tmp_path):
    user = pwd.getpwuid(os.getuid()).pw_name
    sockets = {
        name: tmp_path / name
        for name in ("mine", "number", "group", "others", "writer")
    }
    words = {
        "mine": f"allow=uid:{user}",
        "number": f"allow=uid:{os.getuid()}",
        "group": f"allow=uid:4000000,allow=gid:{os.getgid()}",
        "others": "allow=uid:4000000,allow=gid:4000000",
        "writer": "writers=uid:4000000",
    }
    server = bind(serve, *(f"unix://{sockets[n]},{words[n]}" for n in sockets))
    for name in "mine", "number", "group":
        with Client(sockets[name]) as client:
            assert client.get_pr(*M4, name).isdigit()
    with pytest.raises(OSError), Client(sockets["others"]) as client:
        assert client.file.readline() == b""
        raise OSError
    with Client(sockets["writer"]) as client:
        assert client.import_one(*M4, "x", "9") is None
    assert f"Refused a connection of unix:uid={os.getuid()}" in server.log


def test_a_thousand_networks(serve):
    words = "".join(f",allow=10.{n // 250}.{n % 250}.0/24" for n in range(1000))
    server = bind(serve, f"{LOCAL}{words},allow=127.0.0.2")
    (address,) = addresses(server)
    assert is_refused("127.0.0.1", address)
    with client_from("127.0.0.2", address) as client:
        assert client.ask({"ping": {}}) == {"alive": True}


# ---- limits ----


def test_an_address_may_have_a_number_of_connections(serve):
    server = bind(serve, f"{LOCAL},max-connections-per-address=3", LOCAL)
    limited, free = addresses(server)
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(Client(limited)) for _ in range(3)]
        for client in crowd:
            assert client.ask({"ping": {}}) == {"alive": True}
        assert is_refused("127.0.0.1", limited)
        with client_from("127.0.0.2", limited) as client:
            assert client.ask({"ping": {}}) == {"alive": True}
        crowd[0].close()
        with Client(free) as client:  # where it counts, but is not refused
            assert client.ask({"ping": {}}) == {"alive": True}
            assert is_refused("127.0.0.1", limited)
        poll(lambda: not is_refused("127.0.0.1", limited), "the place to be free")
    assert "has as many as ,max-connections-per-address allows" in server.log


def test_a_relay_has_no_limits(serve):
    words = "max-connections-per-address=1,trusted-relay=127.0.0.2"
    server = bind(
        serve, f"{LOCAL},{words}", options=("--max-requests-per-second-per-address", 1)
    )
    (address,) = addresses(server)
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            client = stack.enter_context(client_from("127.0.0.2", address))
            for _ in range(50):
                assert client.ask({"ping": {}}) == {"alive": True}


def test_requests_of_an_address_are_slowed_down_and_not_refused(serve):
    server = serve("--max-requests-per-second-per-address", 50)
    address = ("127.0.0.1", server.port)
    with Client(address) as client, Client(address) as second:
        begun = time.monotonic()
        client.send(b'{"ping": {}}\n' * 600)
        for _ in range(600):
            assert client.receive() == {"alive": True}
        took = time.monotonic() - begun
        assert took > 1.8, took
        with client_from("127.0.0.2", address) as other:
            begun = time.monotonic()
            for _ in range(400):
                assert other.ask({"ping": {}}) == {"alive": True}
            assert time.monotonic() - begun < 6  # not 8, as for the first one
        assert second.ask({"ping": {}}) == {"alive": True}


def test_a_new_connection_does_not_renew_the_permissions(serve):
    server = serve("--max-requests-per-second-per-address", 10)
    address = ("127.0.0.1", server.port)
    begun = time.monotonic()
    for _ in range(120):
        with Client(address) as client:
            assert client.ask({"ping": {}}) == {"alive": True}
    assert time.monotonic() - begun > 1.5


def test_a_stop_answers_requests_that_were_slowed_down(serve):
    server = serve("--max-requests-per-second-per-address", 1)
    with Client(("127.0.0.1", server.port)) as client:
        client.send(b'{"ping": {}}\n' * 40)
        for _ in range(10):
            assert client.receive() == {"alive": True}
        server.stop()
        for _ in range(30):
            assert client.receive() == {"alive": True}


def test_the_oldest_idle_connection_makes_room(serve):
    server = serve("--max-connections", 4)
    address = ("127.0.0.1", server.port)
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(Client(address)) for _ in range(4)]
        for client in reversed(crowd):
            assert client.ask({"ping": {}}) == {"alive": True}
        late = stack.enter_context(Client(address))
        assert late.ask({"ping": {}}) == {"alive": True}
        assert crowd[3].is_closed()
        for client in crowd[:3]:
            assert client.ask({"ping": {}}) == {"alive": True}
    assert "as many as --max-connections allows" in server.log


def test_an_idle_connection_is_closed_after_the_timeout(serve):
    server = serve("--idle-timeout", 2)
    address = ("127.0.0.1", server.port)
    with Client(address) as idle, Client(address) as dribbling, Client(address) as busy:
        begun = time.monotonic()
        closed = False
        while not closed:
            assert busy.ask({"ping": {}}) == {"alive": True}
            with contextlib.suppress(OSError):
                dribbling.send(b" ")
            closed = is_closed_now(idle) and is_closed_now(dribbling)
            assert time.monotonic() - begun < 30
            time.sleep(0.05)
        assert time.monotonic() - begun > 1.9
        assert busy.ask({"ping": {}}) == {"alive": True}


def is_closed_now(client):
    client.socket.setblocking(False)
    try:
        return client.socket.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        client.socket.settimeout(30)


# ---- what is refused at the start ----


@pytest.mark.parametrize(
    "value,reason",
    [
        ("127.0.0.1:0,nosuch", "',nosuch' is unknown after 127.0.0.1:0"),
        ("127.0.0.1:0,", "no word behind the comma"),
        ("127.0.0.1:0,ro,assign", "exclude each other"),
        ("127.0.0.1:0,full,ro", "exclude each other"),
        ("127.0.0.1:0,ro,writers=10.0.0.0/8", "',writers' can't be used"),
        ("127.0.0.1:0,allow=", "'' is not a network"),
        ("127.0.0.1:0,allow=10.0.0.1/8", "bits behind the prefix"),
        ("127.0.0.1:0,allow=10.0.0.0/33", "a number from 0 to 32"),
        ("127.0.0.1:0,allow=10.0.0.0/", "a number from 0 to 32"),
        ("127.0.0.1:0,allow=10.0.0.0/-1", "a number from 0 to 32"),
        ("127.0.0.1:0,allow=10.0.0", "'10.0.0' is not a network"),
        ("127.0.0.1:0,allow=fd00::/129", "a number from 0 to 128"),
        ("127.0.0.1:0,allow=::ffff:10.0.0.0/8", "a number from 96 to 128"),
        ("127.0.0.1:0,allow=fe80::1%lo", "is not a network"),
        ("127.0.0.1:0,allow=build.example.com", "is not a network"),
        ("127.0.0.1:0,allow=" + "1" * 200, "is not a network"),
        ("127.0.0.1:0,allow=uid:0", "are for unix sockets"),
        ("unix:///tmp/nosuch-socket,allow=10.0.0.0/8", "have no network"),
        ("unix:///tmp/nosuch-socket,allow=uid:", "need a name or a number"),
        ("unix:///tmp/nosuch-socket,allow=uid:nosuchuser", "no user 'nosuchuser'"),
        ("unix:///tmp/nosuch-socket,allow=gid:nosuchgroup", "no group 'nosuchgroup'"),
        ("127.0.0.1:0,max-connections-per-address=0", "a number from 1 to"),
        ("127.0.0.1:0,max-connections-per-address=x", "a number from 1 to"),
        ("127.0.0.1:0,max-connections-per-address=99999999999", "a number from 1 to"),
    ],
)
def test_words_that_can_not_be_used_are_refused(tmp_path, value, reason):
    done = run_prservd("--bind", value, cwd=tmp_path)
    assert done.returncode in (1, 2) and reason in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


def test_networks_may_overlap(serve):
    words = "allow=127.0.0.0/8,allow=127.0.0.1,allow=0.0.0.0/0,allow=127.0.0.0/24"
    server = bind(serve, f"{LOCAL},{words}")
    with Client(addresses(server)[0]) as client:
        assert client.get_pr(*M4, "a") == "0"


@pytest.mark.parametrize(
    "option,value",
    [
        ("--max-connections", "0"),
        ("--max-connections", "many"),
        ("--idle-timeout", "-1"),
        ("--max-requests-per-second-per-address", "1.5"),
    ],
)
def test_numbers_that_can_not_be_used_are_refused(tmp_path, option, value):
    done = run_prservd(option, value, cwd=tmp_path)
    assert done.returncode == 2
    assert f"{option}: '{value}' is not a number of" in done.stderr
