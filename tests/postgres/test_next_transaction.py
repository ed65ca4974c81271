# SPDX-License-Identifier: MIT
"""Transactions that begin with the commit of the one before, in one round trip."""

import threading

import pytest

from harness import Client, get_pr_request, poll
from model import number
from postgres_cluster import holding, name_of
from postgres_proxy import Proxy
from rows import assert_no_value_twice, rows_of

CLIENTS = 4
AHEAD = 24  # requests that a client sends before it reads an answer
DELAY_S = 0.002


class Stream(threading.Thread):
    """A client that sends new content for packages of its own and one of all, until it is
    told to end, two for each in turn. It has always sent AHEAD requests more than it has answers.
    """

    def __init__(self, server, name, packages=None):
        super().__init__()
        self.client = Client(("127.0.0.1", server.port), timeout=60)
        own = [f"{name}-{n}-r0" for n in range(30)]
        self.packages = packages or own + ["common-r0"]
        self.name_of_client = name
        self.over = threading.Event()
        self.sent = 0
        self.answers = []  # (version, checksum, answer), in their order

    def request(self, turn):
        package = self.packages[turn // 2 % len(self.packages)]
        return package, f"{self.name_of_client}-{turn}"

    def run(self):
        while not self.over.is_set() or len(self.answers) < self.sent:
            while self.sent < len(self.answers) + AHEAD and not self.over.is_set():
                version, checksum = self.request(self.sent)
                self.client.post(get_pr_request(version, "all", checksum, history=True))
                self.sent += 1
            try:
                answer = self.client.receive()
            except (OSError, EOFError):
                return  # the test finds the answers that are missing
            self.answers.append((*self.request(len(self.answers)), answer))


class Streams:
    """Several clients at once."""

    def __init__(self, server, **options):
        self.each = [Stream(server, f"client{n}", **options) for n in range(CLIENTS)]

    def __enter__(self):
        for stream in self.each:
            stream.start()
        return self

    def __exit__(self, *_):
        for stream in self.each:
            stream.over.set()
        for stream in self.each:
            stream.join(60)
            stream.client.close()

    @property
    def answers(self):
        return [answer for stream in self.each for answer in stream.answers]

    def wait_for_more(self, n=500):
        target = len(self.answers) + n
        poll(lambda: len(self.answers) >= target, "more answers", 60)

    def check(self, rows):
        """Checks that each content has one revision, which is stored, and that those of one client
        for a package grow."""
        stored = {(version, checksum): value for version, _, checksum, value in rows}
        for stream in self.each:
            assert len(stream.answers) == stream.sent
            last = {}
            for version, checksum, answer in stream.answers:
                value = answer.get("value")
                assert value is not None, answer
                assert stored[version, checksum] == value
                assert number(value) > last.get(version, (-1,))
                last[version] = number(value)
        assert_no_value_twice(rows)


@pytest.fixture
def proxy(shared_cluster):
    with Proxy(shared_cluster.port, delay_s=DELAY_S) as proxy:
        yield proxy


@pytest.fixture
def server(serve, proxy, database):
    uri = f"postgresql://prservd@127.0.0.1:{proxy.port}/{name_of(database)}"
    return serve("--file", uri)


def wait_for_early_begins(proxy, n=5):
    target = proxy.begun_early + n
    poll(lambda: proxy.begun_early >= target, "a transaction that begins early", 60)


def test_under_load_a_transaction_begins_with_the_commit_before_it(server, proxy):
    with Streams(server) as streams:
        wait_for_early_begins(proxy, 20)
        streams.wait_for_more()
    streams.check(rows_of(server))


def test_known_content_is_answered_without_a_transaction_again(server, proxy):
    with Streams(server) as streams:
        wait_for_early_begins(proxy)
        streams.wait_for_more()
    version, checksum, answer = streams.answers[0]
    commits = proxy.commits
    with Client(("127.0.0.1", server.port)) as client:
        for _ in range(3):
            value = client.get_pr(version, "all", checksum, history=True)
            assert value == answer["value"]
    assert proxy.commits == commits


@pytest.mark.parametrize("how", ["before", "after", "late", "lost"])
def test_a_cut_at_the_commit_loses_nothing_of_either_transaction(server, proxy, how):
    with Streams(server) as streams:
        for turn in range(1, 4):
            wait_for_early_begins(proxy)
            seen = proxy.accepted
            proxy.cut_at_commit("late" if how == "lost" else how)
            poll(lambda n=turn: proxy.cuts >= n, "the cut")
            if how in ("late", "lost"):
                poll(lambda n=seen: proxy.accepted > n, "the server to come back")
                proxy.release(is_lost=how == "lost")
        streams.wait_for_more()
    streams.check(rows_of(server))


def test_a_broken_connection_loses_nothing(server, proxy):
    with Streams(server) as streams:
        for _ in range(5):
            wait_for_early_begins(proxy)
            proxy.reset()
        streams.wait_for_more()
    streams.check(rows_of(server))


FAILS_NOW_AND_THEN = """
CREATE SEQUENCE tries;
GRANT ALL ON SEQUENCE tries TO PUBLIC;
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('tries') % 100 = 0 THEN
        RAISE EXCEPTION 'not now' USING ERRCODE = '{code}';
    END IF;
    RETURN NEW;
END $$;
CREATE {constraint} TRIGGER fail {when} INSERT ON prserv_row {deferred} FOR EACH ROW
EXECUTE FUNCTION fail();
"""


@pytest.mark.parametrize("where", ["insert", "commit"])
def test_a_failing_transaction_does_not_take_the_next_one_along(
    server, proxy, shared_cluster, database, where
):
    """The error is a temporary one, so all requests are tried again."""
    deferred = where == "commit"
    shared_cluster.psql(
        FAILS_NOW_AND_THEN.format(
            code="40001",
            constraint="CONSTRAINT" if deferred else "",
            when="AFTER" if deferred else "BEFORE",
            deferred="DEFERRABLE INITIALLY DEFERRED" if deferred else "",
        ),
        name_of(database),
    )
    with Streams(server) as streams:
        wait_for_early_begins(proxy, 10)
        streams.wait_for_more()
    streams.check(rows_of(server))
    assert len(proxy.early) == 1, "the connection was given up"


def test_an_error_is_that_of_the_failed_transaction_alone(
    server, proxy, shared_cluster, database
):
    shared_cluster.psql(
        FAILS_NOW_AND_THEN.format(
            code="P0001", constraint="", when="BEFORE", deferred=""
        ),
        name_of(database),
    )
    with Streams(server) as streams:
        wait_for_early_begins(proxy, 10)
        streams.wait_for_more()
    refused = [a for *_, a in streams.answers if "invoke-error" in a]
    assert refused and len(refused) < len(streams.answers) / 2
    assert all("not now" in str(answer) for answer in refused)
    rows = rows_of(server)
    stored = {(version, checksum): value for version, _, checksum, value in rows}
    given = [(v, c, a["value"]) for v, c, a in streams.answers if "value" in a]
    assert all(stored[version, checksum] == value for version, checksum, value in given)
    assert len(given) == len(rows)
    assert_no_value_twice(rows)


def test_a_package_that_another_session_holds_delays_only_its_own_requests(
    server, proxy, database
):
    with Streams(server) as streams:
        wait_for_early_begins(proxy)
        statement = "SELECT FROM prserv_package WHERE version = 'common-r0' FOR UPDATE"
        with holding(database, statement) as release:
            with Client(("127.0.0.1", server.port)) as client:
                for n in range(3):
                    assert client.get_pr("other-r0", "all", f"other-{n}") == str(n)
            release()
        streams.wait_for_more()
    streams.check([row for row in rows_of(server) if row[0] != "other-r0"])


def test_no_package_stays_locked_from_one_transaction_to_the_next(server, proxy):
    """Other servers would hardly get it."""
    with Streams(server, packages=["common-r0"]) as streams:
        streams.wait_for_more(1000)
    streams.check(rows_of(server))
    assert proxy.begun_early == 0


def test_a_server_that_stops_stores_what_it_has_received(
    server, proxy, serve, database
):
    streams = Streams(server)
    for stream in streams.each:
        stream.daemon = True
        stream.start()
    wait_for_early_begins(proxy)
    server.stop()
    for stream in streams.each:
        stream.join(60)
    other = serve("--file", database, folder="other")
    stored = {(v, c): value for v, _, c, value in rows_of(other)}
    assert streams.answers
    for version, checksum, answer in streams.answers:
        assert stored[version, checksum] == answer.get("value"), answer


def test_errors_have_a_reason_also_for_the_next_transaction(serve, proxy, database):
    uri = f"postgresql://prservd@127.0.0.1:{proxy.port}/{name_of(database)}"
    server = serve("--file", uri, "--patience", 1)
    with Streams(server) as streams:
        wait_for_early_begins(proxy)
        proxy.drop_everything()
        poll(
            lambda: any("invoke-error" in a for *_, a in streams.answers),
            "an error",
            60,
        )
        proxy.heal()
        streams.wait_for_more()
    for _, _, answer in streams.answers:
        assert "value" in answer or name_of(database) in str(answer), answer
