"""The codec reads what Python's json reads, and makes of it what doc/protocol.md says; where
it may do otherwise stands in one place, DIFFERENCES."""

import os
import json
import re
import subprocess

import pytest
from harness import BUILD
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

# Where the codec may, or has to, do something else than Python's json with the rules of the
# protocol: what it is, how it is seen in a message, what comes of it.
DIFFERENCES = {
    "a number out of range": "refused: 64 bits for integers, a double for others; what is "
    "wrong behind it is not seen any more",
    "NaN, Infinity, -Infinity": "lost: Python reads them, but they are no JSON",
    "a lone surrogate": "lost: \\ud800 and the like are no characters",
    "a NUL in a name": "lost: the names of members hold none",
    "depth": "lost: 2,048 lists and objects inside each other, no more",
    "many values": "lost: 10,000 commas and brackets, no more, before anything is read",
}
MOST_DEPTH = 2048
MOST_VALUES = 10000

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
    """The message is JSON; it asks for nothing that there is."""


class Lost(Exception):
    """The message is no JSON."""


# ---- what is expected ----


def read_integer(digits):
    if not -(2**63) <= int(digits) < 2**63:
        raise Refused("a number out of range")
    return int(digits)


def read_float(digits):
    if abs(float(digits)) == float("inf"):
        raise Refused("a number out of range")
    return float(digits)


def read_constant(name):
    raise Lost("NaN, Infinity, -Infinity: " + name)


def check_characters(text):
    if re.search("[\ud800-\udfff]", text):
        raise Lost("a lone surrogate")


def read_object(pairs):
    for name, value in pairs:
        check_characters(name)
        if "\0" in name:
            raise Lost("a NUL in a name")
        check_value(value)
    return dict(pairs)


def check_value(value):
    """Objects have been looked at when they were read."""
    if isinstance(value, str):
        check_characters(value)
    elif isinstance(value, list):
        for element in value:
            check_value(element)


def brackets(message):
    """The brackets and commas outside strings."""
    outside = re.sub(rb'"(?:[^"\\]|\\.)*("|$)', b"", message, flags=re.DOTALL)
    return re.sub(rb"[^][{},]", b"", outside)


def depth(message):
    most = now = 0
    for byte in brackets(message):
        now += (byte in b"[{") - (byte in b"]}")
        most = max(most, now)
    return most


def read_json(message):
    if len(re.findall(rb"[{,]|\[", brackets(message))) > MOST_VALUES:
        raise Lost("many values")
    if depth(message) > MOST_DEPTH:
        raise Lost("depth")
    try:
        value = json.loads(
            message.decode(),
            parse_int=read_integer,
            parse_float=read_float,
            parse_constant=read_constant,
            object_pairs_hook=read_object,
        )
    except ValueError as error:  # both no JSON and no UTF-8
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


# A number that is out of range ends the reading where it stands, so that what is wrong
# before and behind it has one answer or the other.
NO_REQUEST = "lost", "refused"
NUMBER = re.compile(rb"-?[0-9]{19,}|[0-9][eE]\+?[0-9]{2,}|[0-9]{300,}\.")


def may_be_out_of_range(message):
    return NUMBER.search(message) is not None


