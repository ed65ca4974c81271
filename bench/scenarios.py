"""The lines that are measured: a function each, and the table of them at the end.

A function starts the servers, measures them in turn, round after round, and tells the
record what it got. Unless it says something else, there are 32 connections.
"""

from contextlib import contextmanager

import postgresql
import special
from loads import load, load_new, load_redis, load_store, new_seed, prepare
from processes import Ceiling, Prservd, Redis, Trouble


@contextmanager
def redis_if_there(bench, record):
    try:
        with Redis(bench) as redis:
            yield redis
    except Trouble as trouble:
        bench.trouble(record, f"no Redis: {trouble}")
        yield None


def load_other(bench, record, mine, **options):
    """The same for the server of --against; it may fail, and spoils nothing."""
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
    """prservd's throughput as a part of the ceiling's; or else it has to have this rate."""
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
            record.check("of SQLite alone", mine.rate / top.rate, at_least=0.7)
            if redis:
                rival = record.note("Redis", load_redis(bench, redis, 32))
                record.check("of Redis", mine.rate / rival.rate, at_least=0.7)
            load_other(bench, record, mine, work="new")


def new_kept_256(bench, record):
    with Prservd(bench) as prservd, redis_if_there(bench, record) as redis:
        for _ in bench.rounds():
            mine = record.note("prservd", load_new(bench, prservd, connections=256))
            if redis:
                rival = record.note("Redis", load_redis(bench, redis, 256))
                record.check("of Redis", mine.rate / rival.rate, at_least=1.0)
            load_other(bench, record, mine, work="new", connections=256)


def new_single(bench, record):
    """What an answer takes, compared with a bare commit and a bare round trip together."""
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


def p99_under_load(bench, record):
    """Of all lines before it, the worst."""
    for line in bench.records:
        for subject, figures in line.medians.items():
            if subject.startswith("prservd") and figures.p99_us:
                slowness = figures.p99_us / figures.p50_us
                record.check(f"p99 of p50, {line.name}", slowness, at_most=5.0)
    if not record.checks:
        raise Trouble("no line before it was measured; name some with --only")
    record.checks = [min(record.checks, key=lambda check: check.score)]


def ceiling_line(at_least, **options):
    """A line that needs nothing but beside_the_ceiling."""
    return lambda bench, record: beside_the_ceiling(bench, record, at_least, **options)


SCENARIOS = [
    ("ping-kept", "ping", ceiling_line(0.85, work="ping")),
    ("test-kept", "test-pr", ceiling_line(0.7, work="test", known=True)),
    ("known-kept", "get-pr, known", ceiling_line(0.6, work="known", known=True)),
    ("new-kept", "get-pr, new, durable", new_kept),
    ("new-kept-256", "the same, 256 connections", new_kept_256),
    (
        "known-each",
        "get-pr, known, a connection for each",
        ceiling_line(0.8, work="known", known=True, reconnect=True),
    ),
    (
        "new-each",
        "get-pr, new, durable, a connection for each",
        ceiling_line(0.6, work="new", reconnect=True),
    ),
    (
        "test-pipelined",
        "test-pr, 16 under way on each connection",
        ceiling_line(0.3, work="test", known=True, pipeline=16, rate=200_000),
    ),
    ("new-single", "get-pr, new, durable, one connection", new_single),
    ("package-100k", "a package with 100,000 checksums", special.package_100k),
    ("rows-10m", "a database of 10 million rows", special.rows_10m),
    ("p99-under-load", "slow answers, the worst line above", p99_under_load),
    ("idle-10000", "10,000 connections that ask nothing", special.idle_10000),
    ("export-1m", "an export of a million rows", special.export_1m),
    ("upstream-20ms", "an upstream 20 ms away", special.upstream_20ms),
    ("chain-of-three", "upstream of upstream, new", special.chain_of_three),
    ("pg-new", "PostgreSQL: get-pr, new and known", postgresql.pg_new),
    ("pg-two", "PostgreSQL: two servers, new", postgresql.pg_two),
    ("pg-5ms", "PostgreSQL 5 ms away, new", postgresql.pg_5ms),
]

# Parts of the document, which are rewritten by themselves.
POSTGRESQL = [name for name, _, _ in SCENARIOS if name.startswith("pg-")]
SECTIONS = {
    "main": [name for name, _, _ in SCENARIOS if name not in POSTGRESQL],
    "postgresql": POSTGRESQL,
}
