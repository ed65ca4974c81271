#!/bin/sh
# SPDX-License-Identifier: MIT
# build_packages.sh SOURCE
# Builds the source package and the binary packages of SOURCE, into the folder above it, and checks
# them with lintian, unless LINTIAN=no. As root in a clean root, it first installs what debian/control names.
set -eu

source=$1
cd "$source"
if [ -e /etc/prservd-clean-root ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends build-essential fakeroot lintian >/dev/null
    apt-get build-dep -y -qq --no-install-recommends "$source" >/dev/null
fi
dpkg-buildpackage --no-sign
[ "${LINTIAN:-yes}" = yes ] || exit 0
as_user=
# lintian complains if it runs as root.
if [ "$(id -u)" -eq 0 ]; then
    chown -R nobody "$source/.."
    as_user="setpriv --reuid=nobody --regid=nogroup --clear-groups"
fi
# shellcheck disable=SC2086 # words
HOME=/nonexistent $as_user lintian --fail-on error,warning --tag-display-limit 0 "$source"/../prservd_*.changes
