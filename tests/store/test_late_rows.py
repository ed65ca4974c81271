# SPDX-License-Identifier: MIT
"""Rows that a server of BitBake 2.8 or older writes after its tables were taken over."""


import pytest

from bitbake_database import (
    HIST,
    JOURNALS,
    NOHIST,
    BitBake,
    OldBitBake,
    make_database,
    read,
    write,
)
from harness import poll
from rows import M4, ZIP, locked, rows_of, store

INSERT = "INSERT INTO PRMAIN_nohist VALUES (?, ?, ?, ?)"
WARNING = "A server of BitBake 2.8 or older writes to "


def shared_values(server):
    return [line for line in server.log.splitlines() if "to two contents" in line]


# ---- the next start ----


@pytest.mark.parametrize("release", JOURNALS)
def test_going_back_to_bitbake_and_forth_again_loses_no_row(serve, path, release):
    """20 revisions that the old server has given are not given again."""
    server = serve("--file", path)
    assert server.get_pr(*M4, "first") == "0"
    server.stop()
    if release == "2.10":
        old = BitBake(path)
        given = [old.get_pr(*M4, f"there {n}") for n in range(20)]
        assert given[-1] == "20"
    else:
        old = OldBitBake(path, release)
        given = [old.get_pr(*M4, f"there {n}") for n in range(20)]
        assert given[-1] == 19
    old.close()
    server.start()
    greatest = int(given[-1])
    assert server.get_pr(*M4, "there 19") == str(greatest)
    assert server.get_pr(*M4, "second") == str(greatest + 1)
    assert len(rows_of(server)) == 22


def test_rows_that_were_replaced_are_taken_over(serve, path):
    """The number of rows stays the same."""
    make_database(path, NOHIST)
    server = serve("--file", path)
    server.stop()
    with OldBitBake(path) as old:
        assert old.get_pr(*M4, "aa") == 11
    assert len(read(path, "SELECT * FROM PRMAIN_nohist")) == len(NOHIST)
    server.start()
    with server.client() as client:
        assert client.test_pr(*M4, "aa") == "11"
        assert client.get_pr(*M4, "new") == "12"


def test_rows_with_history_are_taken_over(serve, path):
    make_database(path, hist=HIST)
    server = serve("--file", path)
    server.stop()
    with OldBitBake(path, history=True) as old:
        assert old.get_pr(*M4, "late") == 6
        assert old.get_pr(*M4, "later") == 7
    server.start()
    assert server.get_pr(*M4, "later", history=True) == "7"
    assert server.get_pr(*M4, "bb", history=True) == "4"


def test_late_rows_are_added_as_they_stand(serve, path):
    """Both contents keep the value that they were given; the next one gets more than both."""
    server = serve("--file", path)
    assert [server.get_pr(*M4, checksum) for checksum in "abc"] == ["0", "1", "2"]
    server.stop()
    with OldBitBake(path) as old:
        assert [old.get_pr(*M4, checksum) for checksum in "xyz"] == [0, 1, 2]
        assert old.get_pr(*ZIP, "x") == 0
    server.start()
    with server.client() as client:
        assert client.test_pr(*M4, "y") == client.test_pr(*M4, "b") == "1"
        assert client.get_pr(*M4, "c") == client.get_pr(*M4, "z") == "2"
        assert client.get_pr(*M4, "x", history=True) == "0"
        assert client.get_pr(*M4, "new") == "3"
        assert client.get_pr(*M4, "b") == "4"


def test_shared_values_are_counted_and_named_once(serve, path):
    server = serve("--file", path)
    store(server, [(*M4, "a", "1"), (*M4, "b", "2"), (*M4, "floor:3", "3")])
    assert "two contents" not in server.log
    server.stop()
    make_database(path, [(*M4, "x", 1), (*M4, "y", 2), (*M4, "z", 3), (*ZIP, "a", 1)])
    server.start()
    named = shared_values(server)
    assert len(named) == 3
    assert "Revision 1 of version m4-1.4.19-r0, pkgarch core2-64" in named[0]
    assert "contents, a and x" in named[0] and "contents, b and y" in named[1]
    assert "2 revisions belong to two contents each" in named[2]
    assert all("WARNING" in line for line in named)
    server.restart()
    assert not shared_values(server)


def test_many_shared_values_are_counted(serve, path):
    make_database(
        path,
        [(*M4, f"old {n}", n) for n in range(50)],
        main=[(*M4, f"new {n}", str(n)) for n in range(50)],
    )
    server = serve("--file", path)
    assert len(shared_values(server)) == 21
    assert "50 revisions belong to two contents each" in server.log
    assert server.get_pr(*M4, "next") == "50"


def test_the_marker_of_older_versions_proves_nothing(serve, path):
    make_database(path, NOHIST, main=[])
    write(path, "PRAGMA user_version = 1")
    server = serve("--file", path)
    assert server.get_pr(*M4, "bb") == "10"


