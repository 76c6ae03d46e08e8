#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Scripts for Pktgen: each parses (luac5.3 -p), and every function of the pktgen library that one uses exists in Pktgen 23.03
(pktgen-23.03-functions.txt). Pktgen itself is no Debian package, so that a wrong name would otherwise show at a user's."""

import os
import re
import shutil
import subprocess

import lintlib

FOLDER = "pktgen-scripts"
HERE = os.path.dirname(os.path.abspath(__file__))
# Comments and strings, longest first; what is left is code.
NOISE = re.compile(r"--\[(=*)\[.*?\]\1\]|--[^\n]*|\[(=*)\[.*?\]\2\]|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL)
USE = re.compile(r"(?<![\w.:])pktgen\b((?:\s*\.\s*\w+)*)")


def known():
    with open(os.path.join(HERE, "pktgen-23.03-functions.txt"), encoding="utf-8") as f:
        return {line.strip() for line in f if line.strip() and not line.startswith("#")}


def calls(text):
    """(line, name) of every use of the library; an alias of it, which would hide calls, has the name "pktgen"."""
    code = NOISE.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)
    for m in USE.finditer(code):
        yield code.count("\n", 0, m.start()) + 1, "pktgen" + re.sub(r"\s", "", m[1])


def check(root, _build):
    luac = shutil.which("luac5.3")
    if not luac:
        raise lintlib.Skip("no luac5.3 (package lua5.3)")
    names, problems, n = known(), [], 0
    scripts = lintlib.files(root, (".lua",))
    if not scripts:
        return [f"{FOLDER}/: no script found: nothing was checked"], []
    for path in scripts:
        run = subprocess.run([luac, "-p", path], cwd=root, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            problems.append(run.stderr.strip())
        for line, name in calls(lintlib.read(root, path)):
            n += 1
            if name not in names:
                problems.append(f"{path}:{line}: {name} is no function of Pktgen 23.03 (an alias of the library is not allowed)")
    if not n:
        problems.append(f"{FOLDER}/: no script calls Pktgen: nothing was checked")
    return problems, [f"{len(scripts)} scripts, {n} uses of {len(names)} functions"]


GOOD = {"pktgen-scripts/a.lua": '-- pktgen.nothing\nlocal s = "pktgen.nothing"\npktgen.start("0")\npcall(pktgen.stop, "0")\n'
                                'pktgen.range.ttl("0", "start", 1)\n'}
BADS = {
    "a function that does not exist": {"pktgen-scripts/a.lua": 'pktgen.begin("0")\n'},
    "one in a line of its own": {"pktgen-scripts/b.lua": 'local f = pktgen\n.begin\n'},
    "one of the range table": {"pktgen-scripts/a.lua": 'pktgen.range.start("0")\n'},
    "one behind a comment's end": {"pktgen-scripts/a.lua": '--[[ x ]] pktgen.begin("0")\n'},
    "an alias": {"pktgen-scripts/a.lua": 'local p = pktgen\np.start("0")\n'},
    "a script that does not parse": {"pktgen-scripts/a.lua": 'pktgen.start("0"\n'},
    "no script": {"pktgen-scripts/a.lua": None},
    "no call": {"pktgen-scripts/a.lua": "print(1)\n"},
}

if __name__ == "__main__":
    lintlib.main(check, GOOD, BADS)
