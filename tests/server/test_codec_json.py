# SPDX-License-Identifier: MIT
"""Compares the codec with Python's json and the rules of doc/protocol.md. DIFFERENCES lists
where the codec may differ."""

import os
import json
import re
import subprocess

import pytest
from harness import BUILD
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

# Where the codec may differ, or has to, from Python's json with the rules of the protocol:
# the difference, how to recognise it in a message, and the result.
DIFFERENCES = {
    "a number out of range": "refused: the integer value of an import has 64 bits",
    "NaN, Infinity, -Infinity": "lost: Python reads them, but they are no JSON",
    "a lone surrogate": "lost: \\ud800 and the like are no characters",
    "depth": "lost: 2,048 lists and objects inside each other, no more",
}
MOST_DEPTH = 2048

STRINGS = ("version", "pkgarch", "checksum")
NEEDED = {
    "ping": (),
    "get-pr": STRINGS,
    "test-pr": STRINGS,
    "test-package": STRINGS[:2],
    "max-package-pr": STRINGS[:2],
    "import-one": STRINGS + ("value",),
    "export": (),
    "is-readonly": (),
    "get-stats": (),
}
FLAGS = {
    "get-pr": ("history",),
    "test-pr": ("history",),
    "export": ("history", "colinfo"),
}
REVISION = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*")


class Refused(Exception):
    """The message is JSON, but not a request."""


class Lost(Exception):
    """The message is not JSON."""


# ---- the expected result ----


def read_integer(digits):
    return int(digits[:1000])  # Python refuses thousands of digits


def read_constant(name):
    raise Lost("NaN, Infinity, -Infinity: " + name)


def check_characters(text):
    if re.search("[\ud800-\udfff]", text):
        raise Lost("a lone surrogate")


def read_object(pairs):
    for name, value in pairs:
        check_characters(name)
        check_value(value)
    return dict(pairs)


def check_value(value):
    """Checks a value; objects were checked when they were read."""
    if isinstance(value, str):
        check_characters(value)
    elif isinstance(value, list):
        for element in value:
            check_value(element)


def brackets(message):
    """Returns the brackets and commas outside strings."""
    outside = re.sub(rb'"(?:[^"\\]|\\.)*("|$)', b"", message, flags=re.DOTALL)
    return re.sub(rb"[^][{},]", b"", outside)


def depth(message):
    most = now = 0
    for byte in brackets(message):
        now += (byte in b"[{") - (byte in b"]}")
        most = max(most, now)
    return most


def read_json(message):
    if depth(message) > MOST_DEPTH:
        raise Lost("depth")
    try:
        value = json.loads(
            message.decode(),
            parse_int=read_integer,
            parse_constant=read_constant,
            object_pairs_hook=read_object,
        )
    except ValueError as error:  # neither JSON nor UTF-8
        raise Lost(str(error)) from error
    check_value(value)
    return value


def read_string(arguments, name):
    if not isinstance(arguments.get(name), str):
        raise Refused(name)
    return arguments[name]


def read_filter(arguments, name):
    return "" if arguments.get(name) is None else read_string(arguments, name)


def read_flag(arguments, name):
    if arguments.get(name) not in (None, True, False) or (
        type(arguments.get(name)) in (int, float)
    ):
        raise Refused(name)
    return bool(arguments.get(name))


def read_value(arguments):
    value = arguments.get("value")
    if type(value) is int and not -(2**63) < value < 2**63:
        raise Refused("a number out of range")
    if type(value) not in (str, int) or not REVISION.fullmatch(str(value)):
        raise Refused("value")
    return {"value": str(value), "value_is_integer": type(value) is int}


def read_request(value):
    kinds = [kind for kind in NEEDED if isinstance(value, dict) and kind in value]
    if not kinds or not isinstance(value[kinds[0]], dict):
        raise Refused("no request")
    kind, arguments = kinds[0], value[kinds[0]]
    request = {"kind": kind, "value": "", "value_is_integer": False}
    for name in STRINGS:
        request[name] = ""
        if name in NEEDED[kind]:
            request[name] = read_string(arguments, name)
        elif kind == "export":
            request[name] = read_filter(arguments, name)
    if "value" in NEEDED[kind]:
        request.update(read_value(arguments))
    for name in "history", "colinfo":
        request[name] = name in FLAGS.get(kind, ()) and read_flag(arguments, name)
    return request


