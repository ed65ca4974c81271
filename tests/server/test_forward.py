# SPDX-License-Identifier: MIT
"""The relay: --forward sends requests on to a central server, and waits while it is away."""

import json
import re
import signal
import socket
import threading
import time

import pytest

from certificates import needs_tls, tls_words
from fake_upstream import HOLD, FakeUpstream
from harness import (
    Client,
    SANITIZER,
    Refused,
    accepts,
    free_port,
    get_pr_at_last,
    get_pr_request,
    paused,
    poll,
    run_prservd,
)
from http_client import fetch, metrics
from load import Threads, ask_like_oe_core
from prserv_command import prserv_on
from rows import M4, assert_no_value_twice

PATIENCE_0 = ("--patience", 0)


@pytest.fixture
def relay_to(serve):
    """Starts a relay for a server, or for an address."""

    def start(central, *options):
        address = central if isinstance(central, str) else central.address
        return serve("--forward", address, *options)

    return start


@pytest.fixture
def central(serve):
    return serve()


@pytest.fixture
def relay(relay_to, central):
    return relay_to(central)


@pytest.fixture
def fake():
    with FakeUpstream(umax="7", uval="3") as server:
        yield server


# ---- requests and answers ----


def test_every_request_is_answered_as_by_the_central_server(relay, central):
    long_text = "c" * 100_000
    row = {"version": M4[0], "pkgarch": M4[1]}
    with relay.client() as through, central.client() as direct:
        assert through.get_pr(*M4, "a") == "0"
        assert direct.get_pr(*M4, "b") == "1"
        assert through.get_pr(*M4, 'é\u20ac\U0001f600 \\ "') == "2"
        assert through.get_pr(*M4, long_text) == "3"
        assert (
            through.import_one(*M4, "d", "17")
            == {"value": "17", **row} | {"checksum": "d"}
            or through.test_pr(*M4, "d") == "17"
        )
        for request in (
            {"ping": {}},
            {"is-readonly": {}},
            {"test-pr": {**row, "checksum": long_text, "history": False}},
            {"test-pr": {**row, "checksum": "none", "history": False}},
            {"test-package": row},
            {"max-package-pr": row},
            {"export": {**row, "checksum": None, "history": True}},
            {"export": {"version": None, "history": False}},
            get_pr_request(*M4, "a"),
            {"get-pr": {"version": 1}},
            {"no-such-request": {}},
        ):
            assert through.ask_raw(request) == direct.ask_raw(request), request


def test_a_long_export_comes_whole(relay, central):
    with central.client() as direct:
        for number in range(3000):
            direct.post(
                {
                    "import-one": dict(
                        zip(
                            ("version", "pkgarch", "checksum", "value"),
                            (f"v{number}", "arch", "c" * 200, str(number)),
                        )
                    )
                }
            )
            if number % 100 == 99:
                for _ in range(100):
                    direct.receive()
        expected = direct.export(history=True)
    with relay.client() as client:
        assert client.export(history=True) == expected
        assert client.ask({"ping": {}}) == {"alive": True}
    assert len(expected["datainfo"]) == 3000
    with relay.client() as client:  # leaves in the middle
        client.post({"export": {"history": True}})
        client.receive_line()
    assert relay.ask({"ping": {}}) == {"alive": True}


def test_reports_come_through(relay):
    assert relay.get_pr(*M4, "a") == "0"

    def is_told():
        log = prserv_on(relay, "log")
        return log.returncode == 0 and M4[0] in log.stdout

    poll(is_told, "the record")
    why = prserv_on(relay, "why", *M4)
    assert why.returncode == 0, why.stderr


def test_pipelined_answers_come_in_order(relay):
    with relay.client() as client:
        for number in range(500):
            client.post(get_pr_request("m4", "all", f"c{number}"))
            client.post({"ping": {}})
        for number in range(500):
            assert client.receive() == {"value": str(number)}
            assert client.receive() == {"alive": True}


def test_what_is_written_is_seen_by_what_follows(relay):
    with relay.client() as client:
        for number in range(50):
            client.post(get_pr_request("m4", "all", f"c{number}"))
            client.post({"max-package-pr": {"version": "m4", "pkgarch": "all"}})
            assert client.receive() == {"value": str(number)}
            assert client.receive() == {"value": str(number)}


