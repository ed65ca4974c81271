# SPDX-License-Identifier: MIT
"""Files for packagers in contrib/: systemd units, defaults, a container image, a recipe."""

import hashlib
import re
import shutil
import subprocess

import pytest

from harness import PRSERVD, ROOT, clean_environment
from http_client import needs_http


def test_systemd_understands_the_units(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    units = ROOT / "contrib" / "systemd"
    service = (units / "prservd.service.in").read_text()
    assert "ExecStart=@bindir@/prservd\n" in service
    service = service.replace("@bindir@/prservd", str(PRSERVD))
    (tmp_path / "prservd.service").write_text(service)
    for name in "prservd.socket", "prservd-ro.socket":
        shutil.copy(units / name, tmp_path)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *sorted(tmp_path.iterdir())],
        capture_output=True,
        text=True,
    )
    complaints = [
        complaint
        for complaint in done.stderr.splitlines()
        if complaint.startswith((str(tmp_path), "prservd"))
    ]
    assert (done.returncode, complaints) == (0, [])


def test_systemd_does_not_restart_a_server_with_invalid_options():
    service = (ROOT / "contrib" / "systemd" / "prservd.service.in").read_text()
    assert "\nRestartPreventExitStatus=2\n" in service
    assert subprocess.run([PRSERVD, "--nosuch"], capture_output=True).returncode == 2


@needs_http
def test_the_sample_of_etc_default_can_be_used(tmp_path):
    usage = subprocess.run([PRSERVD, "--help"], capture_output=True, text=True).stdout
    sample = (ROOT / "contrib" / "systemd" / "prservd.default").read_text()
    assert all(line[:1] in ("", "#") for line in sample.splitlines())
    offered = dict(re.findall(r"^#(\w+)=(.*)$", sample, flags=re.M))
    assert "/var/lib/prservd/" in offered.pop("PRSERVD_FILE")
    assert "/var/lib/prservd/" in offered.pop("PRSERVD_LOG")
    assert offered.pop("PRSERVD_FILE_READ").startswith("postgresql://")
    assert offered.pop("PRSERVD_STATE_DIR") == "/var/lib/prservd"
    assert offered.pop("PRSERVD_ACCEPT_ROLLBACK") == "IDENTITY:COUNTER"
    assert len(offered) >= 5 and set(offered) <= set(re.findall(r"PRSERVD_\w+", usage))
    with subprocess.Popen(
        [PRSERVD, "--host", "127.0.0.1", "--port", "0"],
        cwd=tmp_path,
        env=clean_environment(**offered),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        text = ""
        for line in process.stderr:
            text += line
            if "Listening" in line:
                process.terminate()
        assert process.wait(30) == 0, text
    assert "(read-only) in history mode, upstream: upstream.example.com:8585" in text


def test_the_health_check_of_the_image_asks_the_right_port():
    """A port in ENV would be bound in addition to PRSERVD_BIND."""
    dockerfile = (ROOT / "contrib" / "docker" / "Dockerfile").read_text()
    settings = dockerfile.partition("\nENV ")[2].partition("\nEXPOSE")[0]
    assert re.findall(r"PRSERVD_\w+", settings) == ["PRSERVD_FILE"]
    (address,) = re.findall(r'CMD prserv --server (".*") ping', dockerfile)
    for environment, port in ({}, "8585"), ({"PRSERVD_PORT": "99"}, "99"):
        done = subprocess.run(
            ["sh", "-c", f"echo {address}"],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.stdout == f"127.0.0.1:{port}\n"


def test_the_recipe_has_the_checksum_of_the_licence():
    recipe = (
        ROOT / "meta-prservd" / "recipes-support" / "prservd" / "prservd_git.bb"
    ).read_text()
    digest = hashlib.md5((ROOT / "LICENSE").read_bytes()).hexdigest()
    assert f"file://LICENSE;md5={digest}" in recipe
