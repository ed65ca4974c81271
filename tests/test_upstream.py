"""A server with an upstream: what it asks, and what it does when it can't ask."""

import fcntl
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import termios
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from fake_upstream import FakeUpstream, FullBacklog, reserve_port
from harness import PATIENCE, SANITIZER, Client, Refused, poll

SLACK = 3 if SANITIZER else 1
MARGIN = 1  # seconds that a busy machine may add to a figure of the specification
RECOVERY = (
    2 + MARGIN
) * SLACK  # seconds from the upstream's return to the first answer
REFUSAL = (5 + MARGIN) * SLACK  # seconds to an error where the upstream is not silent
STOP = (5 + MARGIN) * SLACK  # seconds from SIGTERM to the end
SILENCE = 20 * SLACK  # seconds to an error where it is

M4 = ("m4-1.4.19-r0", "core2-64")
QUICK = ("--sync", "off")


@pytest.fixture
def upstream():
    with FakeUpstream() as fake:
        yield fake


@pytest.fixture
def local(serve, upstream):
    return serve("--upstream", upstream.address, *QUICK, folder="local")


@pytest.fixture
def port():
    """A port for an upstream that goes and comes back; refused meanwhile."""
    with reserve_port() as holder:
        yield holder.getsockname()[1]


def serve_chain(serve, depth):
    """From the top down."""
    servers = [serve(*QUICK, folder="level-0")]
    for level in range(1, depth):
        options = ("--upstream", servers[-1].address, *QUICK)
        servers.append(serve(*options, folder=f"level-{level}"))
    return servers


def get_pr(package, checksum, history=False):
    version, pkgarch = package
    arguments = {"version": version, "pkgarch": pkgarch, "checksum": checksum}
    return {"get-pr": {**arguments, "history": history}}


def order(value):
    return tuple(int(number) for number in value.split("."))


@contextmanager
def within(seconds, what):
    started = time.monotonic()
    yield
    elapsed = time.monotonic() - started
    assert elapsed < seconds, f"{what} took {elapsed:.1f} s"


@contextmanager
def paused(server):
    """The process does not run meanwhile."""
    stat = Path(f"/proc/{server.process.pid}/stat")
    server.process.send_signal(signal.SIGSTOP)
    poll(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "the pause")
    yield
    server.process.send_signal(signal.SIGCONT)


def has_arrived(client):
    """Everything that was sent is in the server's socket."""
    unacknowledged = fcntl.ioctl(client.socket, termios.TIOCOUTQ, bytes(4))
    return struct.unpack("i", unacknowledged)[0] == 0


def post_at_once(server, posts):
    """Each client posts its request, and the server finds them all together."""
    for client, _ in posts:
        client.ask({"ping": {}})
    with paused(server):
        for client, request in posts:
            client.post(request)
        for client, _ in posts:
            poll(lambda: has_arrived(client), "the request's arrival")


def open_clients(server, count):
    return [server.client() for _ in range(count)]


def assert_refused(server, upstream, request, reason=""):
    """Names the upstream's address and the reason."""
    with pytest.raises(Refused) as refusal:
        server.ask(request)
    assert upstream.address in str(refusal.value)
    assert re.search(reason, str(refusal.value), re.IGNORECASE)


def is_answered(server, request):
    try:
        return server.ask(request)
    except Refused:
        return None


def assert_recovers(server, request, expected):
    answer = poll(lambda: is_answered(server, request), "the recovery", RECOVERY)
    assert answer == {"value": expected}


def assert_serves_the_rest(client):
    """Everything that asks no upstream."""
    with within(REFUSAL, "what asks no upstream"):
        assert client.ask({"ping": {}}) == {"alive": True}
        assert client.ask({"is-readonly": {}}) == {"readonly": False}
        client.import_one("rest-1.0-r0", "all", "known", "7")
        assert client.test_pr("rest-1.0-r0", "all", "known") == "7"
        assert client.max_pr("rest-1.0-r0", "all") == "7"
        package = {"version": "rest-1.0-r0", "pkgarch": "all"}
        assert client.ask({"test-package": package}) == {"value": True}
        assert len(client.export(**package)["datainfo"]) == 1
        assert client.get_pr("rest-1.0-r0", "all", "known", history=True) == "7"


def warnings(server):
    return [line for line in server.log.splitlines() if " WARNING " in line]


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
def test_published_content_keeps_its_revision_down_the_chain(serve, depth):
    chain = serve_chain(serve, depth)
    for server in chain:
        assert server.get_pr(*M4, "same everywhere") == "0"