def test_an_error_of_the_central_server_comes_through(relay_to, fake):
    def refuse(talk, name, arguments):
        talk.answer({"invoke-error": {"message": "not today"}})

    fake.behave = refuse
    with pytest.raises(Refused, match="^not today$"):
        relay_to(fake).get_pr(*M4, "a")


@pytest.mark.parametrize("value", [3, "4"])
def test_an_import_is_answered_with_the_type_that_was_sent(relay, central, value):
    row = dict(zip(("version", "pkgarch", "checksum"), (*M4, f"c{value}")))
    with relay.client() as through:
        assert through.ask({"import-one": {**row, "value": value}}) == {"value": value}


def test_what_waits_for_a_silent_server_is_counted(relay_to, central):
    relay = relay_to(central, "--max-memory-bytes", 16 << 20)
    request = json.dumps(get_pr_request("m4", "all", "c" * 200_000)).encode()
    chunks = [request[at : at + 32767] for at in range(0, len(request), 32767)]
    message = b'{"chunk-stream": null}\n' + b"".join(c + b"\n" for c in chunks) + b"\n"
    with paused(central):
        for _ in range(150):
            with relay.client() as client:
                client.send(message * 4)
    with open(f"/proc/{relay.process.pid}/status", encoding="ascii") as status:
        peak_kb = int(status.read().partition("VmHWM:")[2].split()[0])
    assert peak_kb < (100_000 if not SANITIZER else 600_000)
    assert relay.ask({"ping": {}}) == {"alive": True}


def test_history_of_the_relays_address(serve, central):
    words = ("--bind", "127.0.0.1:0,history", "--forward", central.address)
    relay = serve(*words, bind=False)
    central.ask(
        {
            "import-one": dict(
                zip(("version", "pkgarch", "checksum", "value"), (*M4, "old", "3"))
            )
        }
    )
    assert central.get_pr(*M4, "new") == "4"
    assert relay.get_pr(*M4, "old") == "3"


def test_assign_at_the_relay(serve, central):
    words = ("--bind", "127.0.0.1:0,assign", "--forward", central.address)
    relay = serve(*words, bind=False)
    assert relay.get_pr(*M4, "a") == "0"
    with relay.client() as client, pytest.raises(Refused, match="only assigns"):
        client.import_one(*M4, "b", "7")


def test_stats_have_a_member_of_the_relay(relay, central):
    relay.get_pr(*M4, "a")
    stats = relay.ask({"get-stats": {}})
    assert stats["database"]["rows"] == 1
    forward = stats["forward"]
    assert forward["address"] == central.address
    assert forward["state"] == "ready" and forward["connections"] >= 1
    assert forward["answered"] >= 1 and forward["failed"] == 0
    assert "forward" not in central.ask({"get-stats": {}})
    shown = prserv_on(relay, "status").stdout.splitlines()
    assert shown[0].split() == ["server", relay.address]
    assert shown[1].startswith(f"relay        to {central.address}, ready; ")
    assert re.match(
        r" +\d+ connections, \d+ answered, 0 failed, 0 sent again$", shown[2]
    )
    assert shown[3].startswith("version ")


# ---- connections ----


def test_clients_share_connections(relay_to, fake):
    relay = relay_to(fake)
    clients = [relay.client() for _ in range(64)]
    for _ in range(5):
        for client in clients:
            client.post(
                {"test-pr": dict(zip(("version", "pkgarch", "checksum"), "vac"))}
            )
        for client in clients:
            assert client.receive() == {"value": "3"}
    for client in clients:
        client.close()
    assert fake.connections <= 8


def test_requests_behind_a_slow_one_go_over_another_connection(relay_to, fake):
    def hold_slow(talk, name, arguments):
        return (
            HOLD if arguments.get("checksum") == "slow" and talk.number == 0 else False
        )

    fake.behave = hold_slow
    relay = relay_to(fake)
    with relay.client() as slow, relay.client() as quick:
        slow.post(get_pr_request(*M4, "slow"))
        poll(lambda: fake.asked("get-pr"), "the slow request")
        began = time.monotonic()
        assert quick.get_pr(*M4, "quick") == "3"
        assert time.monotonic() - began < 5
        for number in range(20):
            assert quick.get_pr(*M4, f"quick{number}") == "3"
        fake.behave = None
        fake.release()
        assert slow.receive() == {"value": "3"}


