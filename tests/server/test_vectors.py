# SPDX-License-Identifier: MIT
"""The request sequences of tests/vectors, run against real servers."""

import json

import pytest

from harness import ROOT

VECTORS = sorted((ROOT / "tests" / "vectors").glob("*.jsonl"))


def comparable(answer):
    """Makes answers equal that differ only in the order of rows, or in the names of databases."""
    if isinstance(answer, dict) and "readonly" in answer:
        return {"readonly": answer["readonly"]}
    if isinstance(answer, dict) and "datainfo" in answer:
        rows = sorted(json.dumps(row, sort_keys=True) for row in answer["datainfo"])
        return {**answer, "datainfo": rows}
    return answer


def start_servers(serve, descriptions, new_database):
    servers = []
    files = {}
    for index, description in enumerate(descriptions):
        shared = description["shares_database_of"]
        if shared is None:
            files[index] = new_database(index)
        options = ["--file", files[index if shared is None else shared]]
        if description["upstream"] is not None:
            options += ["--upstream", servers[description["upstream"]].address]
        if description["read_only"]:
            options += ["--read-only"]
        servers.append(serve(*options, folder=f"server-{index}"))
    return servers


def play(path, serve, new_database):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    servers = start_servers(serve, lines[0]["servers"], new_database)
    clients = [server.client() for server in servers]
    for number, line in enumerate(lines[1:], 2):
        answer = clients[line["server"]].ask_raw(line["request"])
        assert comparable(answer) == comparable(line["answer"]), f"line {number}"


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_vector(path, serve, tmp_path):
    play(path, serve, lambda index: tmp_path / f"server-{index}" / "rows.sqlite3")


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_vector_with_postgresql(path, serve, databases):
    play(path, serve, lambda index: databases())