def test_only_the_next_server_is_asked(serve):
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


# ---- what is asked ----


def test_connects_only_when_something_is_asked(upstream, local):
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


def test_nothing_is_asked_with_history_when_the_checksum_is_known(upstream, local):
    with local.client() as client:
        client.import_one(*M4, "known", "4")
        client.import_one(*M4, "later", "5")
        assert client.get_pr(*M4, "known", history=True) == "4"
        assert upstream.connections == 0
        client.get_pr(*M4, "new", history=True)
    assert [each["checksum"] for each in upstream.asked("test-pr")] == ["new"]
    assert len(upstream.asked("max-package-pr")) == 1


def test_known_content_is_asked_for_without_history(upstream, local):
    upstream.umax = "6"
    with local.client() as client:
        client.import_one(*M4, "known", "4")
        assert client.get_pr(*M4, "known") == "6.0"
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("history", [False, True])
def test_f6_the_history_flag_is_passed_on(upstream, local, history):
    local.get_pr(*M4, "new", history)
    assert [each["history"] for each in upstream.asked("test-pr")] == [history]


def test_f6_history_takes_the_smallest_value_that_upstream_gave(serve):
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
def test_the_names_of_a_package_reach_the_upstream_as_they_are(upstream, local, text):
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


# ---- questions that are the same ----


def test_equal_questions_that_were_not_sent_are_joined(upstream, local):
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
    # Which of the two comes first decides: both orders are right.
    assert answers[3:] in (["2.0", "2.0"], ["2", "1.7"])
    asked = upstream.asked("test-pr")
    assert len([each for each in asked if not each["history"]]) == 4


def test_what_is_asked_while_it_connects_is_joined_if_it_is_the_same(upstream, local):
    upstream.umax = "5"
    upstream.uval = lambda arguments: "3" if arguments["history"] else "5"
    upstream.refuse()
    backlog = FullBacklog(upstream.bind())
    clients = open_clients(local, 4)
    for client in clients:
        client.post(get_pr(M4, "same", history=client is clients[3]))
        poll(lambda: has_arrived(client), "the request's arrival")
        poll(lambda: backlog.is_tried(), "the opening of a connection")
    backlog.empty()
    upstream.start_accepting()
    answers = [client.receive()["value"] for client in clients]
    assert answers[:3] == ["5", "5", "5"]
    assert answers[3] in ("3", "5")  # before or after the others
    histories = [each["history"] for each in upstream.asked("test-pr")]
    assert sorted(histories) == [False, True]


def test_a_question_that_was_sent_is_not_joined(upstream, local):
    """Its answer may be from a moment before the second request."""
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


# ---- many at once ----


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


def test_promises_1_2_and_3_hold_while_upstream_and_local_grow_at_once(serve):
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
    """The promises for one package of one database, checked with each answer."""

    def __init__(self):
        self.values = {}  # by checksum, in the order in which they were given
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


# ---- an upstream that refuses connections ----


@pytest.fixture
def cut_off(upstream, local):
    """A local server that has published something, and whose upstream is down now."""
    upstream.umax = "2"
    with local.client() as client:
        assert client.get_pr(*M4, "former") == "2.0"
        assert client.get_pr(*M4, "latest") == "2.1"
    upstream.refuse()
    return local


def test_down_unchanged_content_gets_its_revision_again(upstream, cut_off):
    assert cut_off.get_pr(*M4, "latest") == "2.1"
    assert cut_off.get_pr(*M4, "latest") == "2.1"


def test_down_unchanged_content_is_warned_of_in_the_log(upstream, cut_off):
    cut_off.get_pr(*M4, "latest")
    assert [
        line
        for line in warnings(cut_off)
        if upstream.address in line and "2.1" in line and M4[0] in line
    ]


@pytest.mark.parametrize(
    "request_",
    [
        get_pr(M4, "new"),
        get_pr(M4, "new", history=True),
        get_pr(M4, "former"),
        get_pr(("unheard-of-1.0-r0", "all"), "new"),
    ],
    ids=["new", "new with history", "not the latest", "new package"],
)
def test_down_what_needs_a_new_number_is_refused(upstream, cut_off, request_):
    assert_refused(cut_off, upstream, request_, "refused")
    assert len(cut_off.ask({"export": {"history": True}})["datainfo"]) == 2


