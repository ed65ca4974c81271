"""The README's session, typed as it is written."""

import re
import subprocess

from harness import BUILD, ROOT, clean_environment, free_port


def session():
    """Commands and what they print, from the README's console block."""
    block = re.search(
        r"```console\n(.*?)```", (ROOT / "README.md").read_text(), re.S
    ).group(1)
    for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def test_the_first_session_goes_as_written(tmp_path):
    (tmp_path / "build").symlink_to(BUILD)
    ports = {"8585": str(free_port()), "8586": str(free_port())}
    commands = [command for command, _ in session()]
    assert any("get" in command for command in commands)
    try:
        for command, output in session():
            for port, free in ports.items():
                command = command.replace(port, free)
            if command == "./dev build":
                continue
            done = subprocess.run(
                command.split(),
                cwd=tmp_path,
                env=clean_environment(),
                capture_output=True,
                text=True,
            )
            assert (done.returncode, done.stdout) == (0, output), (command, done.stderr)
    finally:
        for free in ports.values():
            stop = ["build/prservd", "--stop", "--host", "127.0.0.1", "--port", free]
            subprocess.run(
                stop, cwd=tmp_path, env=clean_environment(), capture_output=True
            )
