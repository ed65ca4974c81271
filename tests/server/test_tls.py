# SPDX-License-Identifier: MIT
"""TLS: listeners, upstreams, prserv, and everything that is wrong with certificates."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from certificates import (
    Authority,
    TlsClient,
    client_context,
    needs_tls,
    tls_words,
)
from harness import HANDSHAKE, PRSERV, Client, Refused, paused, poll, run_prservd
from http_client import metrics
from prserv_command import prserv
from rows import M4

pytestmark = needs_tls

LISTENER = "127.0.0.1:0,tls"


# Only old versions of TLS get it.
OLD_VERSION = "ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning"


@pytest.fixture
def tls_server(serve, server_files):
    return serve("--bind", LISTENER, *tls_words(server_files), bind=False)


def where(server, index=0):
    host, _, port = server.addresses[index].rpartition(":")
    return host, int(port)


def tls_address(server, host="localhost", index=0):
    return f"tls://{host}:{where(server, index)[1]}"


def asks(server, *words, ca=None, host="localhost", **environment):
    more = ("--tls-ca", ca) if ca else ()
    address = tls_address(server, host)
    return prserv("--server", address, *more, *words, **environment)


# ---- a client and a server ----


def test_a_client_is_served_over_tls(tls_server, authority):
    context = client_context(authority.ca)
    with TlsClient(where(tls_server), context) as client:
        assert client.socket.version() == "TLSv1.3"
        assert client.get_pr(*M4, "a") == "0"
        assert client.get_pr(*M4, "b") == "1"
        assert len(client.export(history=True)["datainfo"]) == 2
        client.post({"ping": {}})
        assert client.receive() == {"alive": True}


@pytest.mark.filterwarnings(OLD_VERSION)
def test_tls_1_2_is_served_and_1_1_is_not(tls_server, authority):
    twelve = client_context(authority.ca, maximum_version=ssl.TLSVersion.TLSv1_2)
    with TlsClient(where(tls_server), twelve) as client:
        assert client.socket.version() == "TLSv1.2"
        assert client.get_pr(*M4, "a") == "0"
    old = client_context(authority.ca)
    old.set_ciphers("DEFAULT@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        TlsClient(where(tls_server), old)
    poll(lambda: "1.2 or 1.3 is needed" in tls_server.log, "the log")


def test_a_client_without_a_common_cipher_is_refused(tls_server, authority):
    """The key of the server is not one of RSA."""
    context = client_context(authority.ca, maximum_version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    with pytest.raises(ssl.SSLError):
        TlsClient(where(tls_server), context)
    poll(lambda: "no cipher or algorithm of TLS in common" in tls_server.log, "the log")


def test_long_messages_and_many_requests(tls_server, authority):
    long_text = "c" * 100_000
    with TlsClient(where(tls_server), client_context(authority.ca)) as client:
        assert client.get_pr("m4", "core2", long_text) == "0"
        for number in range(2000):
            client.post(
                {
                    "test-pr": {
                        "version": "m4",
                        "pkgarch": "core2",
                        "checksum": long_text,
                    }
                }
            )
            if number % 50 == 49:
                for _ in range(50):
                    assert client.receive() == {"value": "0"}


def test_bytes_come_one_at_a_time(tls_server, authority):
    """Every boundary of records, and of TLS' own messages, is between two reads."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = client_context(authority.ca).wrap_bio(
        incoming, outgoing, server_hostname="localhost"
    )
    with socket.create_connection(where(tls_server), 30) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def send():
            for byte in outgoing.read():
                plain.sendall(bytes([byte]))

        def until_done(step):
            while True:
                try:
                    result = step()
                    send()
                    return result
                except ssl.SSLWantReadError:
                    send()
                    incoming.write(plain.recv(65536))

        until_done(session.do_handshake)
        session.write(b'PRSERVICE 1.0\nneeds-headers: false\n\n{"ping": {}}\n')
        send()
        assert json.loads(until_done(lambda: session.read(100))) == {"alive": True}


