# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# 2 MiB pages for the time of one command: reserved where allowed, given back at the end. Exports WR_HUGE=1 or 0;
# without pages everything runs all the same on ordinary memory, more slowly, and says so.

huge_pool=/sys/kernel/mm/hugepages/hugepages-2048kB

# huge_reserve MIB: at most a quarter of the available memory.
huge_reserve() {
	export WR_HUGE=0
	local want=$(($1 / 2)) free total most
	if ((EUID != 0)) || [[ ! -w $huge_pool/nr_hugepages ]]; then
		say "no hugepages (not root, or the kernel has none): going on with --no-huge"
		return 0
	fi
	free=$(<"$huge_pool/free_hugepages")
	most=$(awk '/^MemAvailable:/ { print int($2 / 4 / 2048) }' /proc/meminfo)
	want=$((want < most ? want : most))
	if ((free < want)); then
		total=$(<"$huge_pool/nr_hugepages")
		on_exit "huge_return $((want - free))"
		echo $((total + want - free)) 2>/dev/null >"$huge_pool/nr_hugepages" || true
		free=$(<"$huge_pool/free_hugepages")
		if ((free < want)); then
			say "the kernel gave $((free * 2)) of $((want * 2)) MiB of hugepages: going on with --no-huge"
			return 0
		fi
	fi
	huge_mount || return 0
	WR_HUGE=1
}

# Takes N pages out of the pool again, so that two commands at once do not take each other's.
huge_return() {
	local total
	total=$(<"$huge_pool/nr_hugepages")
	echo $((total > $1 ? total - $1 : 0)) >"$huge_pool/nr_hugepages"
}

huge_mount() {
	local where=/dev/hugepages
	grep -q ' hugetlbfs .*pagesize=2M' /proc/mounts && return 0
	if [[ ! -d $where ]]; then
		mkdir -p "$where" || return 1
		on_exit "rmdir $where 2>/dev/null"
	fi
	if ! mount -t hugetlbfs -o pagesize=2M hugetlbfs "$where" 2>/dev/null; then
		say "mounting hugetlbfs on $where was refused (a container?): going on with --no-huge"
		return 1
	fi
	on_exit "umount $where"
}
