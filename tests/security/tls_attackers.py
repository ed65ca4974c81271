# SPDX-License-Identifier: MIT
"""Hostile clients of a port with TLS, for attackers.py.

Python's ssl sends what TLS allows. What it does not allow is made here: records are encrypted with
the keys that the negotiation gave."""

import contextlib
import ctypes
import ctypes.util
import hashlib
import hmac
import itertools
import os
import socket
import ssl
import subprocess
import tempfile
import threading
import time

KIB = 1024
RESET = b"\1\0\0\0\0\0\0\0"  # struct linger
HANDSHAKE_RECORD, DATA_RECORD = 22, 23
KEY_UPDATE = b"\x18\0\0\1\1"  # it asks for one of the other side


def unchecked_context(**limits):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for name, value in limits.items():
        setattr(context, name, value)
    return context


class Tls:
    """A connection with TLS. One thread may send while another one receives."""

    def __init__(self, plain, context=None, session=None):
        self.plain = plain
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl = (context or unchecked_context()).wrap_bio(
            self.incoming, self.outgoing, session=session
        )
        self.lock = threading.Lock()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.plain.close()

    def first_message(self):
        with contextlib.suppress(ssl.SSLWantReadError):
            self.ssl.do_handshake()
        return self.outgoing.read()

    def negotiate(self):
        while True:
            try:
                self.ssl.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.flush()
                self.receive_sealed()
        self.flush()

    def flush(self):
        self.plain.sendall(self.outgoing.read())

    def receive_sealed(self):
        data = self.plain.recv(64 * KIB)
        if not data:
            raise ConnectionResetError
        with self.lock:
            self.incoming.write(data)

    def sendall(self, data):
        with self.lock:
            self.ssl.write(data)
            sealed = self.outgoing.read()
        self.plain.sendall(sealed)

    def recv(self, size):
        while True:
            try:
                with self.lock:
                    return self.ssl.read(size)
            except ssl.SSLWantReadError:
                self.receive_sealed()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""


def reset(client):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.close()


# ---- records ----


def expand(secret, label, length):
    """HKDF-Expand-Label of RFC 8446, with SHA-384 and without a context."""
    label = b"tls13 " + label
    info = length.to_bytes(2, "big") + bytes([len(label)]) + label + b"\0\1"
    return hmac.new(secret, info, hashlib.sha384).digest()[:length]


class Sealer:
    """Makes records of TLS_AES_256_GCM_SHA384, as a client's after a negotiation."""

    library = None

    def __init__(self, secret):
        if not Sealer.library:
            Sealer.library = ctypes.CDLL(ctypes.util.find_library("crypto"))
            for name in ("EVP_CIPHER_CTX_new", "EVP_aes_256_gcm"):
                getattr(Sealer.library, name).restype = ctypes.c_void_p
        self.cipher = ctypes.c_void_p(self.library.EVP_CIPHER_CTX_new())
        self.use(secret)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.library.EVP_CIPHER_CTX_free(self.cipher)

    def use(self, secret):
        self.secret = secret
        self.key, self.nonce = expand(secret, b"key", 32), expand(secret, b"iv", 12)
        self.number = itertools.count()

    def next_key(self):
        self.use(expand(self.secret, b"traffic upd", 48))

    def seal(self, kind, content):
        nonce = int.from_bytes(self.nonce, "big") ^ next(self.number)
        nonce = nonce.to_bytes(12, "big")
        inner = content + bytes([kind])
        header = b"\x17\3\3" + (len(inner) + 16).to_bytes(2, "big")
        length, crypto = ctypes.c_int(), self.library
        sealed, tag = ctypes.create_string_buffer(
            len(inner)
        ), ctypes.create_string_buffer(16)
        gcm = ctypes.c_void_p(crypto.EVP_aes_256_gcm())
        crypto.EVP_EncryptInit_ex(self.cipher, gcm, None, self.key, nonce)
        for out, text in ((None, header), (sealed, inner)):
            crypto.EVP_EncryptUpdate(
                self.cipher, out, ctypes.byref(length), text, len(text)
            )
        crypto.EVP_EncryptFinal_ex(self.cipher, tag, ctypes.byref(length))
        crypto.EVP_CIPHER_CTX_ctrl(self.cipher, 0x10, 16, tag)  # EVP_CTRL_AEAD_GET_TAG
        return header + sealed.raw + tag.raw


def secret_of(keys):
    for line in keys:
        if line.startswith("CLIENT_TRAFFIC_SECRET_0 "):
            return bytes.fromhex(line.split()[2])
    raise ConnectionError("no secret")