def test_sessions_are_resumed(tls_server, authority):
    context = client_context(authority.ca)
    with TlsClient(where(tls_server), context) as client:
        assert client.ask({"ping": {}}) == {"alive": True}
        session = client.socket.session
        assert not client.socket.session_reused
    with TlsClient(where(tls_server), context, session=session) as client:
        assert client.ask({"ping": {}}) == {"alive": True}
        assert client.socket.session_reused


def test_renegotiation_is_refused(tls_server, authority, tmp_path):
    """R makes s_client ask for it, in TLS 1.2."""
    host, port = where(tls_server)
    done = subprocess.run(
        f"(sleep 0.3; echo R; sleep 0.3; echo Q) | timeout 20 openssl s_client -tls1_2 "
        f"-connect {host}:{port} -CAfile {authority.ca}",
        shell=True,
        capture_output=True,
        text=True,
    )
    assert "no renegotiation" in done.stderr, done.stderr
    assert tls_server.process.poll() is None


def test_each_side_ends_tls(tls_server, authority):
    """The server answers a client's close_notify with its own, and then closes."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = client_context(authority.ca).wrap_bio(
        incoming, outgoing, server_hostname="localhost"
    )
    with socket.create_connection(where(tls_server), 30) as plain:

        def finish(step):
            while True:
                try:
                    result = step()
                    plain.sendall(outgoing.read())
                    return result
                except ssl.SSLWantReadError:
                    plain.sendall(outgoing.read())
                    received = plain.recv(65536)
                    assert received, "the connection was cut"
                    incoming.write(received)

        finish(session.do_handshake)
        session.write(HANDSHAKE + b'{"ping": {}}\n')
        assert b'"alive"' in finish(lambda: session.read(100))
        finish(session.unwrap)
        assert plain.recv(10) == b""


@contextlib.contextmanager
def foreign_server(files):
    """A TLS server of another make. Yields its address, and a function that accepts a
    connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*map(str, files))
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF

    def accept():
        connection, _ = listener.accept()
        session = context.wrap_socket(
            connection, server_side=True, suppress_ragged_eofs=False
        )
        return session, session.makefile("rb")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        yield f"tls://localhost:{listener.getsockname()[1]}", accept


def test_prserv_ends_tls(server_files, authority):
    with foreign_server(server_files) as (address, accept):
        words = [PRSERV, "--server", address, "--tls-ca", authority.ca, "ping"]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
            session, lines = accept()
            with session:
                while b"ping" not in lines.readline():
                    pass
                session.sendall(b'{"alive": true}\n')
                assert lines.read() == b""
            assert process.wait(30) == 0


def test_a_server_ends_tls_with_its_upstream(serve, server_files, authority):
    def answer():
        session, lines = accept()
        with session:
            for line in lines:  # fails if the connection is cut
                if line.startswith(b'{"is-readonly"'):
                    session.sendall(b'{"readonly": false}\n')
                elif line.startswith(b"{"):
                    session.sendall(b'{"value": null}\n')

    with foreign_server(server_files) as (
        address,
        accept,
    ), ThreadPoolExecutor() as pool:
        server = serve("--upstream", address, "--tls-ca", authority.ca)
        end = pool.submit(answer)
        with server.client() as client:
            assert client.get_pr(*M4, "a")
        server.stop()
        end.result(30)


# ---- certificates of clients ----


@pytest.fixture
def strict_server(serve, server_files, authority):
    words = tls_words(server_files, authority.ca)
    return serve("--bind", LISTENER, *words, bind=False)


