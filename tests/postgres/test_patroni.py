# SPDX-License-Identifier: MIT
"""A Patroni cluster, as the handbook configures it, fails over under builds that wait as BitBake
does: no build gets an error, nothing is lost or given twice."""

import threading
import time

import pytest

from handbook import block, replaced, run_session, session, tools
from harness import Refused, clean_environment, get_pr_request, poll
from load import BitBakeClient, Farm
from patroni_cluster import PATH, START_S, PatroniCluster, require_patroni
from postgres_cluster import PROGRAMS, give_to_owner, owner
from rows import M4, rows_of

PROOF_S = 6  # a deposed primary's rows are answered for that long at most
BUSY_S = 3  # for a busy machine

# Patroni's default timings, and the shortest ones that a busy machine bears.
DEFAULT = {"ttl": 30, "loop_wait": 10, "retry_timeout": 10}
SHORT = {"ttl": 10, "loop_wait": 2, "retry_timeout": 3}

HAPROXY, HOSTS = "through-haproxy", "list-of-hosts"

pytestmark = pytest.mark.timeout(900)  # starts and failovers on a busy machine


def cases(*short):
    """Runs a test with the default timings in both ways (./dev torture), and with the short ones in
    some (./dev test)."""
    slow = pytest.mark.slow
    torture = pytest.mark.torture
    return pytest.mark.parametrize(
        "timing, way",
        [pytest.param(SHORT, way, id=f"short-{way}", marks=slow) for way in short]
        + [
            pytest.param(DEFAULT, way, id=f"default-{way}", marks=torture)
            for way in (HAPROXY, HOSTS)
        ],
    )


@pytest.fixture
def patroni(timing):
    require_patroni()
    with PatroniCluster(**timing) as patroni:
        yield patroni


@pytest.fixture
def serve_on(serve, patroni):
    """Starts servers on the cluster, through HAProxy or with a list of its nodes."""

    def start(way, folder):
        uri = patroni.uri(way)
        return serve("--file", uri, folder=folder, environment=patroni.variables())

    return start


@cases(HAPROXY)
def test_builds_do_not_notice_that_the_leaders_machine_fails(serve_on, patroni, way):
    servers = [serve_on(way, f"server-{n}") for n in range(2)]
    with Farm(servers) as farm:
        farm.wait_for_more()
        failed = patroni.leader()
        failed.kill()
        begun = time.monotonic()
        promoted = patroni.leader(but=failed)
        print(f"{promoted.name} leads after {time.monotonic() - begun:.1f} s")
        farm.wait_for_more(seconds=START_S)
        failed.restart()
        patroni.wait_for_members(3)
        farm.wait_for_more()
        farm.finish()
    print(f"{len(farm.answers)} answers, the slowest took {farm.slowest:.1f} s")
    farm.check(rows_of(servers[0]))


@cases(HAPROXY)
def test_builds_do_not_notice_a_planned_switchover(serve_on, patroni, way):
    servers = [serve_on(way, f"server-{n}") for n in range(2)]
    with Farm(servers) as farm:
        for _ in range(2):
            farm.wait_for_more()
            before = patroni.leader()
            assert "Successfully" in patroni.patronictl("switchover", "--force")
            assert patroni.leader() is not before
            patroni.wait_for_members(3)
        farm.wait_for_more()
        farm.finish()
    print(f"{len(farm.answers)} answers, the slowest took {farm.slowest:.1f} s")
    farm.check(rows_of(servers[0]))


class Questions:
    """Asks a server for known content without a pause, and notes when it answered what."""

    def __init__(self, server):
        self.client = BitBakeClient(("127.0.0.1", server.port))
        self.answers = []  # (time, value)
        self.errors = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.over.wait(0.02):
            try:
                value = self.client.ask(get_pr_request(*M4, "known"))["value"]
            except (OSError, EOFError, Refused) as error:
                self.errors.append(error)
            else:
                self.answers.append((time.monotonic(), int(value)))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.client.close()


@cases(HOSTS)
def test_a_deposed_leader_is_not_answered_from(serve, serve_on, patroni, way):
    """Its agent hangs, so that another node is promoted, while its PostgreSQL goes on."""
    server = serve_on(way, "old")
    assert server.get_pr(*M4, "known") == "0"
    deposed = patroni.leader()
    with Questions(server) as questions:
        poll(lambda: questions.answers, "an answer")
        deposed.pause_agent()
        promoted = patroni.leader(but=deposed)
        uri = patroni.uri(HOSTS).replace(deposed.address, promoted.address)
        other = serve("--file", uri, folder="new", environment=patroni.variables())
        newer = int(other.get_pr(*M4, "newer"))
        added = time.monotonic()
        poll(
            lambda: questions.answers[-1][1] > newer,
            "an answer from the new leader",
            60,
        )
    late = [
        (when - added, value)
        for when, value in questions.answers
        if value < newer and when > added + PROOF_S + BUSY_S
    ]
    assert not late, late[-1]
    assert not questions.errors, questions.errors[0]


@pytest.fixture
def run_block(patroni):
    """Runs the commands of the handbook's blocks of a kind as the owner of the cluster."""
    work = patroni.folder / "work"
    work.mkdir()
    (work / "roles.sql").write_text(block("roles.sql").replace("prserv", "other"))
    give_to_owner(work)
    path = f"{PROGRAMS}:{patroni.tools()}:{tools(patroni.folder / 'programs')}:{PATH}"
    environment = clean_environment(
        **{**patroni.variables(), "PATH": path, "HOME": str(work)}
    )
    places = {
        "/etc/patroni/config.yml": patroni.nodes[0].config,
        "/var/lib/postgresql/15/prserv": "data",
    }

    def run(kind, n_commands):
        commands = [
            (patroni.localised(replaced(command, places)), patroni.localised(output))
            for command, output in session(f" {kind}")
        ]
        assert len(commands) >= n_commands
        run_session(commands, work, environment, **owner())

    return run


@pytest.mark.slow
@pytest.mark.parametrize("timing", [SHORT], ids=["short"])
def test_the_commands_of_the_handbook_work_as_written(serve_on, patroni, run_block):
    """The set-up, a switchover, the checks, a base backup, and its restore after a younger row."""
    run_block("patroni", 8)
    server = serve_on(HAPROXY, "server")
    assert server.get_pr(*M4, "in-the-backup") == "0"
    run_block("patroni-backup", 1)
    assert server.get_pr(*M4, "younger") == "1"
    server.stop()
    run_block("patroni-restore", 10)
    patroni.wait_for_members(3)
    server = serve_on(HAPROXY, "again")
    assert server.get_pr(*M4, "younger") == "101"