def test_there_are_eight_connections_at_most(relay_to, fake):
    fake.hold()
    relay = relay_to(fake)
    clients = []
    for number in range(30):
        clients.append(relay.client())
        clients[-1].post(get_pr_request(*M4, f"c{number}"))
        poll(lambda: len(fake.asked("get-pr")) > number, "the request")
        if number < 12:
            poll(lambda: fake.connections >= min(number, 8), "a connection")
    assert fake.connections <= 8
    fake.release()
    for client in clients:
        assert client.receive() == {"value": "3"}
        client.close()


def test_an_export_has_a_connection_of_its_own(relay_to, fake):
    fake.behave = lambda talk, name, arguments: HOLD if name == "export" else False
    relay = relay_to(fake)
    with relay.client() as exporting, relay.client() as client:
        exporting.post({"export": {}})
        poll(lambda: fake.asked("export"), "the export")
        assert client.get_pr(*M4, "a") == "3"
        assert fake.connections == 2


# ---- annotations ----


def headers_of(talk):
    lines = sorted(line.decode() for line in talk.headers)
    return [line for line in lines if not line.startswith("x-prserv-relay: ")]


def test_a_relay_says_who_its_clients_are(relay_to, fake):
    relay = relay_to(fake, "--annotate", "machine=qemu", "--annotate", "distro=p ö ky")
    assert relay.get_pr(*M4, "a") == "3"
    assert headers_of(fake.talks[0]) == [
        "needs-headers: false",
        f"x-build-host: {socket.gethostname()}",
        "x-distro: p ö ky",
        "x-machine: qemu",
    ]
    named = relay_to(fake, "--annotate", "build-host=farm 7")
    assert named.get_pr(*M4, "a") == "3"
    assert headers_of(fake.talks[-1])[-1] == "x-build-host: farm 7"


def test_annotations_of_a_client_go_with_it_alone(relay_to, fake):
    relay = relay_to(fake, "--annotate", "machine=qemu")
    handshake = b"PRSERVICE 1.0\nX-Build-Name: nightly\nx-layers: a b\nx-other: c\n\n"
    with relay.client() as plain, relay.client(handshake=handshake) as annotated:
        assert plain.get_pr(*M4, "a") == "3"
        assert annotated.get_pr(*M4, "b") == "3"
        assert plain.get_pr(*M4, "c") == "3"
        annotated.post({"export": {}})
        poll(lambda: fake.asked("export"), "the export")
    own = [talk for talk in fake.talks if b"x-build-name: nightly" in talk.headers]
    assert len(own) == 2 and fake.connections == 3
    for talk in own:
        assert b"x-layers: a b" in talk.headers and b"x-machine: qemu" in talk.headers
    poll(lambda: not any(talk.thread.is_alive() for talk in own), "their end")


def test_a_server_below_a_relay_is_known_as_one(serve, relay_to, fake):
    relay = relay_to(fake)
    lower = serve("--upstream", relay.address, "--file", "lower.sqlite3")
    assert lower.get_pr(*M4, "a") == "3"
    assert any(b"x-prserv-upstream: 1" in talk.headers for talk in fake.talks)


# ---- loops ----


def test_a_relay_that_is_its_own_central_server(serve):
    port = free_port()
    words = ("--bind", f"127.0.0.1:{port}", "--forward", f"127.0.0.1:{port}")
    relay = serve(*words, bind=False)
    with pytest.raises(Refused, match="its own central server"):
        relay.get_pr(*M4, "a")
    assert "correct --forward" in relay.log
    assert relay.process.poll() is None


def test_two_relays_in_a_loop(serve):
    ports = [free_port(), free_port()]
    relays = [
        serve(
            "--bind", f"127.0.0.1:{one}", "--forward", f"127.0.0.1:{other}", bind=False
        )
        for one, other in (ports, reversed(ports))
    ]
    for relay in relays:
        with pytest.raises(Refused, match="its own central server"):
            relay.get_pr(*M4, "a")


def test_relays_in_a_row(serve, relay, relay_to):
    last = relay_to(relay_to(relay))
    assert last.get_pr(*M4, "a") == "0"
    stats = last.ask({"get-stats": {}})
    assert stats["forward"]["state"] == "ready"


# ---- the central server is away ----


