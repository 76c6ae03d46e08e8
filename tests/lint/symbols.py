#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Every global symbol that our libraries define starts with wr_ (nm over the static libraries of the build)."""

import os
import shutil
import subprocess

import lintlib

# Functions of others that we replace on purpose, each with its reason.
INTERPOSED = {name: "lib/port's gate stands between DPDK's interrupt thread and net_memif" for name in (
    "rte_intr_callback_register", "rte_intr_callback_unregister", "rte_intr_callback_unregister_sync",
    "rte_intr_callback_unregister_pending")}
INTERPOSED.update({name: "lib/port's steer.c holds the XDP program by a link in place of net_af_xdp" for name in (
    "bpf_xdp_attach", "bpf_xdp_detach", "bpf_xdp_query_id")})
# What the compiler adds: sanitizers, tables of weak constants.
COMPILER = ("__asan_", "__odr_asan", "__ubsan_", "DW.ref.", "__x86.")


def check(_root, build):
    if not shutil.which("nm"):
        raise lintlib.Skip("no nm")
    archives = lintlib.archives(build)
    if not archives:
        return [f"no static library below {build}: nothing was checked"], []
    problems, n = [], 0
    for archive in archives:
        run = subprocess.run(["nm", "--defined-only", "--extern-only", "--format=posix", archive], capture_output=True,
                             text=True, check=False)
        if run.returncode != 0:
            problems.append(f"nm {archive}: {run.stderr.strip()}")
        for line in run.stdout.splitlines():
            words = line.split()
            if len(words) < 2 or line.endswith(":"):
                continue
            n += 1
            if not words[0].startswith("wr_") and words[0] not in INTERPOSED and not words[0].startswith(COMPILER):
                problems.append(f"{os.path.relpath(archive, build)}: {words[0]} lacks the prefix wr_")
    return problems, [f"{n} symbols in {len(archives)} libraries"]


def prepare(root):
    """Compiles the self-test's tree into one archive."""
    folder = os.path.join(root, "lib", "base")
    subprocess.run(["gcc", "-c", "a.c", "-o", "a.o"], cwd=folder, check=True)
    subprocess.run(["ar", "rcs", "liba.a", "a.o"], cwd=folder, check=True)
    return root


GOOD = {"lib/base/a.c": "static int helper(void) { return 1; }\nint wr_a_get(void) { return helper(); }\n"}
BADS = {
    "a function without the prefix": {"lib/base/a.c": "int helper(void) { return 1; }\n"},
    "a variable without the prefix": {"lib/base/a.c": "int counter = 3;\n"},
}

if __name__ == "__main__":
    lintlib.main(check, GOOD, BADS, prepare)
