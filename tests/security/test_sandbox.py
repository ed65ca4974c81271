# SPDX-License-Identifier: MIT
"""A running server is sandboxed: it has given up system calls that it never needs.
tests/unit/test_sandbox.c tests which ones, and that they are refused."""

import errno
import re
import subprocess
import sys
from pathlib import Path

import pytest
from harness import BUILD, SANITIZER, Server, poll, run_prservd

PACKAGE = ("m4-1.4.19-r0", "core2-64")

# Executes the server under a filter that refuses seccomp(2) with the error of the first argument.
LAUNCHER = """
import ctypes, os, sys
seccomp = ctypes.CDLL("libseccomp.so.2")
seccomp.seccomp_init.restype = ctypes.c_void_p
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
filter = ctypes.c_void_p(seccomp.seccomp_init(ALLOW))
call = seccomp.seccomp_syscall_resolve_name(b"seccomp")
refuse = ERRNO | int(sys.argv[1])
assert seccomp.seccomp_rule_add_array(filter, refuse, call, 0, None) == 0
assert seccomp.seccomp_load(filter) == 0
os.execv(sys.argv[2], sys.argv[2:])
"""


def has_sandbox():
    """Tells whether the build wants libseccomp and the kernel supports filters."""
    commands = (BUILD / "compile_commands.json").read_text()
    kernel_can = "\nSeccomp:" in Path("/proc/self/status").read_text()
    return kernel_can and "-DPRSERVD_SECCOMP" in commands


pytestmark = [
    pytest.mark.skipif(bool(SANITIZER), reason="sanitizers start processes"),
    pytest.mark.skipif(not has_sandbox(), reason="no libseccomp, or an old kernel"),
]


def threads(pid):
    """Returns (Seccomp, NoNewPrivs) of each thread."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/status"):
        status = dict(line.split(":\t", 1) for line in path.read_text().splitlines())
        found.append((status["Seccomp"], status["NoNewPrivs"]))
    return found


def check_sandboxed(pid):
    filtered = "2"
    found = threads(pid)
    assert len(found) > 1
    assert set(found) == {(filtered, "1")}


def test_every_thread_is_sandboxed_before_clients_are_accepted(server):
    check_sandboxed(server.process.pid)
    assert server.get_pr(*PACKAGE, "content") == "0"
    check_sandboxed(server.process.pid)
    assert "filter" not in server.log


def test_a_read_only_server_is_sandboxed(serve):
    reader = serve("--read-only")
    check_sandboxed(reader.process.pid)


def test_host_names_can_be_looked_up_in_the_sandbox(serve, server):
    """The threads that libuv starts for look-ups are sandboxed as well."""
    assert server.get_pr(*PACKAGE, "content") == "0"
    below = serve("--upstream", f"localhost:{server.port}", folder="below")
    assert below.get_pr(*PACKAGE, "changed here") == "0.0"
    check_sandboxed(below.process.pid)


def test_a_server_on_postgresql_is_sandboxed_and_reconnects(
    serve, shared_cluster, database
):
    server = serve("--file", database)
    name = database.rpartition("/")[2].partition("?")[0]
    check_sandboxed(server.process.pid)
    assert server.get_pr(*PACKAGE, "a") == "0"
    shared_cluster.psql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        f" WHERE datname = '{name}' AND pid <> pg_backend_pid()"
    )
    assert server.get_pr(*PACKAGE, "b") == "1"
    check_sandboxed(server.process.pid)


def test_a_daemon_is_sandboxed(tmp_path):
    words = ["--pidfile", "pid", "--bind", f"unix://{tmp_path}/socket"]
    assert run_prservd("--start", *words, cwd=tmp_path).returncode == 0
    try:
        check_sandboxed(int((tmp_path / "pid").read_text()))
    finally:
        assert run_prservd("--stop", *words, cwd=tmp_path).returncode == 0


class ServerWithoutFilters(Server):
    """A server for which seccomp(2) fails with this error, as in some containers."""

    def __init__(self, folder, error):
        self.error = error
        super().__init__(folder)

    def start(self):
        launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(self.error)]
        with open(self.log_path, "ab") as log:
            self.log_start = log.tell()
            self.process = subprocess.Popen(
                [*launcher, *self.command],
                cwd=self.folder,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=self.environment,
            )
        poll(lambda: self.process.poll() is not None or self.addresses, "the server")
        assert self.process.poll() is None, self.log


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOSYS])
def test_a_server_that_may_not_set_filters_serves_and_warns(tmp_path, error):
    with ServerWithoutFilters(tmp_path, error) as server:
        assert server.get_pr(*PACKAGE, "content") == "0"
        assert server.log.count("WARNING") == 1
        warning = "WARNING .*the system does not allow a filter for system calls: .*; serving without it"
        assert re.search(warning, server.log)