def test_a_relay_notices_by_itself(relay_to, fake):
    """Nobody asks: a load balancer has to know all the same."""
    relay = relay_to(fake, "--http", "127.0.0.1:0")
    poll(lambda: fetch(relay, "/readyz").status == 200, "ready")
    fake.refuse()
    poll(lambda: fetch(relay, "/readyz").status == 503, "not ready")
    fake.listen()
    poll(lambda: fetch(relay, "/readyz").status == 200, "ready again")
    poll(lambda: "Connected to the server" in relay.log, "the log")


def test_a_wrong_central_server_is_told_at_the_start(serve, relay_to, server_files):
    words = ("--bind", "127.0.0.1:0,tls", *tls_words(server_files))
    central = serve(*words, bind=False)
    plain = relay_to(f"127.0.0.1:{central.port}")
    poll(
        lambda: "ERROR" in plain.log and "this port speaks TLS" in plain.log, "the log"
    )
    stranger = relay_to(f"tls://localhost:{central.port}")
    poll(lambda: "is away: TLS: its certificate" in stranger.log, "the log")


def test_a_pause_raises_no_revision(relay_to, central):
    """What stores something is not sent twice because of a pause."""
    relay = relay_to(central)
    clients = [relay.client() for _ in range(4)]
    for client in clients:
        assert client.ask({"ping": {}}) == {"alive": True}
    with paused(central):
        for number, client in enumerate(clients):
            client.post(get_pr_request(*M4, f"c{number}"))
        time.sleep(0.4)
    assert sorted(client.receive()["value"] for client in clients) == list("0123")
    for client in clients:
        client.close()
    assert central.get_pr(*M4, "last") == "4"


def test_requests_wait_for_the_central_server(relay_to, fake):
    relay = relay_to(fake)
    fake.refuse()
    with relay.client() as client:
        client.post(get_pr_request(*M4, "a"))
        poll(lambda: "is away" in relay.log, "the log")
        fake.listen()
        assert client.receive() == {"value": "3"}


def test_requests_under_way_are_sent_again(relay_to, fake):
    fake.hold()
    relay = relay_to(fake)
    with relay.client() as client:
        for number in range(10):
            client.post(get_pr_request(*M4, f"c{number}"))
        poll(lambda: len(fake.asked("get-pr")) >= 10, "the requests")
        fake.refuse()
        fake.held = False
        fake.listen()
        for number in range(10):
            assert client.receive() == {"value": "3"}


def test_the_patience_ends(relay_to, fake):
    fake.refuse()
    relay = relay_to(fake, "--patience", 1)
    began = time.monotonic()
    with pytest.raises(Refused, match="can't be reached: connection refused"):
        relay.get_pr(*M4, "a")
    assert 0.9 < time.monotonic() - began < 5
    fake.listen()
    assert get_pr_at_last(relay, *M4, "a") == "3"


def test_without_patience_the_error_comes_at_once(relay_to, fake):
    fake.refuse()
    relay = relay_to(fake, *PATIENCE_0)
    with relay.client() as client:
        for request in (get_pr_request(*M4, "a"), {"ping": {}}, {"export": {}}):
            with pytest.raises(Refused, match="can't be reached"):
                client.ask(request)
    assert "Refused a request" in relay.log


def test_a_silent_central_server_is_waited_for(relay_to, central):
    relay = relay_to(central, "--patience", 1)
    assert relay.get_pr(*M4, "a") == "0"
    with relay.client() as client:
        with paused(central):
            client.post(get_pr_request(*M4, "b"))
            time.sleep(2.5)
        assert client.receive() == {"value": "1"}


def test_a_port_that_closes_each_connection_is_away(relay_to, fake):
    fake.greet = lambda talk: talk.close()
    relay = relay_to(fake, "--patience", 2)
    with pytest.raises(Refused, match="can't be reached: it closed the connection"):
        relay.get_pr(*M4, "a")
    assert fake.connections < 60
    fake.greet = None
    assert get_pr_at_last(relay, *M4, "a") == "3"


def break_off_at_poison(talk, name, arguments):
    if arguments.get("checksum") != "poison":
        return False
    talk.close()
    return None


def test_a_request_that_breaks_every_connection_ends(relay_to, fake):
    fake.behave = break_off_at_poison
    relay = relay_to(fake)
    with relay.client() as bad, relay.client() as good:
        bad.post(get_pr_request(*M4, "poison"))
        for number in range(20):
            assert good.get_pr(*M4, f"c{number}") == "3"
        with pytest.raises(Refused, match="breaks the connection whenever"):
            bad.ask({"ping": {}})
        assert bad.receive() == {"alive": True}


