# SPDX-License-Identifier: MIT
"""prserv verify: checks an SQLite file, a PostgreSQL database, or what a server exports."""

import json
import sqlite3
from contextlib import closing

import pytest

import postgres_cluster
from bitbake_database import HIST, NOHIST, TABLE, insert_broken, make_database, write
from fake_upstream import fake_server
from postgres_cluster import both_kinds, name_of
from prserv_command import prserv
from rows import M4, ZIP, make_database_with_invalid_rows, make_large_database, store

ROWS = [(*M4, "a", "0"), (*M4, "a", "2"), (*M4, "b", "1"), (*ZIP, "a", "1")]

KINDS = ["damage", "schema", "invalid_rows", "shared_values", "old_rows", "mark"]


def verify(database, status=0, **environment):
    """Returns what verify prints as JSON; database may be None, for the server."""
    words = [] if database is None else [database]
    done = prserv("--json", "verify", *words, **environment)
    assert done.returncode == status, done
    answer = json.loads(done.stdout)
    assert answer["clean"] == (status == 0)
    return answer


def findings(answer):
    """Returns the kinds of which something was found, with their numbers."""
    counts = {kind: found["count"] for kind, found in answer["findings"].items()}
    return {kind: count for kind, count in counts.items() if count}


def first(answer, kind):
    return answer["findings"][kind]["first"]


# ---- all kinds of databases ----


@pytest.fixture(params=["file", "server"])
def check(request, kind, serve, shared):
    """Verifies a server's database, directly or through the server."""

    def check_rows(rows, status=0):
        server = serve("--file", shared)
        store(server, rows)
        if request.param == "server":
            return verify(None, status, PRSERV_HOST=server.address)
        return verify(shared, status)

    return check_rows


@both_kinds
def test_a_database_in_use_is_clean(check):
    answer = check(ROWS)
    assert answer["rows"] == 4 and findings(answer) == {}


@both_kinds
def test_a_value_of_two_contents_is_found(check):
    answer = check([*ROWS, (*M4, "c", "2"), (*M4, "d", "2")], status=1)
    assert findings(answer) == {"shared_values": 1}
    (found,) = first(answer, "shared_values")
    assert (found["version"], found["pkgarch"]) == M4
    assert (found["checksum"], found["value"]) == ("a", "2")
    assert found["text"] == "the value 2 is also that of checksum d; 3 rows have it"


@both_kinds
def test_floors_share_values_with_anything(check):
    rows = [*ROWS, (*M4, "floor:2", "2"), (*M4, "floor:", "2"), (*ZIP, "floor:1", "1")]
    answer = check(rows)
    assert answer["rows"] == 7 and findings(answer) == {}


@both_kinds
def test_one_value_in_two_packages_is_not_shared(check):
    assert findings(check([(*M4, "a", "1"), (*ZIP, "b", "1")])) == {}


def test_the_kinds_of_checks_depend_on_the_database(path, serve):
    server = serve("--file", path)
    assert verify(path)["checked"] == KINDS
    answer = verify(None, PRSERV_HOST=server.address)
    assert answer["checked"] == ["invalid_rows", "shared_values", "mark"]


def test_the_server_may_be_named_by_an_option(server):
    done = prserv("--server", server.address, "verify")
    assert done.returncode == 0
    assert done.stdout == f"{server.address}: 0 rows checked, nothing found\n"


def test_a_file_is_checked_although_a_server_is_named(path, serve):
    serve("--file", path)
    assert verify(path, PRSERV_HOST="127.0.0.1:1")["rows"] == 0


# ---- rows that are not revisions ----


def test_rows_without_a_revision_are_found_in_a_file(path):
    make_database_with_invalid_rows(path)
    answer = verify(path, status=1)
    assert findings(answer) == {"invalid_rows": 3} and answer["rows"] == 4
    assert sorted(
        (row["checksum"], row["value"], row["text"])
        for row in first(answer, "invalid_rows")
    ) == [
        ("empty", "", "the value '' is not a revision"),
        ("null", None, "the value is NULL or a blob"),
        ("text", "abc", "the value 'abc' is not a revision"),
    ]


def test_rows_without_a_revision_are_found_through_a_server(path, serve):
    make_database_with_invalid_rows(path)
    answer = verify(None, status=1, PRSERV_HOST=serve("--file", path).address)
    assert findings(answer) == {"invalid_rows": 3}


