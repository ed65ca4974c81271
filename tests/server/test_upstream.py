# SPDX-License-Identifier: MIT
"""A server with an upstream: what it asks, and how it answers."""

import random
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from fake_upstream import FakeUpstream, FullBacklog
from harness import QUICK, Refused, has_ipv6, poll
from rows import M4
from upstream_checks import (
    REFUSAL,
    assert_refused,
    assert_serves_the_rest,
    get_pr,
    has_arrived,
    open_clients,
    order,
    post_at_once,
    within,
)


def serve_chain(serve, depth):
    """Starts a chain of servers, from the top down."""
    servers = [serve(*QUICK, folder="level-0")]
    for level in range(1, depth):
        options = ("--upstream", servers[-1].address, *QUICK)
        servers.append(serve(*options, folder=f"level-{level}"))
    return servers


# ---- chains ----


@pytest.mark.parametrize("depth", [3, 4])
def test_each_level_of_a_chain_adds_a_number(serve, depth):
    chain = serve_chain(serve, depth)
    for expected in ("0", "1"):
        for level, server in enumerate(chain):
            checksum = f"content {expected} of level {level}"
            assert server.get_pr(*M4, checksum) == expected + ".0" * level
    bottom = ".0" * (depth - 2)
    assert chain[-1].get_pr(*M4, "one more") == "1" + bottom + ".1"


@pytest.mark.parametrize("depth", [3, 4])
def test_content_of_the_top_keeps_its_revision_down_the_chain(serve, depth):
    chain = serve_chain(serve, depth)
    for server in chain:
        assert server.get_pr(*M4, "same everywhere") == "0"


def test_a_server_asks_only_its_own_upstream(serve):
    top, middle, bottom = serve_chain(serve, 3)
    top.get_pr(*M4, "published at the top")
    assert bottom.get_pr(*M4, "published at the top") == "0"
    assert middle.ask({"export": {}})["datainfo"] == []


def test_a_chain_is_read_through_a_read_only_upstream(serve):
    serve(*QUICK, folder="top").get_pr(*M4, "published")
    middle = serve("--read-only", folder="top")
    bottom = serve("--upstream", middle.address, *QUICK, folder="bottom")
    assert bottom.get_pr(*M4, "published") == "0"
    assert bottom.get_pr(*M4, "new") == "0.0"


# ---- questions ----


def test_a_server_connects_only_when_it_has_a_question(upstream, local):
    with local.client() as client:
        assert_serves_the_rest(client)
        assert upstream.connections == 0
        client.get_pr(*M4, "new")
    assert upstream.connections == 1
    assert len(upstream.requests) == 2


def test_many_clients_share_one_connection(upstream, local):
    clients = open_clients(local, 30)
    for turn in range(2):
        for number, client in enumerate(clients):
            client.post(get_pr((f"package-{number}", "all"), f"content {turn}"))
        assert [client.receive() for client in clients] == [{"value": str(turn)}] * 30
    assert upstream.connections == 1
    assert len(upstream.requests) == 2 * 2 * 30


def test_both_questions_are_sent_before_an_answer_comes(upstream, local):
    upstream.umax = "3"
    upstream.hold()
    with local.client() as client:
        client.post(get_pr(M4, "new"))
        poll(lambda: len(upstream.requests) == 2, "both questions")
        assert upstream.asked("max-package-pr") and upstream.asked("test-pr")
        upstream.release()
        assert client.receive() == {"value": "3.0"}


def test_questions_are_sent_before_the_answers_to_earlier_ones_come(upstream, local):
    upstream.umax = lambda arguments: arguments["version"]
    upstream.hold()
    with local.client() as client:
        for number in range(1, 21):
            client.post(get_pr((str(number), "all"), "new"))
        poll(lambda: len(upstream.requests) == 40, "all questions")
        upstream.release()
        for number in range(1, 21):
            assert client.receive() == {"value": f"{number}.0"}


def test_known_content_with_history_is_answered_without_the_upstream(upstream, local):
    with local.client() as client:
        client.import_one(*M4, "known", "4")
        client.import_one(*M4, "later", "5")
        assert client.get_pr(*M4, "known", history=True) == "4"
        assert upstream.connections == 0
        client.get_pr(*M4, "new", history=True)
    assert [each["checksum"] for each in upstream.asked("test-pr")] == ["new"]
    assert len(upstream.asked("max-package-pr")) == 1


def test_known_content_without_history_is_asked_of_the_upstream(upstream, local):
    upstream.umax = "6"
    with local.client() as client:
        client.import_one(*M4, "known", "4")
        assert client.get_pr(*M4, "known") == "6.0"
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("history", [False, True])
def test_the_history_flag_is_passed_to_the_upstream(upstream, local, history):
    local.get_pr(*M4, "new", history)
    assert [each["history"] for each in upstream.asked("test-pr")] == [history]


