# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2034 # groups are read by their names
# Debian packages, each group with its reason. Only what is missing is installed; when nothing is, apt is not called.

# Compiler and build, and one line per outside library (docs/architecture.md says which part includes it).
# clang-14 compiles the XDP program, libbpf-dev attaches it.
# libdpdk-dev brings every DPDK library and driver and libxdp-dev with it; meson brings python3;
# the suites are built with the rest, so CUnit and SIMDe (intrinsics over plain C) belong here too.
packages_build=(gcc libc6-dev pkg-config meson ninja-build python3
	libdpdk-dev libdnnl-dev libhyperscan-dev libinih-dev libsodium-dev libjansson-dev zlib1g-dev libpcap-dev libcunit1-dev
	libsimde-dev iproute2 procps clang-14 libbpf-dev)
# Suites only: the pinned formatter, function lengths, another reader of our captures, a parser of Pktgen scripts; C++ programs and manual pages of the installed library.
packages_test=(clang-format-14 universal-ctags shellcheck tcpdump lua5.3 g++ groff-base)
# The other compiler's OpenMP (./run test clang).
packages_clang=(libomp-14-dev)
# The peer that echo is measured against (dpdk-testpmd).
packages_bench=(dpdk-dev)
packages_count=(valgrind)
# Peers (./run bench --peers): Redis without its service, a virtual environment for ONNX Runtime and PyTorch.
packages_peers=(redis-tools python3-venv)
# Namespaces with a veth pair for what shares an interface with the kernel (scripts/veth.py), and what asks there:
# ordinary tools, captures, other people's generators.
packages_doors=(ethtool iputils-ping tcpdump python3-scapy dpdk-dev tcpreplay lua5.3)
# A bare system to prove ./run on (show corridor.1).
packages_chroot=(debootstrap)

missing_packages() {
	local p
	for p in "$@"; do
		[[ $(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null) == installed ]] || printf '%s\n' "$p"
	done
}

# install_packages GROUP…: makes sure that the groups (build test clang bench count peers doors chroot) are there.
install_packages() {
	local group missing wanted=() log=out/install.log start=$SECONDS
	for group in "$@"; do
		local -n list=packages_$group
		wanted+=("${list[@]}")
	done
	command -v dpkg-query >/dev/null || die "this is no Debian system; install by hand what these packages hold: ${wanted[*]}"
	mapfile -t missing < <(missing_packages "${wanted[@]}")
	((${#missing[@]})) || return 0
	((EUID == 0)) || die "missing packages; as root: apt-get install --no-install-recommends ${missing[*]}"
	mkdir -p out
	say "installing ${missing[*]} (log: $log)"
	printf '== %s: %s\n' "$(date -u +%FT%TZ)" "${missing[*]}" >>"$log"
	child_run apt_get update >>"$log" 2>&1 || die "apt-get update failed; the end of $log says why: $(tail -n 1 "$log")"
	child_run apt_get install -y --no-install-recommends "${missing[@]}" >>"$log" 2>&1 ||
		die "apt-get install failed; the end of $log says why: $(tail -n 1 "$log")"
	mapfile -t wanted < <(missing_packages "${missing[@]}")
	((${#wanted[@]} == 0)) || die "apt-get left these out: ${wanted[*]} (log: $log)"
	say "installed ${missing[*]} and what they need in $((SECONDS - start)) s"
}

apt_get() {
	DEBIAN_FRONTEND=noninteractive exec apt-get -q -o Dpkg::Use-Pty=0 -o Acquire::Retries=3 \
		-o DPkg::Lock::Timeout=300 "$@"
}
