# SPDX-License-Identifier: MIT
"""The Python of meta-prservd, without BitBake: stand-ins take the place of its datastore."""

import os
import signal
import subprocess
import sys
import time
import types

import pytest

from harness import BUILD, PRSERVD, ROOT, Client, poll

LAYER = ROOT / "meta-prservd"
sys.path.append(str(LAYER / "lib"))

from prservd import build, settings, setscene  # noqa: E402
from prservd.client import Client as LayerClient  # noqa: E402
from prservd.client import ServerError  # noqa: E402
from prservd.server import Server, StartError, clean_environment  # noqa: E402


class Data(dict):
    """A datastore: its values are expanded already."""

    def getVar(self, name, expand=True):
        return self.get(name)

    def setVar(self, name, value):
        self[name] = value


class Fatal(Exception):
    pass


class FakeBitBake(types.SimpleNamespace):
    """The module bb."""

    def __init__(self):
        super().__init__(warnings=[], errors=[])
        self.warn = self.warnings.append
        self.error = self.errors.append

    def fatal(self, text):
        raise Fatal(text)


@pytest.fixture
def data(tmp_path):
    return Data(
        PRSERV_HOST="localhost:0",
        PRSERVD_PROGRAM=str(PRSERVD),
        PRSERVD_FILE=str(tmp_path / "cache" / "prserv.sqlite3"),
        PRSERVD_LOG=str(tmp_path / "cache" / "prservd.log"),
        BB_ORIGENV=Data(PATH=os.environ["PATH"], **module_path()),
    )


def module_path():
    """Where a build that is not installed has its modules, with sanitizers as well."""
    return {k: v for k, v in os.environ.items() if k.endswith("_OPTIONS")}


@pytest.fixture
def bitbake():
    module = FakeBitBake()
    yield module
    build.on_cooker_exit(module)


def get_pr(address, checksum):
    host, _, port = address.rpartition(":")
    with Client((host, int(port))) as client:
        return client.get_pr("m4-1.4.19-r0", "core2-64", checksum)


def the_server(bitbake):
    (server,) = bitbake._prservd_servers["servers"].values()
    return server


# ---- the start ----


def test_a_build_gets_a_server(bitbake, data):
    build.on_config_parsed(bitbake, data)
    address = data["PRSERV_HOST"]
    assert address.startswith("127.0.0.1:") and not address.endswith(":0")
    assert get_pr(address, "a") == "0"
    assert os.path.exists(data["PRSERVD_FILE"])
    assert bitbake.warnings == []


def test_the_start_is_quick(bitbake, data):
    began = time.monotonic()
    build.on_config_parsed(bitbake, data)
    assert time.monotonic() - began < (
        2 if os.environ.get("PRSERVD_TEST_SANITIZER") else 1
    )


def test_reading_the_configuration_again_keeps_the_server(bitbake, data):
    first, second = Data(data), Data(data)
    build.on_config_parsed(bitbake, first)
    build.on_config_parsed(bitbake, second)
    assert first["PRSERV_HOST"] == second["PRSERV_HOST"]
    assert the_server(bitbake).is_running()


@pytest.mark.parametrize("host", [None, "", "pr.example.com:8585", "localhost:8585"])
def test_another_server_is_left_alone(bitbake, data, host):
    data["PRSERV_HOST"] = host
    build.on_config_parsed(bitbake, data)
    assert data["PRSERV_HOST"] == host
    assert not bitbake._prservd_servers["servers"]


@pytest.mark.parametrize("host", ["localhost:0", "127.0.0.1:0", " LocalHost:0 "])
def test_what_bitbake_would_start_itself_is_replaced(host):
    assert settings.is_own(host)


def test_workers_start_nothing(bitbake, data):
    data["BB_WORKERCONTEXT"] = "1"
    build.on_config_parsed(bitbake, data)
    assert data["PRSERV_HOST"] == "localhost:0"