def test_such_a_request_ends_when_nobody_else_asks(relay_to, fake):
    fake.behave = break_off_at_poison
    relay = relay_to(fake)
    with relay.client() as bad, pytest.raises(Refused, match="breaks the connection"):
        bad.get_pr(*M4, "poison")


def test_an_export_waits_and_breaks_off(relay_to, fake):
    fake.refuse()
    relay = relay_to(fake)
    with relay.client() as client:
        client.post({"export": {}})
        poll(lambda: "is away" in relay.log, "the log")
        fake.listen()
        assert client.receive() == {"value": "3"}

    def begin(talk, name, arguments):
        talk.send(b'{"chunk-stream": null}\n{"metainfo"\n')
        talk.close()

    fake.behave = begin
    with relay.client() as client:
        client.post({"export": {}})
        with pytest.raises(EOFError):
            client.receive()
    assert "broke off" in relay.log
    fake.behave = None
    assert relay.ask({"ping": {}}) == {"alive": True}


def test_the_log_tells_of_the_outage(relay_to, fake):
    relay = relay_to(fake)
    fake.refuse()
    with relay.client() as client:
        client.post(get_pr_request(*M4, "a"))
        poll(lambda: "wait, for 90 s at most" in relay.log, "the begin")
        fake.listen()
        assert client.receive() == {"value": "3"}
    poll(lambda: "1 requests waited, 0 of them got an error" in relay.log, "the end")


def test_a_client_that_leaves_is_forgotten(relay_to, fake):
    fake.refuse()
    relay = relay_to(fake)
    for request in (get_pr_request(*M4, "a"), {"export": {}}):
        with relay.client() as client:
            client.post(request)
    fake.listen()
    assert relay.get_pr(*M4, "b") == "3"


def test_health_is_the_relays_and_ping_the_central_servers(relay_to, fake):
    relay = relay_to(fake, "--http", "127.0.0.1:0")
    assert relay.ask({"ping": {}}) == {"alive": True}
    poll(lambda: fetch(relay, "/readyz").status == 200, "ready")
    fake.refuse()
    with relay.client() as client:
        client.post({"ping": {}})
        poll(lambda: fetch(relay, "/readyz").status == 503, "not ready")
        assert "central server is away" in fetch(relay, "/readyz").text
        assert fetch(relay, "/healthz").status == 200
        assert metrics(relay)["prservd_forward_up"] == 0
        assert metrics(relay)["prservd_forward_waiting"] == 1
        fake.listen()
        assert client.receive() == {"alive": True}
    poll(lambda: fetch(relay, "/readyz").status == 200, "ready")
    assert metrics(relay)["prservd_forward_up"] == 1
    status = json.loads(fetch(relay, "/api/v1/status").text)
    assert status["forward"]["address"] == fake.address
    assert fetch(relay, "/api/v1/packages").status == 503


# ---- the end of a relay ----


def test_a_stop_answers_what_was_sent(relay_to, fake):
    fake.hold()
    relay = relay_to(fake)
    with relay.client() as client:
        client.post(get_pr_request(*M4, "a"))
        poll(lambda: fake.asked("get-pr"), "the request")
        relay.process.send_signal(signal.SIGTERM)
        poll(lambda: not accepts(relay.port), "the stop")
        fake.release()
        assert client.receive() == {"value": "3"}
    relay.process.wait(10)
    assert relay.process.returncode == 0


def test_a_stop_during_an_outage_is_quick(relay_to, fake):
    fake.refuse()
    relay = relay_to(fake)
    with relay.client() as client:
        client.post(get_pr_request(*M4, "a"))
        client.post({"export": {}})
        poll(lambda: "is away" in relay.log, "the log")
        began = time.monotonic()
        relay.stop()
        assert time.monotonic() - began < 2.5
        with pytest.raises(Refused, match="can't be reached"):
            client.ask({"ping": {}})


# ---- restarts of the central server under load ----