def test_down_errors_come_at_once(upstream, cut_off):
    with within(REFUSAL, "ten errors"):
        for number in range(10):
            assert_refused(cut_off, upstream, get_pr(M4, f"new {number}"), "refused")


def test_down_from_the_start(serve, port):
    server = serve("--upstream", f"127.0.0.1:{port}")
    with within(REFUSAL, "the error"), pytest.raises(
        Refused, match=f":{port}.*refused"
    ):
        server.get_pr(*M4, "new")


def test_down_content_known_with_history_gets_its_first_value(cut_off):
    assert cut_off.get_pr(*M4, "former", history=True) == "2.0"


def test_down_other_requests_are_served(upstream, cut_off):
    with cut_off.client() as client:
        client.post(get_pr(M4, "new"))
        assert "invoke-error" in client.receive()
        assert_serves_the_rest(client)


def test_down_the_answers_come_in_the_order_of_the_requests(upstream, cut_off):
    with cut_off.client() as client:
        for request in (get_pr(M4, "new"), {"ping": {}}, get_pr(M4, "latest")):
            client.post(request)
        assert upstream.address in client.receive()["invoke-error"]["message"]
        assert client.receive() == {"alive": True}
        assert client.receive() == {"value": "2.1"}


def test_what_was_under_way_is_refused_when_the_upstream_goes(upstream, local):
    upstream.hold()
    with local.client() as client:
        client.post(get_pr(M4, "new"))
        poll(lambda: len(upstream.requests) == 2, "the questions")
        with within(REFUSAL, "the error"):
            upstream.refuse()
            assert upstream.address in client.receive()["invoke-error"]["message"]


# ---- recovery ----


@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_recovers_within_2_s_when_the_upstream_is_started_again(serve, port, ending):
    top = serve(port=port, folder="top")
    local = serve("--upstream", top.address, *QUICK, folder="local")
    assert top.get_pr(*M4, "published") == "0"
    assert local.get_pr(*M4, "mine") == "0.0"
    getattr(top, ending)()
    with pytest.raises(Refused):
        local.get_pr(*M4, "new")
    top.restart()
    assert_recovers(local, get_pr(M4, "new"), "0.1")


def test_recovers_by_itself(upstream, cut_off):
    """Whether it is asked meanwhile or not."""
    assert_refused(cut_off, upstream, get_pr(M4, "new"))
    talks = upstream.connections
    upstream.listen()
    poll(lambda: upstream.connections > talks, "a connection", RECOVERY)
    assert_recovers(cut_off, get_pr(M4, "new"), "2.2")
    assert cut_off.get_pr(*M4, "newer") == "2.3"
    assert upstream.connections == talks + 1


def test_a_restart_between_two_questions_is_not_noticed(serve, port):
    top = serve(port=port, folder="top")
    local = serve("--upstream", top.address, *QUICK, folder="local")
    top.get_pr(*M4, "published")
    with local.client() as client:
        for number in range(3):
            assert client.get_pr(*M4, f"mine {number}") == f"0.{number}"
            top.restart()


def test_an_upstream_that_comes_back_talking_nonsense_is_not_trusted(upstream, cut_off):
    assert_refused(cut_off, upstream, get_pr(M4, "new"))
    upstream.behave = lambda talk, name, arguments: talk.send(b'{"value": "1."}\n')
    upstream.listen()
    poll(lambda: upstream.pings >= 1, "a sign of life")
    assert_refused(cut_off, upstream, get_pr(M4, "new"))
    upstream.behave = None
    assert_recovers(cut_off, get_pr(M4, "new"), "2.2")


@pytest.mark.slow
def test_recovers_within_2_s_after_a_long_time_too(upstream, cut_off):
    assert_refused(cut_off, upstream, get_pr(M4, "new"))
    upstream.greet = lambda talk: talk.close()
    upstream.listen()
    poll(lambda: upstream.connections >= 12, "many tries")
    upstream.greet = None
    assert_recovers(cut_off, get_pr(M4, "new"), "2.2")


# ---- an upstream that is silent ----


def assert_costs_one_deadline(local, upstream, client):
    """client has asked already. Others are served meanwhile; later ones at once."""
    with local.client() as other:
        assert_serves_the_rest(other)
    assert upstream.address in client.receive()["invoke-error"]["message"]
    with within(REFUSAL, "the requests after the first"):
        for number in range(3):
            assert_refused(local, upstream, get_pr(M4, f"newer {number}"))


