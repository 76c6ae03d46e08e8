#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Every shell script parses; where shellcheck is installed it has nothing to say. A broken one must be reported.
root=$1
status=0
n=0
broken=$(mktemp) && trap 'rm -f "$broken"' EXIT
printf 'if true; then\n' >"$broken"
if bash -n "$broken" 2>/dev/null; then
	echo "bash -n passes a broken script: nothing was checked"
	exit 1
fi
for f in "$root/run" "$root/.ci/run" "$root"/scripts/*.sh "$root"/tests/*/*.sh "$root"/scripts/show/*; do
	[ -f "$f" ] || continue
	if head -n 1 "$f" | grep -q python; then continue; fi
	n=$((n + 1))
	bash -n "$f" || status=1
	if command -v shellcheck >/dev/null; then
		(cd "$root" && shellcheck -x -e SC1091 "$f") || status=1
	fi
done
echo "$n scripts"
[ "$n" -gt 0 ] || status=1
exit $status
