#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# libfuzzer.sh CLANG OUTPUT ROOT SOURCE_GLOB... -- LINK_ARGS...: one instrumented program from all its sources.
set -eu
clang=$1 output=$(realpath -m "$2") root=$3
shift 3
cd "$root"
sources=() includes=()
while [ "$1" != -- ]; do
	mapfile -t -O "${#sources[@]}" sources < <(compgen -G "$1")
	includes+=("-I$(dirname "$1")")
	shift
done
shift
exec "$clang" -std=gnu11 -D_GNU_SOURCE -DWR_SANITIZE=1 -O1 -g -fno-omit-frame-pointer \
	-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined "${includes[@]}" "${sources[@]}" -o "$output" "$@"
