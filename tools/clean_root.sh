#!/bin/sh
# SPDX-License-Identifier: MIT
# clean_root.sh SUITE [--keep DIR] [--bind FOLDER INSIDE]... -- COMMAND...
# Runs COMMAND as root in a new, minimal root of a Debian suite, made by debootstrap, and removes it
# afterwards; --keep uses DIR for it, and leaves it. Needs root. The root is made once for each suite,
# in build-roots/; ./dev clean removes that. PRSERVD_MIRROR names the mirror.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
suite=$1
shift
binds=
root=
while [ "$1" != -- ]; do
    case $1 in
    --keep) root=$2 && shift ;;
    --bind) binds="$binds $2=$3" && shift 2 ;;
    esac
    shift
done
shift

[ "$(id -u)" -eq 0 ] || { echo "clean_root.sh: a clean root needs root" >&2; exit 1; }

# The first mirror of this machine.
find_mirror() {
    for list in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
        [ -e "$list" ] || continue
        sed -n -e 's/^URIs: *\([^ ]*\).*/\1/p' -e 's/^deb  *\(\[[^]]*\] *\)\{0,1\}\([^ ]*\).*/\2/p' "$list"
    done | head -n 1
}

base=$top/build-roots/$suite.tar
if [ ! -e "$base" ]; then
    mirror=${PRSERVD_MIRROR:-$(find_mirror)}
    mkdir -p "$top/build-roots"
    new=$(mktemp -d)
    debootstrap --variant=minbase "$suite" "$new" "${mirror:-http://deb.debian.org/debian}" >"$base.log" 2>&1 ||
        { tail -n 5 "$base.log" >&2; exit 1; }
    # Nothing starts a service in a root that is not a machine.
    printf '#!/bin/sh\nexit 101\n' >"$new/usr/sbin/policy-rc.d"
    chmod 755 "$new/usr/sbin/policy-rc.d"
    # The root is thrown away: dpkg need not wait for the disk after each file.
    echo force-unsafe-io >"$new/etc/dpkg/dpkg.cfg.d/unsafe-io"
    echo "$suite" >"$new/etc/prservd-clean-root"
    tar -C "$new" --one-file-system -cf "$base.new" .
    mv "$base.new" "$base"
    rm -rf --one-file-system "$new"
fi

keep=$root
[ -n "$root" ] || root=$(mktemp -d)
mkdir -p "$root"
# The mounts belong to a namespace that ends with the command.
cleanup() { [ -n "$keep" ] || rm -rf --one-file-system "$root"; }
trap cleanup EXIT
[ -e "$root/etc/prservd-clean-root" ] || tar -C "$root" -xf "$base"
chmod 755 "$root"
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
for bind in $binds; do mkdir -p "$root${bind#*=}"; done
# shellcheck disable=SC2016 # expanded by the inner shell
ROOT=$root BINDS=$binds unshare --mount --pid --fork --kill-child sh -euc '
    mount -t proc proc "$ROOT/proc"
    mount --rbind /dev "$ROOT/dev"
    for bind in $BINDS; do mount --bind "${bind%%=*}" "$ROOT${bind#*=}"; done
    root=$ROOT
    set -- env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
        TERM=dumb LANG=C.UTF-8 ${DEB_BUILD_OPTIONS:+"DEB_BUILD_OPTIONS=$DEB_BUILD_OPTIONS"} \
        ${SOURCE_DATE_EPOCH:+"SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH"} ${TZ:+"TZ=$TZ"} chroot "$root" "$@"
    exec "$@"' sh "$@"
