# SPDX-License-Identifier: MIT
"""The events of a build: where the class and BitBake meet.

BitBake forgets the modules of layers whenever it reads the configuration again. What has to stay is
kept in a dictionary of the module bb.
"""

import os
import sys

from prservd import settings
from prservd.server import Server, StartError

KEY = "_prservd_servers"


def servers_of(bb):
    """Returns the servers of this process: their options → the server."""
    kept = bb.__dict__.setdefault(KEY, {})
    if kept.get("owner") != os.getpid():  # a process that BitBake has forked
        kept = bb.__dict__[KEY] = {"owner": os.getpid(), "servers": {}}
    return kept


def has_own_server():
    """Returns whether this BitBake has started its own server, which it uses until it ends."""
    return getattr(sys.modules.get("prserv.serv"), "singleton", None) is not None


def warn_of_own_server(bb, wanted):
    bb.warn(
        "this BitBake has started its own PR server before, and goes on using it instead of %s: end "
        "it with 'bitbake -m'" % wanted
    )


def start(bb, d, kept):
    """Returns the address of the server that the build wants."""
    program = settings.find_program(d)
    options = settings.server_options(d)
    log = settings.log_file(d)
    key = (
        program,
        tuple(word for word in options if not word.startswith("build-name=")),
    )
    server = kept["servers"].get(key)
    if server is None:
        original = d.getVar("BB_ORIGENV", False)
        names = original.keys() if original else ()
        environment = {name: original.getVar(name) for name in names}
        server = Server(
            program, options, log, {k: v for k, v in environment.items() if v}
        )
        server.warn = bb.warn
        make_folder_of_file(options)
        server.start()
        kept["servers"][key] = server
    return server.address


def make_folder_of_file(options):
    if "--file" not in options:
        return
    folder = os.path.dirname(options[options.index("--file") + 1])
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise settings.SettingError("PRSERVD_FILE: %s" % error) from None


def on_config_parsed(bb, d):
    """Starts the server, once, and has the build use it."""
    if d.getVar("BB_WORKERCONTEXT"):
        return
    kept = servers_of(bb)
    host = d.getVar("PRSERV_HOST")
    if has_own_server():
        if host and not settings.is_own(host):
            warn_of_own_server(bb, "PRSERV_HOST, %s" % host)
        return
    if not settings.is_own(host):
        return
    try:
        d.setVar("PRSERV_HOST", start(bb, d, kept))
    except (settings.SettingError, StartError) as error:
        text = "prservd is not used: %s" % error
        if settings.is_on(d, "PRSERVD_REQUIRED"):
            bb.fatal("%s (PRSERVD_REQUIRED)" % text)
        bb.warn("%s. BitBake's own PR server takes its place" % text)


def on_cooker_exit(bb):
    """Ends the servers that this process has started."""
    kept = servers_of(bb)
    for server in kept["servers"].values():
        server.stop()
    kept["servers"].clear()