class Builds(Threads):
    """BitBake-like clients, each of which asks through one of several relays."""

    def __init__(self, relays, n):
        self.relays = relays
        self.given = {}
        self.failures = []
        threads = [threading.Thread(target=self.build, args=(i,)) for i in range(n)]
        super().__init__(threads)

    def build(self, index):
        relay = self.relays[index % len(self.relays)]
        number = 0
        while not self.over.is_set():
            key = ("m4", f"arch{number % 5}", f"{index}-{number}")
            try:
                answer = ask_like_oe_core(("127.0.0.1", relay), get_pr_request(*key))
                self.given[key] = answer["value"]
            except (OSError, EOFError, Refused) as error:
                self.failures.append(repr(error))
                return
            number += 1


@pytest.mark.parametrize("ending", ["kill", "stop"])
def test_builds_do_not_notice_restarts_of_the_central_server(serve, tmp_path, ending):
    central = serve(port=free_port())
    relays = [serve("--forward", central.address).port for _ in range(4)]
    with Builds(relays, 64) as builds:
        for _ in range(10):
            seen = len(builds.given)
            poll(lambda: len(builds.given) > seen + 100, "answers")
            central.kill() if ending == "kill" else central.stop()
            time.sleep(0.2)
            central.start()
        seen = len(builds.given)
        poll(lambda: len(builds.given) > seen + 100, "answers at the end")
    assert builds.failures == []
    with central.client() as client:
        exported = client.export(history=True)["datainfo"]
    rows = {
        (row["version"], row["pkgarch"], row["checksum"], row["value"])
        for row in exported
    }
    assert all((*key, value) in rows for key, value in builds.given.items())
    assert_no_value_twice(rows)


# ---- TLS ----


@needs_tls
def test_a_relay_uses_tls_and_a_certificate(
    serve, relay_to, authority, server_files, client_files
):
    words = ("--bind", "127.0.0.1:0,tls", *tls_words(server_files, authority.ca))
    central = serve(*words, "--bind", "127.0.0.1:0", bind=False)
    address = f"tls://localhost:{central.port}"
    relay = relay_to(address, "--tls-ca", authority.ca, *tls_words(client_files))
    assert relay.get_pr(*M4, "a") == "0"

    def is_named():
        plain = ("127.0.0.1", int(central.addresses[1].rpartition(":")[2]))
        with Client(plain) as client:
            return "CN=farm-7,O=Farm" in json.dumps(client.ask({"get-log": {}}))

    poll(is_named, "the audit log")
    stranger = relay_to(address, *tls_words(client_files), "--patience", 1)
    with pytest.raises(Refused, match="its certificate is not of a known CA"):
        stranger.get_pr(*M4, "a")


# ---- options ----


@pytest.mark.parametrize(
    "words, reason",
    [
        (("--file", "x"), "a relay has no database, so --file"),
        (("--upstream", "a:1"), "a relay has no database, so --upstream"),
        (("--audit", "off"), "a relay has no database, so --audit"),
        (("--read-only",), "a relay has no database, so --read-only"),
        (("--bind", "127.0.0.1:0,ro"), "can't make clients read-only"),
        (("--bind", "127.0.0.1:0,writers=::1"), "can't make clients read-only"),
        (("--annotate", "colour=red"), "is not NAME=VALUE"),
        (("--annotate", "machine"), "is not NAME=VALUE"),
        (("--annotate", "machine=a\nx-distro: b"), "is not a line of UTF-8"),
        (("--annotate", "machine=" + "a" * 2000), "is not a line of UTF-8"),
    ],
)
def test_options_that_do_not_fit(tmp_path, words, reason):
    done = run_prservd("--forward", "127.0.0.1:1", *words, cwd=tmp_path)
    assert done.returncode == 2 and reason in done.stderr, done.stderr


@pytest.mark.parametrize(
    "words, reason",
    [
        (("--forward", "unix:///x"), "can't be a central server"),
        (("--forward", "localhost:0"), "can't be a central server"),
        (("--forward", "nowhere"), "is not an address"),
        (("--annotate", "machine=a"), "it needs --forward"),
    ],
)
def test_addresses_that_can_not_be_used(tmp_path, words, reason):
    done = run_prservd(*words, cwd=tmp_path)
    assert done.returncode == 2 and reason in done.stderr, done.stderr


def test_a_relay_keeps_no_database(serve, central):
    relay = serve("--forward", central.address, folder="relay")
    assert relay.get_pr(*M4, "a") == "0"
    assert not list(relay.folder.glob("prserv.sqlite3*"))
