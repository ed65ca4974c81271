# SPDX-License-Identifier: MIT
"""The database, its -wal or its -shm are removed, replaced or cut while servers run: no answered
row is lost and no number is given twice, or the server ends and says so."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from harness import BUILD, SANITIZER, Refused, free_port, poll, run_prservd
from rows import M4, make_large_database


def file_of(server):
    return server.folder / "prserv.sqlite3"


def beside(path, end):
    return path.with_name(path.name + end)


def rows(path):
    with contextlib.closing(sqlite3.connect(path)) as database:
        return set(database.execute("SELECT checksum, value FROM PRMAIN"))


def ask(server, names):
    """Asks for new content; returns the rows that were answered."""
    with server.client() as client:
        return {(name, client.get_pr(*M4, name)) for name in names}


def names(prefix, n=50):
    return [f"{prefix}-{i}" for i in range(n)]


def assert_once(given):
    values = [value for _, value in given]
    assert len(values) == len(set(values))


def salvage_of(path):
    (folder,) = path.parent.glob(path.name + "-salvage-*")
    return folder


def poll_end(server):
    """Waits until the server has ended because of a loss."""
    poll(lambda: server.process.poll() is not None, "the end of the server")
    assert server.process.returncode == 1, server.log
    assert "CRITICAL" in server.log and "prserv floor" in server.log, server.log


@contextlib.contextmanager
def another_process(path):
    """Keeps the database open in another process, as BitBake does."""
    code = (
        "import sqlite3, sys; database = sqlite3.connect(sys.argv[1]);"
        "print(database.execute('SELECT count(*) FROM PRMAIN').fetchall(), flush=True);"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline()
        yield process
        process.stdin.close()
        process.wait()


REMOVALS = {
    "wal": ("-wal",),
    "shm": ("-shm",),
    "both": ("-wal", "-shm"),
}
removals = pytest.mark.parametrize("ends", REMOVALS.values(), ids=REMOVALS.keys())


@removals
def test_nothing_is_lost_when_only_one_server_has_the_database_open(server, ends):
    """The rows of the removed WAL are moved to the database before anything else is answered."""
    path = file_of(server)
    given = ask(server, names("before"))
    for end in ends:
        beside(path, end).unlink()
    given |= ask(server, names("after"))
    assert "no row is lost" in server.log
    server.kill()
    assert given <= rows(path)
    assert_once(given)
    server.start()
    given |= ask(server, ["at last"])
    assert_once(given)


@removals
def test_an_idle_server_notices(server, ends):
    path = file_of(server)
    given = ask(server, names("before"))
    for end in ends:
        beside(path, end).unlink()
    poll(lambda: "no row is lost" in server.log, "the warning")
    server.kill()
    assert given <= rows(path)


def test_a_wal_that_is_put_back_does_no_harm(server):
    """It is empty by then, so its old rows don't hide newer ones."""
    path = file_of(server)
    given = ask(server, names("before"))
    beside(path, "-wal").rename(path.with_name("aside"))
    given |= ask(server, names("after"))
    path.with_name("aside").rename(beside(path, "-wal"))
    given |= ask(server, ["at last"])
    server.kill()
    server.start()
    assert given <= rows(path)
    assert_once(given)


@removals
def test_a_stopped_server_leaves_everything_in_the_database(server, ends):
    path = file_of(server)
    given = ask(server, names("before"))
    for end in ends:
        beside(path, end).unlink()
    server.stop()
    assert given <= rows(path)


@removals
def test_a_second_server_gives_no_number_twice(server, serve, ends):
    path = file_of(server)
    given = ask(server, names("before"))
    for end in ends:
        beside(path, end).unlink()
    second = serve("--file", path, folder="second")
    given |= ask(second, names("second"))
    if server.process.poll() is None:
        given |= ask(server, names("after"))
    if server.process.poll() is not None:
        assert server.process.returncode == 1
    assert_once(given)
    assert given <= rows(path)


@pytest.mark.slow
@removals
def test_a_start_waits_for_a_process_that_uses_other_files(server, ends):
    """The other process is stopped (SIGSTOP), so it does not notice; the start fails in the end."""
    path = file_of(server)
    given = ask(server, names("before"))
    server.process.send_signal(signal.SIGSTOP)
    for end in ends:
        beside(path, end).unlink()
    result = run_prservd("--file", path, "--port", free_port(), cwd=server.folder)
    assert result.returncode == 1
    assert "removed or replaced, or it has lost its locks; stop that" in result.stderr
    server.process.send_signal(signal.SIGCONT)
    given |= ask(server, names("after"))
    server.kill()
    assert given <= rows(path)
    assert_once(given)


