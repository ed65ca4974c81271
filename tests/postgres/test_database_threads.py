# SPDX-License-Identifier: MIT
"""No thread can be started for a connection to PostgreSQL: requests wait, then get an error."""

import os
from pathlib import Path

import pytest

from harness import BUILD, Refused, asking, needs_preload, poll
from rows import M4

NO_THREADS = BUILD / "tests" / "preload" / "libno_threads.so"
FAILURE = "can't start a thread for a connection to the database"


def cpu_s(process):
    """Returns the seconds of processor time that the process has used."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@needs_preload
def test_a_server_goes_on_without_new_threads(
    serve, shared_cluster, database, tmp_path
):
    assert NO_THREADS.exists()
    forbid = tmp_path / "forbid"
    environment = {"LD_PRELOAD": str(NO_THREADS), "NO_THREADS": str(forbid)}
    server = serve("--file", database, "--patience", "8", environment=environment)
    assert server.get_pr(*M4, "a") == "0"
    forbid.touch()
    with server.client() as client:
        with pytest.raises(Refused, match=FAILURE):
            client.export(history=True)  # on a connection of its own
    shared_cluster.terminate_backends()
    before_s = cpu_s(server.process)
    with asking(server, *M4, "b") as answers:
        poll(lambda: "a new revision wait" in server.log, "the writer's line")
        assert server.ask({"ping": {}}) == {"alive": True}
        assert cpu_s(server.process) - before_s < 2  # it does not try without end
        forbid.unlink()
    assert answers == ["1"]
    poll(lambda: "0 of them got an error" in server.log, "the line about the end")
