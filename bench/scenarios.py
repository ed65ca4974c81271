# SPDX-License-Identifier: MIT
"""The scenarios: a function for each, and a table of all at the end.

A function starts the servers, measures them alternately for several rounds, and adds the figures
to the record. It uses 32 connections unless it says otherwise.
"""

from contextlib import contextmanager

import http_load
import postgresql
import special
import tls_load
from loads import load, load_new, load_redis, load_store, new_seed, prepare
from processes import Ceiling, LimitedPrservd, Prservd, Redis, Trouble


@contextmanager
def redis_if_there(bench, record):
    try:
        with Redis(bench) as redis:
            yield redis
    except Trouble as trouble:
        bench.trouble(record, f"no Redis: {trouble}")
        yield None


def load_other(bench, record, mine, **options):
    """Makes the same measurement on the server of --against; a failure there is only reported."""
    if not bench.against:
        return
    try:
        its = record.note("other server", load(bench, bench.against, **options))
        record.check("times the other server", mine.rate / its.rate)
    except Trouble as trouble:
        bench.trouble(record, f"other server: {trouble}")


def prepare_other(bench, record, **options):
    try:
        if bench.against:
            prepare(bench, bench.against, **options)
    except Trouble as trouble:
        bench.trouble(record, f"other server: {trouble}")


def beside_the_ceiling(bench, record, at_least, known=False, rate=None, **options):
    """Compares prservd's throughput with the ceiling's; with `rate`, that rate is enough too."""
    with Prservd(bench) as prservd, Ceiling(bench) as ceiling:
        if known:
            seed = new_seed()
            for server in prservd, ceiling:
                prepare(bench, server, work=options["work"], seed=seed)
            prepare_other(bench, record, work=options["work"], seed=seed)
            options = {**options, "seed": seed, "prepared": True}
        for _ in bench.rounds():
            mine = record.note("prservd", load(bench, prservd, **options))
            top = record.note("ceiling", load(bench, ceiling, **options))
            either = rate is not None
            record.check(
                "of the ceiling", mine.rate / top.rate, at_least=at_least, either=either
            )
            if rate:
                record.check("a second", mine.rate, at_least=rate, either=True)
            load_other(bench, record, mine, **options)


def new_kept(bench, record):
    with Prservd(bench) as prservd, redis_if_there(bench, record) as redis:
        for _ in bench.rounds():
            mine = record.note("prservd", load_new(bench, prservd))
            top = record.note("SQLite", load_store(bench, mine.batch))
            record.check("of SQLite alone", mine.rate / top.rate, at_least=1.1)
            record.check("p99 of p50", mine.p99_us / mine.p50_us, at_most=4)
            if redis:
                rival = record.note("Redis", load_redis(bench, redis, 32))
                record.check("of Redis", mine.rate / rival.rate, at_least=0.8)
            load_other(bench, record, mine, work="new")


def new_kept_256(bench, record):
    with Prservd(bench) as prservd, redis_if_there(bench, record) as redis:
        for _ in bench.rounds():
            mine = record.note("prservd", load_new(bench, prservd, connections=256))
            if redis:
                rival = record.note("Redis", load_redis(bench, redis, 256))
                record.check("of Redis", mine.rate / rival.rate, at_least=0.7)
            load_other(bench, record, mine, work="new", connections=256)


def new_single(bench, record):
    """Compares the time of an answer with the sum of a bare commit and a bare round trip."""
    with Prservd(bench) as prservd, Ceiling(bench) as ceiling:
        for _ in bench.rounds():
            mine = record.note("prservd", load_new(bench, prservd, connections=1))
            commit = record.note("SQLite", load_store(bench, 1))
            trip = record.note(
                "ceiling", load(bench, ceiling, work="ping", connections=1)
            )
            record.check(
                "p50 of a commit and a round trip",
                mine.p50_us / (commit.p50_us + trip.p50_us),
                at_most=1.3,
            )
            load_other(bench, record, mine, work="new", connections=1)


def audit_new(bench, record):
    with Prservd(bench) as prservd, Prservd(bench, audit="off") as without:
        for _ in bench.rounds():
            mine = record.note("prservd", load_new(bench, prservd))
            other = record.note("--audit off", load_new(bench, without))
            record.check("of --audit off", mine.rate / other.rate, at_least=0.95)


def audit_known(bench, record):
    with Prservd(bench) as prservd, Prservd(bench, audit="off") as without:
        seed = new_seed()
        for server in prservd, without:
            prepare(bench, server, work="known", seed=seed)
        known = {"work": "known", "seed": seed, "prepared": True}
        for _ in bench.rounds():
            mine = record.note("prservd", load(bench, prservd, **known))
            other = record.note("--audit off", load(bench, without, **known))
            record.check("of --audit off", mine.rate / other.rate, at_least=0.97)


