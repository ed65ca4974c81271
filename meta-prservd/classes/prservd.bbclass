# SPDX-License-Identifier: MIT
#
# A prservd for every build: INHERIT += "prservd". README.md of this layer describes the variables.

# The database, BitBake's own by default.
PRSERVD_FILE ?= "${PERSISTENT_DIR}/prserv.sqlite3"
# The log of the server.
PRSERVD_LOG ?= "${PERSISTENT_DIR}/prservd.log"
# A central server, tls://HOST:PORT or HOST:PORT: a relay to it is started instead.
PRSERVD_FORWARD ?= ""
PRSERVD_TLS_CA ?= ""
PRSERVD_TLS_CERT ?= ""
PRSERVD_TLS_KEY ?= ""
# More options of prservd.
PRSERVD_OPTIONS ?= ""
# The program; the PATH of the shell is searched, then the folder of prservd-native.
PRSERVD_PROGRAM ?= "prservd"
PRSERVD_NATIVE_BINDIR ?= "${COMPONENTS_DIR}/${BUILD_ARCH}/prservd-native${bindir_native}"
# 1: a build without prservd fails.
PRSERVD_REQUIRED ?= "0"
# What to do if shared state brings back a revision that the server does not know: warn, error, off.
PRSERVD_SETSCENE_CHECK ?= "warn"

# Nothing here changes what is built.
BB_BASEHASH_IGNORE_VARS:append = " PRSERVD_FILE PRSERVD_LOG PRSERVD_FORWARD PRSERVD_TLS_CA \
    PRSERVD_TLS_CERT PRSERVD_TLS_KEY PRSERVD_OPTIONS PRSERVD_PROGRAM PRSERVD_NATIVE_BINDIR \
    PRSERVD_REQUIRED PRSERVD_SETSCENE_CHECK PRSERVD_LAYERDIR"
# The port is another one for each BitBake. Signatures and the cache of parsed recipes stay valid
# nevertheless, as with OE-Core, which leaves out this variable itself.
BB_BASEHASH_IGNORE_VARS:append = " PRSERV_HOST"
BB_HASHCONFIG_IGNORE_VARS:append = " PRSERV_HOST"

def prservd_import(d, name):
    """Returns a module of this layer's lib/prservd."""
    import importlib
    import os
    import sys

    folder = os.path.join(d.getVar("PRSERVD_LAYERDIR"), "lib")
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module("prservd." + name)

python prservd_on_event() {
    # By name: workers have no bb.cooker.
    name = bb.event.getName(e)
    if name == "ConfigParsed":
        prservd_import(e.data, "build").on_config_parsed(bb, e.data)
    elif name == "CookerExit":
        prservd_import(d, "build").on_cooker_exit(bb)
}
addhandler prservd_on_event
prservd_on_event[eventmask] = "bb.event.ConfigParsed bb.cooker.CookerExit"

python prservd_check_setscene() {
    mode = (d.getVar("PRSERVD_SETSCENE_CHECK") or "off").strip().lower()
    if mode not in ("warn", "error", "off"):
        bb.warn("PRSERVD_SETSCENE_CHECK is %r; it is one of warn, error and off" % mode)
    elif mode != "off":
        report = bb.error if mode == "error" else bb.warn
        prservd_import(d, "setscene").check(d, report)
}
prservd_check_setscene[vardepsexclude] += "PRSERV_HOST"
do_packagedata_setscene[postfuncs] += "prservd_check_setscene"
do_packagedata_setscene[network] = "1"
