"""What is written about prservd: the manual page and the operator's handbook."""

import errno
import hashlib
import os
import re
import shutil
import subprocess

import pytest
from harness import BUILD, PRSERVD, ROOT, clean_environment, free_port

MANUAL = (ROOT / "man" / "prservd.8").read_text()
HANDBOOK = (ROOT / "doc" / "operations.md").read_text()
HELP = subprocess.run([PRSERVD, "--help"], capture_output=True, text=True).stdout
PAGES = sorted((ROOT / "man").glob("*.[1-8]"))


def options():
    """The options that --help begins a line with."""
    found = re.findall(r"^ {2}(?:-\w, | {4})(--[a-z-]+)", HELP, flags=re.M)
    assert len(found) > 10
    return found


def plain(manual):
    """The page's source as it reads: no font changes, no escaped hyphens."""
    return re.sub(r"\\f.", "", manual).replace(r"\-", "-")


@pytest.mark.parametrize("option", options())
def test_every_option_has_an_entry(option):
    entry = rf"^\.TP\n(?:-\w, )?{option}( [A-Z:]+)?$"
    assert re.search(entry, plain(MANUAL), flags=re.M)


@pytest.mark.parametrize("option", options())
def test_every_option_has_its_variable(option):
    variable = "PRSERVD_" + option[2:].upper().replace("-", "_")
    if option in ("--start", "--stop", "--version", "--help"):
        assert variable not in MANUAL
        return
    entries = [entry.partition("\n") for entry in plain(MANUAL).split("\n.TP\n")]
    (text,) = [text for head, _, text in entries if option in head.split()]
    assert variable in text
    assert variable in HELP


