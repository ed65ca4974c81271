#!/bin/sh
# SPDX-License-Identifier: MIT
# old_packages.sh OUTPUT [--root SUITE] [COMMIT]
# Builds the packages of an older version into OUTPUT, for tests of upgrades: of COMMIT, or of the
# release before this one. Version 0.1.0 had no debian/: its packages are built with today's, without
# what it lacked. Exits with status 1 if the commit is not in the history of this checkout.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
output=$1
shift
suite=
if [ "${1:-}" = --root ]; then suite=$2 && shift 2; fi
# The last commit of 0.1.0. After the release of 0.2.0: its tag.
commit=${1:-3eccb323cd7c290410a7fbec06b7cc1132493ace}
git_top() { git -c "safe.directory=$top" -C "$top" "$@"; }
git_top cat-file -e "$commit^{commit}" 2>/dev/null || {
    echo "old_packages.sh: the history lacks $commit" >&2
    exit 1
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
source=$work/prservd-old
mkdir -p "$source" "$output"
git_top archive "$commit" | tar -C "$source" -x

# without FILE LINE...: removes the lines that contain one of these texts.
without() {
    file=$source/debian/$1
    shift
    for text in "$@"; do grep -vF -- "$text" "$file" >"$file.new" || :; mv "$file.new" "$file"; done
}

if [ ! -e "$source/debian" ]; then
    cp -r "$top/debian" "$source"
    # No HTTP, no TLS, no second program, no other sockets.
    awk -v RS= -v ORS='\n\n' '!/^Package: prservd-http/' "$top/debian/control" >"$source/debian/control"
    without control prservd-http libmicrohttpd-dev
    rm "$source/debian/prservd-http.install" "$source"/debian/*.links "$source"/debian/*.symbols
    without prservd.install prservd-tls.so completions zsh .md prometheus grafana
    without prserv.install prserv-bench completions zsh
    without rules '-Dhttp' 'prservd-forward.service' logrotate/prservd dh_auto_test 'meson test' CHANGELOG.md
    # shellcheck disable=SC2016 # a variable of make
    sed -i -e 's/-Dtests=$(tests) $(commit) //; s/-Dpostgresql=enabled \\/-Dpostgresql=enabled/' \
        -e 's/ prservd-forward.socket \\//' "$source/debian/rules"
    printf '%s\n' usr/lib/*/libprserv.a usr/share/bash-completion usr/share/zsh usr/share/doc/prservd \
        >>"$source/debian/not-installed"
    cat >"$source/debian/changelog" <<'TXT'
prservd (0.1.0) unstable; urgency=medium

  * The last commit of version 0.1.0, for tests of upgrades.

 -- The prservd authors <prservd@example.org>  Wed, 25 Nov 2026 18:27:29 +0000
TXT
fi

export DEB_BUILD_OPTIONS="nocheck ${DEB_BUILD_OPTIONS:-}"
if [ -n "$suite" ]; then
    "$top/tools/clean_root.sh" "$suite" --bind "$work" /build --bind "$top/tools" /tools -- \
        env LINTIAN=no sh /tools/build_packages.sh /build/prservd-old
else
    LINTIAN=no sh "$top/tools/build_packages.sh" "$source"
fi
rm -f "$output"/*.deb
cp "$work"/*.deb "$output"