@pytest.mark.slow
@pytest.mark.parametrize("ends", [("-wal",), ("-wal", "-shm")], ids=["wal", "both"])
def test_beside_another_process_the_server_ends_and_saves_the_wal(server, ends):
    """A copy of the WAL is put back, so the next start has all rows."""
    path = file_of(server)
    given = ask(server, names("before"))
    with another_process(path) as other:
        for end in ends:
            beside(path, end).unlink()
        with pytest.raises((EOFError, ConnectionError)):
            ask(server, ["after"])
        poll_end(server)
        assert f"another process has the database open ({other.pid})" in server.log
        result = run_prservd("--file", path, "--port", free_port(), cwd=path.parent)
        assert result.returncode == 1
        assert (
            f"another process ({other.pid}) does not share the database"
            in result.stderr
        )
    assert given >= rows(salvage_of(path) / path.name) >= {("before-49", "49")}
    readme = (salvage_of(path) / "README").read_text()
    assert str(path) in readme and "prserv floor" in readme
    server.start()
    given |= ask(server, ["at last"])
    assert given <= rows(path)
    assert_once(given)


def test_beside_another_process_without_shm_nothing_is_answered(serve):
    """The other process would not notice what is written with a new -shm."""
    server = serve("--patience", "1")
    path = file_of(server)
    given = ask(server, names("before"))
    with another_process(path) as other:
        beside(path, "-shm").unlink()
        poll(
            lambda: f"another process ({other.pid}) does not share" in server.log,
            "the error",
        )
        with pytest.raises(Refused, match="stop that process"):
            ask(server, ["after"])
    given |= ask(server, ["after"])
    assert given <= rows(path)
    assert_once(given)


def test_a_new_wal_with_rows_ends_the_server(server):
    """Another program has opened the database after the removal, written and gone."""
    path = file_of(server)
    given = ask(server, names("before"))
    server.process.send_signal(signal.SIGSTOP)
    beside(path, "-wal").unlink()
    beside(path, "-wal").write_bytes(b"x" * 100)
    server.process.send_signal(signal.SIGCONT)
    poll_end(server)
    assert "holds other rows" in server.log
    assert given <= rows(salvage_of(path) / path.name)


@removals
def test_two_servers_go_on_after_a_restart_at_most(server, serve, ends):
    path = file_of(server)
    second = serve("--file", path, folder="second")
    given = ask(server, names("before")) | ask(second, names("second"))
    for end in ends:
        beside(path, end).unlink()
    for each in server, second:
        poll(
            lambda each=each: each.process.poll() or "no row is lost" in each.log,
            "the end of the server, or its recovery once it is alone",
        )
    for each in server, second:
        if each.process.poll() is not None:
            poll_end(each)
            each.start()
        given |= ask(each, names(f"after {each.folder.name}"))
    assert given <= rows(path)
    assert_once(given)


def test_a_salvage_overwrites_nothing(serve, tmp_path):
    path = tmp_path / "rows.db"
    for _ in range(2):
        server = serve("--file", path)
        ask(server, ["content"])
        with another_process(path):
            beside(path, "-wal").unlink()
            poll_end(server)
    assert len(list(tmp_path.glob("rows.db-salvage-*"))) == 2


def test_a_removed_database_ends_the_server(server):
    path = file_of(server)
    given = ask(server, names("before"))
    for file in list(path.parent.glob("prserv.sqlite3*")):
        file.unlink()
    poll_end(server)
    assert "was removed or replaced" in server.log
    assert not path.exists()
    assert given <= rows(salvage_of(path) / path.name)


def test_a_database_that_is_moved_away_and_back_keeps_its_rows(server):
    """Without its database a WAL is not touched by a start."""
    path = file_of(server)
    aside = path.with_name("aside")
    given = ask(server, names("before"))
    path.rename(aside)
    with pytest.raises((EOFError, ConnectionError)):
        ask(server, ["meanwhile"])
    poll_end(server)
    result = run_prservd("--file", path, "--port", free_port(), cwd=server.folder)
    assert result.returncode == 1 and "is missing or empty" in result.stderr
    assert not path.exists()
    aside.rename(path)
    server.start()
    given |= ask(server, names("after"))
    assert given <= rows(path)
    assert_once(given)


def test_a_replaced_database_is_served_without_the_old_wal(server):
    """SQLite would add the rows of that WAL to the new database, page by page."""
    path = file_of(server)
    ask(server, ["first"])
    other = path.with_name("other")
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("VACUUM INTO ?", (str(other),))
    given = ask(server, names("before"))
    other.rename(path)
    poll_end(server)
    assert given <= rows(salvage_of(path) / path.name)
    server.start()
    assert rows(path) == {("first", "0")}


@pytest.mark.parametrize("how", ["copied over", "cut"])
def test_a_database_that_is_overwritten_ends_the_server(server, tmp_path, how):
    path = file_of(server)
    given = ask(server, names("before"))
    other = tmp_path / "other.db"
    make_large_database(other, 100)
    if how == "cut":
        os.truncate(path, 0)
    else:
        shutil.copyfile(other, path)
    with pytest.raises((EOFError, ConnectionError)):
        ask(server, ["after"])
    poll_end(server)
    assert "wrote over it" in server.log
    folder = salvage_of(path)
    assert beside(folder / path.name, "-wal").exists()
    assert not beside(path, "-wal").exists()
    if how == "copied over":
        refused = run_prservd("--file", path, "--port", "0", cwd=tmp_path)
        assert refused.returncode == 1 and "--new-database" in refused.stderr
        server.command.append("--new-database")
        server.start()
        assert ("first", "0") not in rows(path) and not given & rows(path)


