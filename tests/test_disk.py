"""The disk is full, the file is taken away: an error that says so, nothing lost, and a server
that goes on when the cause is gone."""

import contextlib
import resource
import sqlite3
import subprocess

import pytest
from harness import BUILD, SANITIZER, Refused, free_port, run_prservd

M4 = ("m4-1.4.19-r0", "core2-64")
LIMIT = 256 * 1024


def rows(path):
    with contextlib.closing(sqlite3.connect(path)) as database:
        return set(database.execute("SELECT checksum, value FROM PRMAIN"))


class Asker:
    """Asks for new content, and keeps what was answered."""

    def __init__(self, server):
        self.server = server
        self.given = {}
        self.client = server.client()

    def ask(self, number):
        checksum = f"{number}-{'x' * 2000}"
        self.given[checksum] = self.client.get_pr(*M4, checksum)

    def ask_until_refused(self, match):
        with pytest.raises(Refused, match=match) as refusal:
            for number in range(10000):
                self.ask(number)
        return str(refusal.value)

    def check(self, path):
        """Nothing was lost, nothing given twice, and known content is answered."""
        checksum, value = next(iter(self.given.items()))
        assert self.client.test_pr(*M4, checksum) == value
        assert set(self.given.items()) <= rows(path)
        values = [int(value) for value in self.given.values()]
        assert len(values) == len(set(values))

    def check_goes_on(self, path):
        greatest = max(int(value) for value in self.given.values())
        self.ask("afterwards")
        assert max(int(value) for value in self.given.values()) > greatest
        self.check(path)


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system can be mounted here; that needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(serve, small_disk):
    """Until there is room again; then without a restart, and with one."""
    path = small_disk / "rows.sqlite3"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1024 * 1024))
    server = serve("--file", path)
    asker = Asker(server)
    said = asker.ask_until_refused("disk is full")
    assert "nothing was stored" in said and str(path) in said
    assert said in server.log
    asker.check(path)
    asker.ask_until_refused("disk is full")
    ballast.unlink()
    asker.check_goes_on(path)
    server.kill()
    server.start()
    assert set(asker.given.items()) <= rows(path)


def test_a_start_on_a_full_disk(serve, small_disk):
    """What is known is answered; without a database there is a clear line."""
    path = small_disk / "rows.sqlite3"
    server = serve("--file", path)
    asker = Asker(server)
    asker.ask("known")
    server.kill()
    with contextlib.suppress(OSError), open(small_disk / "ballast", "wb", 0) as ballast:
        while True:
            ballast.write(bytes(4096))
    server.start()
    asker.client = server.client()
    asker.check(path)
    words = ("--file", small_disk / "other.sqlite3", "--port", free_port())
    other = run_prservd(*words, cwd=small_disk.parent)
    assert other.returncode == 1 and "disk is full" in other.stderr


def test_a_file_that_may_not_grow(server):
    path = server.folder / "prserv.sqlite3"
    limits = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (LIMIT, limits[1]))
    asker = Asker(server)
    said = asker.ask_until_refused("can't write to")
    assert path.name in said
    asker.check(path)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, limits)
    asker.check_goes_on(path)


def test_a_database_that_was_removed(server):
    """Nothing is stored where nobody would find it."""
    path = server.folder / "prserv.sqlite3"
    asker = Asker(server)
    asker.ask("before")
    aside = [
        (file, file.with_name(f"aside-{file.name}"))
        for file in path.parent.glob("prserv.*")
    ]
    for file, to in aside:
        file.rename(to)
    said = asker.ask_until_refused("was removed or replaced")
    assert "start the server again" in said
    assert not path.exists()
    for file, to in aside:
        to.rename(file)
    asker.check_goes_on(path)


def test_a_database_that_was_replaced(server):
    """The next start serves what is there then."""
    path = server.folder / "prserv.sqlite3"
    asker = Asker(server)
    asker.ask("before")
    other = path.with_name("other")
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("VACUUM INTO ?", (str(other),))
    other.rename(path)
    asker.ask_until_refused("was removed or replaced")
    server.stop()
    for left in "-wal", "-shm":
        path.with_name(path.name + left).unlink(missing_ok=True)
    server.start()
    asker.client = server.client()
    asker.check_goes_on(path)


@pytest.mark.skipif(bool(SANITIZER), reason="sanitizers want to be loaded first")
def test_folders_that_a_killed_start_made_are_synced_by_the_next(serve, tmp_path):
    """It was killed after it made `there`, before that was durable."""
    preload = BUILD / "tests" / "preload" / "libnote_sync.so"
    assert preload.exists()
    notes = tmp_path / "notes"
    folder = tmp_path / "there" / "new" / "newer"
    folder.parent.parent.mkdir()
    environment = {"LD_PRELOAD": str(preload), "NOTE_SYNC": str(notes)}
    server = serve("--file", folder / "rows.db", environment=environment)
    synced = notes.read_text().splitlines()
    for holder in tmp_path, tmp_path / "there", tmp_path / "there" / "new":
        assert str(holder) in synced
    assert server.get_pr(*M4, "a") == "0"