def test_a_clients_certificate_names_it_in_the_audit_log(
    strict_server, authority, client_files
):
    context = client_context(authority.ca, client_files)
    with TlsClient(where(strict_server), context) as client:
        assert client.get_pr(*M4, "a") == "0"
        session = client.socket.session
    with TlsClient(where(strict_server), context, session=session) as client:
        assert client.socket.session_reused
        assert client.get_pr(*M4, "b") == "1"
    words = ("--tls-ca", authority.ca, "--tls-cert", client_files[0])
    words += ("--tls-key", client_files[1])

    def records():
        log = prserv("--server", tls_address(strict_server), *words, "log")
        return log.stdout.count("CN=farm-7,O=Farm") == 2

    poll(records, "both records")


def test_a_client_without_a_certificate_is_refused(
    strict_server, authority, client_files
):
    done = asks(strict_server, "ping", ca=authority.ca)
    assert done.returncode == 3
    assert "it asks for a certificate" in done.stderr
    poll(lambda: "it shows no certificate" in strict_server.log, "the log")
    environment = {
        "PRSERV_TLS_CA": str(authority.ca),
        "PRSERV_TLS_CERT": str(client_files[0]),
        "PRSERV_TLS_KEY": str(client_files[1]),
    }
    assert asks(strict_server, "ping", **environment).returncode == 0


def test_a_client_of_another_ca_is_refused(strict_server, authority, tmp_path):
    stranger = Authority(tmp_path / "other").issue("stranger")
    words = ("--tls-cert", stranger[0], "--tls-key", stranger[1])
    done = asks(strict_server, *words, "ping", ca=authority.ca)
    assert done.returncode == 3
    assert "it does not trust the CA of our certificate" in done.stderr
    expired = authority.issue("late", days=-1)
    words = ("--tls-cert", expired[0], "--tls-key", expired[1])
    done = asks(strict_server, *words, "ping", ca=authority.ca)
    assert "our certificate has expired" in done.stderr
    poll(lambda: "certificate has expired" in strict_server.log, "the log")


# ---- certificates of servers ----


def test_prserv_checks_the_servers_certificate(serve, tls_server, authority, tmp_path):
    assert asks(tls_server, "ping", ca=authority.ca).returncode == 0
    assert asks(tls_server, "ping", ca=authority.ca, host="127.0.0.1").returncode == 0

    done = asks(tls_server, "ping")
    assert "its certificate is not of a known CA" in done.stderr
    assert done.returncode == 3
    other = Authority(tmp_path / "other", "Other CA")
    assert "not of a known CA" in asks(tls_server, "ping", ca=other.ca).stderr

    files = authority.issue("elsewhere", names="DNS:elsewhere.example")
    elsewhere = serve("--bind", LISTENER, *tls_words(files), bind=False)
    done = asks(elsewhere, "ping", ca=authority.ca)
    assert "its certificate is not for localhost" in done.stderr
    done = asks(elsewhere, "ping", ca=authority.ca, host="127.0.0.1")
    assert "its certificate is not for 127.0.0.1" in done.stderr

    late = serve(
        "--bind", LISTENER, *tls_words(authority.issue("old", days=-1)), bind=False
    )
    assert "certificate has expired" in asks(late, "ping", ca=authority.ca).stderr
    poll(lambda: re.search("ERROR .*has expired, at 20", late.log), "the log")


def test_plain_bytes_on_a_tls_port_and_tls_on_a_plain_port(
    serve, server_files, authority
):
    words = ("--bind", LISTENER, "--bind", "127.0.0.1:0", *tls_words(server_files))
    server = serve(*words, bind=False)
    with Client(where(server)) as client:
        with pytest.raises(Refused, match="this port speaks TLS"):
            client.ask({"ping": {}})
    poll(lambda: "it does not speak TLS" in server.log, "the log")
    plain = tls_address(server, index=1)
    done = prserv("--server", plain, "--tls-ca", authority.ca, "ping")
    assert "the server does not speak TLS on this port" in done.stderr
    poll(lambda: "speaks TLS on a port without it" in server.log, "the log")
    with Client(where(server, 1)) as client:
        assert client.ask({"ping": {}}) == {"alive": True}


# ---- an upstream ----


