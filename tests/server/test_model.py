# SPDX-License-Identifier: MIT
"""Random requests to chains of servers, and to servers that share a file, compared with the oracle;
and the promises of doc/semantics.md with concurrent clients."""

import itertools
import random
import shutil
import tempfile
import threading
import time
from pathlib import Path

import pytest
from harness import SANITIZER, Refused, Server
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from model import Model, number

# Each layout lists its servers: (index of the upstream, index of the server that shares its file).
LAYOUTS = {
    "one server": [(None, None)],
    "a chain of three": [(None, None), (0, None), (1, None)],
    "two writers and a reader on one file": [(None, None), (None, 0), (None, -1)],
    "two writers below an upstream": [(None, None), (0, None), (0, 1), (0, -2)],
}

VERSIONS = ["m4-1.4.19-r0", "AUTOINC-x-1.0+git"]
CHECKSUMS = [f"{i:064x}" for i in range(6)]
FLOORS = ["floor:1.3", "floor:3"]
REVISIONS = ["0", "1", "1.0", "1.3", "1.20", "2", "9", "10", "3.1.4", 3, 12]

package = st.tuples(st.sampled_from(VERSIONS), st.just("core2-64"))
content = st.tuples(
    st.sampled_from(VERSIONS), st.just("core2-64"), st.sampled_from(CHECKSUMS)
)
floor = st.tuples(
    st.sampled_from(VERSIONS), st.just("core2-64"), st.sampled_from(FLOORS)
)
optional = st.sampled_from([None, ""])
operations = st.one_of(
    st.tuples(st.just("get-pr"), content, st.booleans()),
    st.tuples(st.just("get-pr"), content, st.booleans()),
    st.tuples(st.just("get-pr"), content, st.just(False)),
    st.tuples(st.just("test-pr"), content, st.booleans()),
    st.tuples(st.just("max-package-pr"), package),
    st.tuples(st.just("test-package"), package),
    st.tuples(st.just("import-one"), content, st.sampled_from(REVISIONS)),
    st.tuples(st.just("import-one"), floor, st.sampled_from(REVISIONS)),
    st.tuples(st.sampled_from(["get-pr", "test-pr"]), floor, st.booleans()),
    st.tuples(
        st.just("export"),
        st.tuples(
            st.sampled_from([*VERSIONS, None]),
            optional,
            st.sampled_from([*CHECKSUMS, ""]),
        ),
        st.booleans(),
    ),
)


def get_pr_or_none(client, *arguments):
    """Returns None if the server refuses the request."""
    try:
        return client.get_pr(*arguments)
    except Refused:
        return None


class ServersWithOracle:
    """The servers of one layout, each with its oracle."""

    def __init__(self, layout, new_database=None):
        self.folder = Path(tempfile.mkdtemp())
        files = {}
        self.servers, self.models, self.clients = [], [], []
        for index, (upstream, shared) in enumerate(layout):
            read_only = shared is not None and shared < 0
            owner = {None: index, -1: 0, -2: 1}.get(shared, shared)
            if owner not in files:
                files[owner] = (
                    new_database() if new_database else self.folder / f"{owner}.sqlite3"
                )
            options = ["--file", files[owner], "--sync", "off"]
            options += ["--read-only"] if read_only else []
            above = None
            if upstream is not None:
                options += ["--upstream", self.servers[upstream].address]
                above = self.models[upstream]
            self.servers.append(Server(self.folder / str(index), *options))
            rows_of = self.models[owner] if owner != index else None
            self.models.append(Model(above, read_only, rows_of))
            self.clients.append(self.servers[-1].client())

    def play(self, index, operation, prefix):
        """Runs one operation on both; prefix separates the packages of the examples."""
        name, (version, *rest), *more = operation
        client, model = self.clients[index], self.models[index]
        version = version and prefix + version
        if name == "get-pr":
            return get_pr_or_none(client, version, *rest, *more), model.get_pr(
                version, *rest, *more
            )
        if name == "test-pr":
            return client.test_pr(version, *rest, *more), model.test_pr(
                version, *rest, *more
            )
        if name == "max-package-pr":
            return client.max_pr(version, *rest), model.max_package_pr(version, *rest)
        if name == "test-package":
            request = {"version": version, "pkgarch": rest[0]}
            answer = client.ask({"test-package": request})["value"]
            return answer, model.test_package(version, *rest)
        if name == "import-one":
            arguments = {"version": version, "pkgarch": rest[0], "checksum": rest[1]}
            answer = client.ask({"import-one": {**arguments, "value": more[0]}})
            return answer and answer["value"], model.import_one(version, *rest, *more)
        filters = {"version": version, "pkgarch": rest[0], "checksum": rest[1]}
        data = client.export(**filters, history=more[0])["datainfo"]
        rows = sorted(
            (r["version"], r["pkgarch"], r["checksum"], r["value"]) for r in data
        )
        return rows, model.export(more[0], **filters)

    def close(self):
        for client in self.clients:
            client.close()
        for server in self.servers:
            server.stop()
        shutil.rmtree(self.folder)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_random_sequences_are_answered_as_the_specification_says(layout):
    compare(ServersWithOracle(layout), 20 if SANITIZER else 60)


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_random_sequences_with_postgresql(layout, databases):
    compare(ServersWithOracle(layout, databases), 20)