@pytest.mark.slow
@pytest.mark.parametrize("answers", ["nothing", "one question", "half an answer"])
def test_silence_costs_one_deadline(upstream, local, answers):
    upstream.umax = "2"
    local.get_pr(*M4, "latest")

    def behave(talk, name, arguments):
        if name == "max-package-pr" and answers == "one question":
            talk.answer({"value": "2"})
        elif name == "max-package-pr" and answers == "half an answer":
            talk.send(b'{"value":')

    upstream.behave = lambda *what: behave(*what) or True
    with within(SILENCE, "the error"), local.client() as client:
        client.post(get_pr(M4, "new"))
        assert_costs_one_deadline(local, upstream, client)
    assert local.get_pr(*M4, "latest") == "2.0"
    upstream.behave = None
    assert_recovers(local, get_pr(M4, "new"), "2.1")


@pytest.mark.slow
def test_recovers_within_2_s_when_a_frozen_upstream_goes_on(serve):
    top = serve(*QUICK, folder="top")
    local = serve("--upstream", top.address, *QUICK, folder="local")
    top.get_pr(*M4, "published")
    assert local.get_pr(*M4, "latest") == "0.0"
    with paused(top), within(SILENCE, "the answers"), local.client() as client:
        client.post(get_pr(M4, "latest"))
        client.post(get_pr(M4, "new"))
        assert client.receive() == {"value": "0.0"}
        assert_costs_one_deadline(local, top, client)
    assert warnings(local)
    assert_recovers(local, get_pr(M4, "new"), "0.1")


def test_an_upstream_that_freezes_for_a_moment_is_waited_for(serve):
    top = serve(*QUICK, folder="top")
    local = serve("--upstream", top.address, *QUICK, folder="local")
    local.get_pr(*M4, "former")
    with local.client() as client:
        with paused(top):
            client.post(get_pr(M4, "new"))
            with local.client() as other:
                assert_serves_the_rest(other)
        assert client.receive() == {"value": "1"}


@pytest.mark.slow
def test_a_connection_that_never_opens_is_given_up_within_5_s(serve):
    with FullBacklog() as nowhere:
        local = serve("--upstream", nowhere.address, *QUICK)
        with within(REFUSAL, "the error"), local.client() as client:
            client.post(get_pr(M4, "new"))
            assert_costs_one_deadline(local, nowhere, client)


# ---- nonsense ----

NO_REVISION = {
    "dot at the end": b'{"value": "1."}',
    "letters": b'{"value": "abc"}',
    "leading zero": b'{"value": "007"}',
    "empty": b'{"value": ""}',
    "NUL inside": b'{"value": "1\\u00002"}',
    "number": b'{"value": 7}',
    "object": b'{"value": {}}',
    "flag": b'{"value": true}',
    "refusal": b'{"invoke-error": {"message": "out of order"}}',
}
NO_ANSWER = {
    "no JSON": b"hello",
    "list": b'["1"]',
    "string": b'"1"',
    "null": b"null",
    "other member": b'{"alive": true}',
    "empty object": b"{}",
    "empty line": b"",
    "broken refusal": b'{"invoke-error": "out of order"}',
    "no UTF-8": b'{"value": "\xff\xfe"}',
    "UTF-8 that may be cut": b"x" + "ü".encode() * 200,
    "control characters": b"\x1b[31m\x00\r\x07",
    "deep": b"[" * 60000,
    "too long line": b'{"value": "' + b"1" * 70000 + b'"}',
    "too long stream": b'{"chunk-stream": null}\n' + (b"1" * 30000 + b"\n") * 40,
}
NONSENSE = {**NO_REVISION, **NO_ANSWER}


@pytest.mark.parametrize("question", ["max-package-pr", "test-pr"])
@pytest.mark.parametrize("kind", NONSENSE)
def test_nonsense_is_refused(upstream, local, kind, question):
    upstream.umax = "2"
    local.get_pr(*M4, "latest")

    def talk_nonsense(talk, name, arguments):
        return name == question and (talk.send(NONSENSE[kind] + b"\n") or True)

    upstream.behave = talk_nonsense
    with local.client() as client:
        with within(REFUSAL, "the answers"):
            client.post(get_pr(M4, "new"))
            assert upstream.address in client.receive()["invoke-error"]["message"]
            assert client.get_pr(*M4, "latest") == "2.0"
            assert_serves_the_rest(client)
        assert [line for line in warnings(local) if M4[0] in line]
        upstream.behave = None
        assert client.get_pr(*M4, "new") == "2.1"


