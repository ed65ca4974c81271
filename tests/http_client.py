# SPDX-License-Identifier: MIT
"""Asks the HTTP interface of a server."""

import http.client
import json
import re
import socket

import pytest

from harness import BUILD, TIMEOUT_S, poll

MODULE = BUILD / "src" / "http" / "prservd-http.so"

needs_http = pytest.mark.skipif(
    not MODULE.exists(),
    reason="prservd was built without HTTP (Debian: libmicrohttpd-dev)",
)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=TIMEOUT_S)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def http_address(server, number=0):
    """The address in the server's log: HOST:PORT, or unix:///PATH."""
    found = poll(
        lambda: re.findall(r"Serving HTTP on (?:http://)?(\S+?)/?\n", server.log)
    )
    return found[number]


def http_port(server):
    return int(http_address(server).rpartition(":")[2])


def connect(server, number=0):
    address = http_address(server, number)
    if address.startswith("unix://"):
        return UnixConnection(address.removeprefix("unix://"))
    host, _, port = address.rpartition(":")
    return http.client.HTTPConnection(host.strip("[]"), int(port), timeout=TIMEOUT_S)


def fetch(server, target, method="GET", headers=None, number=0):
    """Returns the response, with its text as .text."""
    connection = connect(server, number)
    try:
        connection.request(method, target, headers=headers or {})
        response = connection.getresponse()
        response.text = response.read().decode()
        return response
    finally:
        connection.close()


def fetch_json(server, target, status=200):
    response = fetch(server, target)
    assert response.status == status, response.text
    assert response.headers["Content-Type"] == "application/json"
    return json.loads(response.text)


def metrics(server, headers=None):
    """Returns the samples of /metrics: "name{labels}" → value."""
    response = fetch(server, "/metrics", headers=headers)
    assert response.status == 200
    lines = response.text.splitlines()
    return {
        name: float(value)
        for name, value in (
            line.rsplit(" ", 1) for line in lines if not line.startswith("#")
        )
    }
