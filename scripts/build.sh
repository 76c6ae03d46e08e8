# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# One folder a kind of build; a second call costs one look of ninja.

# gcc warns falsely under sanitizers (its flow analysis sees their checks): warnings are errors in build/ only.
sanitized='-Db_sanitize=address,undefined -Db_lundef=false -Doptimization=1 -Dwerror=false'
declare -A build_options=(
	[build]=''
	[build-asan]=$sanitized
	[build-swap]='-Dseed_fault=swap-users'
	[build-overread]="-Dseed_fault=overread $sanitized"
	[build-clang]=''
)
# The compiler where it isn't the system's own.
declare -A build_compiler=([build-clang]=clang-14)

# build_tree KIND [TARGET…]: configures once and builds quietly; the log is shown when it fails.
build_tree() {
	local dir=$1 log=out/$1.log options
	shift
	[[ -n ${build_options[$dir]+x} ]] || die "unknown build $dir"
	mkdir -p out
	read -ra options <<<"${build_options[$dir]}"
	if [[ ! -f $dir/build.ninja ]]; then
		say "configuring $dir"
		child_run env CC="${build_compiler[$dir]:-${CC:-cc}}" meson setup "$dir" . "${options[@]}" >"$log" 2>&1 || {
			tail -n 30 "$log" >&2
			die "meson setup failed (log: $log)"
		}
	fi
	if [[ -t 2 ]]; then
		child_run ninja -C "$dir" "$@" >&2 || die "the build failed"
	else
		say "building $dir"
		child_run ninja -C "$dir" --quiet "$@" >"$log" 2>&1 || {
			tail -n 60 "$log" >&2
			die "the build failed (log: $log)"
		}
	fi
}