def test_the_upstreams_own_error_is_passed_on(upstream, local):
    refusal = {"invoke-error": {"message": "the disk is full"}}
    upstream.behave = lambda talk, *_: talk.answer(refusal) or True
    assert_refused(local, upstream, get_pr(M4, "new"), "the disk is full")


def test_nonsense_about_one_package_does_not_touch_the_others(upstream, local):
    upstream.umax = lambda arguments: arguments["version"]
    upstream.hold()
    clients = open_clients(local, 9)
    for number, client in enumerate(clients):
        client.post(get_pr(("no revision" if number == 4 else str(number), "all"), "x"))
        poll(lambda: len(upstream.requests) == 2 * number + 2, "the questions")
    upstream.release()
    for number, client in enumerate(clients):
        answer = client.receive()
        if number == 4:
            assert upstream.address in answer["invoke-error"]["message"]
        else:
            assert answer == {"value": f"{number}.0"}


def test_a_line_that_was_not_asked_for_is_not_taken_for_an_answer(upstream, local):
    upstream.umax = "2"

    def add_a_line(talk, name, arguments):
        if name != "test-pr":
            return False
        return talk.send(b'{"value": null}\n{"value": "99"}\n') or True

    upstream.behave = add_a_line
    with local.client() as client:
        for number in range(5):
            assert client.get_pr(*M4, f"new {number}") == f"2.{number}"


def test_a_line_that_comes_while_nothing_is_asked_does_no_harm(upstream, local):
    upstream.umax = "2"
    assert local.get_pr(*M4, "new") == "2.0"
    upstream.talks[0].send(b'{"value": "99"}\n')
    upstream.talks[0].thread.join(PATIENCE)  # the server closes the connection
    assert local.get_pr(*M4, "newer") == "2.1"
    assert upstream.connections == 2


# ---- a connection that breaks ----


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize(
    "said",
    [b"", b'{"val', b'{"value": "1"}\n', b'{"value": "1"}\n{"value"'],
    ids=["nothing", "half an answer", "one answer", "one and a half"],
)
def test_what_was_not_answered_is_asked_again(upstream, local, said, reset):
    """Both questions: answers of two moments don't belong together."""

    def cut(talk, name, arguments):
        if talk.number > 0:
            return False
        if name == "test-pr":
            talk.send(said)
            talk.close(reset)
        return True

    upstream.umax = "2"
    upstream.behave = cut
    assert local.get_pr(*M4, "new") == "2.0"
    assert upstream.connections == 2
    assert len(upstream.requests) == 4


def test_a_cut_among_many_answers_is_not_noticed(upstream, local):
    upstream.umax = lambda arguments: arguments["version"]
    answered = []

    def cut(talk, name, arguments):
        answered.append(name)
        if talk.number == 0 and len(answered) == 12:
            talk.send(b'{"value": ')
            talk.close()
            return True
        return False

    upstream.behave = cut
    upstream.hold()
    clients = open_clients(local, 10)
    for number, client in enumerate(clients):
        client.post(get_pr((str(number), "all"), "new"))
    poll(lambda: len(upstream.requests) == 20, "the questions")
    upstream.release()
    answers = [client.receive() for client in clients]
    assert answers == [{"value": f"{number}.0"} for number in range(10)]
    assert upstream.connections == 2


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_cut_while_idle_is_not_noticed(upstream, local, reset):
    upstream.umax = "2"
    for number in range(4):
        assert local.get_pr(*M4, f"new {number}") == f"2.{number}"
        upstream.cut(reset)


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_cut_at_the_moment_of_asking_is_not_noticed(upstream, local, reset):
    upstream.umax = "2"
    with local.client() as client:
        for number in range(4):
            assert client.get_pr(*M4, f"new {number}") == f"2.{2 * number}"
            with paused(local):
                client.post(get_pr(M4, f"newer {number}"))
                poll(lambda: has_arrived(client), "the request's arrival")
                upstream.cut(reset)
            assert client.receive() == {"value": f"2.{2 * number + 1}"}