def test_an_upstream_over_tls(serve, tls_server, authority, client_files):
    words = ("--upstream", tls_address(tls_server), "--tls-ca", authority.ca)
    with TlsClient(where(tls_server), client_context(authority.ca)) as client:
        assert client.get_pr(*M4, "a") == "0"
        assert client.get_pr(*M4, "b") == "1"
    lower = serve(*words, "--file", "lower.sqlite3")
    assert lower.get_pr(*M4, "b") == "1"
    assert lower.get_pr(*M4, "c") == "1.0"


def test_an_upstream_wants_our_certificate(
    serve, strict_server, authority, client_files
):
    words = ("--upstream", tls_address(strict_server), "--tls-ca", authority.ca)
    words += (*tls_words(client_files), "--file", "lower.sqlite3")
    assert serve(*words).get_pr(*M4, "a") == "0"


@pytest.mark.parametrize(
    "fault, reason",
    [
        ("unknown", "its certificate is not of a known CA"),
        ("name", "its certificate is not for localhost"),
        ("expired", "its certificate has expired"),
        ("plain", "it does not speak TLS on this port"),
        ("no certificate", "it asks for a certificate"),
    ],
)
def test_a_wrong_certificate_is_an_upstream_that_is_down(
    serve, authority, server_files, tmp_path, fault, reason
):
    files = server_files
    if fault == "unknown":
        files = Authority(tmp_path / "other").issue("unknown")
    elif fault == "name":
        files = authority.issue("elsewhere-2", names="DNS:elsewhere.example")
    elif fault == "expired":
        files = authority.issue("old-2", days=-1)
    words = tls_words(files, authority.ca if fault == "no certificate" else None)
    if fault == "plain":
        upper = serve("--bind", "127.0.0.1:0", bind=False)
    else:
        upper = serve("--bind", LISTENER, *words, bind=False)
    address = ("--upstream", tls_address(upper), "--tls-ca", authority.ca)
    lower = serve(*address, "--patience", 1)
    with pytest.raises(Refused, match="TLS: " + reason):
        lower.get_pr(*M4, "a")
    poll(lambda: f"TLS: {reason}" in lower.log, "the log")


# ---- reading certificates again ----


def fingerprint(server, ca):
    with TlsClient(where(server), client_context(ca)) as client:
        return client.socket.getpeercert(binary_form=True)


def test_sighup_reads_the_certificate_again(serve, authority, server_files, tmp_path):
    files = (tmp_path / "cert.pem", tmp_path / "key.pem")
    for source, copy in zip(server_files, files):
        shutil.copy(source, copy)
    server = serve("--bind", LISTENER, *tls_words(files), bind=False)
    first = fingerprint(server, authority.ca)
    kept = TlsClient(where(server), client_context(authority.ca))
    for source, copy in zip(authority.issue("renewed"), files):
        shutil.copy(source, copy)
    server.process.send_signal(signal.SIGHUP)
    poll(lambda: fingerprint(server, authority.ca) != first, "the new certificate")
    second = fingerprint(server, authority.ca)
    assert kept.ask({"ping": {}}) == {"alive": True}
    kept.close()

    for source, copy in zip(authority.issue("late-2", days=-1), files):
        shutil.copy(source, copy)
    server.process.send_signal(signal.SIGHUP)
    poll(lambda: "certificate has expired" in server.log, "the log")
    files[0].write_text("no certificate")
    server.process.send_signal(signal.SIGHUP)
    poll(lambda: "The certificates in use are kept" in server.log, "the log")
    poll(lambda: re.search("ERROR .*cert.pem: no certificate", server.log), "the log")
    assert fingerprint(server, authority.ca) == second