def test_the_page_names_no_variable_that_is_not_there():
    assert set(re.findall(r"PRSERVD_[A-Z_]+", MANUAL)) <= set(
        re.findall(r"PRSERVD_[A-Z_]+", HELP)
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_have_no_formatting_errors(page):
    if not shutil.which("groff"):
        pytest.skip("groff is not there")
    done = subprocess.run(
        ["groff", "-ww", "-man", "-Tutf8", "-z", page], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_examples_of_the_page_work(tmp_path):
    """Those in the foreground serve until they are ended."""
    examples = plain(MANUAL).partition(".SH EXAMPLES")[2]
    commands = re.findall(r"^prservd .*$", examples, flags=re.M)
    assert len(commands) == 4
    ports = {port: str(free_port()) for port in re.findall(r"\b85\d\d\b", examples)}
    for command in commands:
        command = re.sub(r"\b85\d\d\b", lambda port: ports[port[0]], command)
        with subprocess.Popen(
            [PRSERVD, *command.split()[1:]],
            cwd=tmp_path,
            env=clean_environment(),
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            if "--start" not in command and "--stop" not in command:
                for line in process.stderr:
                    if "Listening" in line:
                        process.terminate()
                        break
            assert process.wait(30) == 0, process.stderr.read()


def test_systemd_understands_the_units(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not there")
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


def test_bad_options_do_not_start_for_ever():
    service = (ROOT / "contrib" / "systemd" / "prservd.service.in").read_text()
    assert "\nRestartPreventExitStatus=2\n" in service
    assert subprocess.run([PRSERVD, "--nosuch"], capture_output=True).returncode == 2


def test_the_sample_of_etc_default_can_be_used(tmp_path):
    sample = (ROOT / "contrib" / "systemd" / "prservd.default").read_text()
    assert all(line[:1] in ("", "#") for line in sample.splitlines())
    offered = dict(re.findall(r"^#(\w+)=(.*)$", sample, flags=re.M))
    assert "/var/lib/prservd/" in offered.pop("PRSERVD_FILE")
    assert "/var/lib/prservd/" in offered.pop("PRSERVD_LOG")
    assert len(offered) >= 5 and set(offered) <= set(re.findall(r"PRSERVD_\w+", HELP))
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
    assert "(read-only), upstream: upstream.example.com:8585" in text


def test_the_image_is_asked_where_it_listens():
    """A port in ENV would be bound beside what PRSERVD_BIND names."""
    dockerfile = (ROOT / "contrib" / "docker" / "Dockerfile").read_text()
    settings = dockerfile.partition("\nENV ")[2].partition("\nEXPOSE")[0]
    assert re.findall(r"PRSERVD_\w+", settings) == ["PRSERVD_FILE"]
    (address,) = re.findall(r'CMD prserv --server (".*") ping', dockerfile)
    for environment, port in ({}, "8585"), ({"PRSERVD_PORT": "99"}, "99"):
        said = subprocess.run(
            ["sh", "-c", f"echo {address}"],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert said.stdout == f"127.0.0.1:{port}\n"


def test_the_recipe_knows_the_licence():
    recipe = (ROOT / "contrib" / "yocto" / "prservd_git.bb").read_text()
    digest = hashlib.md5((ROOT / "LICENSE").read_bytes()).hexdigest()
    assert f"file://LICENSE;md5={digest}" in recipe


SYSTEM_REASONS = {
    os.strerror(errno.EADDRNOTAVAIL),
    os.strerror(errno.EACCES),
    os.strerror(errno.ECONNREFUSED),
    "Name or service not known",
    "attempt to write a readonly database",
    "unable to open database file",
    "disk I/O error",
}


def sources():
    """All C sources; texts that go on in the next line are one."""
    files = sorted((ROOT / "src").rglob("*.c"))
    text = "".join(file.read_text() for file in files)
    return re.sub(r'"\s*\n\s*"', "", text).replace('\\"', '"')


def quoted_messages():
    """What the handbook's tables say that a program says."""
    tables = HANDBOOK.partition("## What the errors mean")[2]
    cells = re.findall(r"^\| (`.*?) \|", tables, flags=re.M)
    assert len(cells) > 50
    return [message for cell in cells for message in re.findall(r"`([^`]+)`", cell)]


def test_the_messages_that_the_handbook_explains_are_real():
    """A message stands there with … for what changes."""
    said = sources() + "\n".join(SYSTEM_REASONS)
    doings = re.findall(r'(?:sqlite_fail|step_once)\(.*, "([^"]+)", error\)', said)
    said += "".join(f"can't {doing}\n" for doing in doings)
    for message in quoted_messages():
        for part in re.split(r"…|FILE:LINE|: (?=[A-Z])", message):
            part = part.strip(" :")
            assert part in said, (message, part)


def warnings():
    """What the sources log as WARNING or ERROR, where it has words of its own."""
    calls = re.findall(r'LOG_(?:WARNING|ERROR),\s*"([^"]+)"', sources())
    found = [max(re.split(r"%[a-z.*]+", call), key=len).strip(" :;,") for call in calls]
    assert len(found) > 10
    return [text for text in found if text]


@pytest.mark.parametrize("warning", warnings())
def test_every_warning_is_explained(warning):
    explained = [part for text in quoted_messages() for part in text.split("…")]
    longest = max(
        (part.strip(" :;,") for part in explained),
        key=lambda part: (part in warning) * len(part),
    )
    assert longest and longest in warning


def session():
    """Commands and what they print, from the handbook's console blocks."""
    for block in re.findall(r"```console\n(.*?)```", HANDBOOK, re.S):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            yield command, output


def tools(folder):
    """A folder for PATH with the programs of this build."""
    folder.mkdir()
    for name in "prservd", "prserv":
        (folder / name).symlink_to(BUILD / name)
    return f"{folder}:{os.environ['PATH']}"


def test_the_handbook_goes_as_written(tmp_path):
    if not shutil.which("sqlite3"):
        pytest.skip("sqlite3 is not there")
    ports = {
        port: str(free_port()) for port in set(re.findall(r"\b85\d\d\b", HANDBOOK))
    }
    environment = clean_environment(PATH=tools(tmp_path / "tools"))
    work = tmp_path / "work"
    work.mkdir()
    started = []
    try:
        for command, output in session():
            command = re.sub(r"\b85\d\d\b", lambda port: ports[port[0]], command)
            if "--start" in command:
                started.append(command)
            done = subprocess.run(
                ["sh", "-c", command],
                cwd=work,
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert (done.returncode, done.stdout) == (0, output), (command, done.stderr)
    finally:
        for command in started:
            where = re.search(r"--pidfile \S+|--host \S+ --port \S+", command)[0]
            subprocess.run(
                [PRSERVD, "--stop", *where.split()],
                cwd=work,
                env=environment,
                capture_output=True,
            )
    assert "Opened the log again" in (work / "mirror.log").read_text()
