# SPDX-License-Identifier: MIT
"""The operator's handbook, doc/operations.md."""

import errno
import os
import re
import shutil

import pytest

import postgres_cluster
from feed_maker import needs_feed
from handbook import HANDBOOK, run_session, run_shell, session, tools
from harness import ROOT, clean_environment

SECURITY = (ROOT / "doc" / "security.md").read_text()

# Reasons that a quoted message may hold, from the C library and from SQLite.
SYSTEM_REASONS = {
    os.strerror(errno.EADDRNOTAVAIL),
    os.strerror(errno.EACCES),
    os.strerror(errno.ECONNREFUSED),
    "Name or service not known",
    "attempt to write a readonly database",
    "unable to open database file",
    "disk I/O error",
}

# The first words of what tables quote besides messages.
COMMANDS = {"VACUUM", "fuser", "ip", "kill", "prserv", "prservd", "ulimit"}

STRING = r'"(?:\\.|[^"\\])*"'
STRINGS = rf"{STRING}(?:\s*(?:PRI\w+\s*)?{STRING})*"  # joined by the compiler
CHARACTER = r"'(?:\\.|[^'\\])+'"
COMMENT = r"/\*.*?\*/"
CONVERSION = r"%[-0-9.*]*(?:z?u|l*d|[a-z])"


def sources():
    """Returns all C sources, with adjacent string literals joined."""
    files = sorted((ROOT / "src").rglob("*.c"))
    text = "".join(file.read_text() for file in files)
    return re.sub(r'"\s*\n\s*"', "", text).replace('\\"', '"')


def generalised(text):
    """Returns a text with … for its conversions, numbers and system reasons."""
    for reason in SYSTEM_REASONS:
        text = text.replace(reason, "…")
    return re.sub(rf"{CONVERSION}|FILE:LINE|\d+", "…", text)


def program_texts():
    """Returns all string literals of the sources, generalised, one a line."""
    texts = []
    for file in sorted((ROOT / "src").rglob("*.[ch]")):
        tokens = re.finditer(
            f"{COMMENT}|{CHARACTER}|({STRINGS})", file.read_text(), re.S
        )
        for string in filter(None, (token[1] for token in tokens)):
            string = re.sub(r'"\s*PRI\w+\s*"', "d", string)
            string = re.sub(r'(?<!\\)"\s*"', "", string)[1:-1]
            texts.append(generalised(string.replace('\\"', '"')))
    # Parts of one message: "can't %s %s", with what could not be done.
    doings = re.findall(r'(?:sqlite_fail|step_once)\(.*, "([^"]+)", error\)', sources())
    texts += [f"can't {doing} …" for doing in doings]
    return "\n".join(texts)


def quotes(cells):
    return [quote for cell in cells for quote in re.findall(r"`([^`]+)`", cell)]


def quoted_messages():
    """Returns the messages that the tables of the handbook explain."""
    tables = HANDBOOK.partition("## What the errors mean")[2]
    cells = re.findall(r"^\| (`.*?) \|", tables, flags=re.M)
    assert len(cells) > 50
    return quotes(cells)


def all_quoted_messages():
    """Returns all messages in the tables of the handbook, and of the attacks in security.md.

    A message has several words, and does not begin like an option or a command.
    """
    tables = HANDBOOK.partition("## What the errors mean")[2]
    tables += SECURITY.partition("## Attacks")[2].partition("\n## ")[0]
    found = [
        quote
        for quote in quotes(re.findall(r"^\|.*\|$", tables, flags=re.M))
        if " " in quote
        and not quote.startswith("-")
        and quote.split()[0] not in COMMANDS
    ]
    assert len(found) > 100
    return list(dict.fromkeys(found))


@pytest.fixture(scope="module")
def texts():
    return program_texts()


@pytest.mark.parametrize("message", all_quoted_messages())
def test_quoted_messages_exist(texts, message):
    """Quoted messages have … for their variable parts, and may be excerpts.

    A message may be made of two literals, the second one after a colon or semicolon.
    """

    def is_in_program(text):
        parts = [part for part in re.split(r" ?… ?", generalised(text)) if part]
        return re.search(".*".join(map(re.escape, parts)), texts)

    assert is_in_program(message) or all(map(is_in_program, re.split("[:;] ", message)))


def warnings():
    """Returns the fixed part of each WARNING and ERROR in the sources, if it has one."""
    calls = re.findall(r'LOG_(?:WARNING|ERROR),\s*"([^"]+)"', sources())
    found = [max(re.split(r"%[a-z.*]+", call), key=len).strip(" :;,") for call in calls]
    assert len(found) > 10
    return [text for text in found if text]


@pytest.mark.parametrize("warning", warnings())
def test_every_warning_is_explained(warning):
    explained = [part for text in quoted_messages() for part in text.split("…")]
    longest = max(
        (part.strip(" :;,") for part in explained),
        key=lambda part: (part in warning) * len(part),
    )
    assert longest and longest in warning


def test_the_sessions_of_the_handbook_work_as_written(tmp_path):
    if not shutil.which("sqlite3"):
        pytest.skip("sqlite3 is not installed")
    environment = clean_environment(PATH=tools(tmp_path / "tools"))
    work = tmp_path / "work"
    work.mkdir()
    run_session(session(), work, environment)
    assert "Opened the log again" in (work / "mirror.log").read_text()


def test_the_session_with_a_relay_works_as_written(tmp_path):
    environment = clean_environment(PATH=tools(tmp_path / "tools"))
    work = tmp_path / "work"
    work.mkdir()
    run_session(session(" relay"), work, environment)


@needs_feed
def test_the_sessions_with_a_feed_work_as_written(tmp_path):
    environment = clean_environment(PATH=tools(tmp_path / "tools"))
    work = tmp_path / "work"
    work.mkdir()
    commands = list(session(" feed"))
    assert len(commands) > 30
    run_session(commands, work, environment)


@pytest.fixture
def cluster_environment():
    """A folder, and variables for a cluster in it, as its owner has them; the cluster runs."""
    postgres_cluster.require()
    cluster = postgres_cluster.Cluster()
    work = cluster.folder / "work"
    work.mkdir()
    postgres_cluster.give_to_owner(work)
    with open(cluster.data / "postgresql.conf", "a", encoding="utf-8") as settings:
        settings.write(f"port = {cluster.port}\nlisten_addresses = ''\n")
        settings.write(f"unix_socket_directories = '{cluster.folder}'\n")
    path = tools(cluster.folder / "tools")
    environment = clean_environment(
        PATH=f"{postgres_cluster.PROGRAMS}:{path}",
        HOME=str(work),
        PGHOST=str(cluster.folder),
        PGPORT=str(cluster.port),
        PGUSER="prservd",
        PGDATA=str(cluster.data),
        OLD=postgres_cluster.PROGRAMS,
        NEW=postgres_cluster.PROGRAMS,
    )
    user = postgres_cluster.owner()
    start = "pg_ctl start --silent --log=postgresql.log"
    assert run_shell(start, work, environment, **user).returncode == 0
    yield work, environment, user
    run_shell("pg_ctl stop --mode=immediate", work, environment, **user)
    shutil.rmtree(cluster.folder, ignore_errors=True)


@pytest.mark.slow
def test_the_sessions_with_postgresql_work_as_written(cluster_environment):
    work, environment, user = cluster_environment
    commands = list(session(" postgresql"))
    assert len(commands) > 30
    run_session(commands, work, environment, **user)
