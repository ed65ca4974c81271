# SPDX-License-Identifier: MIT
"""Scenarios with HTTP clients beside the PR clients."""

import gzip
import json
import os
import re
import selectors
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager

import special
from loads import load, prepare_known
from processes import Prservd, Trouble, wait_until

N_CLIENTS = 64
PATHS = ("/api/v1/packages?limit=200", "/api/v1/log", "/api/v1/packages?search=p")


class HttpPrservd(Prservd):
    """A prservd with --http, whose address is in its log."""

    options = ("--http", "127.0.0.1:0")

    def http_port(self):
        found = []

        def is_there():
            found.extend(re.findall(r"HTTP on http://127.0.0.1:(\d+)/", self.log))
            return found

        wait_until(is_there, "the HTTP interface")
        return int(found[0])


@contextmanager
def scrapes(port):
    """Fetches /metrics every second, and what the page asks for every two."""
    over = threading.Event()
    failures = []

    def run():
        n = 0
        while not over.wait(1 if n else 0):
            for path in ("/metrics", "/api/v1/status")[: 1 + n % 2]:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}{path}").read()
                except OSError as error:
                    failures.append(error)
            n += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if failures:
        raise Trouble(f"a scrape failed: {failures[0]}")


def run_clients(port):
    """The program of the HTTP clients: asks as fast as it gets answers, until it is killed."""
    os.nice(19)  # they stand for other machines
    selector = selectors.DefaultSelector()
    for number in range(N_CLIENTS):
        client = socket.create_connection(("127.0.0.1", port))
        path = PATHS[number % len(PATHS)]
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        client.sendall(request)
        selector.register(client, selectors.EVENT_READ, [request, b""])
    print("connected", flush=True)
    while True:
        for key, _ in selector.select():
            state = key.data
            received = key.fileobj.recv(1 << 20)
            if not received:
                sys.exit("the server has closed a connection")
            state[1] += received
            head, _, body = state[1].partition(b"\r\n\r\n")
            length = re.search(rb"Content-Length: (\d+)", head)
            if length and len(body) >= int(length[1]):
                state[1] = b""
                key.fileobj.sendall(state[0])


@contextmanager
def clients(port):
    command = [sys.executable, "-B", __file__, str(port)]
    program = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        program.stdout.readline()  # they have their connections
        yield
        if program.poll() is not None:
            raise Trouble("the HTTP clients have ended")
    finally:
        program.kill()
        program.wait()
        program.stdout.close()


def alone_and_beside(bench, record, name, others):
    """Yields the results of PR clients in each round, alone and beside HTTP clients."""
    with HttpPrservd(bench) as prservd:
        known = prepare_known(bench, prservd)
        port = prservd.http_port()
        for _ in bench.rounds():
            alone = record.note("prservd, alone", load(bench, prservd, **known))
            with others(port):
                beside = load(bench, prservd, **known)
            yield alone, record.note(name, beside)


def http_scraped(bench, record):
    for alone, beside in alone_and_beside(bench, record, "prservd, scraped", scrapes):
        record.check("of without", beside.rate / alone.rate, at_least=0.97)


def http_loaded(bench, record):
    name = "prservd, 64 HTTP clients"
    for alone, beside in alone_and_beside(bench, record, name, clients):
        record.check("p99", beside.p99_us / alone.p99_us, at_most=2.0)
        record.check("throughput meanwhile", beside.rate / alone.rate)


def timed_fetch(port, path):
    """Returns the milliseconds until the whole answer is there, and the answer. Others of the same
    moment would wait for each other: HTTP takes a small part of a processor only."""
    time.sleep(0.11)
    begun = time.monotonic()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as response:
        body = response.read()
    return (time.monotonic() - begun) * 1e3, body


def searches(port):
    """Yields names of searches and paths: prefixes that have many packages, a few and none."""
    _, page = timed_fetch(port, "/api/v1/packages?limit=1")
    name = json.loads(page)["packages"][0]["version"]
    for length in range(len(name) + 1):
        yield "packages", {"search": name[:length]}
    for prefix in "z", "B", "\u20ac", name + "x", "bench-f", "bench-7f":
        yield "packages", {"search": prefix}


def http_10m(bench, record):
    """The slowest of each kind of request on a large database with its audit log."""
    rows = bench.size(10_000_000, 100_000)
    with special.large_database(bench, rows) as database:
        audit = database.with_name(database.name + "-audit")
        shutil.copyfile(special.cached_audit_log(bench, rows), audit)
        record.check(
            "audit log, a record",
            audit.stat().st_size / rows,
            unit="bytes",
            at_most=250,
        )
        with HttpPrservd(bench, database=database) as prservd:
            port = prservd.http_port()
            _, page = timed_fetch(port, "/api/v1/packages?limit=200")
            packages = json.loads(page)["packages"][::20]
            requests = list(searches(port))
            for each in packages:
                one = {"version": each["version"], "pkgarch": each["pkgarch"]}
                requests.append(("package", one))
            requests += [("log", {}), ("log", {"limit": 1000}), ("churn", {})]
            requests += [
                (name, {"since": int(time.time()) - age})
                for name in ("log", "churn")
                for age in (60, 3600, 86400)
            ]
            for _ in bench.rounds():
                slowest = {}
                for name, fields in requests:
                    query = urllib.parse.urlencode(fields)
                    took_ms, _ = timed_fetch(port, f"/api/v1/{name}?{query}")
                    slowest[name] = max(slowest.get(name, 0), took_ms)
                for name, took_ms in slowest.items():
                    record.check(f"slowest {name}", took_ms, unit="ms", at_most=100)
                took_ms, _ = timed_fetch(port, "/metrics")
                record.check("/metrics", took_ms, unit="ms", at_most=5)


def page_size(bench, record):
    """All bytes that a browser gets before it asks for data."""
    with HttpPrservd(bench) as prservd:
        port = prservd.http_port()
        seen, left, size = set(), ["/"], 0
        while left:
            path = left.pop()
            if path in seen:
                continue
            seen.add(path)
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}{path}", headers={"Accept-Encoding": "gzip"}
            )
            with urllib.request.urlopen(request) as response:
                body = response.read()
                size += len(body) + len(str(response.headers))
                text = gzip.decompress(body).decode()
            links = re.findall(r"""["']([^"'#:]+\.(?:js|css|svg))["']""", text)
            left += [urllib.parse.urljoin(path, link) for link in links]
        record.check("page, gzip", size / 1e3, unit="kB", at_most=60)


def http_memory(bench, record):
    for _ in bench.rounds():
        with Prservd(bench) as without, HttpPrservd(bench) as served:
            port = served.http_port()
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read()
            idle = without.memory_mb("VmRSS")
            record.check("idle", idle, unit="MB", at_most=6)
            more = served.memory_mb("VmRSS") - idle
            record.check("more with --http", more, unit="MB")


if __name__ == "__main__":
    run_clients(int(sys.argv[1]))