def test_sighup_warns_of_a_certificate_that_ends_soon(serve, authority, tmp_path):
    files = (tmp_path / "cert.pem", tmp_path / "key.pem")
    for days in 30, 10:
        for source, copy in zip(authority.issue(f"soon-{days}", days=days), files):
            shutil.copy(source, copy)
        if days == 30:
            server = serve("--bind", LISTENER, *tls_words(files), bind=False)
            assert server.process.poll() is None
    server.process.send_signal(signal.SIGHUP)
    poll(lambda: "ends within 10 days" in server.log, "the log")


@pytest.mark.parametrize("days, level", [(20, "WARNING"), (-1, "ERROR"), (30, None)])
def test_the_end_of_a_certificate_is_told(serve, authority, days, level):
    files = authority.issue(f"ends-{days}", days=days)
    words = ("--bind", LISTENER, *tls_words(files), "--http", "127.0.0.1:0")
    server = serve(*words, bind=False)

    def left():
        return metrics(server).get("prservd_tls_certificate_expiry_seconds")

    poll(lambda: left() is not None, "the metric")
    assert days * 86400 - 600 < left() <= days * 86400
    if level:
        poll(lambda: f"{level} prservd" in server.log, "the log")
        assert re.search(f"{level} .*The certificate .*ends-{days}.pem", server.log)
    else:
        assert "The certificate" not in server.log


# ---- options ----


def refusal(tmp_path, *words):
    done = run_prservd("--file", "x.sqlite3", *words, cwd=tmp_path)
    assert done.returncode == 2, done
    assert not (tmp_path / "x.sqlite3").exists()
    return done.stderr


@pytest.mark.parametrize("mode", ["644", "604", "660", "620"])
def test_a_key_that_others_may_read_is_refused(tmp_path, server_files, mode):
    key = tmp_path / "open.key"
    shutil.copy(server_files[1], key)
    key.chmod(int(mode, 8))
    if mode == "660":
        os.chown(key, 12345, -1) if os.getuid() == 0 else None
    words = ("--bind", LISTENER, "--tls-cert", server_files[0], "--tls-key", key)
    text = refusal(tmp_path, *words)
    assert f"open.key: others may read or change this key (mode {mode})" in text


def test_roots_key_may_be_readable_for_a_group(serve, tmp_path, server_files):
    if os.getuid() != 0:
        pytest.skip("only root has files of root")
    key = tmp_path / "group.key"
    shutil.copy(server_files[1], key)
    key.chmod(0o640)
    serve("--bind", LISTENER, *tls_words((server_files[0], key)), bind=False)


def test_files_that_can_not_be_used(tmp_path, authority, server_files):
    certificate, key = server_files
    other = authority.issue("other")
    secret = authority.folder / "secret.key"
    subprocess.run(
        f"openssl pkey -in {key} -aes128 -passout pass:x -out {secret}",
        shell=True,
        check=True,
        capture_output=True,
    )
    secret.chmod(0o600)
    (tmp_path / "empty.pem").touch(mode=0o600)
    (tmp_path / "text.pem").write_text("this is no certificate\n")
    os.mkfifo(tmp_path / "pipe", 0o600)

    def with_files(cert, its_key, *more):
        words = ("--bind", LISTENER, "--tls-cert", cert, "--tls-key", its_key, *more)
        return refusal(tmp_path, *words)

    assert "none.pem: No such file" in with_files("none.pem", key)
    assert "none.key: No such file" in with_files(certificate, "none.key")
    rsa = authority.issue("rsa", options=("-newkey", "rsa:2048", "-nodes"))
    assert "the key is not that of the certificate" in with_files(rsa[0], key)
    assert "no private key in PEM format (--tls-key" in with_files(
        certificate, certificate
    )
    assert "no certificate in PEM format" in with_files(key, key)
    assert "the key is not that of the certificate" in with_files(certificate, other[1])
    assert "has a passphrase" in with_files(certificate, secret)
    assert "empty.pem" in with_files("empty.pem", key)
    assert "empty.pem: no private key" in with_files(certificate, "empty.pem")
    assert "text.pem" in with_files("text.pem", key)
    assert "pipe: not a regular file" in with_files("pipe", key)
    assert "pipe: not a regular file" in with_files(certificate, "pipe")
    assert "zero: not a regular file" in with_files("/dev/zero", key)
    assert f"{tmp_path}: not a regular file" in with_files(tmp_path, key)
    assert "text.pem" in with_files(certificate, key, "--tls-client-ca", "text.pem")
    assert "no such" in with_files(certificate, key, "--tls-client-ca", "x").lower()