def test_equal_values_that_are_not_revisions_are_not_shared(path):
    make_database(path, main=[(*M4, "a", "x"), (*M4, "b", "x")])
    assert findings(verify(path, status=1)) == {"invalid_rows": 2}


def test_text_that_is_not_utf_8_is_printed(path):
    make_database(path, main=[])
    insert_broken(path, "PRMAIN")
    (found,) = first(verify(path, status=1), "invalid_rows")
    assert found["checksum"] == "broken value" and found["value"] == "99\ufffd"


def test_keys_that_are_not_texts_are_found(path):
    write(path, TABLE.replace("TEXT", ""))
    write(path, "INSERT INTO PRMAIN VALUES (?, ?, ?, ?)", [("v", "a", b"blob", "1")])
    answer = verify(path, status=1)
    (found,) = first(answer, "invalid_rows")
    assert found["text"] == "the checksum is not a text"


# ---- the output ----


def test_the_first_20_of_a_kind_are_named(path):
    make_database(path, main=[(*M4, f"c{i:02}", f"x{i}") for i in range(25)])
    answer = verify(path, status=1)
    assert findings(answer) == {"invalid_rows": 25}
    assert len(first(answer, "invalid_rows")) == 20
    lines = prserv("verify", path).stdout.splitlines()
    assert lines[0] == (
        "invalid row: version m4-1.4.19-r0, pkgarch core2-64, checksum c00: "
        "the value 'x0' is not a revision"
    )
    assert lines[20:] == [
        "invalid row: and 5 more",
        f"{path}: 25 rows checked, 25 findings",
    ]


def test_findings_about_the_whole_file_are_one_line_each(path):
    write(path, "CREATE TABLE other (x)")
    assert prserv("verify", path).stdout == (
        f"schema: the table PRMAIN is missing\n{path}: 0 rows checked, 1 findings\n"
    )


def test_control_characters_do_not_reach_the_terminal(path):
    make_database(path, main=[("v\x1b[2J\n", "a", "c", "x")])
    done = prserv("verify", path)
    assert "version v?[2J?, pkgarch a" in done.stdout


# ---- the file ----


def change(path, **replaced):
    """Creates a PRMAIN whose definition differs from BitBake's."""
    sql = TABLE
    for old, new in replaced.items():
        assert old in sql
        sql = sql.replace(old, new)
    write(path, sql)


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("value TEXT", "value INTEGER", "the column value has the type INTEGER"),
        ("version TEXT", "version", "the column version has no type, not TEXT"),
        ("pkgarch TEXT", "pkgarch TEXT COLLATE NOCASE", "compares with NOCASE"),
        ("checksum, value)", "checksum)", "a key of version, pkgarch"),
        (
            "PRIMARY KEY (version",
            "PRIMARY KEY (version COLLATE NOCASE",
            "a key of version, pkgarch",
        ),
        ("value TEXT", "value TEXT, time TEXT", "unknown column time"),
        ("value", "v", "the column value is missing"),
    ],
)
def test_a_table_of_another_shape_is_found(path, old, new, said):
    change(path, **{old: new})
    answer = verify(path, status=1)
    texts = [found["text"] for found in first(answer, "schema")]
    assert any(said in text for text in texts), texts


def test_types_that_sqlite_takes_for_text_and_more_indexes_are_allowed(path):
    change(path, **{"version TEXT": "version VARCHAR(80)"})
    write(path, "CREATE INDEX more ON PRMAIN (value)")
    verify(path)


def test_a_unique_index_over_the_four_columns_is_a_key(path):
    change(path, **{"PRIMARY KEY (version": "UNIQUE (version"})
    verify(path)


def test_a_trigger_is_found(path):
    make_database(path, main=[])
    write(path, "CREATE TRIGGER t AFTER INSERT ON PRMAIN BEGIN DELETE FROM PRMAIN; END")
    (found,) = first(verify(path, status=1), "schema")
    assert found["text"] == "PRMAIN: the trigger t may change or drop rows"


def test_a_database_without_the_table_is_found(path):
    write(path, "CREATE TABLE other (x)")
    (found,) = first(verify(path, status=1), "schema")
    assert found["text"] == "the table PRMAIN is missing"


def test_old_tables_that_were_taken_over_are_clean(path, serve):
    make_database(path, NOHIST, HIST)
    serve("--file", path)
    assert verify(path)["rows"] == len(set(NOHIST) | set(HIST))


