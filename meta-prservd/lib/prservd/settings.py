# SPDX-License-Identifier: MIT
"""From BitBake's variables to the server that a build wants."""

import os
import shutil
import subprocess

OWN_SERVERS = ("localhost:0", "127.0.0.1:0")  # for which BitBake starts a server itself
ANNOTATION_BYTES = 1000


class SettingError(Exception):
    """A variable can't be used; the text names it."""


def is_own(host):
    """Returns whether BitBake would start a server for this PRSERV_HOST."""
    return (host or "").strip().lower() in OWN_SERVERS


def is_on(d, name):
    return (d.getVar(name) or "").strip().lower() in ("1", "yes", "true", "on")


def find_program(d):
    """Returns the path of prservd. Raises SettingError."""
    named = d.getVar("PRSERVD_PROGRAM") or "prservd"
    original = d.getVar("BB_ORIGENV", False)
    paths = [original.getVar("PATH") if original else None, d.getVar("PATH")]
    native = d.getVar("PRSERVD_NATIVE_BINDIR")
    for path in paths + [native]:
        found = shutil.which(named, path=path) if path else None
        if found:
            return found
    raise SettingError(
        "%s was not found in the PATH, and prservd-native was not built (bitbake prservd-native -c "
        "addto_recipe_sysroot); set PRSERVD_PROGRAM" % named
    )


def revision_of(folder):
    """Returns the commit of a layer, short, or "?"."""
    command = ["git", "-C", folder, "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=2
        )
    except (OSError, subprocess.SubprocessError):
        return "?"
    return done.stdout.decode().strip() or "?"


def annotations(d):
    """Returns what a relay says of this build: name → value."""
    layers = (d.getVar("BBLAYERS") or "").split()
    names = [
        "%s:%s" % (os.path.basename(layer.rstrip("/")), revision_of(layer))
        for layer in layers
    ]
    values = {
        "build-name": d.getVar("PRSERVD_BUILD_NAME") or d.getVar("BUILDNAME"),
        "machine": d.getVar("MACHINE"),
        "distro": d.getVar("DISTRO"),
        "layers": " ".join(names),
    }
    return {
        name: " ".join(value.split())[:ANNOTATION_BYTES]
        for name, value in values.items()
        if value
    }


def tls_options(d):
    for option in "ca", "cert", "key":
        value = d.getVar("PRSERVD_TLS_" + option.upper())
        if value:
            yield "--tls-" + option
            yield value


def server_options(d):
    """Returns the options of the server that a build wants. Raises SettingError."""
    forward = d.getVar("PRSERVD_FORWARD")
    options = (d.getVar("PRSERVD_OPTIONS") or "").split() + list(tls_options(d))
    if forward:
        options += ["--forward", forward]
        for name, value in sorted(annotations(d).items()):
            options += ["--annotate", "%s=%s" % (name, value)]
        return options
    file = d.getVar("PRSERVD_FILE")
    if not file:
        raise SettingError("PRSERVD_FILE is empty, and PERSISTENT_DIR, too")
    upstream = d.getVar("PRSERV_UPSTREAM")
    if upstream:
        options += ["--upstream", upstream]
    return options + ["--new-database", "--file", os.path.abspath(file)]


def log_file(d):
    """Returns the log of the server, in a folder that exists. Raises SettingError."""
    log = d.getVar("PRSERVD_LOG")
    if not log:
        raise SettingError("PRSERVD_LOG is empty, and PERSISTENT_DIR, too")
    folder = os.path.dirname(os.path.abspath(log))
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise SettingError("PRSERVD_LOG: %s" % error) from None
    return os.path.abspath(log)