# ---- what the codec says ----


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
    said = codec(message)
    reason = said.pop("reason", None)
    wanted = expected(message)
    if wanted["result"] in NO_REQUEST and may_be_out_of_range(message):
        assert said["result"] in NO_REQUEST, (message, reason)
    else:
        assert said == wanted, (message, reason)
    return said["result"]


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
    """Makes a message out of bytes, one for each choice; the first choices are the simple
    ones. (A strategy for each choice would take hypothesis several times as long.)"""

    def __init__(self, data):
        self.data = iter(data)

    def number(self, below):
        return next(self.data, 0) % below

    def pick(self, among):
        return among[self.number(len(among))]

    def seldom(self, one_in=8):
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
        """Mostly right."""
        arguments = {}
        for name in NEEDED[kind] or (STRINGS if kind == "export" else ()):
            value = self.pick(REVISIONS) if name == "value" else self.word()
            if not self.seldom(16):
                arguments[name] = value
        for name in FLAGS.get(kind, ()):
            if self.number(2):
                arguments[name] = self.pick([True, False, None])
        if self.seldom(4):
            names = STRINGS + ("value", "history", "colinfo", "x")
            arguments[self.pick(names)] = self.anything()
        return arguments

    def value(self):
        if self.seldom():
            return self.anything()
        kinds = [self.pick(list(NEEDED)) for _ in range(1 + self.seldom())]
        value = {kind: self.arguments(kind) for kind in kinds}
        if self.seldom():
            value[self.word()] = self.anything()
        return value

    def character(self, character):
        """In whatever way JSON can write it."""
        how = self.number(3)
        if how == 1:
            return json.dumps(character)[1:-1]
        if how == 2 and character < "\U00010000":
            return f"\\u{ord(character):04x}"
        return json.dumps(character, ensure_ascii=False)[1:-1]

    def write_string(self, text):
        if re.fullmatch("[a-z-]{3,}", text):  # a name: escaped as a whole, or not
            written = self.character(text[0]) + text[1:]
        else:
            written = "".join(map(self.character, text))
        return f'"{written}{self.pick(LONE) if self.seldom(64) else ""}"'

    def write(self, value):
        """JSON with blanks, escapes, and now and then a member twice."""
        blank = self.pick(BLANKS)
        if isinstance(value, str):
            return blank + self.write_string(value)
        if isinstance(value, list):
            return f"{blank}[{','.join(map(self.write, value))}{self.pick(BLANKS)}]"
        if not isinstance(value, dict):
            return blank + json.dumps(value) + self.pick(BLANKS)
        members = list(value.items())
        if members and self.seldom():
            members.append((members[0][0], self.anything(0)))
        text = ",".join(
            blank + self.write_string(name) + blank + ":" + self.write(one)
            for name, one in members
        )
        return f"{blank}{{{text}{blank}}}"

    def message(self):
        return self.write(self.value()).encode()

    def spoilt_message(self):
        """Bytes are taken away or put in."""
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
    lambda data: Choices(data).spoilt_message()
)
# The same examples in each run; CODEC_EXAMPLES=100000 looks at that many new ones.
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
@example(message=b'{"get-pr":{},"ping":{}}')
@example(message=b'{"import-one":{"version":"","pkgarch":"","checksum":"","value":-0}}')
@example(
    message=b'{"import-one":{"version":"","pkgarch":"","checksum":"","value":1.0}}'
)
def test_what_is_json_is_read_as_python_reads_it(codec, message):
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
def test_what_is_no_json_for_python_is_none_for_the_codec(codec, message):
    check(codec, message)


def inside(text):
    return b'{"ping":{"x":' + text + b"}}"


@pytest.mark.parametrize(
    "difference, message, result",
    [
        ("a number out of range", inside(b"9223372036854775807"), "request"),
        ("a number out of range", inside(b"9223372036854775808"), "refused"),
        ("a number out of range", inside(b"-9223372036854775808"), "request"),
        ("a number out of range", inside(b"-9223372036854775809"), "refused"),
        ("a number out of range", inside(b"1e308"), "request"),
        ("a number out of range", inside(b"1e309"), "refused"),
        ("a number out of range", inside(b"1e-999"), "request"),
        ("a number out of range", inside(b"1e309,}"), "refused"),
        ("NaN, Infinity, -Infinity", inside(b"NaN"), "lost"),
        ("NaN, Infinity, -Infinity", inside(b"Infinity"), "lost"),
        ("NaN, Infinity, -Infinity", inside(b"-Infinity"), "lost"),
        ("a lone surrogate", inside(b'"\\ud83d\\ude00"'), "request"),
        ("a lone surrogate", inside(b'"\\ud83d"'), "lost"),
        ("a lone surrogate", inside(b'"\\ude00"'), "lost"),
        ("a lone surrogate", inside(b'{"\\ud83d\\u0041":1}'), "lost"),
        ("a NUL in a name", inside(b'"\\u0000"'), "request"),
        ("a NUL in a name", inside(b'{"\\u0000":1}'), "lost"),
        ("depth", inside(b"[" * 2046 + b"]" * 2046), "request"),
        ("depth", inside(b"[" * 2047 + b"]" * 2047), "lost"),
        ("many values", inside(b"[" + b"0," * 9997 + b"0]"), "request"),
        ("many values", inside(b"[" + b"0," * 9998 + b"0]"), "lost"),
        ("many values", inside(b'"' + b"," * 10001 + b'"'), "request"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_difference_is_where_it_is_said_to_be(codec, difference, message, result):
    assert difference in DIFFERENCES
    if depth(message) < 1000:  # Python's own limit
        assert expected(message)["result"] == result
    assert codec(message)["result"] == result
