# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# What every verb of ./run needs: messages, and a clean-up that runs whatever happens.

say() { printf '%s\n' "run: $*" >&2; }
die() {
	say "$*"
	exit 1
}

# Clean-up: on_exit COMMAND; the latest runs first, at the end, after a failure, Ctrl-C or SIGTERM alike.
cleanups=()
child=
on_exit() { cleanups+=("$*"); }

end() {
	local status=$? i
	trap '' INT TERM HUP
	trap - EXIT
	set +e
	if [[ -n $child ]] && kill -0 "$child" 2>/dev/null; then
		kill -TERM "$child" 2>/dev/null
		# The child has its own clean-up to do (it stops daemons, removes namespaces); then it must go.
		for ((i = 0; i < 300; i++)); do
			kill -0 "$child" 2>/dev/null || break
			sleep 0.1
		done
		kill -KILL "$child" 2>/dev/null
	fi
	for ((i = ${#cleanups[@]} - 1; i >= 0; i--)); do
		eval "${cleanups[i]}"
	done
	exit "$status"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# Runs a long command so that signals reach us at once (bash waits for a foreground child before it
# runs a trap), without stdin. Returns the command's status.
child_run() {
	local status=0
	"$@" </dev/null &
	child=$!
	wait "$child" || status=$?
	child=
	return "$status"
}
