# SPDX-License-Identifier: MIT
"""Every example in doc/http.md is run."""

import json
import re
import shlex

import pytest

from console import commands
from certificates import tls_words
from harness import ROOT, poll
from http_client import fetch, metrics, needs_http
from prserv_command import prserv_on

pytestmark = needs_http

DOCUMENT = (ROOT / "doc" / "http.md").read_text()


def examples(kind):
    """Yields the target and the output of each example in blocks of this kind."""
    for block in re.findall(rf"^```console {kind}\n(.*?)^```$", DOCUMENT, re.S | re.M):
        for command, output in commands(block):
            yield shlex.split(command), output


def target_of(command):
    program, url = command
    assert program == "curl"
    return url.removeprefix("http://127.0.0.1:8580")


@pytest.fixture
def example_server(serve):
    server = serve("--http", "127.0.0.1:0", "--audit", "off")
    for (program, *arguments), _ in examples("setup"):
        assert program == "prserv"
        assert prserv_on(server, *arguments).returncode == 0
    poll(lambda: fetch(server, "/readyz").status == 200)
    return server


def shape(value):
    """The names and types of a JSON value."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items()}
    return [shape(part) for part in value] if isinstance(value, list) else type(value)


def test_the_examples_in_text(example_server):
    for command, output in examples("text"):
        assert fetch(example_server, target_of(command)).text == output


def test_the_examples_in_json(example_server):
    n_examples = 0
    for kind, status in (("json", 200), ("json 400", 400), ("json 501", 501)):
        for command, output in examples(kind):
            response = fetch(example_server, target_of(command))
            assert response.status == status
            assert json.loads(response.text) == json.loads(output)
            n_examples += 1
    assert n_examples >= 6


def test_the_example_of_the_status(example_server):
    ((command, output),) = examples("shape")
    answer = json.loads(fetch(example_server, target_of(command)).text)
    assert shape(answer) == shape(json.loads(output))


def test_the_example_of_the_metrics(example_server):
    ((command, output),) = examples("metrics")
    text = fetch(example_server, target_of(command)).text
    parts = [re.escape(part) for part in output.strip("…\n").split("\n…\n")]
    assert re.search(r"\n(.*\n)*".join(parts), text)


def test_the_table_names_every_metric(serve, server_files):
    top = serve(folder="top")
    server = serve(
        *("--http", "127.0.0.1:0", "--upstream", top.address, *tls_words(server_files)),
        *("--bind", "127.0.0.1:0,tls"),
    )
    relay = serve("--http", "127.0.0.1:0", "--forward", top.address)
    poll(lambda: "prservd_database_rows" in metrics(server))
    poll(lambda: "prservd_tls_certificate_expiry_seconds" in metrics(server))
    text = fetch(server, "/metrics").text + fetch(relay, "/metrics").text
    exported = set(re.findall(r"^# TYPE (\w+)", text, re.M))
    described = set(re.findall(r"`((?:prservd|process)_\w+?)(?:\{[^}]*\})?`", DOCUMENT))
    assert exported == described - {"prserv_package_name"}


def test_every_path_has_an_example():
    paths = {f"/api/v1/{name}" for name in "status packages package log churn".split()}
    paths |= {"/healthz", "/readyz", "/metrics"}
    blocks = re.findall(r"^\$ curl '?http://127.0.0.1:8580(/[^?'\s]*)", DOCUMENT, re.M)
    assert set(blocks) == paths