def expected(message):
    try:
        value = read_json(message)
        if value is None:
            return {"result": "end"}
        return {"result": "request", **read_request(value)}
    except Refused:
        return {"result": "refused"}
    except Lost:
        return {"result": "lost"}


# ---- the codec's result ----


@pytest.fixture(scope="module")
def codec():
    command = BUILD / "tests" / "fuzz" / "codec_pipe"
    with subprocess.Popen(
        [command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:

        def read(message):
            process.stdin.write(b"%d\n%b" % (len(message), message))
            process.stdin.flush()
            line = process.stdout.readline()
            assert line.endswith(b"\n"), f"the codec ended at {message!r}"
            return json.loads(line)

        yield read
        process.stdin.close()
    assert process.returncode == 0


def check(codec, message):
    result = codec(message)
    reason = result.pop("reason", None)
    assert result == expected(message), (message, reason)
    return result["result"]


# ---- messages ----

CHARACTERS = 'ab09._-+ ü€\0\x7f\U0001f600"\\/\n'
REVISIONS = ["0", "1", "1.0", "10.20.30", "007", "1.", "", "x"]
NUMBERS = [0, 7, -1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**30]
NUMBERS += [0.5, 1e300, 1e-300]
BLANKS = ["", "", "", " ", "\t", "\r\n", "  "]
LONE = ["\\ud800", "\\udc00\\ud800", "\\ud83dx"]
SPOILS = [
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b",,",
    b"\\",
    b"\\u12",
    b"\0",
    b"\n",
]
SPOILS += [b"0", b"-", b".", b"e", b"9" * 20, b"null", b"nan", b"NaN", b"Infinity"]
SPOILS += [b"\x7f", b"\x80", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80"]
SPOILS += [b"\xef\xbb\xbf"]


class Choices:
    """Builds a message from bytes, one for each choice; the first choices are the simplest.
    (A strategy for each choice would take hypothesis several times as long.)"""

    def __init__(self, data):
        self.data = iter(data)

    def number(self, below):
        return next(self.data, 0) % below

    def pick(self, among):
        return among[self.number(len(among))]

    def rarely(self, one_in=8):
        return self.number(one_in) == one_in - 1

    def word(self):
        return "".join(self.pick(CHARACTERS) for _ in range(self.number(5)))

    def anything(self, depth=2):
        kind = self.number(7 if depth > 0 else 5)
        if kind < 3:
            return self.pick([None, True, False])
        if kind < 5:
            return self.word() if kind == 3 else self.pick(NUMBERS)
        inner = [self.anything(depth - 1) for _ in range(self.number(3))]
        return inner if kind == 5 else {self.word(): one for one in inner}

    def arguments(self, kind):
        """Returns arguments, most of them valid."""
        arguments = {}
        for name in NEEDED[kind] or (STRINGS if kind == "export" else ()):
            value = self.pick(REVISIONS) if name == "value" else self.word()
            if not self.rarely(16):
                arguments[name] = value
        for name in FLAGS.get(kind, ()):
            if self.number(2):
                arguments[name] = self.pick([True, False, None])
        if self.rarely(4):
            names = STRINGS + ("value", "history", "colinfo", "x")
            arguments[self.pick(names)] = self.anything()
        return arguments

    def value(self):
        if self.rarely():
            return self.anything()
        kinds = [self.pick(list(NEEDED)) for _ in range(1 + self.rarely())]
        value = {kind: self.arguments(kind) for kind in kinds}
        if self.rarely():
            value[self.word()] = self.anything()
        return value

    def character(self, character):
        """Writes the character in one of the ways that JSON allows."""
        how = self.number(3)
        if how == 1:
            return json.dumps(character)[1:-1]
        if how == 2 and character < "\U00010000":
            return f"\\u{ord(character):04x}"
        return json.dumps(character, ensure_ascii=False)[1:-1]

    def write_string(self, text):
        if re.fullmatch(
            "[a-z-]{3,}", text
        ):  # a name is escaped as a whole, or not at all
            written = self.character(text[0]) + text[1:]
        else:
            written = "".join(map(self.character, text))
        return f'"{written}{self.pick(LONE) if self.rarely(64) else ""}"'

    def write(self, value):
        """Writes JSON with blanks, escapes, and sometimes a duplicate member."""
        blank = self.pick(BLANKS)
        if isinstance(value, str):
            return blank + self.write_string(value)
        if isinstance(value, list):
            return f"{blank}[{','.join(map(self.write, value))}{self.pick(BLANKS)}]"
        if not isinstance(value, dict):
            return blank + json.dumps(value) + self.pick(BLANKS)
        members = list(value.items())
        if members and self.rarely():
            members.append((members[0][0], self.anything(0)))
        text = ",".join(
            blank + self.write_string(name) + blank + ":" + self.write(one)
            for name, one in members
        )
        return f"{blank}{{{text}{blank}}}"

    def message(self):
        return self.write(self.value()).encode()

    def damaged_message(self):
        """Returns a message with bytes removed or inserted."""
        count = 1 + self.number(3)
        spoils = [(self.number(256), self.pick([b"", *SPOILS])) for _ in range(count)]
        message = bytearray(self.message())
        for at, spoil in spoils:
            at = at * len(message) // 256
            message[at : at + (spoil == b"")] = spoil
        return bytes(message)


MESSAGES = st.binary(min_size=128, max_size=128).map(
    lambda data: Choices(data).message()
)
SPOILT = st.binary(min_size=128, max_size=128).map(
    lambda data: Choices(data).damaged_message()
)
# The examples are the same in each run; CODEC_EXAMPLES=100000 tries that many new ones.
EXAMPLES = int(os.environ.get("CODEC_EXAMPLES", "0"))
QUICKLY = settings(
    max_examples=EXAMPLES or 600,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@QUICKLY
@given(message=MESSAGES)
@example(message=b"null")
@example(message=b' {"ping" : { } } ')
@example(message=b'{"ping":[],"ping":{}}')
@example(message=b'{"ping":{},"ping":null}')
@example(message=b'{"ping\\u0000":{},"\\u0070ing":{"\\u0000":1}}')
@example(message=b'{"ping":{"x":[' + b"0," * 20000 + b"0]}}")
@example(message=b'{"get-pr":{},"ping":{}}')
@example(message=b'{"import-one":{"version":"","pkgarch":"","checksum":"","value":-0}}')
@example(
    message=b'{"import-one":{"version":"","pkgarch":"","checksum":"","value":1.0}}'
)
def test_valid_json_is_read_as_python_reads_it(codec, message):
    assert check(codec, message) in ("request", "refused", "end", "lost")


@QUICKLY
@given(message=SPOILT)
@example(message=b"")
@example(message=b"\xef\xbb\xbfnull")
@example(message=b"nul")
@example(message=b'{"ping":{}}x')
@example(message=b'{"ping":{"x":1\0}}')
@example(message=b'{"get-stats":  {  "history"  :  1e+300\x00  }}')
@example(message=b'{"ping":{}},')
@example(message=b'{"ping":{"x":01}}')
@example(message=b'{"ping":{"x":"\t"}}')
def test_json_that_python_refuses_is_refused(codec, message):
    check(codec, message)


def inside(text):
    return b'{"ping":{"x":' + text + b"}}"


def importing(value):
    return (
        b'{"import-one":{"version":"","pkgarch":"","checksum":"","value":' + value
    ) + b"}}"


@pytest.mark.parametrize(
    "difference, message, result",
    [
        ("a number out of range", importing(b"9223372036854775807"), "request"),
        ("a number out of range", importing(b"9223372036854775808"), "refused"),
        ("a number out of range", importing(b"9" * 5000), "refused"),
        ("a number out of range", inside(b"9223372036854775808"), "request"),
        ("a number out of range", inside(b"-" + b"9" * 5000), "request"),
        ("a number out of range", inside(b"1e309"), "request"),
        ("a number out of range", inside(b"1e309,}"), "lost"),
        ("NaN, Infinity, -Infinity", inside(b"NaN"), "lost"),
        ("NaN, Infinity, -Infinity", inside(b"Infinity"), "lost"),
        ("NaN, Infinity, -Infinity", inside(b"-Infinity"), "lost"),
        ("a lone surrogate", inside(b'"\\ud83d\\ude00"'), "request"),
        ("a lone surrogate", inside(b'"\\ud83d"'), "lost"),
        ("a lone surrogate", inside(b'"\\ude00"'), "lost"),
        ("a lone surrogate", inside(b'{"\\ud83d\\u0041":1}'), "lost"),
        ("depth", inside(b"[" * 2046 + b"]" * 2046), "request"),
        ("depth", inside(b"[" * 2047 + b"]" * 2047), "lost"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_known_difference_exists(codec, difference, message, result):
    assert difference in DIFFERENCES
    if depth(message) < 1000:  # Python's own limit
        assert expected(message)["result"] == result
    assert codec(message)["result"] == result
