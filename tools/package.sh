#!/bin/sh
# SPDX-License-Identifier: MIT
# ./dev package: builds Debian packages of the checkout, and checks them with lintian. The source is
# what the last commit has; in a folder without .git it is the whole folder.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)

usage() {
    cat <<'TXT'
Usage: ./dev package [OPTION]...

Builds the Debian packages of the last commit, and checks them with lintian.

  --root SUITE      build in a clean root of this suite, such as bookworm or trixie, with nothing but
                    what debian/control names (needs root and debootstrap)
  --test            then install the packages in another clean root, and run the tests of
                    debian/tests there with autopkgtest; without --root, of this machine's suite
  --old DIR         packages of an older version for the test of upgrades; without it, --test builds
                    those of the last release (needs its commit in the history)
  --tarball FILE    take the source from this tarball of ./dev release
  --output DIR      where the packages go (build-package)
  --nocheck         don't run the unit tests during the build
  --mirror URL      where debootstrap finds Debian [the first one of this machine]
TXT
}

say() { printf '%s\n' "dev package: $*" >&2; }

suite=
test=
old=
tarball=
output=$top/build-package
while [ $# -gt 0 ]; do
    case $1 in
    --root) suite=${2:?--root needs a suite} && shift ;;
    --test) test=1 ;;
    --old) old=$(realpath "${2:?--old needs a folder}") && shift ;;
    --tarball) tarball=$(realpath "${2:?--tarball needs a file}") && shift ;;
    --output) output=${2:?--output needs a folder} && shift ;;
    --nocheck) export DEB_BUILD_OPTIONS="nocheck ${DEB_BUILD_OPTIONS:-}" ;;
    --mirror) export PRSERVD_MIRROR="${2:?--mirror needs a URL}" && shift ;;
    -h | --help) usage && exit 0 ;;
    *) say "unknown option $1; see ./dev package --help" && exit 2 ;;
    esac
    shift
done
mkdir -p "$output"
output=$(cd "$output" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

version=$(sed -n "s/^  version: '\(.*\)',\$/\1/p" "$top/meson.build" | head -n 1)
source=$work/prservd-$version

# Other people's settings of git, and the owner of the checkout, don't matter.
git_top() { git -c "safe.directory=$top" -C "$top" "$@"; }

# Copies the source to $source.
copy_source() {
    if [ -n "$tarball" ]; then
        tar -C "$work" -xf "$tarball"
    elif [ -e "$top/.git" ]; then
        [ -z "$(git_top status --porcelain)" ] ||
            say "changes that are not committed are left out"
        git_top archive --format=tar --prefix="prservd-$version/" HEAD | tar -C "$work" -x
    else
        mkdir "$source"
        tar -C "$top" --exclude='./build*' -c . | tar -C "$source" -x
    fi
}

copy_source
status=0
if [ -n "$suite" ]; then
    "$top/tools/clean_root.sh" "$suite" --bind "$work" /build -- \
        sh "/build/${source##*/}/tools/build_packages.sh" "/build/${source##*/}" || status=$?
else
    sh "$source/tools/build_packages.sh" "$source" || status=$?
fi
find "$output" -maxdepth 1 -type f \( -name '*.deb' -o -name 'prservd_*' \) -delete
find "$work" -maxdepth 1 -type f -exec cp {} "$output" \;
[ "$status" -eq 0 ] || { say "failed; what was built is in $output"; exit "$status"; }
say "the packages are in $output"

[ -n "$test" ] || exit 0
if [ -z "$old" ]; then
    old=$work/old
    "$top/tools/old_packages.sh" "$old" ${suite:+--root "$suite"} || old=
fi
this=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
"$top/tools/test_packages.sh" "$output" "${suite:-$this}" ${old:+"$old"}