def test_a_start_needs_the_write_lock_only_for_late_rows(serve, path):
    """Another program holds the write lock during the start."""
    make_database(path, NOHIST, HIST)
    server = serve("--file", path)
    server.stop()
    with locked(path):
        server.start()
        assert server.get_pr(*M4, "bb") == "10"


def test_one_late_row_among_many_is_found(serve, path):
    """Also where a start reads the tables instead of looking up each row."""
    old = [(*M4, f"{n:05}", n) for n in range(5000)]
    make_database(path, old, old[:2000])
    server = serve("--file", path)
    for table, checksum in (
        ("nohist", "00000"),
        ("nohist", "04999"),
        ("hist", "00777"),
    ):
        server.restart()
        assert "Taking over" not in server.log
        server.stop()
        write(
            path,
            f"UPDATE PRMAIN_{table} SET value = (SELECT max(CAST(value AS INTEGER)) + 1 "
            f"FROM PRMAIN) WHERE checksum = '{checksum}'",
        )
        server.start()
        assert f"Taking over 1 rows from PRMAIN_{table}" in server.log
    assert server.get_pr(*M4, "next") == "5003"


def test_an_invalid_late_row_does_not_keep_others_out(serve, path):
    make_database(path, NOHIST)
    server = serve("--file", path)
    server.stop()
    write(path, INSERT, [(*M4, "no", "x"), (*M4, "fraction", 20.5), (*M4, "yes", 12)])
    server.start()
    assert server.get_pr(*M4, "yes") == "12"
    assert server.get_pr(*M4, "new") == "13"
    assert "2 rows of PRMAIN_nohist hold no revision" in server.log


# ---- a running server ----


def test_a_running_server_warns_of_an_old_bitbake_beside_it(serve, path):
    server = serve("--file", path)
    assert server.get_pr(*M4, "a") == "0"
    with OldBitBake(path) as old:
        assert old.get_pr(*M4, "b") == 0
        assert server.get_pr(*M4, "c") == "1"
        poll(lambda: WARNING in server.log)
        for number in range(3):
            old.get_pr(*M4, f"again {number}")
            server.get_pr(*M4, f"again {number}")
    (line,) = [line for line in server.log.splitlines() if WARNING in line]
    assert (
        "WARNING" in line
        and f"{path}: 1 rows of PRMAIN_nohist are not in PRMAIN" in line
    )
    assert "stop that server, then restart prservd" in line
    server.restart()
    assert WARNING not in server.log
    assert {(*M4, "b", "0"), (*M4, "again 2", "3")} <= set(rows_of(server))


def test_a_look_up_of_known_content_finds_an_old_bitbake(serve, path):
    """Nothing has to be stored."""
    make_database(path, NOHIST)
    server = serve("--file", path)
    assert server.get_pr(*M4, "bb") == "10"
    write(path, INSERT, [(*M4, "late", 11)])
    assert server.get_pr(*M4, "bb") == "10"
    poll(lambda: WARNING in server.log)


def test_other_servers_of_prservd_are_no_reason_to_warn(serve, path):
    make_database(path, NOHIST)
    one = serve("--file", path, folder="one")
    two = serve("--file", path, folder="two")
    for number in range(5):
        one.get_pr(*M4, f"one {number}")
        two.get_pr(*M4, f"two {number}")
    one.stop()
    two.stop()
    assert WARNING not in one.log + two.log


# ---- read-only ----


def test_a_read_only_server_answers_from_the_union_at_all_times(serve, path):
    make_database(path, NOHIST)
    writer = serve("--file", path, folder="writer")
    reader = serve("--file", path, "--read-only", folder="reader")
    writer.get_pr(*M4, "ours")
    with reader.client() as client:
        assert client.max_pr(*M4) == "11"
        write(path, INSERT, [(*M4, "late", 15), (*ZIP, "late", 3)])
        assert client.max_pr(*M4) == "15"
        assert client.test_pr(*ZIP, "late") == "3"
        assert client.get_pr(*M4, "new") == "16"
    rows = rows_of(reader)
    assert len(rows) == len(set(rows)) == len(NOHIST) + 3


def test_an_export_of_the_union_has_no_row_twice(serve, path):
    """Rows of all three tables, with and without each other."""
    rows = [(*M4, f"{n:04}", n) for n in range(600)] + [(*ZIP, "z", 1)]
    make_database(
        path,
        rows[:400],
        rows[200:],
        [(*row[:3], str(row[3])) for row in rows[100:300]],
    )
    server = serve("--file", path, "--read-only")
    expected = sorted((*row[:3], str(row[3])) for row in rows)
    assert rows_of(server) == expected
    with server.client() as client:
        assert client.ask({"get-stats": {}})["database"]["rows"] == len(rows)
    assert rows_of(server, history=False) == [(*M4, "0599", "599"), (*ZIP, "z", "1")]
