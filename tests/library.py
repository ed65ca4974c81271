# SPDX-License-Identifier: MIT
"""Calls libprserv from a C program (tests/lib/talk.c)."""

import contextlib
import json
import os
import subprocess
import time
from harness import BUILD

MEMORY, ARGUMENT, CONNECTION, TIMEOUT, PROTOCOL, REFUSED, STOPPED = range(-1, -8, -1)

LONG_MS = 60_000
SHORT_MS = 150  # for servers that stay silent

# A row of an export; its checksum is a number.
ROW = b'{"version":"m4-1.4.19-r0","pkgarch":"core2-64","checksum":"%d","value":"1"}'


class Talk:
    """A C program that calls the library functions that a test names (tests/lib/talk.c)."""

    def __init__(self, **environment):
        self.process = subprocess.Popen(
            [BUILD / "tests/lib/lib_talk"],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self, function, *arguments):
        self.process.stdin.write(json.dumps([function, *arguments]) + "\n")
        self.process.stdin.flush()

    def end(self):
        line = self.process.stdout.readline()
        assert line, "the program has ended"
        return json.loads(line)

    def call(self, function, *arguments):
        self.begin(function, *arguments)
        return self.end()

    def done(self, function, *arguments):
        """Calls a function that has to succeed, and returns its value."""
        answer = self.call(function, *arguments)
        assert answer["code"] == 0 and answer["text"] == "", answer
        return answer.get("value")

    def fails(self, code, function, *arguments):
        """Calls a function that has to fail with this code, and returns the error text."""
        answer = self.call(function, *arguments)
        assert answer["code"] == code, answer
        return answer["text"]

    def connect(self, address, timeout_ms=LONG_MS):
        self.done("connect", address, timeout_ms)
        return self

    def hurry(self, address, timeout_ms=SHORT_MS):
        """Connects with a long timeout, and sets a short one."""
        self.connect(address).call("set_timeout", timeout_ms)

    def export(self, *filters, **how):
        """Returns the rows of an export, and the final result."""
        filters = [*filters, None, None, None][:3]
        self.begin("export", *filters, how)
        rows = []
        while isinstance(line := self.end(), list):
            rows.append(line)
        return rows, line

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(60) == 0
        self.process.stdout.close()


@contextlib.contextmanager
def takes(seconds):
    """Checks that the block takes this long: a clock tick less, or more on a busy machine."""
    start = time.monotonic()
    yield
    assert seconds - 0.01 <= time.monotonic() - start < seconds + 20


def export_message(row_texts):
    return b'{"metainfo":{},"datainfo":[' + b",".join(row_texts) + b"]}"


def in_chunks(message):
    chunks = [message[at : at + 32767] for at in range(0, len(message), 32767)]
    return b"\n".join([b'{"chunk-stream": null}', *chunks, b"\n"])