def test_checkpoints_of_two_servers_are_no_alarm(server, serve):
    path = file_of(server)
    second = serve("--file", path, folder="second")
    given = set()
    for round_ in range(8):
        given |= ask((server, second)[round_ % 2], names(f"round {round_}", 10))
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute(
                f"PRAGMA wal_checkpoint({('PASSIVE', 'TRUNCATE')[round_ % 2]})"
            )
    assert given <= rows(path)
    assert_once(given)
    for each in server, second:
        assert each.process.poll() is None and "CRITICAL" not in each.log


def test_an_export_goes_on_as_the_server_does(serve, tmp_path):
    path = tmp_path / "rows.db"
    make_large_database(path, 100_000)
    server = serve("--file", path)
    given = ask(server, ["before"])
    with server.client() as client:
        client.post({"export": {"history": True}})
        poll(lambda: client.unread_bytes(), "the answer")
        beside(path, "-wal").unlink()
        poll(lambda: "no row is lost" in server.log, "the warning")
        assert len(client.receive()["datainfo"]) == 100_001
    given |= ask(server, ["after"])
    server.kill()
    assert given <= rows(path)


def test_a_mirror_reads_the_copy_that_replaces_its_file(serve, tmp_path):
    """Each copy was made by VACUUM INTO, so there is no WAL whose rows could be lost."""
    path = tmp_path / "rows.db"
    mirror = tmp_path / "mirror.db"

    def copy():
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("VACUUM INTO ?", [str(tmp_path / "new.db")])
        (tmp_path / "new.db").rename(mirror)

    writer = serve("--file", path)
    ask(writer, ["first"])
    copy()
    reader = serve("--file", mirror, "--read-only")
    with reader.client() as client:
        assert client.test_pr(*M4, "first") == "0"
        ask(writer, ["second"])
        copy()
        assert client.test_pr(*M4, "second") == "1"
    assert "reading that one from now on" in reader.log
    assert not list(tmp_path.glob("mirror.db-salvage*"))


def test_a_read_only_server_does_not_mix_the_old_wal_with_another_database(
    serve, tmp_path
):
    path = tmp_path / "rows.db"
    writer = serve("--file", path)
    ask(writer, ["content"])
    reader = serve("--file", path, "--read-only")
    with reader.client() as client:
        assert client.test_pr(*M4, "content") == "0"
        writer.kill()
        other = tmp_path / "other.db"
        shutil.copyfile(path, other)
        other.rename(path)
        with pytest.raises((EOFError, ConnectionError)):
            while True:
                client.test_pr(*M4, "content")
    poll_end(reader)


def test_a_cut_shm_ends_the_server_with_a_line(server):
    path = file_of(server)
    given = ask(server, names("before"))
    os.truncate(beside(path, "-shm"), 0)
    with contextlib.suppress(EOFError, ConnectionError, Refused):
        given |= ask(server, names("after"))
    poll(lambda: server.process.poll() is not None, "the end of the server")
    assert server.process.returncode == 1
    assert server.log.count("CRITICAL") == 1 and "SIGBUS" in server.log
    server.start()
    given |= ask(server, ["at last"])
    assert given <= rows(path)
    assert_once(given)


@pytest.mark.skipif(bool(SANITIZER), reason="sanitizers want to be loaded first")
def test_a_network_file_system_is_named_at_the_start(serve):
    preload = BUILD / "tests" / "preload" / "libnetwork_fs.so"
    assert preload.exists()
    server = serve(environment={"LD_PRELOAD": str(preload), "NETWORK_FS": "0x6969"})
    assert "is on a network file system (NFS)" in server.log
    assert server.get_pr(*M4, "a") == "0"


def test_a_full_disk_keeps_the_rows_of_the_wal(small_disk, serve):
    """There is room for the WAL, but not for the database."""
    path = small_disk / "rows.sqlite3"
    make_large_database(path, 4000)
    server = serve("--audit", "off", "--file", path)
    given = ask(server, names("before", 5))
    room = os.statvfs(small_disk)
    keep = 160_000  # of the WAL, only a part has rows
    assert path.stat().st_size > keep
    spare = room.f_bavail * room.f_bsize - keep
    (small_disk / "ballast").write_bytes(bytes(max(spare, 0)))
    with another_process(path):
        beside(path, "-wal").unlink()
        poll_end(server)
    assert "can't be copied (No space left on device)" in server.log, server.log
    folder = salvage_of(path)
    assert not (folder / path.name).exists()
    shutil.copyfile(path, Path(small_disk.parent) / path.name)
    shutil.copyfile(
        beside(folder / path.name, "-wal"), small_disk.parent / f"{path.name}-wal"
    )
    assert given <= rows(small_disk.parent / path.name)
