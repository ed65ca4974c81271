# SPDX-License-Identifier: MIT
SUMMARY = "A PR server for BitBake"
DESCRIPTION = "Assigns package revisions (PR) and stores them, in place of bitbake-prserv; \
prserv is its client."
SECTION = "devel"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://LICENSE;md5=901ee7d1fe01a57725d6e8a39cb8275b"

DEPENDS = "jansson libuv openssl sqlite3"

# The source repository, in the git fetcher's form; see the README beside this file.
PRSERVD_REPOSITORY ?= "git:///srv/git/prservd.git;protocol=file"
PRSERVD_BRANCH ?= "main"

# ${BP} is the default of S in every release.
SRC_URI = "${PRSERVD_REPOSITORY};branch=${PRSERVD_BRANCH};destsuffix=${BP}"
SRCREV ?= "${AUTOREV}"
PV = "0.2.0+git"

inherit meson pkgconfig systemd

PACKAGECONFIG ??= "${@bb.utils.filter('DISTRO_FEATURES', 'seccomp systemd', d)} tls"
# The recipes postgresql and libmicrohttpd are in meta-oe.
PACKAGECONFIG:class-native ??= "tls"
PACKAGECONFIG:class-nativesdk ??= "tls"
PACKAGECONFIG[seccomp] = "-Dseccomp=enabled,-Dseccomp=disabled,libseccomp"
PACKAGECONFIG[tls] = "-Dtls=enabled,-Dtls=disabled,openssl"
PACKAGECONFIG[systemd] = "-Dsystemd=enabled,-Dsystemd=disabled,systemd"
PACKAGECONFIG[http] = "-Dhttp=enabled,-Dhttp=disabled,libmicrohttpd"
PACKAGECONFIG[postgresql] = "-Dpostgresql=enabled,-Dpostgresql=disabled,postgresql"

EXTRA_OEMESON += "-Dtests=disabled -Dsystemd_unit_dir=${systemd_system_unitdir}"

# The command and its library can be installed without the server.
PACKAGES =+ "prserv libprserv"
FILES:libprserv = "${libdir}/libprserv${SOLIBS}"
FILES:prserv = "${bindir}/prserv ${bindir}/prserv-bench \
                ${datadir}/bash-completion/completions/prserv \
                ${datadir}/bash-completion/completions/prserv-bench \
                ${datadir}/zsh/site-functions/_prserv"
RRECOMMENDS:${PN} += "prserv"

# The modules for PostgreSQL, HTTP and TLS, loaded when they are used.
FILES:${PN} += "${libdir}/prservd"
FILES:${PN} += "${systemd_system_unitdir} ${datadir}/bash-completion ${datadir}/zsh"

SYSTEMD_SERVICE:${PN} = "prservd.socket prservd.service"
# prservd-ro.socket is not enabled by default.
SYSTEMD_AUTO_ENABLE ??= "enable"

BBCLASSEXTEND = "native nativesdk"