def test_a_server_that_bitbake_has_started_before_is_told_of(
    bitbake, data, monkeypatch
):
    module = types.SimpleNamespace(singleton=object())
    monkeypatch.setitem(sys.modules, "prserv.serv", module)
    data["PRSERV_HOST"] = "pr.example.com:8585"
    build.on_config_parsed(bitbake, data)
    (warning,) = bitbake.warnings
    assert "PRSERV_HOST, pr.example.com:8585" in warning and "bitbake -m" in warning


def test_an_upstream_is_passed_on(bitbake, data, serve):
    upstream = serve()
    assert upstream.get_pr("m4-1.4.19-r0", "core2-64", "a") == "0"
    assert upstream.get_pr("m4-1.4.19-r0", "core2-64", "b") == "1"
    data["PRSERV_UPSTREAM"] = upstream.address
    build.on_config_parsed(bitbake, data)
    assert get_pr(data["PRSERV_HOST"], "c") == "1.0"


def test_a_relay_is_started_for_a_central_server(bitbake, data, serve, tmp_path):
    central = serve(folder="central")
    data.update(
        PRSERVD_FORWARD=central.address,
        MACHINE="qemux86-64",
        DISTRO="poky",
        BUILDNAME="20261130",
        BBLAYERS=str(tmp_path),
    )
    build.on_config_parsed(bitbake, data)
    assert get_pr(data["PRSERV_HOST"], "a") == "0"
    assert not os.path.exists(data["PRSERVD_FILE"])

    def is_told():
        (record,) = central.ask({"get-log": {}})["log"] or [None]
        return record and record["annotations"]

    told = poll(is_told, "the record")
    assert told["machine"] == "qemux86-64" and told["distro"] == "poky"
    assert told["build-name"] == "20261130"
    assert told["layers"] == f"{tmp_path.name}:?"


def test_files_for_tls_are_passed_on(data):
    data.update(PRSERVD_TLS_CA="/a", PRSERVD_TLS_CERT="/b", PRSERVD_TLS_KEY="/c")
    data["PRSERVD_FORWARD"] = "tls://pr.example.com:8586"
    options = settings.server_options(data)
    assert options[:8] == [
        *("--tls-ca", "/a", "--tls-cert", "/b", "--tls-key", "/c"),
        *("--forward", "tls://pr.example.com:8586"),
    ]


def test_options_of_other_servers_do_not_reach_this_one():
    given = {"PATH": "/bin", "PRSERVD_BIND": "x", "PRSERV_HOST": "y", "LISTEN_FDS": "1"}
    assert clean_environment(given) == {"PATH": "/bin"}


def test_no_descriptor_but_the_socket_is_inherited(bitbake, data, tmp_path):
    """An inherited lock would keep the next build from starting."""
    with open(tmp_path / "bitbake.lock", "w", encoding="utf-8") as lock:
        os.set_inheritable(lock.fileno(), True)
        build.on_config_parsed(bitbake, data)
        folder = f"/proc/{the_server(bitbake).process.pid}/fd"
        files = [os.readlink(f"{folder}/{name}") for name in os.listdir(folder)]
    assert not [name for name in files if "bitbake.lock" in name]


# ---- the end ----


def test_the_server_ends_with_the_cooker(data, bitbake):
    build.on_config_parsed(bitbake, data)
    server = the_server(bitbake)
    build.on_cooker_exit(bitbake)
    assert not server.is_running()


def test_the_server_ends_when_the_cooker_is_killed(data, tmp_path):
    script = tmp_path / "cooker.py"
    script.write_text(
        f"""
import sys, time
sys.path[:0] = [{str(ROOT / 'tests' / 'layer')!r}, {str(ROOT / 'tests')!r}]
import test_layer
data = test_layer.Data({dict(data, BB_ORIGENV=None)!r})
data["BB_ORIGENV"] = test_layer.Data({dict(data['BB_ORIGENV'])!r})
bitbake = test_layer.FakeBitBake()
test_layer.build.on_config_parsed(bitbake, data)
print(test_layer.the_server(bitbake).process.pid, flush=True)
time.sleep(100)
"""
    )
    cooker = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PRSERVD_TEST_BUILD": str(BUILD)},
    )
    pid = int(cooker.stdout.readline())
    cooker.kill()
    began = time.monotonic()
    poll(lambda: not os.path.exists(f"/proc/{pid}") or is_zombie(pid), "its end")
    assert time.monotonic() - began < 2
    cooker.wait()
    cooker.stdout.close()