@contextlib.contextmanager
def sealing(attacker, opening):
    """A connection that has sent its opening, and a sealer for what follows it."""
    with tempfile.NamedTemporaryFile("r") as keys, attacker.plain_client() as plain:
        context = unchecked_context(keylog_filename=keys.name)
        client = Tls(plain, context)
        client.negotiate()
        with Sealer(secret_of(keys)) as sealer:
            plain.sendall(sealer.seal(DATA_RECORD, opening))
            yield plain, sealer


# ---- attacks ----


def negotiations_that_are_left(attacker):
    """Each is begun, and kept until the server ends it."""
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            plain = stack.enter_context(attacker.plain_client())
            plain.sendall(Tls(plain).first_message())
        stack.enter_context(attacker.plain_client()).recv(
            1
        )  # after 10 s, or when it is too many


def first_messages(attacker):
    hello = Tls(None).first_message()
    for _ in range(1000):
        with attacker.plain_client() as plain:
            plain.sendall(hello)
            plain.recv(1)
            reset(plain)


def truncated_negotiations(attacker):
    hello = Tls(None).first_message()
    for number in range(1000):
        with attacker.plain_client() as plain:
            plain.sendall(hello[: number * 7 % len(hello)])
            if number % 2:
                reset(plain)


def negotiations_again_and_again(attacker):
    for _ in range(1000):
        with attacker.client() as client:
            client.sendall(b'{"ping": {}}\n')
            client.recv(KIB)
            reset(client.plain)  # without close_notify


def key_updates(attacker):
    with sealing(attacker, attacker.opening) as (plain, sealer):
        while True:
            for _ in range(16):
                plain.sendall(sealer.seal(HANDSHAKE_RECORD, KEY_UPDATE))
                sealer.next_key()


def records_without_content(attacker):
    with sealing(attacker, attacker.opening) as (plain, sealer):
        while True:
            data = b"".join(sealer.seal(DATA_RECORD, b"") for _ in range(30))
            plain.sendall(data + sealer.seal(DATA_RECORD, b"x"))


def records_of_one_byte(attacker):
    with sealing(attacker, attacker.opening) as (plain, sealer):
        while True:
            text = b'{"ping": {"x": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}}\n'
            plain.sendall(
                b"".join(sealer.seal(DATA_RECORD, bytes([byte])) for byte in text)
            )
            plain.recv(64 * KIB)


def renegotiations(attacker):
    """R makes s_client ask for one, in TLS 1.2."""
    host, port = attacker.address
    command = ["openssl", "s_client", "-tls1_2", "-connect", f"{host}:{port}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, stdin=subprocess.PIPE, **quiet) as client:
        while client.poll() is None:
            with contextlib.suppress(BrokenPipeError):
                client.stdin.write(b"R\n")
                client.stdin.flush()
            time.sleep(0.002)


def forged_tickets(attacker):
    """A ticket with a changed byte, or a key that does not belong to it (the binder, at the end of
    the first message)."""
    context = unchecked_context()
    with attacker.plain_client() as plain, Tls(plain, context) as client:
        client.negotiate()
        client.sendall(attacker.opening + b'{"ping": {}}\n')
        client.recv(KIB)
        session = client.ssl.session
    for number in range(1000):
        hello = bytearray(Tls(None, context, session).first_message())
        hello[-1 if number % 2 else -100] ^= 1
        with attacker.plain_client() as plain:
            plain.sendall(hello)
            plain.recv(1)
            reset(plain)


def plain_bytes(attacker):
    for number in range(1000):
        with attacker.plain_client() as plain:
            plain.sendall(
                (attacker.opening, b"GET / HTTP/1.1\r\n\r\n", os.urandom(100))[
                    number % 3
                ]
            )
            plain.recv(KIB)


def bytes_instead_of_records(attacker):
    """What follows the negotiation can't be decrypted."""
    for _ in range(1000):
        with attacker.client() as client:
            client.plain.sendall(b"\x17\3\3\x40\0" + bytes(16 * KIB))
            client.plain.recv(KIB)


TLS_ATTACKS = {
    negotiations_that_are_left: 4,
    first_messages: 16,
    truncated_negotiations: 8,
    negotiations_again_and_again: 8,
    key_updates: 8,
    records_without_content: 16,
    records_of_one_byte: 16,
    renegotiations: 2,
    forged_tickets: 8,
    plain_bytes: 8,
    bytes_instead_of_records: 8,
}
