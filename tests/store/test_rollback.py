# SPDX-License-Identifier: MIT
"""A database that went back to an older state: servers notice, and give no number twice."""

import os
import re
import shutil
import sqlite3
import threading
import time
import zlib
from contextlib import closing
from pathlib import Path

import pytest

from harness import BUILD, SANITIZER, Client, Refused, poll, run_prservd
from prserv_command import prserv, prserv_on
from rows import M4, ZIP, rows_in, rows_of

REFUSED = "the database went back to an older state"
ENDS = "", "-wal", "-shm"
NOHIST_TABLE = (
    "CREATE TABLE PRMAIN_nohist (version TEXT NOT NULL, pkgarch TEXT NOT NULL,"
    " checksum TEXT NOT NULL, value INTEGER, PRIMARY KEY (version, pkgarch, checksum))"
)


def mark_file(path):
    return Path(f"{path}-mark")


def records_in_file(path):
    """Returns the fields of the valid records in FILE-mark, the newest first."""
    records = []
    for line in mark_file(path).read_text().splitlines():
        record, _, check = line.rstrip().rpartition(" ")
        if check == f"{zlib.crc32(f'{record} '.encode()):08x}":
            records.append(record.split())
    return sorted(records, key=lambda record: int(record[2]), reverse=True)


def mark_in_file(path):
    """Returns identity and counter in FILE-mark."""
    newest = records_in_file(path)[0]
    return newest[3], int(newest[4])


def mark_in(path):
    """Returns identity and counter in the table."""
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT identity, counter FROM prservd_mark").fetchone()


def write_mark_file(path, identity, counter, machine="-", boot="-"):
    record = f"prservd-mark 1 1 {identity} {counter} 1700000000 {machine} {boot} "
    record += f"{zlib.crc32(record.encode()):08x}"
    mark_file(path).write_text((record.ljust(255) + "\n") * 2)


def copy(path, to):
    """Copies a database as a backup does, also while servers use it."""
    with closing(sqlite3.connect(path)) as database:
        with closing(sqlite3.connect(to)) as target:
            database.backup(target)


def put_back(backup, path):
    """Restores a copy while no server runs."""
    for end in ENDS:
        Path(f"{path}{end}").unlink(missing_ok=True)
    shutil.copy(backup, path)


def restore_under(backup, path):
    """Restores a copy through SQLite, while servers run."""
    with closing(sqlite3.connect(backup)) as source:
        with closing(sqlite3.connect(path)) as database:
            source.backup(database)


def lose_a_revision(server, path, backup):
    """Makes a server give "a" and "b" of M4, stops it, and restores a copy without "b"."""
    assert server.get_pr(*M4, "a") == "0"
    copy(path, backup)
    assert server.get_pr(*M4, "b") == "1"
    server.stop()
    put_back(backup, path)


def name_of_rollback(server):
    return poll(lambda: re.search(r"--accept-rollback=(\S+)", server.log))[1]


def rollback(server):
    return server.ask({"get-stats": {}})["rollback"]


def refuses(server, *arguments, **options):
    with pytest.raises(Refused, match=REFUSED):
        server.get_pr(*arguments, **options)


@pytest.fixture
def rolled_back(serve, path, tmp_path):
    """A server whose database lost the revision 1 of M4 while it did not run."""
    server = serve("--file", path)
    lose_a_revision(server, path, tmp_path / "backup")
    server.start()
    return server


# ---- the mark ----


def test_the_counter_grows_with_each_transaction_that_stores_rows(serve, path):
    server = serve("--file", path)
    identity, counter = mark_in(path)
    assert re.fullmatch("[0-9a-f]{16}", identity) and counter == 0
    for n in range(1, 4):
        server.get_pr(*M4, f"c{n}")
        assert mark_in(path) == (identity, n)
    server.get_pr(*M4, "c3")
    with server.client() as client:
        client.max_pr(*M4)
        client.import_one(*M4, "c3", "2")
    assert mark_in(path) == (identity, 3)


def test_the_file_follows_the_database_and_is_exact_after_a_stop(serve, path):
    server = serve("--file", path)
    assert "Made " + str(mark_file(path)) in server.log
    server.get_pr(*M4, "a")
    poll(lambda: mark_in_file(path) == mark_in(path), "the file of the mark")
    server.get_pr(*M4, "b")
    server.stop()
    assert mark_in_file(path) == mark_in(path)
    assert mark_in(path)[1] == 2


