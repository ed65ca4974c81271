# SPDX-License-Identifier: MIT
"""Scenarios with large databases, idle clients, exports and upstreams."""

import os
import resource
import shutil
import threading
import time
from contextlib import contextmanager

from loads import (
    Figures,
    ask,
    load,
    load_new,
    new_seed,
    output_of,
    prepare,
    prepare_known,
)
from processes import (
    Delay,
    Prservd,
    StalledPrservd,
    Trouble,
    talk,
    wait_until,
)

PACKAGE_CHECKSUMS = 10  # in each package of the large databases
KNOWN_SEED = 101  # the half of a large database that is only looked up
GROWING_SEED = 102  # the half that gets new content
ROW_WORD = b'"version"'  # once in each row of an export


# ---- large databases ----


def fill(bench, database, rows, seed, packages=None):
    packages = packages or rows // PACKAGE_CHECKSUMS
    command = [bench.build / "bench" / "store", "--file", database, "--seed", seed]
    command += ["--packages", packages, "--checksums", rows // packages]
    output_of(command, "filling a database", 1800)


def cached_database(bench, rows):
    """Returns a database that is made once, kept for later runs, and never changed."""
    kept = bench.cache / f"rows-{rows}.sqlite3"
    if not kept.exists():
        bench.say(f"making a database of {rows:,} rows, once")
        new = bench.new_file("filling.sqlite3")
        for seed in KNOWN_SEED, GROWING_SEED:
            fill(bench, new, rows // 2, seed)
        os.replace(new, kept)
    return kept


def cached_audit_log(bench, rows):
    """Returns the audit log of the cached database, which is made once as well."""
    database = cached_database(bench, rows)
    kept = database.with_name(f"rows-{rows}-audit.sqlite3")
    if not kept.exists():
        bench.say(f"making an audit log of {rows:,} records, once")
        output_of([bench.build / "bench" / "audit", database], "an audit log", 1800)
        os.replace(database.with_name(database.name + "-audit"), kept)
    return kept


@contextmanager
def large_database(bench, rows):
    """Yields a synced copy of the cached database."""
    copy = bench.new_file("large.sqlite3")
    shutil.copyfile(cached_database(bench, rows), copy)
    with open(copy, "rb") as file:
        os.fsync(file.fileno())
    try:
        yield copy
    finally:
        bench.remove_database(copy)


def slower(reference, mine):
    """Returns how many times longer a request takes."""
    return reference.rate / mine.rate


def package_100k(bench, record):
    """Limits the new content, so that the package keeps about its size."""
    checksums = bench.size(100_000, 10_000)
    limit = {"requests": 20_000}
    seed, small_seed = new_seed(), new_seed()
    large = {"packages": 1, "seed": seed, "prepared": True}
    small = {"packages": 1, "seed": small_seed}
    with Prservd(bench) as one, Prservd(bench) as many:
        prepare(bench, one, work="known", **small)
        prepare(bench, many, work="known", packages=1, checksums=checksums, seed=seed)
        for number in bench.rounds():
            reference = record.note(
                "one checksum, known",
                load(bench, one, work="known", prepared=True, **small),
            )
            mine = record.note(
                "prservd, known",
                load(bench, many, work="known", checksums=checksums, **large),
            )
            record.check("time, known", slower(reference, mine), at_most=1.2)
            seed_of_round = {"seed": new_seed(), "checksums": 1}
            prepare(bench, one, work="new", **seed_of_round)
            reference = record.note(
                "one checksum, new",
                load_new(bench, one, prepared=True, **seed_of_round, **limit),
            )
            # Numbers of checksums that no earlier round had.
            beyond = checksums + number * 1_000_000
            mine = record.note(
                "prservd, new",
                load_new(bench, many, checksums=beyond, **large, **limit),
            )
            record.check("time, new", slower(reference, mine), at_most=1.2)


def package_2m(bench, record):
    """One request for a very large package, after a start and after requests for many others."""
    checksums = bench.size(2_000_000, 20_000)
    rows = bench.size(1_000_000, 50_000)
    others = {"packages": rows // 2 // PACKAGE_CHECKSUMS, "prepared": True}
    large = {"packages": 1, "checksums": checksums, "seed": new_seed()}
    one = {"connections": 1, "requests": 1, "warm_up": 0, "prepared": True}
    with large_database(bench, rows) as database:
        fill(bench, database, checksums, large["seed"], packages=1)
        for _ in bench.rounds():
            with Prservd(bench, database=database) as prservd:
                prservd.wait_for_answer()
                first = load(bench, prservd, work="known", **large, **one)
                record.check("after a start", first.p50_us / 1000, unit="ms")
                load(
                    bench,
                    prservd,
                    work="known",
                    seed=KNOWN_SEED,
                    checksums=PACKAGE_CHECKSUMS,
                    **others,
                )
                again = load(bench, prservd, work="known", **large, **one)
                again_ms = again.p50_us / 1000
                record.check("after many others", again_ms, unit="ms", at_most=20)


def rows_10m(bench, record):
    """Compares requests for any package of a large database with an empty database."""
    rows = bench.size(10_000_000, 100_000)
    packages = rows // 2 // PACKAGE_CHECKSUMS
    large = {"packages": packages, "prepared": True}
    seed = new_seed()
    with large_database(bench, rows) as database:
        for _ in bench.rounds():
            with Prservd(bench, database=database) as starting:
                start_ms = starting.wait_for_answer() * 1e3
            record.check("start to first answer", start_ms, unit="ms", at_most=100)
        with Prservd(bench) as empty, Prservd(bench, database=database) as full:
            prepare(bench, empty, work="known", seed=seed)
            for number in bench.rounds():
                reference = record.note(
                    "empty, known",
                    load(bench, empty, work="known", seed=seed, prepared=True),
                )
                mine = record.note(
                    "prservd, known",
                    load(
                        bench,
                        full,
                        work="known",
                        seed=KNOWN_SEED,
                        checksums=PACKAGE_CHECKSUMS,
                        **large,
                    ),
                )
                record.check("time, known", slower(reference, mine), at_most=1.5)
                warm = {**large, "packages": 1000, "checksums": PACKAGE_CHECKSUMS}
                mine = record.note(
                    "prservd, 1,000 of them",
                    load(bench, full, work="known", seed=KNOWN_SEED, **warm),
                )
                record.check("time, known, 1,000 of them", slower(reference, mine))
                reference = record.note("empty, new", load_new(bench, empty))
                beyond = PACKAGE_CHECKSUMS + number * 1000
                mine = record.note(
                    "prservd, new",
                    load_new(bench, full, seed=GROWING_SEED, checksums=beyond, **large),
                )
                record.check("time, new", slower(reference, mine), at_most=1.5)


# ---- a slow disk ----


def known_stalled(bench, record):
    """Known content is answered while a commit waits for the disk."""
    with StalledPrservd(bench) as prservd:
        known = prepare_known(bench, prservd)
        for _ in bench.rounds():
            alone = record.note("prservd, alone", load(bench, prservd, **known))
            with prservd.stalled():
                beside = record.note("prservd, stalled", load(bench, prservd, **known))
            record.check("throughput meanwhile", beside.rate / alone.rate, at_least=0.9)


# ---- idle connections ----


def raise_file_limit(needed):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < needed:
        raise Trouble(f"only {most} open files are allowed; {needed} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextmanager
def idle_connections(server, count):
    """Opens connections that send one ping and then stay idle."""
    idle = []
    try:
        for _ in range(count):
            idle.append(talk(server.address))
            idle[-1].sendall(b'{"ping":{}}\n')
        for connection in idle:
            if not connection.recv(100):
                raise Trouble("prservd closed an idle connection")
        yield
    finally:
        for connection in idle:
            connection.close()


def open_connections(server):
    return ask(server.address, {"get-stats": {}})["connections"]["open"]


def idle_10000(bench, record):
    count = 10_000
    raise_file_limit(count + 200)
    with Prservd(bench) as prservd:
        prservd.wait_for_answer()
        at_rest_mb = prservd.memory_mb("VmRSS")
        record.check("memory of an idle server", at_rest_mb, unit="MB", at_most=10)
        known = prepare_known(bench, prservd)
        for _ in bench.rounds():
            alone = record.note("prservd, alone", load(bench, prservd, **known))
            with idle_connections(prservd, count):
                beside = record.note("prservd, beside", load(bench, prservd, **known))
                memory_mb = prservd.memory_mb("VmRSS")
            record.check("memory with them", memory_mb, unit="MB", at_most=100)
            record.check(
                "throughput beside them", beside.rate / alone.rate, at_least=0.9
            )
            record.check(
                "1/p50 beside them", alone.p50_us / beside.p50_us, at_least=0.9
            )
            wait_until(lambda: open_connections(prservd) < 100, "connections to close")


# ---- exports ----


def read_export(server):
    """Exports everything; returns rows and seconds, without parsing the JSON."""
    rows = 0
    left = end = b""
    began = time.monotonic()
    with talk(server.address) as connection:
        connection.sendall(b'{"export":{"history":true}}\n')
        while end != b"\n\n":
            piece = connection.recv(1 << 20)
            if not piece:
                raise Trouble("prservd closed the connection during an export")
            # Lines and pieces may end anywhere, even within the word.
            text = left + piece.replace(b"\n", b"")
            rows += text.count(ROW_WORD)
            left = text[1 - len(ROW_WORD) :]
            end = (end + piece)[-2:]
    return rows, time.monotonic() - began


@contextmanager
def exports_under_way(server):
    """Runs one export after the other until the block ends."""
    enough = threading.Event()
    failures = []

    def export():
        try:
            while not enough.is_set():
                read_export(server)
        except (Trouble, OSError) as trouble:
            failures.append(trouble)

    thread = threading.Thread(target=export)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()
    if failures:
        raise Trouble(f"an export failed: {failures[0]}")


def export_csv(bench, server, rows):
    command = [bench.build / "prserv", "--server", server.address]
    command += ["export", "--all", "--format", "csv", bench.new_file("rows.csv")]
    began = time.monotonic()
    output_of(command, "prserv export", 600)
    return rows / (time.monotonic() - began)


def export_1m(bench, record):
    rows = bench.size(1_000_000, 50_000)
    with large_database(bench, rows) as database:
        with Prservd(bench, database=database) as prservd:
            known = prepare_known(bench, prservd, connections=8)
            stored = ask(prservd.address, {"get-stats": {}})["database"]["rows"]
            for _ in bench.rounds():
                one_export(bench, record, prservd, stored)
                alone = record.note("prservd, alone", load(bench, prservd, **known))
                with exports_under_way(prservd):
                    beside = load(bench, prservd, **known)
                record.note("prservd, exporting", beside)
                record.check(
                    "throughput meanwhile", beside.rate / alone.rate, at_least=0.6
                )


def one_export(bench, record, prservd, stored):
    prservd.forget_peak()
    before_mb = prservd.memory_mb("VmRSS")
    rows, seconds = read_export(prservd)
    growth_mb = prservd.memory_mb("VmHWM") - before_mb
    if rows != stored:
        raise Trouble(f"an export had {rows} rows; {stored} are stored")
    record.note("rows, bare socket", Figures(rate=rows / seconds))
    record.note("rows, prserv export", Figures(rate=export_csv(bench, prservd, rows)))
    record.check("rows a second", rows / seconds, at_least=500_000)
    record.check("growth of memory", max(growth_mb, 0), unit="MB", at_most=16)


# ---- upstreams ----


def upstream_20ms(bench, record):
    """Compares new content with a round trip: a ping through the same delay."""
    with Prservd(bench) as top, Delay(bench, top, 20) as delay:
        with Prservd(bench, upstream=delay) as prservd:
            for _ in bench.rounds():
                ping = {"work": "ping", "connections": 1}
                trip = record.note("round trip", load(bench, delay.address, **ping))
                one = record.note(
                    "prservd, one", load_new(bench, prservd, connections=1)
                )
                many = record.note("prservd, 32", load_new(bench, prservd))
                record.check(
                    "p50 of a round trip", one.p50_us / trip.p50_us, at_most=1.2
                )
                record.check("a second, 32 clients", many.rate, at_least=1000)


def chain_of_three(bench, record):
    with Prservd(bench) as single, Prservd(bench) as top:
        with Prservd(bench, upstream=top) as middle:
            with Prservd(bench, upstream=middle) as bottom:
                for _ in bench.rounds():
                    reference = record.note("single", load_new(bench, single))
                    mine = record.note("prservd, third", load_new(bench, bottom))
                    record.check(
                        "of one server", mine.rate / reference.rate, at_least=0.5
                    )