def compare(pair, n_examples):
    examples = itertools.count()

    @settings(
        max_examples=n_examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.lists(
            st.tuples(st.integers(0, len(pair.servers) - 1), operations),
            min_size=10,
            max_size=60,
        )
    )
    def check(steps):
        prefix = f"{next(examples)}-"
        for index, operation in steps:
            answer, expected = pair.play(index, operation, prefix)
            assert answer == expected, (index, operation)

    try:
        check()
    finally:
        pair.close()


# ---- promises under concurrency ----


class History:
    """Requests and answers of concurrent clients, with times."""

    def __init__(self):
        self.answers = []  # (start, end, package, checksum, value)
        self.lock = threading.Lock()

    def get_pr(self, client, package, checksum, history):
        start = time.monotonic()
        value = client.get_pr(*package, checksum, history)
        with self.lock:
            self.answers.append((start, time.monotonic(), package, checksum, value))
        return value

    def of(self, package):
        return sorted(answer for answer in self.answers if answer[2] == package)

    def packages(self):
        return {answer[2] for answer in self.answers}

    def check_no_value_twice(self):
        for package in self.packages():
            owner = {}
            for _, _, _, checksum, value in self.of(package):
                assert owner.setdefault(value, checksum) == checksum, (package, value)

    def check_answers_never_go_down(self):
        """Checks that an answer is as great as each one that arrived before its request."""
        for package in self.packages():
            ends = sorted((end, value) for _, end, _, _, value in self.of(package))
            best, at = (-1,), 0
            for start, _, _, checksum, value in self.of(package):
                while at < len(ends) and ends[at][0] < start:
                    best = max(best, number(ends[at][1]))
                    at += 1
                assert number(value) >= best, (package, checksum, value, best)

    def check_known_content_keeps_its_answer(self):
        for package in self.packages():
            first = {}
            for _, _, _, checksum, value in self.of(package):
                assert first.setdefault(checksum, value) == value, (package, checksum)


def run_clients(servers, history_mode, readers=(), clients=8, requests=60):
    history = History()
    failures = []

    def work(seed):
        rng = random.Random(seed)
        try:
            with servers[seed % len(servers)].client() as client:
                looks = [reader.client() for reader in readers]
                for _ in range(requests):
                    package = (f"v{rng.randrange(3)}", "all")
                    checksum = str(rng.randrange(25))
                    value = history.get_pr(client, package, checksum, history_mode)
                    for look in looks:  # promise 6: every other server sees it at once
                        seen = look.test_pr(*package, checksum, history_mode)
                        assert seen is not None
                        assert number(seen) >= number(value) or history_mode
                        assert number(look.max_pr(*package)) >= number(value)
                for look in looks:
                    look.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    return history


@pytest.mark.parametrize("history_mode", [False, True], ids=["no history", "history"])
def test_promises_hold_for_concurrent_clients_of_servers_that_share_a_file(
    serve, history_mode
):
    check_servers_on(serve, "../shared/rows.sqlite3", history_mode)


@pytest.mark.parametrize("history_mode", [False, True], ids=["no history", "history"])
def test_promises_hold_for_concurrent_clients_of_servers_on_postgresql(
    serve, history_mode, database
):
    check_servers_on(serve, database, history_mode)


def check_servers_on(serve, file, history_mode):
    options = ["--file", file]
    servers = [serve(*options, folder=str(i)) for i in range(3)]
    reader = serve(*options, "--read-only", folder="reader")
    history = run_clients(servers, history_mode, readers=[reader])
    history.check_no_value_twice()
    if history_mode:
        history.check_known_content_keeps_its_answer()
    else:
        history.check_answers_never_go_down()


@pytest.mark.parametrize("history_mode", [False, True], ids=["no history", "history"])
def test_promises_hold_for_concurrent_clients_of_a_chain(serve, history_mode):
    top = serve(folder="top")
    below = serve("--upstream", top.address, folder="below")
    last = serve("--upstream", below.address, folder="last")
    history = run_clients([last], history_mode)
    history.check_no_value_twice()
    if history_mode:
        history.check_known_content_keeps_its_answer()
    else:
        history.check_answers_never_go_down()


def test_answers_survive_a_kill_at_any_moment(serve):
    server = serve()
    known = {}
    for round_ in range(5):
        with server.client() as client:
            for i in range(20):
                checksum = f"{round_}-{i}"
                known[checksum] = client.get_pr("v", "a", checksum)
            client.send(
                b'{"get-pr": {"version": "v", "pkgarch": "a", "checksum": "late"}}\n'
            )
            server.kill()
        server.restart()
    assert len(set(known.values())) == len(known)
    with server.client() as client:
        for checksum, value in known.items():
            assert client.test_pr("v", "a", checksum, history=True) == value
