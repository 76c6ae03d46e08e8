#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Rules of text: the SPDX line stands first, no stray white space or conflict mark, no bare work note, and the only hosts
that a file names are those of papers, standards and projects (where a build gets its packages is the machine's business)."""

import os
import re

import lintlib

SOURCES = (".c", ".h", ".py", ".sh")
TEXTS = SOURCES + ("meson.build", ".md", ".ini", ".txt", ".lua", ".pkt")
# The kernel takes an XDP program under the GPL, too.
SPDX = re.compile(r"SPDX-License-Identifier: (GPL-2.0-only OR )?BSD-3-Clause")
HOSTS = {"arxiv.org", "doi.org", "dpdk.org", "doc.dpdk.org", "github.com", "gnu.org", "grouplens.org", "files.grouplens.org", "recbole.io",
         "example.com",
         "example.org", "www.rfc-editor.org", "www.w3.org", "creativecommons.org", "cdla.dev", "prng.di.unimi.it",
         "pmd.net"}  # the last is how DPDK names a driver's log
HOST = re.compile(r"\b((?:[a-z0-9-]+\.)+(?:com|org|net|io|dev|cn|de|eu|cloud))\b(?!\()", re.IGNORECASE)
MARK = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b(?!\()")


def is_script(root, path):
    try:
        with open(os.path.join(root, path), "rb") as f:
            return f.read(2) == b"#!"
    except OSError:
        return False


def check(root, _build):
    problems, n = [], 0
    for path in lintlib.files(root, ""):
        name = os.path.basename(path)
        script = is_script(root, path)
        if not script and not name.endswith(TEXTS):
            continue
        n += 1
        lines = lintlib.read(root, path).splitlines()
        if (script or name.endswith(SOURCES)) and not any(SPDX.search(line) for line in lines[:2]):
            problems.append(f"{path}:1: no SPDX line among the first two")
        for i, line in enumerate(lines, 1):
            if line != line.rstrip() and not name.endswith(".md"):
                problems.append(f"{path}:{i}: white space at the end of the line")
            if line.startswith(("<<<<<<< ", ">>>>>>> ")):
                problems.append(f"{path}:{i}: conflict mark")
            if (script or name.endswith(SOURCES)) and MARK.search(line):
                problems.append(f"{path}:{i}: a bare work note; write what is wrong and why, or do it")
            for host in HOST.findall(line):
                if host.lower() not in HOSTS:
                    problems.append(f"{path}:{i}: names the host {host}; known ones stand in tests/lint/text.py")
    return problems, [f"{n} files"]


GOOD = {"lib/base/a.c": "/* SPDX-License-Identifier: BSD-3-Clause */\nint wr_x; /* arXiv 2309.07602, arxiv.org */\n",
        "scripts/a.sh": "#!/bin/sh\n# SPDX-License-Identifier: BSD-3-Clause\n", "README.md": "# Text  \n"}
BADS = {
    "no SPDX line": {"lib/base/a.c": "int wr_x;\n"},
    "no SPDX line in a script": {"scripts/a.sh": "#!/bin/sh\necho\n"},
    "white space at the end": {"lib/base/a.c": GOOD["lib/base/a.c"] + "int wr_y; \n"},
    "a work note": {"lib/base/a.c": GOOD["lib/base/a.c"] + "/* TO" "DO: later */\n"},
    "a host that is not known": {"README.md": "packages from mirror.somewhere" ".com\n"},
    "a conflict mark": {"README.md": "<<<<<<< HEAD\n"},
}

if __name__ == "__main__":
    lintlib.main(check, GOOD, BADS)