def is_zombie(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_server_that_is_killed_is_started_again(data, bitbake):
    build.on_config_parsed(bitbake, data)
    address = data["PRSERV_HOST"]
    assert get_pr(address, "a") == "0"
    server = the_server(bitbake)
    first = server.process.pid
    os.kill(first, signal.SIGKILL)
    assert get_pr(address, "b") == "1"
    assert server.process.pid != first and server.address == address


# ---- what goes wrong ----


def reason_of(bitbake, data):
    build.on_config_parsed(bitbake, data)
    assert data["PRSERV_HOST"] == "localhost:0"
    (warning,) = bitbake.warnings
    assert "BitBake's own PR server takes its place" in warning
    return warning


def test_a_missing_program(bitbake, data):
    data["PRSERVD_PROGRAM"] = "prservd-that-does-not-exist"
    reason = reason_of(bitbake, data)
    assert "PRSERVD_PROGRAM" in reason and "prservd-native" in reason


def test_the_program_of_prservd_native_is_found(bitbake, data):
    data.update(PRSERVD_PROGRAM="prservd", PRSERVD_NATIVE_BINDIR=str(PRSERVD.parent))
    data["BB_ORIGENV"]["PATH"] = "/nowhere"
    build.on_config_parsed(bitbake, data)
    assert get_pr(data["PRSERV_HOST"], "a") == "0"


def test_a_program_that_is_broken(bitbake, data, tmp_path):
    broken = tmp_path / "prservd"
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    data["PRSERVD_PROGRAM"] = str(broken)
    assert "ended with status 127" in reason_of(bitbake, data)
    broken.write_bytes(b"\x7fELF broken")
    bitbake.warnings.clear()
    assert "can't run" in reason_of(bitbake, data)


def test_a_program_that_does_not_answer(bitbake, data, tmp_path, monkeypatch):
    monkeypatch.setattr("prservd.server.START_S", 0.5)
    silent = tmp_path / "prservd"
    silent.write_text("#!/bin/sh\nexec sleep 100\n")
    silent.chmod(0o755)
    data["PRSERVD_PROGRAM"] = str(silent)
    assert "does not answer within" in reason_of(bitbake, data)


def test_the_servers_reason_is_told(bitbake, data, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    data["PRSERVD_FILE"] = str(folder)
    assert "is a folder" in reason_of(bitbake, data)
    data["PRSERVD_OPTIONS"] = "--sync maybe"
    bitbake.warnings.clear()
    assert "ended with status 2" in reason_of(bitbake, data)


@pytest.mark.parametrize("name", ["PRSERVD_FILE", "PRSERVD_LOG"])
def test_a_variable_that_is_empty(bitbake, data, name):
    data[name] = ""
    assert name in reason_of(bitbake, data)


def test_a_required_server(bitbake, data):
    data.update(PRSERVD_REQUIRED="1", PRSERVD_PROGRAM="none")
    with pytest.raises(Fatal, match="PRSERVD_REQUIRED"):
        build.on_config_parsed(bitbake, data)


def test_a_server_that_ends_again_and_again(tmp_path, monkeypatch):
    """Clients get an error in the end instead of waiting for ever."""
    monkeypatch.setattr("prservd.server.MOST_QUICK_ENDS", 2)
    server = Server(str(PRSERVD), [], str(tmp_path / "log"), os.environ)
    server.options = ["--file", str(tmp_path / "x.sqlite3"), "--new-database"]
    texts = []
    server.warn = texts.append
    server.start()
    server.options = ["--sync", "maybe"]
    server.process.kill()
    poll(lambda: texts, "the warning")
    assert "again and again" in texts[0]
    server.stop()


def test_a_start_that_fails_leaves_nothing(tmp_path):
    server = Server("/bin/false", [], str(tmp_path / "log"), os.environ)
    with pytest.raises(StartError):
        server.start()
    assert not server.is_running()


# ---- the check of what shared state brings back ----


@pytest.fixture
def restored(tmp_path, serve):
    """A recipe whose packages were restored with the revision r0.REVISION."""
    server = serve()

    def make(revision, **values):
        runtime = tmp_path / "pkgdata" / "runtime"
        runtime.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pkgdata" / "m4").write_text("PACKAGES: m4 m4-doc\n")
        for package in "m4", "m4-doc":
            lines = f"PN: m4\nPKGR:{package}: r0{revision}\n"
            (runtime / package).write_text(lines)
        return Data(
            PN="m4",
            PR="r0",
            PRAUTOINX="m4-1.4.19-r0",
            PACKAGE_ARCH="core2-64",
            PRSERV_HOST=server.address,
            PKGDATA_DIR=str(tmp_path / "pkgdata"),
            **values,
        )

    make.server = server
    return make


def faults(data):
    texts = []
    setscene.check(data, texts.append)
    return texts


def test_a_revision_that_the_server_gave_is_silent(restored):
    for checksum in "abc":
        restored.server.get_pr("m4-1.4.19-r0", "core2-64", checksum)
    for revision in "012":
        assert faults(restored(f".{revision}")) == []


def test_a_revision_below_the_servers_greatest_is_found(restored):
    with restored.server.client() as client:
        client.import_one("m4-1.4.19-r0", "core2-64", "a", "17")
    (text,) = faults(restored(".3"))
    assert "m4" in text and "r0.3" in text and "greatest is 17" in text
    assert "prserv floor" in text and "PRSERVD_SETSCENE_CHECK" in text


def test_a_package_that_the_server_does_not_know_is_found(restored):
    (text,) = faults(restored(".3"))
    assert "has never given a revision" in text


def test_a_revision_of_three_levels(restored):
    with restored.server.client() as client:
        client.import_one("m4-1.4.19-r0", "core2-64", "a", "1.2.3")
    assert faults(restored(".1.2.3")) == []
    assert len(faults(restored(".1.2.2"))) == 1


@pytest.mark.parametrize("revision", ["", ".custom"])
def test_packages_without_a_revision_of_a_server(restored, revision):
    assert faults(restored(revision)) == []


def test_a_server_that_is_away_is_told(restored):
    data = restored(".3")
    restored.server.stop()
    (text,) = faults(data)
    assert "could not be checked" in text


def test_a_recipe_with_a_server_of_its_own(restored, serve):
    other = serve(folder="other")
    data = restored(".0", PRSERV_HOST_m4=other.address)
    assert len(faults(data)) == 1
    other.get_pr("m4-1.4.19-r0", "core2-64", "a")
    assert faults(data) == []


def test_without_pkgdata_and_without_a_server_nothing_is_asked(restored, tmp_path):
    data = restored(".0")
    data["PKGDATA_DIR"] = str(tmp_path / "none")
    assert faults(data) == []
    data = restored(".0")
    data["PRSERV_HOST"] = ""
    assert faults(data) == []


# ---- the client ----


def test_the_client_reads_long_answers(serve):
    server = serve()
    with server.client() as client:
        for number in range(600):
            client.import_one("m4", "all", f"{number:0100}", str(number))
    with LayerClient(server.address, 10) as client:
        assert len(client.revisions("m4", "all")) == 600


@pytest.mark.parametrize("address", ["", "host", "host:", ":1", "host:x"])
def test_addresses_that_can_not_be_used(address):
    with pytest.raises(ServerError):
        LayerClient(address, 1)


def test_the_class_and_the_layer_name_every_variable():
    readme = (LAYER / "README.md").read_text()
    text = (LAYER / "classes" / "prservd.bbclass").read_text()
    for line in text.splitlines():
        if line.startswith("PRSERVD_") and "?=" in line:
            assert line.split()[0] in readme, line