def test_with_history_the_smallest_value_of_the_upstream_is_taken(serve):
    top = serve(*QUICK, folder="top")
    with top.client() as client:
        for value in ("3", "5"):
            client.import_one(*M4, "published twice", value)
    local = serve("--upstream", top.address, *QUICK, folder="local")
    assert local.get_pr(*M4, "published twice", history=True) == "3"
    assert local.get_pr("m4-1.4.20-r0", "all", "new", history=True) == "0"


@pytest.mark.parametrize(
    "text",
    [
        '"quoted" \\ slashed',
        "tab\tand\nline",
        "größe 宽 😀",
        "{}",
        "AUTOINC-git-1.0+gitr0",
    ],
)
def test_package_names_reach_the_upstream_unchanged(upstream, local, text):
    local.get_pr(text, text + "arch", text + "sum")
    package = {"version": text, "pkgarch": text + "arch"}
    checksum = {"checksum": text + "sum", "history": False}
    assert upstream.asked("max-package-pr") == [package]
    assert upstream.asked("test-pr") == [{**package, **checksum}]


def test_questions_and_answers_may_be_chunk_streams(serve):
    top = serve(*QUICK, folder="top")
    local = serve("--upstream", top.address, *QUICK, folder="local")
    checksum, value = "c" * 40000, "9" * 40000
    with top.client() as client:
        client.import_one(*M4, checksum, value)
    assert local.get_pr(*M4, checksum) == value
    assert local.get_pr(*M4, "new") == value + ".0"


# ---- equal questions ----


def test_equal_questions_that_are_not_yet_sent_are_joined(upstream, local):
    upstream.umax = "2"
    clients = open_clients(local, 20)
    post_at_once(local, [(client, get_pr(M4, "same")) for client in clients])
    assert [client.receive() for client in clients] == [{"value": "2.0"}] * 20
    assert len(upstream.requests) == 2


def test_questions_that_differ_are_not_joined(upstream, local):
    upstream.umax = lambda arguments: {"all": "2"}.get(arguments["pkgarch"], "3")
    upstream.uval = lambda arguments: "1.7" if arguments["history"] else None
    requests = [
        get_pr(("a", "all"), "x"),
        get_pr(("a", "arm"), "x"),
        get_pr(("aa", "ll"), "x"),
        get_pr(("b", "all"), "x"),
        get_pr(("b", "all"), "x", history=True),
    ]
    clients = open_clients(local, 5)
    post_at_once(local, list(zip(clients, requests)))
    answers = [client.receive()["value"] for client in clients]
    assert answers[:3] == ["2.0", "3.0", "3.0"]
    # Either of the two may come first.
    assert answers[3:] in (["2.0", "2.0"], ["2", "1.7"])
    asked = upstream.asked("test-pr")
    assert len([each for each in asked if not each["history"]]) == 4


def test_equal_questions_during_a_connection_attempt_are_joined(upstream, local):
    upstream.umax = "5"
    upstream.uval = lambda arguments: "3" if arguments["history"] else "5"
    upstream.refuse()
    backlog = FullBacklog(upstream.bind())
    clients = open_clients(local, 4)
    for client in clients:
        client.post(get_pr(M4, "same", history=client is clients[3]))
        poll(lambda: has_arrived(client), "the request's arrival")
        poll(lambda: backlog.is_tried(), "a connection attempt")
    backlog.empty()
    upstream.start_accepting()
    answers = [client.receive()["value"] for client in clients]
    assert answers[:3] == ["5", "5", "5"]
    assert answers[3] in ("3", "5")  # before or after the others
    histories = [each["history"] for each in upstream.asked("test-pr")]
    assert sorted(histories) == [False, True]


def test_a_question_that_is_already_sent_is_not_joined(upstream, local):
    """Its answer may be older than the second request."""
    revisions = iter(["1", "5"])
    upstream.umax = lambda arguments: next(revisions)
    upstream.hold()
    first, second = open_clients(local, 2)
    first.post(get_pr(M4, "same"))
    poll(lambda: len(upstream.requests) == 2, "the first question")
    second.post(get_pr(M4, "same"))
    poll(lambda: len(upstream.requests) == 4, "the second question")
    upstream.release()
    assert first.receive() == {"value": "1.0"}
    assert second.receive() == {"value": "5.0"}


# ---- many requests ----


