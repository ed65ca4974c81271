# SPDX-License-Identifier: MIT
"""A client of PR servers that needs no BitBake: one connection, one request after the other."""

import json
import socket

HANDSHAKE = b"PRSERVICE 1.0\nneeds-headers: false\n\n"
CHUNK_CHARACTERS = 32767


class ServerError(Exception):
    """The server can't be asked, or has refused the request; the text says why."""


def split_address(address):
    """Returns host and port of "host:port", or raises ServerError."""
    host, colon, port = address.strip().rpartition(":")
    if not colon or not host or not port.isdigit():
        raise ServerError("%r is not HOST:PORT" % address)
    return host.strip("[]"), int(port)


class Client:
    """A connection. timeout: seconds for connecting, and for each answer."""

    def __init__(self, address, timeout):
        try:
            self.socket = socket.create_connection(split_address(address), timeout)
            self.file = self.socket.makefile("rb")
            self.socket.sendall(HANDSHAKE)
        except OSError as error:
            raise ServerError("%s: %s" % (address, error)) from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def ask(self, name, arguments):
        """Returns the answer to a request."""
        try:
            self.socket.sendall(json.dumps({name: arguments}).encode() + b"\n")
            answer = json.loads(self._receive())
        except (OSError, ValueError) as error:
            raise ServerError("%s: %s" % (name, error)) from None
        if isinstance(answer, dict) and "invoke-error" in answer:
            raise ServerError("%s: %s" % (name, answer["invoke-error"]["message"]))
        return answer

    def _receive_line(self):
        line = self.file.readline()
        if not line.endswith(b"\n"):
            raise OSError("the server closed the connection")
        return line.decode().rstrip()

    def _receive(self):
        line = self._receive_line()
        if not line.startswith('{"chunk-stream"'):
            return line
        chunks = []
        while True:
            chunk = self._receive_line()
            if not chunk:
                return "".join(chunks)
            chunks.append(chunk)

    def ping(self):
        return self.ask("ping", {})

    def greatest(self, version, pkgarch):
        """Returns the greatest revision of a package, or None."""
        return self.ask("max-package-pr", {"version": version, "pkgarch": pkgarch})[
            "value"
        ]

    def revisions(self, version, pkgarch):
        """Returns all revisions of a package."""
        arguments = {
            "version": version,
            "pkgarch": pkgarch,
            "checksum": None,
            "history": True,
        }
        return {str(row["value"]) for row in self.ask("export", arguments)["datainfo"]}
