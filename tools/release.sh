#!/bin/sh
# SPDX-License-Identifier: MIT
# ./dev release VERSION: checks that the tree is ready, builds everything of a release twice, in
# different folders, and fails unless both are the same bit for bit.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)

usage() {
    cat <<'TXT'
Usage: ./dev release VERSION [OPTION]...

Checks that CHANGELOG.md, meson.build, debian/changelog, the recipe and SECURITY.md name VERSION, and
that the ABI of libprserv is compatible with the last release's (src/client/libprserv.abi). Then it
builds the release of the last commit, twice, in different folders, time zones and languages, and
fails unless both are the same: the tarball of meson dist, the Debian packages, an SBOM (SPDX 2.3) and
SHA256SUMS.

  --root SUITE      build the packages in a clean root of this suite, such as bookworm or trixie (needs
                    root); may be repeated: each suite has a folder of its own then
  --output DIR      where the release goes (build-release)
  --rehearse        accept "Unreleased" instead of a date in CHANGELOG.md
  --check           only check
TXT
}

say() { printf '%s\n' "dev release: $*" >&2; }

version=
suites=
output=$top/build-release
rehearse=
only_check=
while [ $# -gt 0 ]; do
    case $1 in
    --root) suites="$suites ${2:?--root needs a suite}" && shift ;;
    --output) output=${2:?--output needs a folder} && shift ;;
    --rehearse) rehearse=1 ;;
    --check) only_check=1 ;;
    -h | --help) usage && exit 0 ;;
    -*) say "unknown option $1; see ./dev release --help" && exit 2 ;;
    *) version=$1 ;;
    esac
    shift
done
[ -n "$version" ] || { usage >&2; exit 2; }

git_top() { git -c "safe.directory=$top" -C "$top" "$@"; }

wrong=0
complain() { say "$*" && wrong=1; }

# ---- checks ----

# expect FILE PATTERN: complains unless a line of FILE matches.
expect() { grep -q -- "$2" "$top/$1" || complain "$1 does not name version $version ($2)"; }

check_versions() {
    dotted=$(printf '%s' "$version" | sed 's/\./\\./g')
    expect meson.build "^  version: '$dotted',\$"
    expect debian/changelog "^prservd ($dotted) [a-z]"
    head -n 1 "$top/debian/changelog" | grep -q "($dotted) [a-z]" ||
        complain "the first entry of debian/changelog is not that of $version"
    expect meta-prservd/recipes-support/prservd/prservd_git.bb "^PV = \"$dotted\"\$"
    expect SECURITY.md "$dotted"
    heading=$(grep -m 1 '^## \[' "$top/CHANGELOG.md")
    case $heading in
    "## [$version] - 20"??-??-??) ;;
    "## [$version] - Unreleased")
        [ -n "$rehearse" ] || complain "CHANGELOG.md has no date for $version: $heading"
        ;;
    *) complain "the first version in CHANGELOG.md is not $version: $heading" ;;
    esac
    [ -z "$(git_top status --porcelain)" ] || complain "there are changes that are not committed"
}

# check_abi LIBRARY: compares it with the last release's. New functions are no difference.
check_abi() {
    status=0
    abidiff --no-added-syms --drop-private-types --header-file2 "$top/src/client/prserv.h" \
        "$top/src/client/libprserv.abi" "$1" >&2 || status=$?
    [ "$status" -eq 0 ] || complain "the ABI of libprserv is not that of the last release (abidiff: $status)"
}

# ---- one build ----

# step COMMAND...: runs a step of build_release, and shows the end of its log if it fails.
step() {
    "$@" >>"$folder/log" 2>&1 && return
    tail -n 20 "$folder/log" >&2
    say "failed: $*"
    exit 1
}

# build_release FOLDER: builds everything into FOLDER/out.
build_release() {
    folder=$1
    mkdir -p "$folder/out"
    step git -c "safe.directory=*" clone -q "file://$top" "$folder/source"
    step git -C "$folder/source" checkout -q "$commit"
    step meson setup -Dtests=disabled "$folder/build" "$folder/source"
    step meson dist -C "$folder/build" --no-tests --formats xztar
    normalise "$folder/build/meson-dist/prservd-$version.tar.xz" "$folder"
    for suite in ${suites:-.}; do
        packages=$folder/out/$suite
        root=
        [ "$suite" = . ] || root="--root $suite"
        # shellcheck disable=SC2086 # words
        step "$top/tools/package.sh" $root --tarball "$folder/out/prservd-$version.tar.xz" --output "$packages"
        /usr/bin/python3 -B "$top/tools/sbom.py" --tarball "$folder/out/prservd-$version.tar.xz" \
            --packages "$packages" --commit "$commit" --created "$SOURCE_DATE_EPOCH" \
            "$packages/prservd-$version.spdx.json"
        # These name the machine, the time and the environment of one build.
        rm -f "$packages"/*.buildinfo "$packages"/*.changes
    done
    (cd "$folder/out" && find . -type f -printf '%P\n' | LC_ALL=C sort | xargs sha256sum) >"$folder/sums"
    mv "$folder/sums" "$folder/out/SHA256SUMS"
}

# normalise TARBALL FOLDER: packs the tarball of meson dist again: in a fixed order, with the time of
# the commit, without the user and the umask of this build.
normalise() {
    mkdir "$2/dist"
    tar -C "$2/dist" -xf "$1"
    tar -C "$2/dist" --sort=name --owner=0 --group=0 --numeric-owner --mode=u+rwX,go+rX,go-w \
        --mtime="@$SOURCE_DATE_EPOCH" --format=gnu -c "prservd-$version" |
        xz -T1 >"$2/out/prservd-$version.tar.xz"
}

check_versions
[ "$wrong" -eq 0 ] || exit 1
commit=$(git_top rev-parse HEAD)
SOURCE_DATE_EPOCH=$(git_top log -1 --format=%ct)
export SOURCE_DATE_EPOCH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

meson setup -Dtests=disabled "$work/abi" "$top" >"$work/log" 2>&1
ninja -C "$work/abi" "src/client/libprserv.so.$version" >>"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; exit 1; }
check_abi "$work/abi/src/client/libprserv.so.$version"
[ "$wrong" -eq 0 ] || exit 1
say "the versions and the ABI are right"
[ -z "$only_check" ] || exit 0

(umask 022 && TZ=UTC LC_ALL=C.UTF-8 build_release "$work/one")
# The unit tests have run once.
(umask 027 && TZ=Pacific/Chatham LC_ALL=C DEB_BUILD_OPTIONS=nocheck build_release "$work/another-folder/two")
if ! diff -r "$work/one/out" "$work/another-folder/two/out" >&2; then
    say "the two builds differ; they are kept in $work"
    trap - EXIT
    exit 1
fi
mkdir -p "$output"
cp -r "$work/one/out/." "$output"
abidw --header-file "$top/src/client/prserv.h" --drop-private-types --exported-interfaces-only \
    --no-comp-dir-path --no-corpus-path --no-show-locs --no-elf-needed \
    --out-file "$work/libprserv.abi" "$work/abi/src/client/libprserv.so.$version"
cp "$work/libprserv.abi" "$output"
say "both builds are the same; the release is in $output"
say "after publishing it: cp $output/libprserv.abi src/client/, and commit that"
