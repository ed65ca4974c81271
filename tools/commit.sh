#!/bin/sh
# SPDX-License-Identifier: MIT
# commit.sh SOURCE_FOLDER HEADER [COMMIT]
# Writes HEADER, which defines PRSERVD_COMMIT: " (g1a2b3c4)", or "" where neither COMMIT is given nor
# SOURCE_FOLDER is a git checkout or an archive that git made, such as the tarball of a release. Leaves
# HEADER alone if it is up to date.
set -eu

source=$1
header=$2
commit=${3:-}

# A .git of a folder above belongs to another project. The checkout may be another user's: this only
# reads the name of a commit.
if [ -z "$commit" ] && [ -e "$source/.git" ]; then
    commit=$(git -c "safe.directory=$(cd "$source" && pwd -P)" -C "$source" \
        rev-parse --short HEAD 2>/dev/null) || commit=
fi
# In an archive, git has put the commit into this file.
if [ -z "$commit" ] && [ ! -e "$source/.git" ] && [ -e "$source/tools/commit.txt" ]; then
    commit=$(sed -n 's/^\([0-9a-f]\{7\}\)[0-9a-f]*$/\1/p' "$source/tools/commit.txt")
fi
[ -z "$commit" ] || commit=" (g${commit#g})"
line="#define PRSERVD_COMMIT \"$commit\""
[ "$(cat "$header" 2>/dev/null)" = "$line" ] || echo "$line" >"$header"
