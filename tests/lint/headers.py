#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Every header of ours compiles alone, and twice in one file, with warnings as errors."""

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import lintlib

FOLDERS = ("app", "kernels", "lib")
WARNINGS = ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-unused-function", "-Wno-missing-field-initializers", "-Werror"]


def outside_flags():
    if not shutil.which("pkg-config"):
        return []
    flags = subprocess.run(["pkg-config", "--cflags", "libdpdk", "libhs"], capture_output=True, text=True, check=False)
    return [f.replace("-I", "-isystem", 1) if f.startswith("-I") else f for f in flags.stdout.split()]


def check(root, _build):
    if not shutil.which("gcc"):
        raise lintlib.Skip("no gcc")
    headers = lintlib.files(root, (".h",), FOLDERS)
    folders = sorted({os.path.dirname(h) for h in headers})
    flags = ["-std=gnu11", "-D_GNU_SOURCE", "-DWR_SANITIZE=0", "-fsyntax-only", "-mavx2", "-mfma", "-mavx512f",
             "-mavx512bw", "-mavx512vl", "-mavx512vnni", "-fopenmp-simd"] + WARNINGS
    flags += [f"-I{os.path.join(root, f)}" for f in [""] + folders] + outside_flags()

    def compile_alone(header):
        text = f'#include "{os.path.join(root, header)}"\n' * 2
        run = subprocess.run(["gcc", *flags, "-x", "c", "-"], input=text, capture_output=True, text=True, check=False)
        errors = [line for line in run.stderr.splitlines() if "error:" in line] + ["failed"]
        return None if run.returncode == 0 else f"{header}: {errors[0]}"

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        problems = [p for p in pool.map(compile_alone, headers) if p]
    return problems, [f"{len(headers)} headers"]


GOOD = {"lib/base/wr_base.h": "#ifndef A\n#define A\n#include <stdint.h>\nstruct a { uint32_t x; };\n#endif\n",
        "lib/wire/wr_wire.h": '#ifndef B\n#define B\n#include "wr_base.h"\nstruct b { struct a a; };\n#endif\n'}
BADS = {
    "a type from nowhere": {"lib/wire/wr_wire.h": "#ifndef B\n#define B\nstruct b { uint32_t x; };\n#endif\n"},
    "no include guard": {"lib/base/wr_base.h": "struct a { int x; };\n"},
}

if __name__ == "__main__":
    lintlib.main(check, GOOD, BADS)