def test_every_pipelined_question_gets_its_own_answer(serve):
    top = serve(*QUICK, folder="top")
    local = serve("--upstream", top.address, *QUICK, folder="local")
    numbers = range(300)
    with top.client() as client:
        for number in numbers:
            arguments = {"version": f"package-{number}", "pkgarch": "all"}
            row = {**arguments, "checksum": "published", "value": number}
            client.post({"import-one": row})
        for number in numbers:
            assert client.receive() == {"value": number}
    clients = open_clients(local, 6)
    for number in numbers:
        clients[number % 6].post(get_pr((f"package-{number}", "all"), "published"))
        clients[number % 6].post(get_pr((f"package-{number}", "all"), "new"))
    for number in numbers:
        assert clients[number % 6].receive() == {"value": f"{number}"}
        assert clients[number % 6].receive() == {"value": f"{number}.0"}


def test_requests_beyond_half_the_memory_wait(serve):
    """At most half of the memory for requests may wait for the upstream. The other requests are
    sent when there is room, and all of them are answered."""
    text = "x" * 60_000

    def ask_twice(number):
        with server.client() as client:
            for name in "ab":
                client.post(
                    {
                        "get-pr": {
                            "version": f"{number}-{name}-{text}",
                            "pkgarch": "a",
                            "checksum": "c",
                        }
                    }
                )
            return [client.receive() for _ in "ab"]

    with FakeUpstream(umax="1") as upstream, ThreadPoolExecutor(50) as pool:
        upstream.hold()
        server = serve("--max-memory-bytes", 16 << 20, "--upstream", upstream.address)
        answers = [pool.submit(ask_twice, number) for number in range(50)]
        poll(lambda: len(upstream.requests) >= 10, "requests under way")
        assert len(upstream.requests) < 100
        upstream.release()
        assert {str(each.result()) for each in answers} == {str([{"value": "1.0"}] * 2)}


def run_together(*jobs):
    failures = []

    def run(job):
        try:
            job()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_promises_1_to_3_hold_while_upstream_and_local_grow_together(serve):
    top = serve(*QUICK, folder="top")
    local = serve("--upstream", top.address, *QUICK, folder="local")
    given = []

    def grow_upstream():
        with top.client() as client:
            for number in range(100):
                client.get_pr(*M4, f"upstream {number}")

    def grow_here(name):
        last = ()
        with top.client() as above, local.client() as client:
            for number in range(40):
                umax = above.max_pr(*M4)
                value = client.get_pr(*M4, f"{name} {number}")
                assert umax is None or order(value) > order(umax)
                assert order(value) > last
                last = order(value)
                given.append(value)

    run_together(grow_upstream, *[lambda name=name: grow_here(name) for name in "abc"])
    assert len(set(given)) == len(given) == 120


class Facts:
    """The promises for one package in one database, checked with each answer."""

    def __init__(self):
        self.values = {}  # by checksum, in the order of the answers
        self.last = None  # the last answer without history

    def everything(self):
        return [value for values in self.values.values() for value in values]

    def check(self, checksum, history, answer, umax, uval):
        before = self.everything()
        known = self.values.setdefault(checksum, [])
        for other, values in self.values.items():
            assert answer not in values or other == checksum, "promise 1"
        if history:
            self.check_history(known, before, answer, uval)
        else:
            self.check_no_history(known, before, answer, umax, uval)
        if answer not in known:
            known.append(answer)

    def check_history(self, known, before, answer, uval):
        if known:
            assert answer == known[0], "promise 4"
        elif uval is None:
            assert all(order(answer) > order(each) for each in before), "promise 4"

    def check_no_history(self, known, before, answer, umax, uval):
        if answer != self.last:
            assert all(order(answer) > order(each) for each in before), "promise 2"
        self.last = answer
        if umax is not None and not known and uval is None:
            assert order(answer) > order(umax), "promise 3"
        elif umax is not None and known:
            assert order(answer) >= order(umax), "promise 3"


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("history", [False, True])
def test_the_promises_hold_while_the_levels_grow_in_turns(serve, history, seed):
    chance = random.Random(seed)
    clients = [server.client() for server in serve_chain(serve, 3)]
    facts = [Facts() for _ in clients]
    for _ in range(120):
        level = chance.randrange(3)
        checksum = f"content {chance.randrange(14)}"
        umax = uval = None
        if level > 0:
            umax = clients[level - 1].max_pr(*M4)
            uval = clients[level - 1].test_pr(*M4, checksum, history)
        answer = clients[level].get_pr(*M4, checksum, history)
        facts[level].check(checksum, history, answer, umax, uval)
    for client, fact in zip(clients, facts):
        assert client.max_pr(*M4) == max(fact.everything(), key=order)