def access_each(bench, record):
    with LimitedPrservd(bench) as prservd, Prservd(bench) as without:
        seed = new_seed()
        for server in prservd, without:
            prepare(bench, server, work="known", seed=seed)
        each = {"work": "known", "seed": seed, "prepared": True, "reconnect": True}
        for _ in bench.rounds():
            mine = record.note("prservd, 1,000 networks", load(bench, prservd, **each))
            other = record.note("prservd", load(bench, without, **each))
            record.check("of without", mine.rate / other.rate, at_least=0.98)


def build_each(bench, record):
    """Builds of 5,000 recipes: most content is known, and each request has its own connection."""
    with Prservd(bench) as prservd, Ceiling(bench) as ceiling:
        for _ in bench.rounds():
            build = {"work": "mix", "packages": bench.size(5000, 500)}
            build["seed"] = new_seed()
            prepare(bench, prservd, **build)
            build |= {"connections": 64, "reconnect": True, "prepared": True}
            mine = record.note("prservd", load(bench, prservd, **build))
            top = record.note("ceiling", load(bench, ceiling, **build))
            record.check("of the ceiling", mine.rate / top.rate, at_least=0.95)
            record.check("p99", mine.p99_us / 1000, unit="ms", at_most=20)


def p99_under_load(bench, record):
    """Finds the worst ratio of p99 to p50 in all scenarios before this one."""
    for earlier in bench.records:
        for subject, figures in earlier.medians.items():
            if subject.startswith("prservd") and figures.p99_us:
                slowness = figures.p99_us / figures.p50_us
                record.check(f"p99 of p50, {earlier.name}", slowness, at_most=5.0)
    if not record.checks:
        raise Trouble("no earlier scenario was measured; add some with --only")
    record.checks = [min(record.checks, key=lambda check: check.score)]


def ceiling_scenario(at_least, **options):
    """Returns a scenario that consists of beside_the_ceiling alone."""
    return lambda bench, record: beside_the_ceiling(bench, record, at_least, **options)


SCENARIOS = [
    ("ping-kept", "ping", ceiling_scenario(0.9, work="ping")),
    ("test-kept", "test-pr", ceiling_scenario(0.8, work="test", known=True)),
    ("known-kept", "get-pr, known", ceiling_scenario(0.6, work="known", known=True)),
    ("new-kept", "get-pr, new, durable", new_kept),
    ("new-kept-256", "the same, 256 connections", new_kept_256),
    (
        "known-each",
        "get-pr, known, a connection for each request",
        ceiling_scenario(0.8, work="known", known=True, reconnect=True),
    ),
    (
        "new-each",
        "get-pr, new, durable, a connection for each request",
        ceiling_scenario(0.6, work="new", reconnect=True),
    ),
    (
        "test-pipelined",
        "test-pr, 16 requests in progress on each connection",
        ceiling_scenario(0.3, work="test", known=True, pipeline=16, rate=200_000),
    ),
    ("build-each", "64 builders, a connection for each request", build_each),
    ("audit-new", "the audit log: get-pr, new, durable", audit_new),
    ("audit-known", "the audit log: get-pr, known", audit_known),
    ("access-each", "1,000 networks, a connection for each request", access_each),
    ("tls-test", "TLS: test-pr", tls_load.tls_test),
    ("tls-new", "TLS: get-pr, new, durable", tls_load.tls_new),
    ("tls-handshakes", "plain clients beside 100 handshakes", tls_load.tls_handshakes),
    ("forward", "a relay: get-pr, 64 clients", tls_load.forward),
    ("forward-single", "a relay: one client", tls_load.forward_single),
    ("new-single", "get-pr, new, durable, one connection", new_single),
    ("package-100k", "a package with 100,000 checksums", special.package_100k),
    ("package-2m", "one request for a package of 2 million", special.package_2m),
    ("rows-10m", "a database of 10 million rows", special.rows_10m),
    ("p99-under-load", "slow answers: the worst scenario above", p99_under_load),
    ("known-stalled", "get-pr, known, during a commit", special.known_stalled),
    ("idle-10000", "10,000 idle connections", special.idle_10000),
    ("export-1m", "an export of a million rows", special.export_1m),
    ("upstream-20ms", "an upstream 20 ms away", special.upstream_20ms),
    ("chain-of-three", "an upstream of an upstream, new", special.chain_of_three),
    ("http-scraped", "/metrics scraped every second", http_load.http_scraped),
    ("http-loaded", "64 HTTP clients as fast as they can", http_load.http_loaded),
    ("http-10m", "HTTP on 10 million rows and records", http_load.http_10m),
    ("http-page", "what the page loads", http_load.page_size),
    ("http-memory", "memory of an idle server", http_load.http_memory),
    ("pg-new", "PostgreSQL: get-pr, new and known", postgresql.pg_new),
    ("pg-two", "PostgreSQL: two servers, new", postgresql.pg_two),
    ("pg-5ms", "PostgreSQL 5 ms away, new", postgresql.pg_5ms),
]

# The sections of the document, each of which is rewritten separately.
POSTGRESQL = [name for name, _, _ in SCENARIOS if name.startswith("pg-")]
SECTIONS = {
    "main": [name for name, _, _ in SCENARIOS if name not in POSTGRESQL],
    "postgresql": POSTGRESQL,
}
