# SPDX-License-Identifier: MIT
"""Scenarios with HTTP clients beside the PR clients."""

import os
import re
import selectors
import socket
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager

from loads import load, new_seed, prepare
from processes import Prservd, Trouble, wait_until

N_CLIENTS = 64
PATHS = ("/api/v1/packages?limit=200", "/metrics", "/api/v1/packages?search=p")


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
    known = {"work": "known", "seed": new_seed()}
    with HttpPrservd(bench) as prservd:
        prepare(bench, prservd, **known)
        known["prepared"] = True
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
