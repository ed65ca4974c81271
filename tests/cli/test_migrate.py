# SPDX-License-Identifier: MIT
"""prserv migrate: copies rows from one database to another."""

import contextlib
import json
import os
import pty
import re
import signal
import sqlite3
import subprocess
import threading
import time
from contextlib import closing

import pytest

import postgres_cluster
from bitbake_database import HIST, NOHIST, YOUNG, make_database, read, write
from harness import BUILD, TIMEOUT_S, clean_environment, poll
from rows import TEXTS

ROWS = "SELECT version, pkgarch, checksum, value FROM PRMAIN"


def migrate(source, target, *options, status=0):
    done = subprocess.run(
        [BUILD / "prserv", "--json", "migrate", source, target, *options],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S * 2,
    )
    assert done.returncode == status, done.stderr
    done.answer = json.loads(done.stdout) if done.stdout else None
    return done


def make_rows(n):
    return [
        (f"p{i // 10}-1.0-r0", "core2-64", f"checksum-{i}", str(i % 10))
        for i in range(n)
    ]


def rows_in_postgres(cluster, uri):
    """Returns the rows, read as JSON, which can hold every text."""
    sql = "SELECT json_build_array(version, pkgarch, checksum, value) FROM prmain"
    lines = cluster.psql(sql, uri.rpartition("/")[2]).split("\n")
    return [tuple(json.loads(line)) for line in lines if line]


# More than socket buffers hold, so that a read ends when the database does.
LONG_ROWS = [(f"p{i // 10}", "all", f"{i}-{i % 7}" * 600, str(i)) for i in range(8000)]


def sorted_rows(rows):
    return sorted(rows, key=lambda row: [str(field) for field in row])


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source.sqlite3"
    make_database(path, main=make_rows(2000))
    return path


