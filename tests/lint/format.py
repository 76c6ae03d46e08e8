#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""clang-format 14 with the root's .clang-format would change nothing (`./run fmt` applies it)."""

import os
import re
import shutil
import subprocess

import lintlib


def check(root, _build):
    tool = shutil.which("clang-format-14")
    if not tool:
        raise lintlib.Skip("no clang-format-14")
    paths = lintlib.files(root, (".c", ".h"), lintlib.SOURCE_FOLDERS)
    if not paths:
        return ["no C file found: nothing was checked"], []
    run = subprocess.run([tool, "--dry-run", "-Werror", *paths], cwd=root, capture_output=True, text=True, check=False)
    first = {}
    for line in run.stderr.splitlines():
        at = re.match(r"(\S+?):(\d+):\d+: error:", line)
        if at:
            first.setdefault(at[1], at[2])
    problems = [f"{os.path.normpath(p)}:{n}: not as clang-format-14 writes it; ./run fmt mends it" for p, n in first.items()]
    if run.returncode != 0 and not problems:
        problems.append(f"clang-format-14: {run.stderr.strip()[:200]}")
    return problems, [f"{len(paths)} files"]


GOOD = {".clang-format": "BasedOnStyle: LLVM\nIndentWidth: 8\nUseTab: Always\nTabWidth: 8\n",
        "lib/base/a.c": "int wr_f(int x) { return x; }\n"}
BADS = {"an odd indent": {"lib/base/a.c": "int wr_f(int x) {\n  return x + 1 + 2; }\n"}, "no file": {"lib/base/a.c": None}}

if __name__ == "__main__":
    lintlib.main(check, GOOD, BADS)
