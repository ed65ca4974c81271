# SPDX-License-Identifier: MIT
"""Certificates for tests, made with openssl(1)."""

import datetime
import shutil
import socket
import ssl
import subprocess

import pytest

from harness import BUILD, HANDSHAKE, TIMEOUT_S, Client

needs_tls = pytest.mark.skipif(
    not shutil.which("openssl") or not (BUILD / "src/tls/prservd-tls.so").exists(),
    reason="openssl is not installed, or prservd was built without TLS",
)

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
LOCAL = "DNS:localhost,IP:127.0.0.1,IP:::1"


def openssl(*words, text=None):
    subprocess.run(
        ["openssl", *map(str, words)],
        input=text,
        text=True,
        check=True,
        capture_output=True,
    )


def validity(days):
    """Returns the options for a certificate that ends in some days, or has ended."""
    if days >= 0 or ssl.OPENSSL_VERSION_INFO < (3, 4):
        return "-days", days
    today = datetime.datetime.now(datetime.timezone.utc)
    begin, end = (today + datetime.timedelta(days=days + more) for more in (-1, 0))
    return "-not_before", f"{begin:%Y%m%d%H%M%SZ}", "-not_after", f"{end:%Y%m%d%H%M%SZ}"


class Authority:
    """A CA, which writes certificates with their keys to a folder."""

    def __init__(self, folder, name="Test CA"):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.ca = folder / "ca.pem"
        self.key = folder / "ca.key"
        words = ("-keyout", self.key, "-out", self.ca, "-days", 30)
        words += ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
        openssl("req", "-x509", *KEY, *words, "-subj", f"/CN={name}")

    def issue(self, name, subject=None, names=LOCAL, days=30, options=KEY):
        """Returns a certificate and its key."""
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        request = self.folder / f"{name}.csr"
        openssl(
            *("req", *options, "-keyout", key, "-out", request),
            *("-subj", subject or f"/CN={name}"),
        )
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={names}\nauthorityKeyIdentifier=keyid\n")
        openssl(
            *("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.key),
            *("-CAcreateserial", *validity(days), "-extfile", extensions),
            *("-out", certificate),
        )
        return certificate, key


def tls_words(files, ca=None):
    """The options of a server with this certificate and key."""
    words = ("--tls-cert", files[0], "--tls-key", files[1])
    return words + (("--tls-client-ca", ca) if ca else ())


def client_context(ca, files=None, **limits):
    context = ssl.create_default_context(cafile=str(ca))
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # the default from Python 3.13 on
    for name, value in limits.items():
        setattr(context, name, value)
    if files:
        context.load_cert_chain(*map(str, files))
    return context


class TlsClient(Client):
    """A client as in harness, over TLS."""

    def __init__(
        self, address, context, host="localhost", handshake=HANDSHAKE, session=None
    ):
        plain = socket.create_connection(address, TIMEOUT_S)
        try:
            self.socket = context.wrap_socket(
                plain, server_hostname=host, session=session
            )
        except BaseException:
            plain.close()
            raise
        self.file = self.socket.makefile("rb")
        self.send(handshake)