def test_combinations_that_can_not_be_used(tmp_path, server_files, authority):
    certificate, key = server_files
    words = ("--tls-cert", certificate, "--tls-key", key)
    assert "needs --tls-cert" in refusal(tmp_path, "--bind", LISTENER)
    assert "--tls-cert" in refusal(tmp_path, "--host", "127.0.0.1", *words)
    assert "--tls-client-ca" in refusal(
        tmp_path, "--host", "127.0.0.1", "--tls-client-ca", authority.ca
    )
    assert "--tls-ca" in refusal(tmp_path, "--tls-ca", authority.ca)
    assert "--tls-key" in refusal(tmp_path, "--bind", LISTENER, "--tls-key", key)
    assert ",tls" in refusal(tmp_path, "--bind", "unix:///tmp/x.sock,tls", *words)
    assert "write 127.0.0.1:1,tls" in refusal(tmp_path, "--bind", "tls://127.0.0.1:1")
    assert "HTTP has no TLS" in refusal(tmp_path, "--http", "tls://127.0.0.1:1")
    assert "name of the file is empty" in refusal(tmp_path, "--tls-cert", "")


# ---- hostile clients ----


def client_hello():
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = ssl.create_default_context().wrap_bio(
        incoming, outgoing, server_hostname="localhost"
    )
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


def is_served(server, authority):
    with TlsClient(where(server), client_context(authority.ca)) as client:
        return client.ask({"ping": {}}) == {"alive": True}


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\xff\xff" + b"x" * 70000,
        b"\x16\x03\x01\x00\x05hello",
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"\x16\x03\x01\x40\x00" + bytes(16384) * 20,
        b"\x17\x03\x03\x00\x20" + b"a" * 32,
        b"\0" * 1000,
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=("long", "hello", "alert", "zeros in records", "data", "zeros", "http"),
)
def test_garbage_ends_its_own_connection_alone(tls_server, authority, data):
    with socket.create_connection(where(tls_server), 30) as plain:
        try:
            plain.sendall(data)
            while plain.recv(65536):
                pass
        except OSError:
            pass
    assert is_served(tls_server, authority)


def test_a_handshake_that_ends_anywhere(tls_server, authority):
    hello = client_hello()
    for length in range(0, len(hello), 7):
        with socket.create_connection(where(tls_server), 30) as plain:
            plain.sendall(hello[:length])
    with socket.create_connection(where(tls_server), 30) as plain:
        plain.sendall(hello)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert is_served(tls_server, authority)


