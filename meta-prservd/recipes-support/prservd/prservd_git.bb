# SPDX-License-Identifier: MIT
SUMMARY = "A PR server for BitBake"
DESCRIPTION = "Assigns package revisions (PR) and stores them, in place of bitbake-prserv; \
prserv is its client."
HOMEPAGE = "https://www.yoctoproject.org/"
SECTION = "devel"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://LICENSE;md5=901ee7d1fe01a57725d6e8a39cb8275b"

DEPENDS = "jansson libuv openssl sqlite3"
PV = "0.2.0"

# Another source than the checkout that has this layer; README.md describes both variables.
PRSERVD_REPOSITORY ?= ""
PRSERVD_SRCREV ?= ""
PRSERVD_CHECKOUT = "${@os.path.normpath(d.getVar('PRSERVD_LAYERDIR') + '/..')}"
PRSERVD_HAS_CHECKOUT = "${@os.path.exists(d.getVar('PRSERVD_CHECKOUT') + '/meson.build')}"

# The folder is that of S in every release.
SRC_URI = "${@d.expand('${PRSERVD_REPOSITORY};destsuffix=${BP}') if d.getVar('PRSERVD_REPOSITORY') else ''}"
SRCREV = "${@d.getVar('PRSERVD_SRCREV') or 'INVALID'}"
EXTERNALSRC = "${@'' if d.getVar('PRSERVD_REPOSITORY') else d.getVar('PRSERVD_CHECKOUT')}"
# No links to the build in the checkout.
EXTERNALSRC_SYMLINKS = ""
EXTERNALSRC_BUILD = "${WORKDIR}/build"

inherit meson pkgconfig systemd
inherit ${@'' if d.getVar('PRSERVD_REPOSITORY') else 'externalsrc'}

def prservd_has_jansson(d):
    """Returns whether one of the layers has a recipe for jansson."""
    import glob

    layers = (d.getVar("BBLAYERS") or "").split()
    return any(glob.glob(layer + "/recipes-*/jansson") for layer in layers)

python () {
    if not prservd_has_jansson(d):
        raise bb.parse.SkipRecipe("it needs jansson: add the layer meta-oe")
    if d.getVar("PRSERVD_REPOSITORY"):
        if not d.getVar("PRSERVD_SRCREV"):
            raise bb.parse.SkipRecipe("PRSERVD_REPOSITORY needs PRSERVD_SRCREV, a commit")
    elif d.getVar("PRSERVD_HAS_CHECKOUT") != "True":
        raise bb.parse.SkipRecipe("set PRSERVD_REPOSITORY and PRSERVD_SRCREV")
}

PACKAGECONFIG ??= "${@bb.utils.filter('DISTRO_FEATURES', 'seccomp systemd', d)} tls"
# The recipe postgresql is in meta-oe.
PACKAGECONFIG:class-native ??= "tls"
PACKAGECONFIG[seccomp] = "-Dseccomp=enabled,-Dseccomp=disabled,libseccomp"
PACKAGECONFIG[systemd] = "-Dsystemd=enabled,-Dsystemd=disabled,systemd"
PACKAGECONFIG[http] = "-Dhttp=enabled,-Dhttp=disabled,libmicrohttpd"
# It needs a libsolv with PACKAGECONFIG "rpm", which OE-Core has where PACKAGE_CLASSES has package_rpm.
PACKAGECONFIG[feed] = "-Dfeed=enabled,-Dfeed=disabled,libarchive libsolv"
PACKAGECONFIG[tls] = "-Dtls=enabled,-Dtls=disabled,openssl"
PACKAGECONFIG[postgresql] = "-Dpostgresql=enabled,-Dpostgresql=disabled,postgresql"

EXTRA_OEMESON += "-Dtests=disabled -Dsystemd_unit_dir=${systemd_system_unitdir}"

# The command and its library can be installed without the server.
PACKAGES =+ "prserv-feed prserv libprserv"
FILES:libprserv = "${libdir}/libprserv${SOLIBS}"
FILES:prserv-feed = "${bindir}/prserv-feed"
FILES:prserv = "${bindir}/prserv ${bindir}/prserv-bench \
                ${datadir}/bash-completion/completions/prserv \
                ${datadir}/bash-completion/completions/prserv-bench \
                ${datadir}/zsh/site-functions/_prserv"
RRECOMMENDS:${PN} += "prserv"

# The modules for PostgreSQL, HTTP and TLS, loaded when they are used.
FILES:${PN} += "${libdir}/prservd"
FILES:${PN} += "${systemd_system_unitdir} ${datadir}/bash-completion ${datadir}/zsh"

SYSTEMD_SERVICE:${PN} = "prservd.socket prservd.service"
# prservd-ro.socket and prservd-forward.socket are not enabled by default.
SYSTEMD_AUTO_ENABLE ??= "enable"

BBCLASSEXTEND = "native"
