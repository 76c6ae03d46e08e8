#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Every function of our libraries that touches 256- or 512-bit registers clears their upper halves before it returns: an SSE
instruction behind one that does not (all of DPDK is such code) waits, some 120 ns measured on a Zen 3 EPYC. gcc adds vzeroupper by
itself, but not always where a function's attribute alone allows AVX."""

import os
import re
import shutil
import subprocess

import lintlib

# Parts of functions that gcc splits off jump back into the function, which clears.
PART = re.compile(r"\.(cold|part\.\d+)$")
FUNCTION = re.compile(r"^[0-9a-f]+ <(.+)>:$")


def unclean(listing):
    """(functions with wide registers and without vzeroupper, functions with wide registers)."""
    name, wide, clean, found, n = None, False, False, [], 0
    for line in [*listing.splitlines(), "0 <end>:"]:
        m = FUNCTION.match(line)
        if not m:
            wide = wide or "%ymm" in line or "%zmm" in line
            clean = clean or "vzeroupper" in line
            continue
        if wide and not PART.search(name):
            n += 1
            if not clean:
                found.append(name)
        name, wide, clean = m[1], False, False
    return found, n


def check(_root, build):
    if not shutil.which("objdump"):
        raise lintlib.Skip("no objdump")
    archives = lintlib.archives(build)
    if not archives:
        return [f"no static library below {build}: nothing was checked"], []
    problems, n = [], 0
    for archive in archives:
        run = subprocess.run(["objdump", "-d", "--no-show-raw-insn", archive], capture_output=True, text=True, check=False)
        if run.returncode != 0:
            problems.append(f"objdump {archive}: {run.stderr.strip()}")
        found, functions = unclean(run.stdout)
        n += functions
        problems += [f"{os.path.relpath(archive, build)}: {f} returns with upper halves of vector registers in use" for f in found]
    return problems, [f"{n} functions with wide registers in {len(archives)} libraries"]


def prepare(root):
    """Compiles the self-test's tree into one archive."""
    folder = os.path.join(root, "lib", "base")
    subprocess.run(["gcc", "-O2", "-c", "a.c", "-o", "a.o"], cwd=folder, check=True)
    subprocess.run(["ar", "rcs", "liba.a", "a.o"], cwd=folder, check=True)
    return root


SUM = """void wr_a_twice(int *p)
{{
	__asm__ volatile("vmovdqu (%0), %%ymm0\\n\\tvpaddd %%ymm0, %%ymm0, %%ymm0\\n\\tvmovdqu %%ymm0, (%0)"
			 "{clear}" : : "r"(p) : "xmm0", "memory");
}}
"""
GOOD = {"lib/base/a.c": SUM.format(clear="\\n\\tvzeroupper")}
BADS = {"a function that leaves upper halves in use": {"lib/base/a.c": SUM.format(clear="")}}

if __name__ == "__main__":
    lintlib.main(check, GOOD, BADS, prepare)