def test_an_upstream_that_closes_every_connection_is_refused(upstream, local):
    upstream.umax = "2"
    upstream.greet = lambda talk: talk.close()
    with within(REFUSAL, "the errors"):
        for number in range(3):
            assert_refused(local, upstream, get_pr(M4, f"new {number}"))
    upstream.greet = None
    assert_recovers(local, get_pr(M4, "new"), "2.0")


# ---- clients that go ----


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_client_that_goes_while_its_question_is_under_way(upstream, local, reset):
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


def test_all_clients_of_a_question_may_go(upstream, local):
    upstream.umax = "2"
    upstream.hold()
    for client in open_clients(local, 5):
        client.post(get_pr(M4, "new"))
        client.close()
    poll(lambda: len(upstream.requests) >= 2, "the questions")
    upstream.release()
    assert local.get_pr(*M4, "another") in ("2.0", "2.1")


def test_a_client_that_shuts_its_side_still_gets_its_answer(upstream, local):
    upstream.umax = "2"
    upstream.hold()
    with local.client() as client:
        client.post(get_pr(M4, "new"))
        client.socket.shutdown(socket.SHUT_WR)
        poll(lambda: len(upstream.requests) == 2, "the questions")
        upstream.release()
        assert client.receive() == {"value": "2.0"}
        assert client.is_closed()


# ---- the end of the server ----


def assert_ends_while_it_waits(server, client):
    """client's question is under way: it gets an error, and the server goes."""
    server.process.send_signal(signal.SIGTERM)
    signalled = time.monotonic()
    assert "invoke-error" in client.receive()
    assert client.is_closed()
    try:
        server.process.wait(signalled + STOP - time.monotonic())
    except subprocess.TimeoutExpired:
        server.kill()
    assert server.process.returncode == 0, "it did not end in time"


def test_sigterm_while_it_waits_for_a_silent_upstream(upstream, local):
    upstream.hold()
    with local.client() as client:
        client.post(get_pr(M4, "new"))
        poll(lambda: len(upstream.requests) == 2, "the questions")
        assert_ends_while_it_waits(local, client)


def test_sigterm_while_it_waits_for_a_connection(serve):
    with FullBacklog() as nowhere:
        local = serve("--upstream", nowhere.address)
        with local.client() as client:
            client.post(get_pr(M4, "new"))
            poll(lambda: nowhere.is_tried(), "the opening of a connection")
            assert_ends_while_it_waits(local, client)


def test_sigterm_while_the_upstream_is_down(upstream, cut_off):
    assert_refused(cut_off, upstream, get_pr(M4, "new"))
    with within(STOP, "the end"):
        cut_off.stop()


SLOW_RESOLVER = """
#include <netdb.h>
#include <unistd.h>
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **result)
{
    sleep(30);
    return EAI_AGAIN;
}
"""


@pytest.mark.skipif(bool(SANITIZER), reason="a sanitizer wants to be loaded first")
@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
def test_sigterm_while_it_waits_for_a_name(serve, tmp_path):
    library = tmp_path / "slow_resolver.so"
    compiler = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", library]
    subprocess.run(compiler, input=SLOW_RESOLVER.encode(), check=True)
    # Its own address is bound without a look-up: a unix socket.
    path = tmp_path / "local.socket"
    local = serve(
        *("--bind", f"unix://{path}", "--upstream", "slow.example:8585"),
        environment={"LD_PRELOAD": str(library)},
        bind=False,
    )
    with Client(path) as client:
        client.post(get_pr(M4, "new"))
        poll(lambda: has_arrived(client), "the request's arrival")
        assert_ends_while_it_waits(local, client)


# ---- addresses ----


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
        return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_an_ipv6_upstream_stands_in_brackets(serve):
    with FakeUpstream(host="::1", umax="4") as upstream:
        local = serve("--upstream", f"[::1]:{upstream.port}")
        assert local.get_pr(*M4, "new") == "4.0"
        upstream.refuse()
        assert_refused(local, upstream, get_pr(M4, "newer"), "refused")


def test_an_upstream_may_have_a_name(serve):
    with FakeUpstream(umax="4") as upstream:
        local = serve("--upstream", f"localhost:{upstream.port}")
        assert local.get_pr(*M4, "new") == "4.0"


def test_a_name_that_does_not_resolve_is_named_in_the_error(serve):
    local = serve("--upstream", "nowhere.invalid:8585")
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


def test_the_option_wins_over_the_environment(serve, upstream, port):
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
    with serve("--read-only", "--upstream", upstream.address).client() as reader:
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
