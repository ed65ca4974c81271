#!/bin/sh
# SPDX-License-Identifier: MIT
# embed.sh FILE...: prints a table of the files in C (page.h), for page.c.
set -eu

# Prints standard input as the elements of an array.
bytes() { od -An -v -tu1 | sed 's/[0-9][0-9]*/&,/g'; }

type_of() {
    case $1 in
    *.html) echo 'text/html; charset=utf-8' ;;
    *.js) echo 'text/javascript; charset=utf-8' ;;
    *.css) echo 'text/css; charset=utf-8' ;;
    *.svg) echo 'image/svg+xml' ;;
    *.png) echo 'image/png' ;;
    *.json) echo 'application/json' ;;
    *.txt) echo 'text/plain; charset=utf-8' ;;
    *) echo "embed.sh: $1: unknown kind of file" >&2 && return 1 ;;
    esac
}

n=0
for file in "$@"; do
    echo "static const unsigned char page_file_${n}[] = {"
    bytes <"$file"
    echo "};"
    echo "static const unsigned char page_gzip_${n}[] = {"
    gzip -9 -n -c "$file" | bytes
    echo "};"
    n=$((n + 1))
done
echo "static const struct page_file page_files[] = {"
n=0
for file in "$@"; do
    path=/$(basename "$file")
    [ "$path" != /index.html ] || path=/
    tag=$(cksum <"$file" | tr -s ' \t' '-')
    type=$(type_of "$file")
    echo "{\"$path\", \"$type\", \"\\\"$tag\\\"\", page_file_$n, sizeof page_file_$n,"
    echo " page_gzip_$n, sizeof page_gzip_$n},"
    n=$((n + 1))
done
echo "{NULL, NULL, NULL, NULL, 0, NULL, 0}};"
