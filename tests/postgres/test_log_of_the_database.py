# SPDX-License-Identifier: MIT
"""What the log says of a PostgreSQL database: at the start, and of a commit that takes long."""

import re

from harness import get_pr_request, poll
from postgres_cluster import name_of
from rows import M4, ZIP

SLOW_COMMIT = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_sleep(7); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON prserv_row
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow();
"""


def test_the_start_says_what_the_database_holds(serve, database):
    server = serve("--file", database)
    new = r"INFO .* The database \S+ is new: every package starts at revision 0 \(PostgreSQL \d"
    assert len(re.findall(new, server.log)) == 1
    for package in (M4, ZIP):
        for checksum in "ab":
            server.get_pr(*package, checksum)
    server.restart()
    holds = r"INFO .* The database \S+ holds 2 packages \(PostgreSQL \d"
    assert len(re.findall(holds, server.log)) == 1


def test_the_start_estimates_many_packages(serve, database, shared_cluster):
    serve("--file", database).stop()
    shared_cluster.psql(
        "INSERT INTO prserv_package (key, version, pkgarch) SELECT sha256(n::text::bytea), "
        "n::text, '' FROM generate_series(1, 12000) AS n; ANALYZE prserv_package",
        name_of(database),
    )
    server = serve("--file", database, folder="again")
    assert re.search(r"holds about 12000 packages \(PostgreSQL", server.log)


def test_a_commit_that_takes_long_is_reported(serve, database, shared_cluster):
    server = serve("--file", database)
    running = "WARNING .* A commit has been waiting for the database for [5-9] s; clients give up"
    done = r"WARNING .* The commit that waited for the database is done, after \d+ s\n"
    with server.client() as client:
        client.get_pr(*ZIP, "known")
        shared_cluster.psql(SLOW_COMMIT, name_of(database))
        client.post(get_pr_request(*M4, "new"))
        poll(lambda: re.search(running, server.log), "the warning")
        assert not re.search(done, server.log)
        assert client.receive() == {"value": "0"}
        poll(lambda: re.search(done, server.log), "the end")
