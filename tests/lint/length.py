#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Length of functions: over 120 lines is a problem, over 60 is listed, and so are files over 500 lines."""

import shutil
import subprocess

import lintlib

HABIT, HARD_STOP, FILE_HABIT = 60, 120, 500


def check(root, _build):
    if not shutil.which("ctags"):
        raise lintlib.Skip("no ctags (package universal-ctags)")
    paths = lintlib.files(root, (".c", ".h"), lintlib.SOURCE_FOLDERS)
    run = subprocess.run(["ctags", "--languages=C", "--langmap=C:+.h", "--kinds-C=f", "-x",
                          "--_xformat=%N\t%n\t%{end}\t%F", "-L", "-"], cwd=root, input="\n".join(paths), text=True,
                         capture_output=True, check=False)
    if run.returncode != 0 or "Unknown option" in run.stderr:
        raise lintlib.Skip(f"this ctags is not Universal Ctags: {run.stderr.strip()[:100]}")
    problems, notes, n = [], [], 0
    for line in run.stdout.splitlines():
        name, first, last, path = line.split("\t")
        if not last.isdigit():
            continue
        n += 1
        lines = int(last) - int(first) + 1
        if lines > HARD_STOP:
            problems.append(f"{path}:{first}: {name} has {lines} lines, the hard stop is {HARD_STOP}")
        elif lines > HABIT:
            notes.append(f"long: {path}:{first}: {name} has {lines} lines")
    for path in paths:
        lines = lintlib.read(root, path).count("\n")
        if lines > FILE_HABIT:
            notes.append(f"long: {path} has {lines} lines")
    if n == 0:
        problems.append("no function found: nothing was checked")
    return problems, notes + [f"{n} functions"]


def function(lines):
    return "int f(int x)\n{\n" + "\tx++;\n" * (lines - 4) + "\treturn x;\n}\n"


GOOD = {"lib/base/a.c": function(120)}
BADS = {"121 lines": {"lib/base/a.c": function(121)}, "nothing to look at": {"lib/base/a.c": "int x;\n"}}

if __name__ == "__main__":
    lintlib.main(check, GOOD, BADS)