def test_the_file_is_never_ahead_and_written_about_once_a_second(serve, path):
    server = serve("--file", path)
    stop = time.monotonic() + 2.5
    counters = []
    with server.client() as client:
        n = 0
        while time.monotonic() < stop:
            counters.append(mark_in_file(path)[1])
            assert counters[-1] <= n
            client.get_pr(*M4, f"c{n}")
            n += 1
    assert counters == sorted(counters)
    assert len(set(counters)) <= 5


def test_several_servers_share_a_mark(serve, path):
    servers = [serve("--file", path, folder=f"s{i}") for i in range(3)]

    def ask(server, i):
        with server.client() as client:
            for n in range(20):
                client.get_pr(*M4, f"c{i}-{n}")

    threads = [
        threading.Thread(target=ask, args=(server, i))
        for i, server in enumerate(servers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for server in servers:
        server.stop()
        assert "CRITICAL" not in server.log
    assert mark_in_file(path) == mark_in(path)
    assert len(rows_in(path)) == 60


def test_a_killed_server_does_not_look_like_a_rollback(serve, path):
    server = serve("--file", path)
    for n in range(5):
        server.get_pr(*M4, f"a{n}")
        server.kill()
        server.start()
        assert "CRITICAL" not in server.log and rollback(server) is None


def test_a_missing_file_is_made(serve, path):
    server = serve("--file", path)
    server.get_pr(*M4, "a")
    server.stop()
    mark_file(path).unlink()
    server.start()
    assert f"INFO prservd[{server.process.pid}]: Made {mark_file(path)}" in server.log
    assert mark_in_file(path) == mark_in(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"rubbish\n" * 80, b"\0" * 512],
    ids=["empty", "text", "zeros"],
)
def test_a_file_without_a_valid_record_is_written_again(serve, path, content):
    server = serve("--file", path)
    server.get_pr(*M4, "a")
    server.stop()
    mark_file(path).write_bytes(content)
    server.start()
    assert "holds no valid mark; it is written again" in server.log
    assert mark_in_file(path) == mark_in(path)


def test_a_write_that_was_cut_short_leaves_the_record_before(serve, path):
    server = serve("--file", path)
    server.get_pr(*M4, "a")
    server.stop()
    before = mark_in_file(path)
    records = mark_file(path).read_bytes()
    oldest = min((0, 256), key=lambda at: int(records[at : at + 256].split()[2]))
    with open(mark_file(path), "r+b") as file:
        file.seek(oldest)
        file.write(b"prservd-mark 1 99 0123456789abcdef 77")
    server.start()
    assert "CRITICAL" not in server.log and "valid" not in server.log
    server.stop()
    assert mark_in_file(path) == before


@pytest.mark.skipif(
    os.getuid() != 0, reason="only root can start a server as another user"
)
def test_a_folder_in_which_the_file_cannot_be_written_is_a_warning(serve, path):
    server = serve("--file", path)
    server.get_pr(*M4, "a")
    server.stop()
    mark_file(path).unlink()
    mark_file(path).mkdir()
    server.start()
    assert f"can't write {mark_file(path)}: Is a directory" in server.log
    assert server.get_pr(*M4, "b") == "1"


# ---- what counts as a rollback, and what does not ----


def test_a_restored_copy_is_a_rollback(rolled_back, path):
    identity, _ = mark_in(path)
    assert (
        f"CRITICAL prservd[{rolled_back.process.pid}]: The database" in rolled_back.log
    )
    assert name_of_rollback(rolled_back) == f"{identity}:2"
    assert rollback(rolled_back) == {"mark": f"{identity}:2", "counter": 1}
    done = prserv_on(rolled_back, "status")
    assert (
        f"rollback     {identity}:2, the database is back at 1: new content is refused"
        in done.stdout
    )


def test_while_rolled_back_all_but_new_revisions_is_answered(rolled_back):
    refuses(rolled_back, *M4, "b")
    refuses(rolled_back, *ZIP, "x")
    refuses(rolled_back, *M4, "b", history=True)
    assert "Refused a new revision" in rolled_back.log
    assert rolled_back.get_pr(*M4, "a") == "0"
    assert rolled_back.get_pr(*M4, "a", history=True) == "0"
    with rolled_back.client() as client:
        assert client.test_pr(*M4, "a") == "0"
        assert client.max_pr(*M4) == "0"
        assert len(client.export(history=True)["datainfo"]) == 1
        client.import_one(*M4, "c", "5")
        assert client.get_pr(*M4, "c") == "5"
    refuses(rolled_back, *M4, "b")


def test_a_rollback_is_noticed_at_each_start_also_after_imports(rolled_back, path):
    name = name_of_rollback(rolled_back)
    for n in range(3):
        with rolled_back.client() as client:
            for i in range(4):
                client.import_one(*M4, f"c{n}-{i}", f"{n * 4 + i + 10}")
        rolled_back.kill() if n == 1 else rolled_back.stop()
        rolled_back.start()
        assert name_of_rollback(rolled_back) == name
        refuses(rolled_back, *M4, "new")


def test_a_copy_without_the_table_is_another_database(serve, path, tmp_path):
    with closing(sqlite3.connect(tmp_path / "old")) as database:
        database.execute(
            "CREATE TABLE PRMAIN (version TEXT NOT NULL, pkgarch TEXT NOT NULL, checksum TEXT "
            "NOT NULL, value TEXT, PRIMARY KEY (version, pkgarch, checksum, value))"
        )
    serve("--file", path).stop()
    put_back(tmp_path / "old", path)
    before = path.read_bytes()
    done = run_prservd("--file", path, "--port", "0", cwd=tmp_path)
    assert done.returncode == 1
    assert (
        f"{mark_file(path)} belongs to a database that servers have used here"
        in done.stderr
    )
    assert path.read_bytes() == before


@pytest.mark.parametrize("way", ["missing", "empty", "another"])
def test_a_replaced_database_is_refused_unless_it_is_said_to_be_new(
    serve, path, tmp_path, way
):
    server = serve("--file", path)
    server.get_pr(*M4, "a")
    server.stop()
    identity = mark_in(path)[0]
    for end in ENDS:
        Path(f"{path}{end}").unlink(missing_ok=True)
    if way == "empty":
        path.touch()
    if way == "another":
        other = serve("--file", tmp_path / "other.sqlite3", folder="other")
        other.get_pr(*ZIP, "x")
        other.stop()
        shutil.copy(tmp_path / "other.sqlite3", path)
    done = run_prservd("--file", path, "--port", "0", cwd=tmp_path)
    assert done.returncode == 1
    assert "start once with --new-database" in done.stderr
    assert path.exists() == (way != "missing")
    assert way != "empty" or path.stat().st_size == 0
    assert mark_in_file(path)[0] == identity
    server.command.append("--new-database")
    server.start()
    assert "replaces the database" in server.log or way == "missing"
    assert server.get_pr(*M4, "a") == "0"
    server.stop()
    assert mark_in_file(path) == mark_in(path)
    server.command.remove("--new-database")
    server.start()
    assert "CRITICAL" not in server.log


def test_new_database_can_be_set_in_the_environment(serve, path):
    serve("--file", path).stop()
    for end in ENDS:
        Path(f"{path}{end}").unlink(missing_ok=True)
    server = serve("--file", path, environment={"PRSERVD_NEW_DATABASE": "1"})
    assert server.get_pr(*M4, "a") == "0"


def test_late_rows_count(serve, path, tmp_path):
    """A copy from before they were taken over lacks revisions that were answered since."""
    with closing(sqlite3.connect(path)) as database:
        database.executescript(NOHIST_TABLE)
    server = serve("--file", path)
    assert server.get_pr(*M4, "here") == "0"
    copy(path, tmp_path / "copy")
    server.stop()
    counter = mark_in(path)[1]
    with closing(sqlite3.connect(path)) as database:
        with database:
            database.execute("INSERT INTO PRMAIN_nohist VALUES (?, ?, 'late', 20)", M4)
    server.start()
    assert server.get_pr(*M4, "late") == "20"
    assert mark_in(path)[1] == counter + 1
    server.stop()
    put_back(tmp_path / "copy", path)
    server.start()
    refuses(server, *M4, "new")


def test_late_rows_do_not_count_while_rolled_back(serve, path, tmp_path):
    with closing(sqlite3.connect(path)) as database:
        database.executescript(NOHIST_TABLE)
    server = serve("--file", path)
    copy(path, tmp_path / "copy")
    assert server.get_pr(*M4, "here") == "0"
    server.stop()
    put_back(tmp_path / "copy", path)
    with closing(sqlite3.connect(path)) as database:
        with database:
            database.execute("INSERT INTO PRMAIN_nohist VALUES (?, ?, 'late', 20)", M4)
    server.start()
    refuses(server, *M4, "new")
    assert server.get_pr(*M4, "late") == "20"


@pytest.mark.parametrize(
    "way", ["move", "link", "copy with its mark", "VACUUM", "BitBake"]
)
def test_other_changes_are_no_rollback(serve, path, tmp_path, way):
    server = serve("--file", path)
    server.get_pr(*M4, "a")
    server.get_pr(*M4, "b")
    server.stop()
    if way == "move":
        os.rename(path, tmp_path / "moved")
        server.command[server.command.index(str(path))] = str(tmp_path / "moved")
    elif way == "link":
        (tmp_path / "link").symlink_to(path)
        server.command[server.command.index(str(path))] = str(tmp_path / "link")
    elif way == "copy with its mark":
        shutil.copytree(path.parent, tmp_path / "copied")
        at = server.command.index(str(path))
        server.command[at] = str(tmp_path / "copied" / path.name)
    else:
        with closing(sqlite3.connect(path)) as database:
            if way == "VACUUM":
                database.execute("VACUUM")
            else:
                database.execute("INSERT INTO PRMAIN VALUES ('v', 'a', 'c', '7')")
                database.commit()
    server.start()
    assert "CRITICAL" not in server.log and rollback(server) is None
    assert server.get_pr(*M4, "c") == "2"


def test_rows_of_another_program_under_a_running_server_are_no_rollback(serve, path):
    server = serve("--file", path)
    server.get_pr(*M4, "a")
    with closing(sqlite3.connect(path)) as database:
        database.execute("INSERT INTO PRMAIN VALUES (?, ?, 'c', '7')", M4)
        database.commit()
    assert server.get_pr(*M4, "b") == "8"
    with closing(sqlite3.connect(path)) as database:
        database.execute("VACUUM")
    assert server.get_pr(*M4, "d") == "9"
    assert "CRITICAL" not in server.log


def test_without_full_sync_a_rollback_is_a_warning(serve, path, tmp_path):
    server = serve("--file", path, "--sync", "normal")
    lose_a_revision(server, path, tmp_path / "backup")
    server.start()
    assert "WARNING" in server.log and "CRITICAL" not in server.log
    assert "without --sync full, a power failure can be the cause" in server.log
    assert server.get_pr(*M4, "c") == "1"
    server.stop()
    server.start()
    assert "went back" not in server.log


def test_a_read_only_server_warns_and_writes_nothing(serve, path, tmp_path):
    server = serve("--file", path)
    lose_a_revision(server, path, tmp_path / "backup")
    before = mark_file(path).read_bytes()
    reader = serve("--file", path, "--read-only", folder="reader")
    assert "went back to an older state: its counter is 1, and it was 2" in reader.log
    assert "WARNING" in reader.log and "CRITICAL" not in reader.log
    assert reader.get_pr(*M4, "a") == "0"
    reader.stop()
    assert mark_file(path).read_bytes() == before


def test_a_read_only_server_makes_no_file(serve, path):
    serve("--file", path).stop()
    mark_file(path).unlink()
    serve("--file", path, "--read-only", folder="reader").stop()
    assert not mark_file(path).exists()


def test_a_running_reader_warns_of_a_restored_copy(serve, path, tmp_path):
    server = serve("--file", path)
    reader = serve("--file", path, "--read-only", folder="reader")
    server.get_pr(*M4, "a")
    copy(path, tmp_path / "backup")
    server.get_pr(*M4, "b")
    assert reader.get_pr(*M4, "b") == "1"
    restore_under(tmp_path / "backup", path)
    with reader.client() as client:
        assert client.test_pr(*M4, "b") is None
    poll(lambda: "went back" in reader.log, "the warning")


# ---- how it ends ----


def test_floors_for_all_packages_end_a_rollback(rolled_back, path):
    name = name_of_rollback(rolled_back)
    done = prserv_on(rolled_back, "floor", "--all", "--margin", "10")
    assert done.returncode == 0, done
    assert (
        f"the rollback {name} is over: new content gets revisions again\n"
        in done.stdout
    )
    assert rollback(rolled_back) is None
    assert "The rollback of the database" in rolled_back.log
    assert rolled_back.get_pr(*M4, "b") == "11"
    rolled_back.stop()
    assert mark_in_file(path) == mark_in(path)
    rolled_back.start()
    assert "CRITICAL" not in rolled_back.log


def test_json_of_floors_tells_what_was_accepted(rolled_back):
    name = name_of_rollback(rolled_back)
    for accepted in f'"{name}"', "null":
        done = prserv_on(rolled_back, "--json", "floor", "--all", "--margin", "10")
        assert done.stdout.endswith(f',"margin":"10","accepted":{accepted}}}\n')


def test_floors_for_single_packages_do_not_end_a_rollback(rolled_back):
    done = prserv_on(rolled_back, "floor", *M4, "9")
    assert done.stdout == "raised from 0 to 9\n"
    refuses(rolled_back, *M4, "b")


def test_another_server_on_the_database_sees_the_end(rolled_back, serve, path):
    other = serve("--file", path, folder="other")
    refuses(other, *M4, "b")
    done = prserv_on(rolled_back, "floor", "--all", "--margin", "10")
    assert done.returncode == 0, done
    poll(lambda: rollback(other) is None, "the end of the rollback")
    assert other.get_pr(*M4, "b") == "11"


def test_a_rollback_is_accepted_once_by_the_values_of_the_log(
    rolled_back, path, tmp_path
):
    name = name_of_rollback(rolled_back)
    identity, _ = mark_in(path)
    rolled_back.stop()
    rolled_back.command += ["--accept-rollback", f"{identity}:1"]
    rolled_back.start()
    assert (
        f"--accept-rollback was not used: the rollback {identity}:1 does not exist"
        in rolled_back.log
    )
    refuses(rolled_back, *M4, "b")
    rolled_back.stop()
    rolled_back.command[-1] = name
    rolled_back.start()
    assert "is over; new content gets revisions again" in rolled_back.log
    assert rolled_back.get_pr(*M4, "b") == "1"
    assert rolled_back.get_pr(*M4, "c") == "2"
    rolled_back.stop()
    put_back(tmp_path / "backup", path)
    rolled_back.start()
    assert name_of_rollback(rolled_back) != name
    refuses(rolled_back, *M4, "b")


@pytest.mark.parametrize(
    "value", ["", "x", "0123456789abcdef", "0123456789abcdef:x", "1:2"]
)
def test_an_invalid_value_is_refused(tmp_path, value):
    done = run_prservd("--accept-rollback", value, cwd=tmp_path)
    assert done.returncode == 2
    assert f"--accept-rollback: '{value}' is not IDENTITY:COUNTER" in done.stderr


def test_only_the_current_rollback_can_be_accepted_over_the_wire(rolled_back):
    identity, _, _ = name_of_rollback(rolled_back).partition(":")
    with rolled_back.client() as client:
        for name in f"{identity}:1", f"{identity}:3", "0123456789abcdef:2":
            with pytest.raises(Refused, match=f"the rollback {name} does not exist"):
                client.import_one("", "", f"floor:{name}", "0")
        refuses(rolled_back, *M4, "b")
        client.import_one("", "", f"floor:{identity}:2", "0")
        assert client.get_pr(*M4, "b") == "1"
        with pytest.raises(Refused, match="the rollback .* does not exist"):
            client.import_one("", "", f"floor:{identity}:2", "0")
        assert ("", "", f"floor:{identity}:2", "0") not in rows_of(rolled_back)


@pytest.fixture
def with_read_only_listener(serve, path, tmp_path):
    """A server whose database went back, and the address of its read-only listener."""
    server = serve("--file", path, "--bind", "127.0.0.1:0,ro")
    lose_a_revision(server, path, tmp_path / "backup")
    server.start()
    poll(lambda: len(server.addresses) > 1, "the address of the second listener")
    return server, ("127.0.0.1", int(server.addresses[1].rpartition(":")[2]))


def test_a_read_only_listener_accepts_no_rollback(with_read_only_listener):
    server, address = with_read_only_listener
    name = name_of_rollback(server)
    with Client(address) as client:
        client.import_one("", "", f"floor:{name}", "0")
    refuses(server, *M4, "b")


def test_a_read_only_listener_proposes_no_new_revision(with_read_only_listener):
    """Its clients would use one that was given before."""
    _, address = with_read_only_listener
    with Client(address) as client:
        with pytest.raises(Refused, match=REFUSED):
            client.get_pr(*M4, "c")
        assert client.get_pr(*M4, "a") == "0"


@pytest.mark.parametrize("rights", ["rw", "ro"])
def test_servers_below_are_refused(serve, with_read_only_listener, rights):
    """New content would get a revision below one that this server has given."""
    server, (_, port) = with_read_only_listener
    if rights == "rw":
        port = server.port
    below = serve("--upstream", f"127.0.0.1:{port}", folder="below")
    with pytest.raises(Refused, match="went back to an older state"):
        below.get_pr(*M4, "c")
    with pytest.raises(Refused, match="went back to an older state"):
        below.get_pr(*M4, "b")
    with server.client() as client:
        assert client.max_pr(*M4) == "0"  # not asked by a server
    assert prserv_on(server, "floor", "--all", "--margin", "5").returncode == 0
    assert below.get_pr(*M4, "c") == "5.0"


def test_migrate_warns_that_the_new_database_does_not_know(rolled_back, path, tmp_path):
    rolled_back.stop()
    done = prserv("migrate", path, tmp_path / "new.db")
    assert done.returncode == 0
    assert "raise all packages there before a build asks" in done.stderr
    done = prserv("migrate", tmp_path / "new.db", tmp_path / "again.db")
    assert done.returncode == 0 and done.stderr == ""


# ---- under running servers ----


def test_a_running_server_notices_a_restored_copy_and_adds_its_rows_again(
    serve, path, tmp_path
):
    server = serve("--file", path)
    server.get_pr(*M4, "a")
    copy(path, tmp_path / "backup")
    lost = {n: server.get_pr(*M4, f"lost{n}") for n in range(700)}
    assert server.get_pr(*ZIP, "z") == "0"
    restore_under(tmp_path / "backup", path)
    assert len(rows_in(path)) == 1
    refuses(server, *M4, "new")
    assert (
        "Added 701 rows again that the database had lost; 0 were not added"
        in server.log
    )
    for n in 0, 350, 699:
        assert server.get_pr(*M4, f"lost{n}", history=True) == lost[n]
    assert server.get_pr(*ZIP, "z") == "0"
    assert rollback(server)["counter"] == 1
    server.kill()
    server.start()
    assert "went back" in server.log
    refuses(server, *M4, "new")
    assert len(rows_in(path)) == 702


def test_a_server_that_opens_its_files_again_remembers_the_mark(serve, path):
    """FILE-mark may be behind what the server has given since."""
    server = serve("--file", path)
    server.get_pr(*M4, "a")
    poll(lambda: mark_in_file(path)[1] == 1, "the mark in the file")
    behind = mark_file(path).read_bytes()
    server.get_pr(*M4, "b")
    poll(lambda: mark_in_file(path)[1] == 2, "the next mark in the file")
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE prservd_mark SET counter = 1")
        database.execute("DELETE FROM PRMAIN WHERE checksum = 'b'")
        database.commit()
    mark_file(path).write_bytes(behind)
    Path(f"{path}-shm").unlink()
    poll(lambda: "no row is lost" in server.log, "the repair")
    refuses(server, *M4, "c")


def test_lost_content_is_answered_without_asking_twice(serve, path, tmp_path):
    server = serve("--file", path)
    server.get_pr(*M4, "a")
    copy(path, tmp_path / "backup")
    assert server.get_pr(*M4, "lost") == "1"
    restore_under(tmp_path / "backup", path)
    assert server.get_pr(*M4, "lost") == "1"


def test_a_row_whose_revision_was_given_again_is_named_and_the_package_raised(
    serve, path, tmp_path
):
    server = serve("--file", path)
    server.get_pr(*M4, "a")
    copy(path, tmp_path / "backup")
    assert server.get_pr(*M4, "lost") == "1"
    assert server.get_pr(*M4, "lost too") == "2"
    restore_under(tmp_path / "backup", path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("INSERT INTO PRMAIN VALUES (?, ?, 'other', '1')", M4)
        database.commit()
    refuses(server, *M4, "lost")
    assert (
        f"The row version {M4[0]}, pkgarch {M4[1]}, checksum lost, value 1 was acknowledged and "
        "is missing, and other has its revision by now" in server.log
    )
    assert (
        "Added 1 rows again that the database had lost; 1 were not added" in server.log
    )
    assert rows_of(server) == [
        (*M4, "a", "0"),
        (*M4, "floor:2", "2"),
        (*M4, "lost too", "2"),
        (*M4, "other", "1"),
    ]


def test_an_idle_server_compares_with_the_file_that_another_one_wrote(
    serve, path, tmp_path
):
    idle = serve("--file", path, folder="idle")
    busy = serve("--file", path, folder="busy")
    assert busy.get_pr(*M4, "a") == "0"
    assert idle.get_pr(*M4, "b") == "1"
    copy(path, tmp_path / "backup")
    assert busy.get_pr(*M4, "lost") == "2"
    busy.stop()
    restore_under(tmp_path / "backup", path)
    refuses(idle, *M4, "new")
    assert "went back" in idle.log


def test_a_database_that_is_replaced_under_a_running_server(serve, path, tmp_path):
    other = serve("--file", tmp_path / "other.sqlite3", folder="other")
    other.get_pr(*ZIP, "z")
    other.stop()
    server = serve("--file", path)
    server.get_pr(*M4, "a")
    restore_under(tmp_path / "other.sqlite3", path)
    with pytest.raises(Refused, match=REFUSED):
        server.get_pr(*M4, "new")
    assert "was replaced by another one while the server had it open" in server.log
    assert rollback(server)["counter"] is None


# ---- verify ----


def test_verify_reports_the_mark(rolled_back, path):
    for database in (str(path),), ():
        done = prserv("--server", rolled_back.address, "verify", *database)
        assert done.returncode == 1, done
        assert "\nmark: " in "\n" + done.stdout
    rolled_back.stop()
    assert "its counter is 1, and it was 2" in prserv("verify", path).stdout
    write_mark_file(path, "0123456789abcdef", 1)
    done = prserv("verify", path)
    assert done.returncode == 1
    assert f"this is not the database that {path}-mark belongs to" in done.stdout
    mark_file(path).unlink()
    assert prserv("verify", path).returncode == 0


# ---- network file systems ----

PRELOAD = BUILD / "tests" / "preload" / "libnetwork_fs.so"
NFS, FUSE = "0x6969", "0x65735546"
needs_preload = pytest.mark.skipif(bool(SANITIZER), reason="a sanitizer is preloaded")


def on(system):
    return {"LD_PRELOAD": str(PRELOAD), "NETWORK_FS": system}


@needs_preload
def test_on_a_network_file_system_the_file_names_the_machine_while_it_is_open(
    serve, path
):
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    first = serve("--file", path, environment=on(NFS))
    assert boot in mark_file(path).read_text()
    second = serve("--file", path, environment=on(NFS), folder="second")
    assert second.get_pr(*M4, "a") == "0"
    first.stop()
    assert records_in_file(path)[0][7] == boot
    second.stop()
    assert records_in_file(path)[0][6:8] == ["-", "-"]


@needs_preload
@pytest.mark.parametrize("system", [NFS, FUSE])
def test_a_database_that_another_machine_has_open(serve, path, tmp_path, system):
    server = serve("--file", path)
    server.stop()
    write_mark_file(path, *mark_in(path), machine="f" * 32, boot="b")
    if system == NFS:
        done = run_prservd(
            "--file", path, "--port", "0", cwd=tmp_path, environment=on(NFS)
        )
        assert done.returncode == 1
        assert f"another machine (machine-id {'f' * 32}) has it open" in done.stderr
        server.start()  # the same without a network file system
        assert server.get_pr(*M4, "a") == "0"
    else:
        other = serve("--file", path, environment=on(FUSE), folder="other")
        assert "may have it open" in other.log
        assert other.get_pr(*M4, "a") == "0"


@needs_preload
def test_a_machine_that_was_started_again_may_open_its_database(serve, path):
    server = serve("--file", path, environment=on(NFS))
    machine = records_in_file(path)[0][6]
    server.stop()
    write_mark_file(path, *mark_in(path), machine=machine, boot="before")
    server.start()
    assert server.get_pr(*M4, "a") == "0"
