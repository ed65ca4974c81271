# SPDX-License-Identifier: MIT
"""A project for the real BitBake: the layer, and recipes that ask the PR server as OE-Core does."""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from harness import BUILD, ROOT

LAYER = ROOT / "meta-prservd"
USER = 65534

BITBAKE_CONF = """
TMPDIR = "${TOPDIR}/tmp"
CACHE = "${TMPDIR}/cache"
PERSISTENT_DIR = "${TOPDIR}/cache"
STAMP = "${TMPDIR}/stamps/${PN}"
T = "${TMPDIR}/work/${PN}/temp"
B = "${TMPDIR}/work/${PN}"
LOGFIFO = "${T}/fifo"
PN = "${@bb.parse.vars_from_file(d.getVar('FILE', False), d)[0] or 'defaultpkgname'}"
PV = "1.0"
PR = "r0"
PF = "${PN}-${PV}-${PR}"
PRAUTOINX = "${PF}"
PACKAGE_ARCH = "core2-64"
BBINCLUDELOGS = "yes"
MACHINE ?= "qemux86-64"
DISTRO ?= "testing"
BB_CONSOLELOG = "${TOPDIR}/console.log"
BB_SIGNATURE_HANDLER = "basichash"
BB_HASHCHECK_FUNCTION = "testing_find_all"
BB_SETSCENE_DEPVALID = "testing_needs_none"
require conf/local.conf
"""

BASE_CLASS = """
addtask build
python base_do_build() {
    import prserv.serv
    host, port = d.getVar("PRSERV_HOST").split(":")
    connection = prserv.serv.connect(host, int(port))
    value = connection.getPR(d.getVar("PRAUTOINX"), d.getVar("PACKAGE_ARCH"), d.getVar("CONTENT"))
    bb.plain("%s has %s from %s" % (d.getVar("PN"), value, d.getVar("PRSERV_HOST")))
    connection.close()
}
def testing_find_all(sq_data, d, **_):
    return set(sq_data["hash"])
def testing_needs_none(task, dependees, notneeded, d, log=None):
    return False
EXPORT_FUNCTIONS do_build
do_build[nostamp] = "1"
do_build[network] = "1"
"""

# Shared state that has the packages of every recipe, with the revision r0.RESTORED.
PACKAGED_CLASS = """
PKGDATA_DIR = "${TMPDIR}/pkgdata"
python do_packagedata() {
    bb.fatal("it was not restored")
}
addtask packagedata before do_build
python do_packagedata_setscene() {
    import os
    folder = d.getVar("PKGDATA_DIR")
    os.makedirs(folder + "/runtime", exist_ok=True)
    pn = d.getVar("PN")
    with open(folder + "/" + pn, "w") as file:
        file.write("PACKAGES: %s\\n" % pn)
    with open(folder + "/runtime/" + pn, "w") as file:
        file.write("PKGR:%s: r0.%s\\n" % (pn, d.getVar("RESTORED")))
}
addtask do_packagedata_setscene
"""

LAYER_CONF = """
BBPATH .= ":${LAYERDIR}"
BBFILES += "${LAYERDIR}/*.bb"
BBFILE_COLLECTIONS += "testing"
BBFILE_PATTERN_testing = "^${LAYERDIR}/"
LAYERSERIES_CORENAMES = "kirkstone scarthgap styhead walnascar whinlatter wrynose blacksail"
LAYERSERIES_COMPAT_testing = "kirkstone scarthgap styhead walnascar whinlatter wrynose blacksail"
BBFILE_COLLECTIONS =+ "core"
BBFILE_PATTERN_core = "^/none/"
LAYERSERIES_COMPAT_core = "${LAYERSERIES_CORENAMES}"
"""


@contextlib.contextmanager
def open_folder(name):
    """Makes a folder that other users can reach, and removes it at the end.

    It is not one of pytest's: each start of pytest closes the folder of all its runs to others.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"prservd-{name}-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def give_to_user(folder):
    """Makes USER the owner of a folder and of all that is in it."""
    if os.getuid() != 0:
        return
    for place, _, files in os.walk(folder):
        for name in ["", *files]:
            os.chown(Path(place) / name, USER, USER, follow_symlinks=False)


class Project:
    """A folder in which an unprivileged user runs BitBake."""

    def __init__(self, folder, bitbake, local=""):
        self.folder = folder
        self.bitbake = Path(bitbake)
        layer = folder / "meta-testing"
        for name in "conf", "classes":
            (layer / name).mkdir(parents=True)
        (folder / "conf").mkdir()
        programs = folder / "bin"
        programs.mkdir()
        shutil.copy(BUILD / "prservd", programs)
        for module in BUILD.glob("src/*/prservd-*.so"):
            shutil.copy(module, programs)
        ignored = shutil.ignore_patterns(
            "recipes-*"
        )  # they need the classes of OE-Core
        shutil.copytree(LAYER, folder / "meta-prservd", ignore=ignored)
        (layer / "conf" / "bitbake.conf").write_text(BITBAKE_CONF)
        (layer / "conf" / "layer.conf").write_text(LAYER_CONF)
        (layer / "classes" / "base.bbclass").write_text(BASE_CLASS)
        (layer / "classes" / "packaged.bbclass").write_text(PACKAGED_CLASS)
        for recipe in "one", "two":
            (layer / f"{recipe}.bb").write_text(f'CONTENT ?= "{recipe}"\n')
        (layer / "three.bb").write_text('inherit packaged\nCONTENT ?= "three"\n')
        layers = f"{layer} {folder}/meta-prservd"
        (folder / "conf" / "bblayers.conf").write_text(
            f'BBPATH = "${{TOPDIR}}"\nBBFILES = ""\nBBLAYERS = "{layers}"\n'
        )
        self.set_local(local)
        give_to_user(folder)

    def set_local(self, text):
        standard = 'PRSERV_HOST ?= "localhost:0"\nINHERIT += "prservd"\n'
        (self.folder / "conf" / "local.conf").write_text(standard + text)

    @property
    def environment(self):
        return {
            "PATH": f"{self.bitbake / 'bin'}:{self.folder / 'bin'}:/usr/bin:/bin",
            "HOME": str(self.folder),
            "LANG": "en_US.UTF-8",
            "BBPATH": str(self.folder),
            "LD_LIBRARY_PATH": str(self.folder / "bin"),
            "BB_ENV_PASSTHROUGH_ADDITIONS": "CONTENT RESTORED LD_LIBRARY_PATH",
        }

    def start(self, *words, **environment):
        """Starts BitBake."""
        return subprocess.Popen(
            ["/usr/bin/python3", str(self.bitbake / "bin" / "bitbake"), *words],
            cwd=self.folder,
            env={**self.environment, **environment},
            user=USER if os.getuid() == 0 else None,
            group=USER if os.getuid() == 0 else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *words, status=0, **environment):
        """Runs BitBake, and returns its output."""
        process = self.start(*words, **environment)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == status, output
        return output

    def revision(self, recipe="one", content=None, status=0, **environment):
        """Builds a recipe, and returns the revision that it got."""
        if content:
            environment["CONTENT"] = content
        output = self.run(recipe, status=status, **environment)
        found = re.search(rf"{recipe} has (\S+) from (\S+)", output)
        assert found, output
        self.output = output
        return found[1]