def test_an_old_table_of_another_shape_is_found(path):
    make_database(path, main=ROWS)
    write(path, "CREATE TABLE PRMAIN_hist (version TEXT, value INTEGER)")
    answer = verify(path, status=1)
    assert findings(answer) == {"schema": 1} and answer["rows"] == 4
    assert "no such column" in first(answer, "schema")[0]["text"]


def test_late_rows_of_old_tables_are_found(path, serve):
    make_database(path, NOHIST)
    serve("--file", path)
    write(path, "INSERT INTO PRMAIN_nohist VALUES ('late', 'all', 'c', 12)")
    write(path, "INSERT INTO PRMAIN_nohist VALUES ('late', 'all', 'not', 'x')")
    answer = verify(path, status=1)
    assert findings(answer) == {"old_rows": 1}
    (found,) = first(answer, "old_rows")
    assert (found["version"], found["value"]) == ("late", "12")
    assert found["text"] == (
        "PRMAIN_nohist has the value 12, PRMAIN does not; "
        "the next start of prservd takes it over"
    )


def test_rows_of_old_tables_that_were_updated_late_are_found(path, serve):
    """BitBake 2.8 also updates rows."""
    make_database(path, NOHIST)
    serve("--file", path)
    write(path, "UPDATE PRMAIN_nohist SET value = 99 WHERE checksum = 'bb'")
    (found,) = first(verify(path, status=1), "old_rows")
    assert (found["checksum"], found["value"]) == ("bb", "99")


@pytest.mark.parametrize("main", [None, []], ids=["no PRMAIN", "an empty PRMAIN"])
def test_old_tables_that_no_server_has_taken_over_are_found(path, main):
    make_database(path, None, HIST, main)
    answer = verify(path, status=1)
    assert findings(answer) == {"old_rows": len(HIST)}
    assert (
        "the next start of prservd takes it over"
        in first(answer, "old_rows")[0]["text"]
    )