def test_key_updates_without_end(tls_server, authority):
    """Each costs much, and carries nothing."""
    host, port = where(tls_server)
    command = ["openssl", "s_client", "-connect", f"{host}:{port}"]
    client = subprocess.Popen(
        [*command, "-CAfile", str(authority.ca)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def is_ended():
        try:
            client.stdin.write(b"K\n")  # s_client's command for a key update
            client.stdin.flush()
        except BrokenPipeError:
            return True
        return client.poll() is not None

    poll(is_ended, "the end of the connection")
    assert "it changes its key again and again" in tls_server.log
    with contextlib.suppress(BrokenPipeError):
        client.stdin.close()
    client.kill()
    client.wait()
    assert is_served(tls_server, authority)


def test_a_client_that_ends_its_input_at_once_is_answered(tls_server, authority):
    """Its last part of the negotiation, its requests and its end arrive together."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = client_context(authority.ca).wrap_bio(
        incoming, outgoing, server_hostname="localhost"
    )
    with socket.create_connection(where(tls_server), 30) as plain:
        with pytest.raises(ssl.SSLWantReadError):
            session.do_handshake()
        plain.sendall(outgoing.read())
        while True:
            incoming.write(plain.recv(65536))
            try:
                session.do_handshake()
                break
            except ssl.SSLWantReadError:
                pass
        session.write(
            b"PRSERVICE 1.0\nneeds-headers: false\n\n" + b'{"ping": {}}\n' * 3
        )
        plain.sendall(outgoing.read())
        plain.shutdown(socket.SHUT_WR)
        while data := plain.recv(65536):
            incoming.write(data)
        assert session.read(1000).count(b"alive") == 3


@pytest.mark.slow
def test_a_handshake_has_ten_seconds(tls_server, authority):
    began = time.monotonic()
    with socket.create_connection(where(tls_server), 30) as silent:
        with socket.create_connection(where(tls_server), 30) as half:
            half.sendall(client_hello()[:50])
            assert is_served(tls_server, authority)
            assert half.recv(10) == b"" and silent.recv(10) == b""
    assert 9 <= time.monotonic() - began < 20
    assert "TLS was not negotiated in 10 seconds" in tls_server.log


def test_negotiations_under_way_are_limited(tls_server, authority):
    silent = [socket.create_connection(where(tls_server), 30) for _ in range(700)]
    assert is_served(tls_server, authority)
    poll(lambda: "512 negotiations are under way" in tls_server.log, "the log")
    for plain in silent:
        plain.close()
    assert is_served(tls_server, authority)


def connect_from(server, address):
    plain = socket.create_connection(where(server), 30, (address, 0))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return plain


def data_age_ms(plain):
    """Returns how long ago data came, as the kernel knows: tcpi_last_data_recv."""
    info = plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 60)
    return struct.unpack_from("I", info, 52)[0]


def test_negotiations_are_in_turn_over_addresses(tls_server):
    """One of another address does not wait for all that were begun before it."""
    hello = client_hello()
    with contextlib.ExitStack() as stack:
        with paused(tls_server):
            crowd = [connect_from(tls_server, "127.0.0.1") for _ in range(200)]
            crowd.append(connect_from(tls_server, "127.0.0.3"))
            for plain in crowd:
                stack.enter_context(plain)
                plain.sendall(hello)
        for plain in crowd:
            assert plain.recv(1, socket.MSG_PEEK)
        last = data_age_ms(crowd.pop())
        ages = [data_age_ms(plain) for plain in crowd]
        assert sum(age > last for age in ages) < 100, (last, ages)


def test_the_address_with_most_negotiations_makes_room(tls_server, authority):
    """Even if the negotiation of another one is older."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(connect_from(tls_server, "127.0.0.3"))
        assert is_served(tls_server, authority)
        crowd = [connect_from(tls_server, "127.0.0.1") for _ in range(600)]
        for plain in crowd:
            stack.enter_context(plain)
        poll(lambda: "512 negotiations are under way" in tls_server.log, "the log")
        assert crowd[0].recv(1) == b""
        context = client_context(authority.ca)
        with context.wrap_socket(first, server_hostname="localhost") as client:
            client.sendall(HANDSHAKE + b'{"ping": {}}\n')
            assert b"alive" in client.recv(100)


def test_tls_counts_in_the_budget(serve, server_files, authority):
    """The sessions of clients that only connect take memory, too."""
    words = ("--bind", LISTENER, *tls_words(server_files))
    server = serve(*words, "--max-memory-bytes", 8 << 20, bind=False)
    context = client_context(authority.ca)
    clients = []
    for _ in range(400):
        try:
            clients.append(TlsClient(where(server), context))
        except OSError:
            pass
    poll(lambda: "memory" in server.log, "the log")
    for client in clients:
        client.close()
    poll(lambda: is_served(server, authority), "service")
