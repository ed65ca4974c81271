# SPDX-License-Identifier: MIT
"""Loads: prserv bench against a server, redis-benchmark, and rows written into a database."""

import csv
import json
import random
import statistics
import subprocess
from dataclasses import dataclass
from typing import Optional

from processes import Process, Trouble, clean_environment, talk

SEEDS = 1 << 47


@dataclass
class Figures:
    """The results of one measurement; None if the load can't measure a figure."""

    rate: Optional[float] = None  # requests or rows a second
    p50_us: Optional[float] = None
    p99_us: Optional[float] = None
    p999_us: Optional[float] = None
    cpu_us: Optional[float] = None  # processor time of the server for each request
    peak_mb: Optional[float] = None  # peak memory of the server
    batch: Optional[float] = None  # rows in each commit

    @staticmethod
    def median(measured):
        """Returns the median of each figure."""
        result = Figures()
        for name in vars(result):
            values = [getattr(one, name) for one in measured]
            if None not in values:
                setattr(result, name, statistics.median(values))
        return result


def new_seed():
    """Returns a seed for names that no server has seen yet."""
    return random.randrange(SEEDS)


def ask(address, request):
    with talk(address) as connection:
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as answers:
            line = answers.readline()
    if not line:
        raise Trouble(f"{address} closed the connection without an answer to {request}")
    return json.loads(line)


def output_of(command, what, timeout):
    """Runs a program and returns its output; raises Trouble if it fails."""
    try:
        done = subprocess.run(
            [str(word) for word in command],
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Trouble(f"{what} did not end within {timeout:.0f} s") from None
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise Trouble(f"{what}: {reason[0]} (exit status {done.returncode})")
    return done.stdout


# ---- prserv bench ----


# Each build host has an address of its own; the ports of a single one would be the limit.
BUILD_HOSTS = 64


def option_words(options):
    """Yields command-line words: packages=5, reconnect=True → --packages 5 --reconnect."""
    for name, value in options.items():
        if value is not False:
            yield "--" + name.replace("_", "-")
            if value is not True:
                yield value


def prserv_bench(bench, address, **options):
    command = [bench.build / "prserv-bench", "--json", "--server", address]
    command += option_words(options)
    what = f"prserv-bench --work {options['work']} against {address}"
    return json.loads(output_of(command, what, 600 + 3 * bench.seconds))


def prepare(bench, server, **options):
    """Stores the rows that later runs with the same options and prepared=True expect."""
    report = prserv_bench(bench, address_of(server), requests=1, **options)
    if report["first_error"]:
        raise Trouble(f"preparation failed: {report['first_error']}")


def prepare_known(bench, server, **options):
    """Stores rows. Returns the options of runs that ask for them."""
    known = {"work": "known", "seed": new_seed(), **options}
    prepare(bench, server, **known)
    return {**known, "prepared": True}


def address_of(server):
    return server.address if isinstance(server, Process) else server


def load(bench, server, **options):
    """Measures a server: a Process of this benchmark, or the address of another server."""
    own = isinstance(server, Process)
    options = {"seconds": bench.seconds, "warm_up": bench.seconds / 5, **options}
    if own and options.get("reconnect"):
        options["source_addresses"] = BUILD_HOSTS
    before = server.cpu_s() if own else 0
    try:
        report = prserv_bench(bench, address_of(server), **options)
    except Trouble:
        if own:
            server.check()  # if it died, that is the cause
        raise
    if not report["measured"]["answers"]:
        raise Trouble(f"{address_of(server)} did not answer within the time")
    latency = report["latency_us"]
    figures = Figures(
        rate=report["requests_per_second"],
        p50_us=latency["p50"],
        p99_us=latency["p99"],
        p999_us=latency["p99.9"],
    )
    if own:
        answers = sum(report[part]["answers"] for part in ("warm_up", "measured"))
        if report["prepared"]["answers"] == 0:
            figures.cpu_us = (server.cpu_s() - before) * 1e6 / max(answers, 1)
        figures.peak_mb = server.memory_mb("VmHWM")
    return figures


def load_new(bench, server, **options):
    """Measures new content, and the number of rows in each commit."""
    before = ask(server.address, {"get-stats": {}})["batches"]
    figures = load(bench, server, work="new", **options)
    after = ask(server.address, {"get-stats": {}})["batches"]
    commits = after["count"] - before["count"]
    figures.batch = (after["rows"] - before["rows"]) / max(commits, 1)
    return figures


# ---- other programs ----


def load_store(bench, batch):
    """Writes the rows of new content directly into a new database."""
    database = bench.new_file("store.sqlite3")
    command = [bench.build / "bench" / "store", "--file", database]
    command += ["--batch", max(1, round(batch)), "--seconds", bench.seconds]
    report = json.loads(output_of(command, "bench/store", 60 + 3 * bench.seconds))
    bench.remove_database(database)
    times = report["transaction_us"]
    return Figures(
        rate=report["rows_per_second"],
        p50_us=times["p50"],
        p99_us=times["p99"],
        p999_us=times["p99.9"],
        batch=round(batch),
    )


def redis_benchmark(redis, connections, requests, timeout):
    command = ["redis-benchmark", "-p", redis.port, "-c", connections, "-n", requests]
    command += ["--csv", "-r", 100000, "INCR", "key:__rand_int__"]
    output = output_of(command, "redis-benchmark", timeout)
    (row,) = csv.DictReader(output.splitlines())
    return row


def load_redis(bench, redis, connections):
    """Measures INCR of 100,000 keys.

    redis-benchmark takes a number of requests, not a time. A first, short run finds how many
    requests fill the time; it also warms up the server.
    """
    requests = max(connections * 10, 500)
    timeout = 60 + 10 * bench.seconds
    rate = float(redis_benchmark(redis, connections, requests, timeout)["rps"])
    requests = max(requests, int(rate * bench.seconds))
    before = redis.cpu_s()
    row = redis_benchmark(redis, connections, requests, timeout)
    return Figures(
        rate=float(row["rps"]),
        p50_us=float(row["p50_latency_ms"]) * 1e3,
        p99_us=float(row["p99_latency_ms"]) * 1e3,
        cpu_us=(redis.cpu_s() - before) * 1e6 / requests,
        peak_mb=redis.memory_mb("VmHWM"),
    )
