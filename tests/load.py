# SPDX-License-Identifier: MIT
"""Load: builds that ask a server without a pause."""

import itertools
import random
import threading
import time

from harness import TIMEOUT_S, Client, Refused, get_pr_request, poll
from rows import assert_no_value_twice


def ask_like_oe_core(address, message):
    """Asks as OE-Core does: a connection for each request, up to four attempts."""
    for attempt in range(4):
        try:
            with Client(address) as client:
                return client.ask(message)
        except (OSError, EOFError):
            if attempt == 3:
                raise


class Threads:
    """Threads that run while the block does: over tells them to end."""

    def __init__(self, threads):
        self.over = threading.Event()
        self.threads = threads

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(TIMEOUT_S)


class Load(Threads):
    """Builds that ask without a pause. It collects their answers and failures."""

    def __init__(self, address, builds=6):
        self.address = address
        self.given = {}
        self.failures = []
        super().__init__(
            [threading.Thread(target=self.build, args=(n,)) for n in range(builds)]
        )

    def build(self, build):
        try:
            for number in itertools.count():
                if self.over.is_set():
                    return
                checksum = (
                    f"{build}-{number - number % 4 // 3}"  # every fourth one is known
                )
                value = ask_like_oe_core(
                    self.address, get_pr_request("m4-1", "all", checksum)
                )["value"]
                self.given.setdefault(checksum, []).append(value)
        except (OSError, EOFError, Refused) as failure:
            self.failures.append(failure)

    def wait_for_more(self):
        """Waits until every build has had more answers."""
        so_far = len(self.given)
        poll(
            lambda: self.failures or len(self.given) > so_far + len(self.threads),
            "more answers",
        )


class BitBakeClient:
    """A client that waits as BitBake does: 30 s for an answer, then it connects anew and asks again,
    four times in all."""

    ATTEMPTS = 4
    WAIT_S = 30

    def __init__(self, address):
        self.address = address
        self.client = None

    def ask(self, message):
        for attempt in range(self.ATTEMPTS):
            try:
                if self.client is None:
                    self.client = Client(self.address, timeout=self.WAIT_S)
                return self.client.ask(message)
            except (OSError, EOFError):
                self.close()
                if attempt == self.ATTEMPTS - 1:
                    raise

    def close(self):
        if self.client is not None:
            self.client.close()
            self.client = None


class Farm(Threads):
    """Builds that ask several servers for new and for known content, as BitBake asks. Any error ends
    a build, so each is kept in errors; the build then goes on with its next question.
    """

    PACKAGES = [(f"recipe-{n}-r0", "core2-64") for n in range(6)]
    COMMON = 4  # contents of each package that all builds ask for

    def __init__(self, servers, builds=24):
        self.addresses = [("127.0.0.1", server.port) for server in servers]
        self.answers = []  # (version, pkgarch, checksum, value)
        self.errors = []
        self.slowest = 0
        super().__init__(
            [threading.Thread(target=self.build, args=(n,)) for n in range(builds)]
        )

    def build(self, number):
        chance = random.Random(number)
        client = BitBakeClient(self.addresses[number % len(self.addresses)])
        for turn in itertools.count():
            if self.over.is_set():
                break
            package = chance.choice(self.PACKAGES)
            checksum = f"{number}-{turn}"
            if chance.random() < 0.5:
                checksum = f"common-{chance.randrange(self.COMMON)}"
            begun = time.monotonic()
            try:
                value = client.ask(get_pr_request(*package, checksum, history=True))
            except (OSError, EOFError, Refused) as error:
                self.errors.append(f"after {time.monotonic() - begun:.1f} s: {error}")
            else:
                self.answers.append((*package, checksum, value["value"]))
            self.slowest = max(self.slowest, time.monotonic() - begun)
            self.over.wait(0.05)
        client.close()

    def wait_for_more(self, n=200, seconds=TIMEOUT_S * 2):
        """Waits until there are this many more answers."""
        target = len(self.answers) + n
        poll(lambda: len(self.answers) >= target, "more answers", seconds)

    def finish(self):
        self.over.set()
        for thread in self.threads:
            thread.join(BitBakeClient.ATTEMPTS * BitBakeClient.WAIT_S)

    def check(self, rows):
        """Checks that no build got an error, that the rows have each answer, no value twice, and that
        each content has one value."""
        assert not self.errors, (len(self.errors), sorted(set(self.errors))[:5])
        lost = set(self.answers) - set(rows)
        assert not lost, (len(lost), sorted(lost)[:5])
        assert_no_value_twice(rows)
        values = {}
        for *content, value in self.answers:
            assert values.setdefault(tuple(content), value) == value, content

    def __exit__(self, *_):
        self.finish()