# ---- clients that leave ----


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_client_may_leave_while_its_question_is_under_way(upstream, local, reset):
    upstream.umax = "2"
    upstream.hold()
    goes, stays = open_clients(local, 2)
    post_at_once(local, [(goes, get_pr(M4, "same")), (stays, get_pr(M4, "same"))])
    poll(lambda: len(upstream.requests) == 2, "the questions")
    if reset:
        linger = struct.pack("ii", 1, 0)
        goes.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    goes.close()
    assert local.ask({"ping": {}}) == {"alive": True}
    upstream.release()
    assert stays.receive() == {"value": "2.0"}
    assert stays.get_pr(*M4, "new") == "2.1"


def test_all_clients_of_a_question_may_leave(upstream, local):
    upstream.umax = "2"
    upstream.hold()
    for client in open_clients(local, 5):
        client.post(get_pr(M4, "new"))
        client.close()
    poll(lambda: len(upstream.requests) >= 2, "the questions")
    upstream.release()
    assert local.get_pr(*M4, "another") in ("2.0", "2.1")


def test_a_client_that_has_shut_down_sending_gets_the_answer_of_the_upstream(
    upstream, local
):
    upstream.umax = "2"
    upstream.hold()
    with local.client() as client:
        client.post(get_pr(M4, "new"))
        client.socket.shutdown(socket.SHUT_WR)
        poll(lambda: len(upstream.requests) == 2, "the questions")
        upstream.release()
        assert client.receive() == {"value": "2.0"}
        assert client.is_closed()


# ---- addresses ----


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_an_ipv6_upstream_is_written_in_brackets(serve):
    with FakeUpstream(host="::1", umax="4") as upstream:
        local = serve("--upstream", f"[::1]:{upstream.port}", "--patience", "0")
        assert local.get_pr(*M4, "new") == "4.0"
        upstream.refuse()
        assert_refused(local, upstream, get_pr(M4, "newer"), "refused")


def test_an_upstream_may_have_a_name(serve):
    with FakeUpstream(umax="4") as upstream:
        local = serve("--upstream", f"localhost:{upstream.port}")
        assert local.get_pr(*M4, "new") == "4.0"


def test_a_name_that_does_not_resolve_is_named_in_the_error(serve):
    local = serve("--upstream", "nowhere.invalid:8585", "--patience", "0")
    with local.client() as client:
        with within(REFUSAL, "the error"):
            with pytest.raises(Refused, match=r"nowhere\.invalid:8585"):
                client.get_pr(*M4, "new")
        with within(REFUSAL, "the errors"):
            for _ in range(3):
                with pytest.raises(Refused, match=r"nowhere\.invalid:8585"):
                    client.get_pr(*M4, "new")
        assert_serves_the_rest(client)


@pytest.mark.parametrize("variable", ["PRSERV_UPSTREAM", "PRSERVD_UPSTREAM"])
def test_the_environment_names_the_upstream(serve, upstream, variable):
    upstream.umax = "4"
    local = serve(environment={variable: upstream.address})
    assert local.get_pr(*M4, "new") == "4.0"


def test_the_option_overrides_the_environment(serve, upstream, port):
    upstream.umax = "4"
    environment = {"PRSERV_UPSTREAM": f"127.0.0.1:{port}"}
    local = serve("--upstream", upstream.address, environment=environment)
    assert local.get_pr(*M4, "new") == "4.0"


# ---- read-only ----


def test_a_read_only_server_asks_its_upstream_and_stores_nothing(upstream, serve):
    upstream.umax = "4"
    upstream.uval = lambda arguments: {"published": "3"}.get(arguments["checksum"])
    writer = serve("--upstream", upstream.address, *QUICK)
    assert writer.get_pr(*M4, "mine") == "4.0"
    options = ("--read-only", "--upstream", upstream.address, "--patience", "0")
    with serve(*options).client() as reader:
        assert reader.get_pr(*M4, "mine") == "4.0"
        assert reader.get_pr(*M4, "new") == "4.1"
        assert reader.get_pr(*M4, "newer") == "4.1"
        assert reader.get_pr("m4-2.0-r0", "all", "published") == "3"
        assert len(reader.export(history=True)["datainfo"]) == 1
        upstream.refuse()
        assert reader.get_pr(*M4, "mine") == "4.0"
        assert (
            upstream.address
            in reader.ask_raw(get_pr(M4, "new"))["invoke-error"]["message"]
        )


def test_a_read_only_server_without_a_database_asks_its_upstream(upstream, serve):
    upstream.umax = "4"
    reader = serve("--read-only", "--upstream", upstream.address)
    assert reader.get_pr(*M4, "new") == "4.0"
    assert not (reader.folder / "prserv.sqlite3").exists()
