SUMMARY = "A PR server for BitBake"
DESCRIPTION = "Hands out package revisions (PR) and remembers them, in the place of \
bitbake-prserv; prserv asks one."
SECTION = "devel"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://LICENSE;md5=901ee7d1fe01a57725d6e8a39cb8275b"

DEPENDS = "jansson libuv openssl sqlite3 uthash"

# Where the sources are, as the git fetcher takes it: see the README beside this file.
PRSERVD_REPOSITORY ?= "git:///srv/git/prservd.git;protocol=file"
PRSERVD_BRANCH ?= "main"

# ${BP} is where S points to by itself, in every release.
SRC_URI = "${PRSERVD_REPOSITORY};branch=${PRSERVD_BRANCH};destsuffix=${BP}"
SRCREV ?= "${AUTOREV}"
PV = "0.1.0+git"

inherit meson pkgconfig systemd

PACKAGECONFIG ??= "${@bb.utils.filter('DISTRO_FEATURES', 'seccomp systemd', d)}"
# postgresql is in meta-oe.
PACKAGECONFIG:class-native ??= ""
PACKAGECONFIG:class-nativesdk ??= ""
PACKAGECONFIG[seccomp] = "-Dseccomp=enabled,-Dseccomp=disabled,libseccomp"
PACKAGECONFIG[systemd] = "-Dsystemd=enabled,-Dsystemd=disabled,systemd"
PACKAGECONFIG[postgresql] = "-Dpostgresql=enabled,-Dpostgresql=disabled,postgresql"

EXTRA_OEMESON += "-Dsystemd_unit_dir=${systemd_system_unitdir}"

# The command and its library need no server beside them.
PACKAGES =+ "prserv libprserv"
FILES:libprserv = "${libdir}/libprserv${SOLIBS}"
FILES:prserv = "${bindir}/prserv ${datadir}/bash-completion/completions/prserv \
                ${datadir}/zsh/site-functions/_prserv"
RRECOMMENDS:${PN} += "prserv"

# What is loaded for a database of PostgreSQL.
FILES:${PN} += "${libdir}/prservd"
FILES:${PN} += "${systemd_system_unitdir} ${datadir}/bash-completion ${datadir}/zsh"

SYSTEMD_SERVICE:${PN} = "prservd.socket prservd.service"
# prservd-ro.socket is left to who wants it.
SYSTEMD_AUTO_ENABLE ??= "enable"

BBCLASSEXTEND = "native nativesdk"
