#!/bin/sh
# SPDX-License-Identifier: MIT
# test_packages.sh PACKAGES SUITE [OLD]
# Runs debian/tests with autopkgtest, in a clean root of SUITE. PACKAGES holds what ./dev package
# built, OLD packages of an older version. There is no systemd in such a root, so a supervisor in the
# test holds the socket.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
packages=$1
suite=$2
old=${3:-}
command -v autopkgtest >/dev/null || { echo "test_packages.sh: needs autopkgtest" >&2; exit 1; }
root=$(mktemp -d)
trap 'rm -rf --one-file-system "$root"' EXIT
"$top/tools/clean_root.sh" "$suite" --keep "$root" -- apt-get update -qq
set -- --no-built-binaries
for package in "$packages"/*.deb "$packages"/prservd_*.dsc; do
    case $package in
    *-dbgsym_*) ;;
    *) set -- "$@" "$package" ;;
    esac
done
if [ -n "$old" ]; then
    mkdir -p "$root/old-packages"
    cp "$old"/*.deb "$root/old-packages"
    set -- "$@" --env=PRSERVD_OLD_PACKAGES=/old-packages
fi
# The mounts belong to a namespace that ends with the tests.
# shellcheck disable=SC2016 # expanded by the inner shell
ROOT=$root unshare --mount --pid --fork --kill-child sh -euc '
    mount -t proc proc "$ROOT/proc"
    mount --rbind /dev "$ROOT/dev"
    mount -t proc proc /proc
    exec autopkgtest "$@" -- chroot "$ROOT"' sh "$@"