def test_the_summary_is_readable(source, tmp_path):
    target = tmp_path / "target"
    make_database(target, main=[("other", "all", "c", "1")])
    write(source, "INSERT INTO PRMAIN VALUES (?, ?, ?, ?)", [("v", "a", "null", None)])
    done = subprocess.run(
        [BUILD / "prserv", "migrate", source, target, "--keep-going"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S * 2,
    )
    digests = re.findall(r"\d+ rows, digest (\w+)", done.stdout)
    assert len(digests) == 2 and digests[0] == digests[1], done.stdout
    assert "TO holds 1 other rows" in done.stdout
    assert "1 rows were left out: TO can't hold them" in done.stdout
    assert done.returncode == 1


# ---- SQLite alone ----


def test_every_row_is_copied_and_the_source_is_unchanged(source, tmp_path):
    before = source.read_bytes()
    answer = migrate(source, tmp_path / "new" / "target.sqlite3").answer
    assert answer["same"] and answer["from"] == answer["to"]
    assert answer["from"]["rows"] == 2000 and answer["others"] == 0
    assert sorted(read(tmp_path / "new" / "target.sqlite3", ROWS)) == sorted(
        make_rows(2000)
    )
    assert source.read_bytes() == before


def test_rows_of_old_tables_are_copied(tmp_path):
    make_database(tmp_path / "old", NOHIST, HIST, YOUNG)
    answer = migrate(tmp_path / "old", tmp_path / "new").answer
    expected = {(*row[:3], str(row[3])) for row in NOHIST + HIST + YOUNG}
    assert set(read(tmp_path / "new", ROWS)) == expected
    assert answer["to"]["rows"] == len(expected)


def test_the_digest_depends_on_each_letter_but_not_on_the_order(source, tmp_path):
    make_database(tmp_path / "reversed", main=make_rows(2000)[::-1])
    digest = migrate(source, tmp_path / "a").answer["from"]["digest"]
    assert migrate(tmp_path / "reversed", tmp_path / "b").answer["from"]["digest"] == (
        digest
    )
    write(tmp_path / "reversed", "UPDATE PRMAIN SET checksum = 'X' WHERE rowid = 1")
    assert migrate(tmp_path / "reversed", tmp_path / "c").answer["from"]["digest"] != (
        digest
    )


def test_other_rows_of_the_target_are_counted_separately(source, tmp_path):
    make_database(tmp_path / "target", main=[("other", "all", "x", "7")])
    answer = migrate(source, tmp_path / "target").answer
    assert answer["same"] and answer["others"] == 1
    assert migrate(source, tmp_path / "target").answer == answer
    assert len(read(tmp_path / "target", ROWS)) == 2001


def test_lost_rows_are_an_error(source, tmp_path):
    """A trigger of the target discards some rows."""
    make_database(tmp_path / "target", main=[])
    write(
        tmp_path / "target",
        "CREATE TRIGGER lose BEFORE INSERT ON PRMAIN WHEN NEW.checksum = 'checksum-77' "
        "BEGIN SELECT RAISE(IGNORE); END",
    )
    done = migrate(source, tmp_path / "target", status=1)
    assert not done.answer["same"] and done.answer["to"]["rows"] == 1999
    assert "begin with an empty database" in done.stderr


def test_a_target_that_refuses_rows_ends_the_migration(source, tmp_path):
    make_database(tmp_path / "target", main=[])
    write(
        tmp_path / "target",
        "CREATE TRIGGER no BEFORE INSERT ON PRMAIN BEGIN SELECT RAISE(ABORT, 'full'); END",
    )
    done = migrate(source, tmp_path / "target", status=1)
    assert "full" in done.stderr and "run the same command again" in done.stderr
    assert read(tmp_path / "target", ROWS) == []


def test_a_row_without_value_is_named(source, tmp_path):
    write(source, "INSERT INTO PRMAIN VALUES ('odd-1', 'all', 'cc', NULL)")
    done = migrate(source, tmp_path / "target", status=1)
    assert "version 'odd-1', pkgarch 'all', checksum 'cc'" in done.stderr
    done = migrate(source, tmp_path / "target", "--keep-going", status=1)
    assert done.answer["same"] and done.answer["refused"] == 1
    assert done.answer["to"]["rows"] == 2000


def test_a_database_that_cannot_be_opened_is_reported(source, tmp_path):
    assert "No such file" in migrate(tmp_path / "none", source, status=2).stderr
    assert "same database" in migrate(source, source, status=2).stderr
    (tmp_path / "text").write_text("no database\n" * 100)
    migrate(tmp_path / "text", tmp_path / "target", status=2)
    migrate(source, tmp_path / "text", status=2)
    assert (tmp_path / "text").read_text() == "no database\n" * 100


if not postgres_cluster.BUILT:

    def test_a_build_without_postgresql_refuses_its_uris(source):
        done = migrate(source, "postgresql://host/database", status=3)
        assert "built without PostgreSQL" in done.stderr


@pytest.mark.slow
def test_a_killed_migration_continues_when_run_again(tmp_path):
    """After kill -9 at any moment, the next run completes the migration."""
    target = tmp_path / "target"
    make_database(tmp_path / "source", main=make_rows(60_000))
    for _ in range(3):
        with migration_running(tmp_path / "source", target) as process:
            wait_for_rows(process, lambda: count_in_file(target))
            process.kill()
    answer = migrate(tmp_path / "source", target).answer
    assert answer["same"] and answer["to"]["rows"] == 60_000
    assert sorted(read(target, ROWS)) == sorted(make_rows(60_000))


@contextlib.contextmanager
def migration_running(source, target, stderr=subprocess.PIPE):
    """Runs a migration in parallel to the block, and waits for its end."""
    process = subprocess.Popen(
        [BUILD / "prserv", "--json", "migrate", str(source), str(target)],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )
    with process:
        try:
            yield process
            output = process.communicate(timeout=TIMEOUT_S * 3)
            process.output, process.errors = output
        finally:
            process.kill()


def count_in_file(path):
    """Returns the number of rows so far; the database may not exist yet."""
    with contextlib.suppress(sqlite3.OperationalError):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT count(*) FROM PRMAIN").fetchone()[0]
    return 0


def wait_for_rows(process, count):
    """Waits until some rows were copied, or the migration has ended."""
    before = count()
    poll(lambda: count() > before or process.poll() is not None, "rows to come")


class Terminal(threading.Thread):
    """A terminal whose output is read while the program writes it."""

    def __init__(self):
        super().__init__(daemon=True)
        self.master, self.side = pty.openpty()
        self.shown = b""
        self.start()

    def run(self):
        with contextlib.suppress(OSError):  # the program has ended
            while True:
                self.shown += os.read(self.master, 10000)

    def close(self):
        os.close(self.side)
        self.join(TIMEOUT_S)
        os.close(self.master)
        return self.shown.decode()


@pytest.mark.slow
def test_a_terminal_shows_a_progress_bar(tmp_path):
    """The bar appears after a second, during which the migration is paused."""
    target = tmp_path / "target"
    make_database(tmp_path / "source", main=LONG_ROWS)
    begun = time.monotonic()
    terminal = Terminal()
    with migration_running(
        tmp_path / "source", target, stderr=terminal.side
    ) as process:
        wait_for_rows(process, lambda: count_in_file(target))
        process.send_signal(signal.SIGSTOP)
        was_faster = process.poll() is not None
        poll(lambda: time.monotonic() > begun + 1.5)
        process.send_signal(signal.SIGCONT)
    shown = terminal.close()
    bar = r"\[#+\.*\] +\d+%  \d+ rows migrated\x1b\[K\r"
    assert was_faster or (re.match(bar, shown) and shown.endswith("\r\x1b[K")), shown


# ---- PostgreSQL ----


def test_rows_survive_a_migration_to_postgresql_and_back(
    tmp_path, shared_cluster, database
):
    rows = [(text or "v", "all", text, "1") for text in TEXTS]
    rows += [
        ("p", "all", "cc", value) for value in ("1", "1.2", "x", "", "01", "9" * 900)
    ]
    make_database(tmp_path / "source", main=rows)
    answer = migrate(tmp_path / "source", database).answer
    assert answer["same"] and answer["to"]["rows"] == len(rows)
    assert sorted_rows(rows_in_postgres(shared_cluster, database)) == sorted_rows(rows)
    assert migrate(database, tmp_path / "back").answer == answer
    assert sorted_rows(read(tmp_path / "back", ROWS)) == sorted_rows(rows)


def test_equal_null_rows_are_migrated_once(source, shared_cluster, database):
    for _ in range(2):
        write(source, "INSERT INTO PRMAIN VALUES ('odd-1', 'all', 'cc', NULL)")
    first = migrate(source, database).answer
    assert first["same"]
    assert migrate(source, database).answer == first
    rows = rows_in_postgres(shared_cluster, database)
    assert rows.count(("odd-1", "all", "cc", None)) == 1 and len(rows) == 2001


@pytest.mark.parametrize("text", [b"a\0b", b"\xff\xfe"])
def test_text_that_postgresql_cannot_hold_is_named(
    source, shared_cluster, database, text
):
    with closing(sqlite3.connect(source)) as connection:
        connection.execute(
            "INSERT INTO PRMAIN VALUES ('odd-1', 'all', CAST(? AS TEXT), '1')", [text]
        )
        connection.commit()
    done = migrate(source, database, status=1)
    assert "the row version 'odd-1', pkgarch 'all', checksum" in done.stderr
    done = migrate(source, database, "--keep-going", status=1)
    assert done.answer["same"] and done.answer["refused"] == 1
    assert len(rows_in_postgres(shared_cluster, database)) == 2000


def test_a_server_continues_on_the_migrated_database(source, database, serve):
    migrate(source, database)
    server = serve("--file", database)
    assert server.get_pr("p3-1.0-r0", "core2-64", "checksum-39") == "9"
    assert server.get_pr("p3-1.0-r0", "core2-64", "new") == "10"


def counter_in(cluster):
    """Returns a function that counts rows; the table may not exist yet."""

    def count():
        return int(cluster.psql("SELECT count(*) FROM prserv_row", check=False) or 0)

    return count


@pytest.mark.slow
def test_a_migration_survives_interrupts_and_a_killed_database(tmp_path, cluster):
    make_database(tmp_path / "source", main=make_rows(60_000))
    uri = cluster.uri()
    for number in signal.SIGKILL, signal.SIGINT:
        with migration_running(tmp_path / "source", uri) as process:
            wait_for_rows(process, counter_in(cluster))
            process.send_signal(number)
    cluster.kill()
    cluster.start()
    answer = migrate(tmp_path / "source", uri).answer
    assert answer["same"] and answer["to"]["rows"] == 60_000 and answer["others"] == 0
    assert len(rows_in_postgres(cluster, uri)) == 60_000


def restart_during(process, cluster, count):
    """Restarts the cluster once some rows were copied, while the migration is paused."""
    wait_for_rows(process, count)
    process.send_signal(signal.SIGSTOP)
    cluster.kill()
    cluster.start()
    process.send_signal(signal.SIGCONT)


@pytest.mark.slow
def test_a_migration_waits_for_a_restart_of_either_database(tmp_path, cluster):
    make_database(tmp_path / "source", main=LONG_ROWS)
    with migration_running(tmp_path / "source", cluster.uri()) as there:
        restart_during(there, cluster, counter_in(cluster))
    assert there.returncode == 0, there.errors
    target = tmp_path / "target"
    with migration_running(cluster.uri(), target) as back:
        restart_during(back, cluster, lambda: count_in_file(target))
    assert back.returncode == 0, back.errors
    answers = [json.loads(process.output) for process in (there, back)]
    assert answers[0] == answers[1]
    assert answers[0]["same"] and answers[0]["to"]["rows"] == len(LONG_ROWS)
    assert sorted(read(target, ROWS)) == sorted(LONG_ROWS)
