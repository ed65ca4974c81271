# SPDX-License-Identifier: MIT
"""Scenarios with TLS and with a relay."""

import os
import shutil
import ssl
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

from loads import load, load_new, prepare_known
from processes import Missing, Prservd, Trouble

N_HANDSHAKES = 100
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
RSA_KEY = ("-newkey", "rsa:2048", "-nodes")


def make_certificate(bench, key=KEY):
    """Returns a certificate for 127.0.0.1, which is its own CA, and its key."""
    if not shutil.which("openssl"):
        raise Missing("openssl is not installed")
    certificate, private = bench.new_file("cert.pem"), bench.new_file("key.pem")
    command = ["openssl", "req", "-x509", *key, "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(private), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, private


class TlsPrservd(Prservd):
    """A prservd with a second address, which has TLS."""

    def __init__(self, bench, key=KEY):
        self.certificate, private = make_certificate(bench, key)
        self.options = ("--bind", "127.0.0.1:0,tls", "--tls-cert", self.certificate)
        self.options += ("--tls-key", private)
        super().__init__(bench)

    def listens_on(self):
        self.check()
        found = [
            line.split()[-1]
            for line in self.log.replace(" (TLS)", "").splitlines()
            if "Listening on" in line
        ]
        if len(found) < 2:
            return None
        self.tls_address = f"tls://{found[1]}"
        return found[0]

    def tls_options(self):
        return {"tls_ca": self.certificate}


class Relay(Prservd):
    def __init__(self, bench, central):
        command = [bench.build / "prservd", "--host", "127.0.0.1", "--port", "0"]
        command += ["--forward", central.address]
        super(Prservd, self).__init__(command, bench.folder)


def compare_with_plain(bench, record, server, at_least, **options):
    """Every other round begins with TLS: the database grows, which makes what is second slower."""
    for i in bench.rounds():
        loads = {}
        for name in ("plain", "TLS") if i % 2 == 0 else ("TLS", "plain"):
            if name == "TLS":
                loads[name] = load(
                    bench, server.tls_address, **options, **server.tls_options()
                )
            else:
                loads[name] = load(bench, server, **options)
        plain = record.note("prservd", loads["plain"])
        sealed = record.note("prservd, TLS", loads["TLS"])
        record.check("of plain", sealed.rate / plain.rate, at_least=at_least)


def tls_test(bench, record):
    with TlsPrservd(bench) as server:
        known = prepare_known(bench, server, work="test")
        compare_with_plain(bench, record, server, 0.7, **known)


def tls_new(bench, record):
    with TlsPrservd(bench) as server:
        compare_with_plain(bench, record, server, 0.9, work="new")


def run_handshakes(port):
    """The program of the clients: each negotiates and leaves, again and again, until it is killed."""
    os.nice(19)  # they stand for other machines
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    def run():
        while True:
            plain = socket.create_connection(("127.0.0.1", port))
            context.wrap_socket(plain).close()

    for _ in range(N_HANDSHAKES):
        threading.Thread(target=run, daemon=True).start()
    print("started", flush=True)
    threading.Event().wait()


@contextmanager
def handshakes(port):
    command = [sys.executable, "-B", __file__, str(port)]
    program = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        program.stdout.readline()
        yield
        if program.poll() is not None:
            raise Trouble("the clients that negotiate have ended")
    finally:
        program.kill()
        program.wait()
        program.stdout.close()


def tls_handshakes(bench, record):
    with TlsPrservd(bench, RSA_KEY) as server:
        known = prepare_known(bench, server, connections=4)
        port = int(server.tls_address.rpartition(":")[2])
        for _ in bench.rounds():
            record.note("prservd", load(bench, server, **known))
            with handshakes(port):
                beside = load(bench, server, **known)
            record.note("prservd, beside 100 handshakes", beside)
            record.check("ms p99", beside.p99_us / 1000, at_most=50)


def forward(bench, record):
    with Prservd(bench) as central, Relay(bench, central) as relay:
        known = prepare_known(bench, central, connections=64)
        for _ in bench.rounds():
            direct = record.note("prservd", load(bench, central, **known))
            through = record.note(
                "prservd, through a relay", load(bench, relay, **known)
            )
            record.check("known, of direct", through.rate / direct.rate, at_least=0.6)
            direct = record.note(
                "prservd, new", load_new(bench, central, connections=64)
            )
            through = load(bench, relay, work="new", connections=64)
            record.note("prservd, new, through a relay", through)
            record.check("new, of direct", through.rate / direct.rate, at_least=0.6)


def forward_single(bench, record):
    with Prservd(bench) as central, Relay(bench, central) as relay:
        known = prepare_known(bench, central, connections=1)
        for _ in bench.rounds():
            direct = record.note("prservd", load(bench, central, **known))
            through = record.note(
                "prservd, through a relay", load(bench, relay, **known)
            )
            record.check("us more, p50", through.p50_us - direct.p50_us, at_most=300)


if __name__ == "__main__":
    run_handshakes(int(sys.argv[1]))