def test_a_damaged_page_is_found(path):
    make_large_database(path, 20_000)
    size = path.stat().st_size
    with open(path, "r+b") as file:
        file.seek(size // 2 // 4096 * 4096)
        file.write(b"\xff" * 4096)
    answer = verify(path, status=1)
    assert answer["findings"]["damage"]["count"] > 0


def test_a_truncated_file_is_found(path):
    make_large_database(path, 20_000)
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size // 2 // 4096 * 4096)
    assert verify(path, status=1)["findings"]["damage"]["count"] > 0


def test_rows_that_an_index_lacks_are_found(path):
    make_database(path, main=ROWS)
    write(path, "CREATE INDEX more ON PRMAIN (value) WHERE 0")
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA writable_schema = ON")
        database.execute(
            "UPDATE sqlite_master SET sql = replace(sql, ' WHERE 0', '') WHERE name = 'more'"
        )
        database.commit()
    answer = verify(path, status=1)
    assert answer["findings"]["damage"]["count"] > 0 and answer["rows"] == 4


def test_a_file_is_not_changed(path, serve):
    serve("--file", path).get_pr(*M4, "a")
    files = sorted(path.parent.iterdir())
    before = [file.read_bytes() for file in files if not file.name.endswith("-shm")]
    assert verify(path)["rows"] == 1
    assert sorted(path.parent.iterdir()) == files
    assert before == [
        file.read_bytes() for file in files if not file.name.endswith("-shm")
    ]


def test_a_file_is_not_changed_after_its_server_has_ended(path, serve):
    with serve("--file", path) as server:
        server.get_pr(*M4, "a")
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    assert verify(path)["rows"] == 1
    after = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    assert before.keys() == after.keys()
    assert before["rows.sqlite3"] == after["rows.sqlite3"]
    assert before["rows.sqlite3-wal"] == after["rows.sqlite3-wal"]


def test_servers_answer_while_a_file_is_verified(path, serve):
    make_large_database(path, 50_000)
    server = serve("--file", path)
    with server.client() as client:
        for number in range(5):
            assert verify(path)["rows"] == 50_000 + number
            client.get_pr(*M4, str(number))


# ---- what can't be read ----


def test_exit_2_means_that_the_database_cannot_be_read(tmp_path):
    (tmp_path / "text").write_text("no database\n" * 100)
    for name, said in (
        ("none", "No such file"),
        ("text", "is not an SQLite database"),
        (".", "can't be read"),
    ):
        done = prserv("--json", "verify", tmp_path / name)
        assert done.returncode == 2 and said in done.stderr, done
        assert done.stdout == ""


def test_exit_2_means_a_wrong_command_line():
    assert prserv("verify", "a", "b").returncode == 2
    assert prserv("verify", "--frob").returncode == 2


def test_exit_3_means_no_connection():
    done = prserv("--server", "127.0.0.1:1", "verify")
    assert done.returncode == 3 and "Connection refused" in done.stderr


def test_a_server_that_refuses_the_export_is_not_a_finding():
    with fake_server(lambda _: {"invoke-error": {"message": "not today"}}) as fake:
        done = prserv("--server", fake.address, "verify")
    assert done.returncode == 2 and "not today" in done.stderr and done.stdout == ""


if postgres_cluster.BUILT:

    def test_exit_3_means_no_connection_to_postgresql(database):
        done = prserv("verify", database.replace(name_of(database), "none"))
        assert done.returncode == 3 and '"none" does not exist' in done.stderr


# ---- PostgreSQL ----


def test_rows_without_a_revision_are_found_in_postgresql(
    shared_cluster, database, serve
):
    store(serve("--file", database), ROWS)
    shared_cluster.psql(
        "INSERT INTO prserv_row SELECT id, sha256('null'), '', '\\x00', 'null', NULL "
        "FROM prserv_package LIMIT 1",
        name_of(database),
    )
    answer = verify(database, status=1)
    assert findings(answer) == {"invalid_rows": 1} and answer["rows"] == 5
    assert answer["checked"] == [
        "damage",
        "schema",
        "invalid_rows",
        "shared_values",
        "mark",
    ]


@pytest.mark.parametrize(
    "sql, kind, text",
    [
        ("DROP TABLE prserv_row CASCADE", "schema", "the table prserv_row is missing"),
        (
            "ALTER TABLE prserv_row ALTER value TYPE varchar(9)",
            "schema",
            "the column value has the type character varying(9), not text",
        ),
        (
            "ALTER TABLE prserv_row ALTER checksum DROP NOT NULL",
            "schema",
            "prserv_row: the column checksum may be NULL",
        ),
        (
            'ALTER TABLE prserv_row ALTER checksum TYPE text COLLATE "en-x-icu"',
            "schema",
            "the column checksum compares with en-x-icu, not with C",
        ),
        (
            "ALTER TABLE prserv_row DROP COLUMN rest CASCADE",
            "schema",
            "prserv_row: the column rest is missing",
        ),
        (
            "DROP INDEX prserv_row_once",
            "schema",
            "a unique index over (package, digest, place, rest) is missing",
        ),
        (
            "ALTER TABLE prserv_package DROP CONSTRAINT prserv_package_key_key",
            "schema",
            "prserv_package: a unique index over (key) is missing",
        ),
        ("INSERT INTO prserv_schema VALUES (1)", "schema", "has 2 rows instead of one"),
        (
            "ALTER SEQUENCE prserv_package_id_seq RESTART",
            "schema",
            "is behind its rows",
        ),
        (
            "UPDATE prserv_row SET package = 99 WHERE checksum = 'b'",
            "damage",
            "1 rows belong to no package",
        ),
        (
            "UPDATE prserv_package SET key = sha256(key)",
            "damage",
            "a key that is not the hash",
        ),
        (
            "UPDATE prserv_row SET digest = sha256(digest) WHERE checksum = 'b'",
            "damage",
            "1 rows have a digest that is not the hash of checksum",
        ),
    ],
)
def test_faults_of_the_tables_in_postgresql_are_found(
    shared_cluster, database, serve, sql, kind, text
):
    server = serve("--file", database)
    store(server, [("v", "p", "a", "0"), ("v", "p", "b", "1")])
    server.stop()
    shared_cluster.psql("DROP VIEW prmain", name_of(database))
    assert findings(verify(database)) == {}
    shared_cluster.psql(sql, name_of(database))
    answer = verify(database, status=1)
    assert set(findings(answer)) == {kind}
    assert text in answer["findings"][kind]["first"][0]["text"]


def test_a_password_is_not_printed(database, serve):
    serve("--file", database).stop()
    uri = database.replace("prservd@", "prservd:secret@")
    done = prserv("verify", uri)
    assert done.returncode == 0 and "secret" not in done.stdout
    assert "0 rows checked, nothing found" in done.stdout
